//! Clients of every kind at once, for tests that change the gateway beneath them: HTTP/1.1 and
//! HTTP/2, plain and by TLS, short answers and long ones, WebSockets, streams that hold a lease.
//! What was sent is answered whole, or the test fails.

use crate::authority::{Authority, Issued, connect, put, secure_shared};
use crate::harness::{DEADLINE, Login, PEPPER, Redis, SECRET, until};
use crate::origin::replica;
use crate::process::{Directory, Process};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt, stream};
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

pub(crate) const TOKEN: &str = "an admin token of thirty-two bytes or more";

/// The host that all of them ask for.
const HOST: &str = "tv.example";

/// How often a client asks: it is constant load, and leaves the machine to others, too.
const EVERY: Duration = Duration::from_millis(3);

/// How often a line of a long answer comes.
const LINE_EVERY: Duration = Duration::from_millis(10);

/// How many lines a long answer has that is not to last to the end.
const LINES: u64 = 20;

/// What a connection over HTTP/2 has under way at once.
const AT_ONCE: usize = 4;

/// How many streams play, each on a connection of another kind.
const PLAYING: u64 = 4;

/// What stands behind a gateway with an audience, and who signs its certificate.
pub(crate) struct Stage {
    redis: Redis,
    stream: SocketAddr,
    long: SocketAddr,
    authority: Authority,
    directory: Directory,
    is_over: Arc<AtomicBool>,
}

