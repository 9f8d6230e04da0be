use super::*;
use crate::edge::connections::Connections;
use crate::edge::{
    Edge, InFlight, OpenConnections, SocketConfig, TrustedPeers, Underscores, head_was_read,
};
use crate::metrics::Metrics;
use crate::observe::AccessLog;
use crate::units::Count;
use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::http::ResponseHeader;
use pingora::proxy::{HttpProxy, ProxyHttp, Session, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, watch};

/// How many requests one connection may carry, and how old it may get.
const REQUESTS_MAX: u32 = 4;
const MAX_AGE: Duration = Duration::from_secs(3_600);

const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
const GOOD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Answers 204 to every request, but not before it is told to; two paths are its mistakes.
struct Held(Arc<Notify>, InFlight);

#[async_trait]
impl ProxyHttp for Held {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn early_request_filter(&self, client: &mut Session, (): &mut ()) -> pingora::Result<()> {
        head_was_read(&self.1);
        assert_ne!(client.req_header().uri.path(), "/panics/at-once");
        Ok(())
    }

    async fn request_filter(&self, client: &mut Session, (): &mut ()) -> pingora::Result<bool> {
        self.0.notified().await;
        assert_ne!(client.req_header().uri.path(), "/panics/later");
        let head = ResponseHeader::build(204, None)?;
        client.write_response_header(Box::new(head), true).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        unreachable!("every request is answered before")
    }
}

/// An edge before a real Pingora proxy; clients connect to it in memory.
struct Fixture {
    edge: Arc<Edge<HttpProxy<Held>>>,
    answer: Arc<Notify>,
    metrics: Metrics,
    in_flight: InFlight,
    /// Kept, or the gateway would be gone.
    _running: watch::Sender<bool>,
    shutdown: ShutdownWatch,
}

impl Fixture {
    fn new() -> Self {
        let secs = Duration::from_secs;
        let listener = Arc::new(Listener {
            number: 0,
            name: "edge".into(),
            address: std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into(),
            trusted: TrustedPeers::default(),
            trusted_host: false,
            underscores: Underscores::Drop,
            proxy_protocol: false,
            tls: None,
            http2: None,
            connections: Connections::new(Count(10), None),
            requests_per_connection: REQUESTS_MAX,
            max_age: MAX_AGE,
            body_rate: 1_024,
            socket: SocketConfig::default(),
            head_timeout: HEAD_TIMEOUT,
            idle_timeout: secs(75),
            body_timeout: secs(30),
            head_sizes: crate::request::head::HeadSizes::default(),
            reader: crate::edge::reader_pace::ReaderBounds { timeout: secs(60), rate: 0 },
        });
        let (answer, metrics) = (Arc::new(Notify::new()), Metrics::new());
        let in_flight = InFlight::new(10);
        let held = Held(Arc::clone(&answer), in_flight.clone());
        let proxy = http_proxy(&Arc::new(ServerConf::default()), held);
        let observe = Observe::new(metrics.clone(), AccessLog::default());
        let edge = Arc::new(Edge::new(proxy, listener, observe, OpenConnections::new(Count(10))));
        let (running, shutdown) = watch::channel(false);
        Fixture { edge, answer, metrics, in_flight, _running: running, shutdown }
    }

    /// A client whose connection is served by a task of this thread.
    fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let (edge, shutdown) = (Arc::clone(&self.edge), self.shutdown.clone());
        tokio::spawn(async move { edge.process_new(Box::new(server), &shutdown).await });
        client
    }

    fn refused(&self, reason: &str) -> u64 {
        self.metrics.heads_refused.with_label_values(&["edge", reason]).get()
    }
}

/// Sends `bytes` and lets every task of this thread take its turns.
async fn send(client: &mut DuplexStream, bytes: &[u8]) {
    client.write_all(bytes).await.expect("sent");
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

/// All that the edge sends until it closes.
async fn rest(client: &mut DuplexStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).await.expect("text");
    text
}

/// Three connections share a thread: one whose head never ends, one that is being answered and one
/// whose head is no HTTP. Each poll finds the state of its own exchange, whoever was polled before.
#[tokio::test(start_paused = true)]
async fn exchanges_that_take_turns_on_one_thread_keep_their_own_state() {
    let began = Instant::now();
    let all = Fixture::new();
    let (mut slow, mut good, mut bad) = (all.connect(), all.connect(), all.connect());
    send(&mut slow, b"GET / HTTP/1.1\r\n").await;
    assert_eq!(all.in_flight.now(), 0, "half a head is no request");
    send(&mut good, GOOD).await;
    assert_eq!(all.in_flight.now(), 1);
    send(&mut slow, b"Host: a\r\n").await;
    assert_eq!(all.in_flight.now(), 1, "the slow head was polled after a whole one, and is unread");

    send(&mut bad, b"nonsense\r\n\r\n").await;
    let refusal = rest(&mut bad).await;
    assert!(refusal.starts_with("HTTP/1.1 400"), "{refusal}");
    assert!(refusal.contains("request_malformed"), "our words, not Pingora's: {refusal}");
    assert_eq!(all.refused("request_malformed"), 1);

    all.answer.notify_one();
    let mut answer = [0; 12];
    good.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 204", "its head was read, though the last one was refused");
    assert_eq!(Instant::now(), began, "nobody has waited so far");

    assert_eq!(rest(&mut slow).await, "", "a head that takes too long gets no answer");
    assert_eq!(Instant::now() - began, HEAD_TIMEOUT);
    assert_eq!((all.refused("timeout"), all.in_flight.now()), (1, 0));
}

/// The same from the other side: a request that is being answered has no head deadline left.
#[tokio::test(start_paused = true)]
async fn an_answer_may_take_longer_than_a_head() {
    let all = Fixture::new();
    let (mut good, mut slow) = (all.connect(), all.connect());
    send(&mut good, GOOD).await;
    send(&mut slow, b"G").await;
    assert_eq!(rest(&mut slow).await, "");
    tokio::time::advance(HEAD_TIMEOUT).await;
    all.answer.notify_one();
    let mut answer = [0; 12];
    good.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 204");
    assert_eq!(all.refused("timeout"), 1, "only the slow one");
}

/// A bug of ours takes its own connection with it, and nothing else: no place stays taken.
#[tokio::test(start_paused = true)]
async fn a_panic_gives_back_what_its_request_held() {
    let all = Fixture::new();
    let open = || all.metrics.connections.with_label_values(&["edge"]).get();
    for path in ["/panics/at-once", "/panics/later"] {
        let mut client = all.connect();
        send(&mut client, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        if path.ends_with("later") {
            assert_eq!((all.in_flight.now(), open()), (1, 1));
            all.answer.notify_one();
        }
        assert_eq!(rest(&mut client).await, "", "{path}");
        assert_eq!((all.in_flight.now(), open()), (0, 0), "{path}");
    }
    let mut client = all.connect();
    send(&mut client, GOOD).await;
    assert_eq!(all.in_flight.now(), 1, "the thread serves on");
}

/// One request on a connection that may go on, and the head of its answer.
async fn ask(all: &Fixture, client: &mut DuplexStream) -> String {
    send(client, GOOD).await;
    all.answer.notify_one();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        heard.push(client.read_u8().await.expect("an answer"));
    }
    String::from_utf8(heard).expect("text")
}

fn is_last(head: &str) -> bool {
    head.to_ascii_lowercase().contains("connection: close")
}

#[tokio::test(start_paused = true)]
async fn a_connection_carries_so_many_requests() {
    let all = Fixture::new();
    let mut client = all.connect();
    for number in 1..=REQUESTS_MAX {
        let head = ask(&all, &mut client).await;
        assert_eq!(is_last(&head), number == REQUESTS_MAX, "{number}: {head}");
    }
    assert_eq!(rest(&mut client).await, "");
    let recycled = &all.metrics.connections_recycled;
    assert_eq!(recycled.with_label_values(&["edge", "requests"]).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_ends_with_an_answer_and_never_in_one() {
    let all = Fixture::new();
    let mut client = all.connect();
    assert!(!is_last(&ask(&all, &mut client).await));
    // It gets too old while it is answered, which takes its time.
    send(&mut client, GOOD).await;
    tokio::time::sleep(2 * MAX_AGE).await;
    all.answer.notify_one();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        heard.push(client.read_u8().await.expect("the answer, whole"));
    }
    assert!(!is_last(&String::from_utf8(heard).expect("text")));
    assert!(is_last(&ask(&all, &mut client).await), "the next answer is the last");
    assert_eq!(rest(&mut client).await, "");
}