impl Stage {
    pub(crate) async fn build() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (authority, directory) = (Authority::new("Test Root"), Directory::new());
        let (redis, stream) = (Redis::start().await, replica("a").await);
        let long = long_answers(Arc::clone(&is_over)).await;
        let stage = Stage { redis, stream, long, authority, directory, is_over };
        stage.renew();
        stage
    }

    /// The configuration number `n`. What plays keeps its route, its policy and its listeners'
    /// sockets; all else changes, and now and then what the listeners are set to.
    pub(crate) fn yaml(&self, n: u64) -> String {
        let (limit, head_timeout) = (PLAYING + n % 3, 10 + n / 10 % 7);
        let extra = match n % 3 {
            0 => String::new(),
            _ => format!("  - {{ name: extra{}, address: \"127.0.0.1:0\" }}\n", n % 4),
        };
        let policy = match n % 2 {
            0 => String::new(),
            _ => {
                let pepper = format!("pepper: \"another {PEPPER}\"");
                format!("  p{}: {{ store: shared, {pepper}, limit: {{ default: 1 }} }}\n", n % 5)
            }
        };
        let (r, u, in_flight) = (n % 7, n % 6, 100 + n % 10);
        let (stream, long, redis) = (self.stream, self.long, self.redis.url());
        let pem = self.directory.file("tv.pem");
        let pem = pem.display();
        format!(
            r#"
listeners:
  - {{ name: edge, address: "127.0.0.1:0", head_timeout: {head_timeout}s, http2: true }}
  - name: secure
    address: "127.0.0.1:0"
    head_timeout: {head_timeout}s
    tls: {{ certificates: [ {{ cert: {pem}, key: {pem} }} ] }}
{extra}admin: {{ address: "127.0.0.1:0", token: "{TOKEN}" }}
drain: {{ delay: 0s, timeout: 1h }}
workers: 2
access_log: {{ to: off }}
# Patient: tests run on busy machines.
stores: {{ shared: {{ url: "{redis}", timeouts: {{ connect: 5s, command: 5s }} }} }}
sessions:
  viewers: {{ issuer: streamgate-auth, audience: streamgate, keys: [ {{ hs256: "{SECRET}" }} ] }}
concurrency:
  standard: {{ store: shared, pepper: "{PEPPER}", limit: {{ default: {limit} }} }}
{policy}upstreams:
  stream: {{ endpoints: ["{stream}"] }}
  u{u}: {{ endpoints: ["{long}"], in_flight: {in_flight} }}
routes:
  - {{ name: open, match: {{ path: "/faults/{{*rest}}" }}, upstream: stream }}
  - {{ name: s{r}, match: {{ path: "/faults/websocket" }}, upstream: stream, websocket: true }}
  - {{ name: long, match: {{ path: "/long" }}, upstream: u{u} }}
  - {{ name: r{r}, match: {{ path: "/r{r}/{{*rest}}" }}, upstream: stream }}
  - name: streams
    match: {{ path: "/streams/{{*rest}}" }}
    filters: [ {{ session: viewers }} ]
    service: {{ streams: standard }}
  - name: live
    match: {{ path: "/live/{{event}}/{{*file}}" }}
    filters: [ {{ session: viewers }}, {{ concurrency: standard }} ]
    upstream: stream
"#
        )
    }

    /// Puts another certificate and key in the place of those that are shown: one file, so that
    /// nobody finds one half of it changed.
    pub(crate) fn renew(&self) -> Issued {
        let issued = self.authority.issue(&[HOST]);
        put(&self.directory, "tv.pem", &format!("{}{}", issued.cert, issued.key));
        issued
    }

    /// Puts other certificates there so many times, and sees each of them shown.
    pub(crate) async fn renew_again_and_again(&self, process: &Process, times: u64) {
        for number in 1..=times {
            let renewed = self.renew().der();
            let is_shown = || async {
                let stream = connect(process.listeners[1], self.client(b"http/1.1"), HOST).await;
                let stream = stream.expect("a handshake never fails");
                stream.get_ref().1.peer_certificates().unwrap()[0] == renewed
            };
            until(&format!("certificate {number} is shown"), is_shown).await;
        }
    }

    fn client(&self, protocol: &[u8]) -> ClientConfig {
        let mut config = self.authority.client(&[&TLS12, &TLS13]);
        config.alpn_protocols = vec![protocol.to_vec()];
        config
    }

    /// One client of each kind, all at once.
    pub(crate) fn gather(&self, process: &Process) -> Audience {
        let [plain, secure] = process.listeners[..2] else { panic!("two listeners") };
        let door = |what, address, protocol: Option<&[u8]>, is_http2| {
            let tls = protocol.map(|protocol| Arc::new(self.client(protocol)));
            Door { what, address, tls, is_http2 }
        };
        let doors = [
            door("HTTP/1.1", plain, None, false),
            door("HTTP/1.1 by TLS", secure, Some(b"http/1.1"), false),
            door("HTTP/2", plain, None, true),
            door("HTTP/2 by TLS", secure, Some(b"h2"), true),
        ];
        let mut all = Audience { clients: Vec::new(), is_over: Arc::clone(&self.is_over) };
        for (number, door) in doors.into_iter().enumerate() {
            all.join("short answers", &door, |visit| {
                visit.short_answers("/faults/status/204", None)
            });
            let login = format!("Bearer {}", Login::of("ann", &format!("tv{number}")).token());
            let live = "/live/final/master.m3u8";
            all.join("a stream", &door, |visit| visit.short_answers(live, Some(login)));
            all.join("long answers", &door, |visit| visit.long_answers(Some(LINES)));
            all.join("one long answer", &door, |visit| visit.long_answers(None));
            if !door.is_http2 {
                all.join("new connections", &door, Visit::new_connections);
                all.join("WebSockets", &door, |visit| visit.websockets(Some(LINES)));
                all.join("one WebSocket", &door, |visit| visit.websockets(None));
            }
        }
        all
    }

    /// What plays, each with its beginning: a lease that was lost has another.
    pub(crate) async fn leases(&self, process: &Process) -> BTreeMap<String, String> {
        let login = Login::of("ann", "tv0").token();
        let ask = format!(
            "GET /streams HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {login}\r\n\r\n"
        );
        let answer = crate::raw_client::RawClient::open(process.edge).await.ask(ask).await;
        let shown: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let streams = shown["streams"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
        let text = |stream: &Value, key: &str| stream[key].as_str().unwrap().to_owned();
        streams.iter().map(|one| (text(one, "code"), text(one, "started_at"))).collect()
    }

    /// Waits until all play, and returns what [`Stage::leases`] does.
    pub(crate) async fn all_play(&self, process: &Process) -> BTreeMap<String, String> {
        let all = || async { self.leases(process).await.len() as u64 == PLAYING };
        until("all streams play", all).await;
        self.leases(process).await
    }
}

/// An upstream whose answers have a line now and then, each with its number, and `end` at the end:
/// after so many as are asked for, or when all is over.
async fn long_answers(is_over: Arc<AtomicBool>) -> SocketAddr {
    use axum::extract::Query;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let answer = move |Query(query): Query<HashMap<String, u64>>| async move {
        let (all, is_over) = (query.get("lines").copied(), Arc::clone(&is_over));
        let lines = stream::unfold(Some((0, paced(LINE_EVERY))), move |state| {
            let is_over = Arc::clone(&is_over);
            async move {
                let (number, mut pace) = state?;
                pace.tick().await;
                let is_last = all.map_or(is_over.load(Ordering::Relaxed), |all| all <= number);
                let line = if is_last { "end\n".to_owned() } else { format!("{number}\n") };
                Some((Ok::<_, Infallible>(line), (!is_last).then_some((number + 1, pace))))
            }
        });
        axum::body::Body::from_stream(lines)
    };
    let router = axum::Router::new().route("/long", axum::routing::get(answer));
    tokio::spawn(async move { axum::serve(socket, router).await });
    address
}

fn paced(every: Duration) -> Interval {
    let mut pace = interval(every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// All clients, while they ask.
pub(crate) struct Audience {
    clients: Vec<Attending>,
    is_over: Arc<AtomicBool>,
}

struct Attending {
    name: String,
    /// How often it was answered, or got a piece of an answer.
    answered: Arc<AtomicU64>,
    /// How often a connection was closed under a request that it had not taken.
    again: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Audience {
    fn join<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        what: &str,
        door: &Door,
        attend: impl FnOnce(Visit) -> F,
    ) {
        let (answered, again) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let visit = Visit {
            door: door.clone(),
            answered: Arc::clone(&answered),
            again: Arc::clone(&again),
            is_over: Arc::clone(&self.is_over),
        };
        let name = format!("{what}, {}", door.what);
        let task = tokio::spawn(attend(visit));
        self.clients.push(Attending { name, answered, again, task });
    }

    /// Waits until each of them was answered again.
    pub(crate) async fn goes_on(&self, after: &str) {
        let counts = self.clients.iter().map(|client| client.answered.load(Ordering::Relaxed));
        for (client, before) in self.clients.iter().zip(counts.collect::<Vec<_>>()) {
            until(&format!("{} after {after}", client.name), || async {
                assert!(!client.task.is_finished(), "{} has failed: {after}", client.name);
                before < client.answered.load(Ordering::Relaxed)
            })
            .await;
        }
    }

    /// Ends it: each client gets the end of what it has begun. For people: what they were answered.
    pub(crate) async fn goes_home(self) -> String {
        self.is_over.store(true, Ordering::Relaxed);
        let (mut answered, mut again) = (0, 0);
        for client in self.clients {
            client.task.await.unwrap_or_else(|error| panic!("{}: {error}", client.name));
            answered += client.answered.load(Ordering::Relaxed);
            again += client.again.load(Ordering::Relaxed);
        }
        format!("{answered} answers and pieces of them, {again} sent again untaken")
    }
}

/// Where a client comes in, and what it speaks.
#[derive(Clone)]
struct Door {
    what: &'static str,
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    is_http2: bool,
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Door {
    async fn connect(&self) -> Box<dyn Io> {
        let socket = TcpStream::connect(self.address).await.expect("it listens all the time");
        socket.set_nodelay(true).unwrap();
        match &self.tls {
            None => Box::new(socket),
            Some(config) => {
                let stream = secure_shared(socket, config, HOST).await;
                Box::new(stream.expect("a handshake never fails"))
            }
        }
    }

    async fn enter(&self) -> Asker {
        let io = TokioIo::new(self.connect().await);
        if self.is_http2 {
            let (asker, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            return Asker::Http2(asker);
        }
        let (asker, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Asker::Http1(asker)
    }
}

type Empties = Empty<Bytes>;

/// A connection on which something can be asked.
enum Asker {
    Http1(http1::SendRequest<Empties>),
    Http2(http2::SendRequest<Empties>),
}

impl Asker {
    /// What was answered; `None`: the connection was told to end before it took the request.
    async fn ask(&mut self, request: Request<Empties>) -> Option<Response<Incoming>> {
        let answer = match self {
            Asker::Http1(asker) => {
                asker.ready().await.ok()?;
                timeout(DEADLINE, asker.send_request(request)).await
            }
            Asker::Http2(asker) => {
                let mut asker = asker.clone();
                asker.ready().await.ok()?;
                timeout(DEADLINE, asker.send_request(request)).await
            }
        };
        match answer.expect("an answer in time") {
            Ok(answer) => Some(answer),
            Err(error) if is_untaken(&error) => None,
            Err(error) => panic!("a request was lost: {error:?}"),
        }
    }
}

/// Whether the request may be sent again, as nobody has looked at it (RFC 9113 §8.7).
fn is_untaken(error: &hyper::Error) -> bool {
    let told = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    let is_goodbye = |told: &h2::Error| {
        let is_gentle = told.is_go_away() && told.reason() == Some(h2::Reason::NO_ERROR);
        told.is_remote() && (is_gentle || told.reason() == Some(h2::Reason::REFUSED_STREAM))
    };
    error.is_canceled() || told.is_some_and(is_goodbye)
}

/// One client in its time.
struct Visit {
    door: Door,
    answered: Arc<AtomicU64>,
    again: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Visit {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    fn request(&self, path: &str, login: Option<&str>) -> Request<Empties> {
        let scheme = if self.door.tls.is_some() { "https" } else { "http" };
        let uri = match self.door.is_http2 {
            true => format!("{scheme}://{HOST}{path}"),
            false => path.to_owned(),
        };
        let mut request = Request::get(uri).body(Empty::new()).unwrap();
        if !self.door.is_http2 {
            request.headers_mut().insert(header::HOST, HeaderValue::from_static(HOST));
        }
        if let Some(login) = login {
            request.headers_mut().insert(header::AUTHORIZATION, login.parse().unwrap());
        }
        request
    }

    /// Asks on one connection as long as it takes requests, then on another.
    async fn short_answers(self, path: &'static str, login: Option<String>) {
        let (mut asker, mut pace) = (self.door.enter().await, paced(EVERY));
        while !self.is_over() {
            pace.tick().await;
            let request = || self.request(path, login.as_deref());
            let answers = match &mut asker {
                Asker::Http1(_) => vec![asker.ask(request()).await],
                Asker::Http2(one) => {
                    let all = (0..AT_ONCE).map(|_| {
                        let mut asker = Asker::Http2(one.clone());
                        let request = request();
                        async move { asker.ask(request).await }
                    });
                    join_all(all).await
                }
            };
            let mut is_closed = false;
            for answer in answers {
                match answer {
                    Some(answer) => self.whole(answer).await,
                    None => is_closed = true,
                }
            }
            if is_closed {
                self.again.fetch_add(1, Ordering::Relaxed);
                asker = self.door.enter().await;
            }
        }
    }

    async fn whole(&self, answer: Response<Incoming>) {
        let status = answer.status();
        let body = timeout(DEADLINE, answer.into_body().collect()).await.expect("an end in time");
        let body = body.expect("an answer that has begun is never cut").to_bytes();
        assert!(status == 204 && body.is_empty() || status == 200 && !body.is_empty(), "{status}");
        self.count();
    }

    /// A connection, and with TLS a handshake, for each request.
    async fn new_connections(self) {
        let mut pace = paced(EVERY * 10);
        while !self.is_over() {
            pace.tick().await;
            let mut asker = self.door.enter().await;
            let answer = asker.ask(self.request("/faults/status/204", None)).await;
            self.whole(answer.expect("a new connection takes its first request")).await;
        }
    }

    /// Answers with so many lines, one after the other; or a single one, to the end.
    async fn long_answers(self, lines: Option<u64>) {
        let path = lines.map_or("/long".to_owned(), |lines| format!("/long?lines={lines}"));
        let mut asker = self.door.enter().await;
        loop {
            let Some(answer) = asker.ask(self.request(&path, None)).await else {
                self.again.fetch_add(1, Ordering::Relaxed);
                asker = self.door.enter().await;
                continue;
            };
            assert_eq!(answer.status(), 200);
            let came = self.lines(answer.into_body()).await;
            if lines.is_none() {
                return;
            }
            assert_eq!(Some(came), lines);
            if self.is_over() {
                return;
            }
        }
    }

    /// Reads lines with their numbers to the end; how many they were.
    async fn lines(&self, mut body: Incoming) -> u64 {
        let (mut text, mut next, mut is_ended) = (String::new(), 0, false);
        while let Some(frame) = timeout(DEADLINE, body.frame()).await.expect("more in time") {
            let frame = frame.expect("an answer that has begun is never cut");
            let Ok(data) = frame.into_data() else { continue };
            text.push_str(std::str::from_utf8(&data).unwrap());
            while let Some(at) = text.find('\n') {
                let line: String = text.drain(..=at).collect();
                assert!(!is_ended, "nothing follows the end");
                match line == "end\n" {
                    true => is_ended = true,
                    false => {
                        assert_eq!(line, format!("{next}\n"), "none is missing");
                        next += 1;
                    }
                }
                self.count();
            }
        }
        assert!(is_ended && text.is_empty(), "cut after {next} lines");
        next
    }

    /// WebSockets with so many messages, one after the other; or a single one, to the end.
    async fn websockets(self, messages: Option<u64>) {
        loop {
            let address = format!("ws://{HOST}/faults/websocket");
            let opened = client_async(address, self.door.connect().await);
            let opened = timeout(DEADLINE, opened).await.expect("an answer in time");
            let (mut socket, _) = opened.expect("a WebSocket is taken");
            let (mut pace, mut number) = (paced(LINE_EVERY), 0);
            while messages.map_or(!self.is_over(), |all| number < all) {
                pace.tick().await;
                let said = Message::text(number.to_string());
                socket.send(said.clone()).await.expect("a WebSocket is never cut");
                let heard = timeout(DEADLINE, socket.next()).await.expect("an echo in time");
                assert_eq!(heard.expect("it is open").expect("it is never cut"), said);
                self.count();
                number += 1;
            }
            socket.close(None).await.expect("a WebSocket is never cut");
            while let Some(message) = timeout(DEADLINE, socket.next()).await.expect("an end") {
                assert!(message.expect("a gentle end").is_close());
            }
            if self.is_over() {
                return;
            }
        }
    }
}
