//! Clients that are slow or silent: each bound on their time acts, is counted by its name, and
//! leaves those alone who are only idle.

use crate::access::Logged;
use crate::h2_client::{
    END_HEADERS, END_STREAM, HEADERS, Http2Client, Outcome, PREFACE, RawHttp2, SETTINGS, SOUND,
    WINDOW_UPDATE, block, frame, get, request, whole,
};
use crate::harness::{DEADLINE, Gateway};
use crate::origin::{Origin, proxying_yaml, replica};
use crate::process::Process;
use crate::raw_client::RawClient;
use std::net::SocketAddr;
use std::time::Duration;
use streamgate::yaml::Environment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, interval, timeout};

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";

/// An answer that no buffer holds, at the speed of the machine.
const LARGE: &str = "/faults/slow?bytes=60000000&chunk_bytes=65536&chunk_ms=1";

async fn logged(listener: &str, upstream: SocketAddr) -> Logged {
    let yaml = proxying_yaml(listener, &format!("endpoints: ['{upstream}']"));
    Logged::start_with(&yaml, &Environment::default())
}

async fn counted(gateway: &Gateway, bound: &str) {
    let labels = format!("{{bound=\"{bound}\",listener=\"edge\"}}");
    gateway.counts(&format!("streamgate_clients_timed_out_total{labels}"), 1.0).await;
}

/// A client whose system keeps little for it.
async fn narrow(edge: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect(edge).await.unwrap()
}

/// Reads `bytes` every so often, until the gateway hangs up; how long that took.
async fn read_slowly(stream: &mut TcpStream, bytes: usize, every: Duration) -> Duration {
    let (began, mut next) = (Instant::now(), interval(every));
    let mut some = vec![0; bytes];
    loop {
        next.tick().await;
        assert!(began.elapsed() < DEADLINE, "it is never cut");
        // What came before the end is read first.
        match timeout(DEADLINE, stream.read(&mut some)).await.expect("more, or the end") {
            Ok(0) | Err(_) => return began.elapsed(),
            Ok(_) => {}
        }
    }
}

#[tokio::test]
async fn who_takes_nothing_and_who_takes_too_little_is_cut() {
    for (listener, bytes, bound, why) in [
        (", write_timeout: 300ms, write_rate: 1", 0, "write_timeout", "took no bytes"),
        (", write_timeout: 300ms, write_rate: 1GiB", 50_000, "write_rate", "too slowly"),
    ] {
        let logged = logged(listener, replica("one").await).await;
        let mut stream = narrow(logged.gateway.edge).await;
        let head = format!("GET {LARGE} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        if bytes == 0 {
            counted(&logged.gateway, bound).await;
        } else {
            read_slowly(&mut stream, bytes, Duration::from_millis(10)).await;
            counted(&logged.gateway, bound).await;
        }
        let line = logged.lines(1).await.remove(0);
        assert!(line["fault"].as_str().unwrap().contains(why), "{line}");
        assert_eq!(line["status"], 200);
    }
}

#[tokio::test]
async fn who_is_slow_and_takes_enough_is_not_cut() {
    // Far slower than the answer comes, and waited for nearly all the time.
    let logged = logged(", write_timeout: 300ms, write_rate: 10KiB", replica("one").await).await;
    let mut stream = narrow(logged.gateway.edge).await;
    let head = format!("GET {LARGE} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut some, mut next) = (vec![0; 4 << 10], interval(Duration::from_millis(20)));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        next.tick().await;
        let read = timeout(DEADLINE, stream.read(&mut some)).await.expect("more comes").unwrap();
        assert!(0 < read, "cut after {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn an_answer_that_pauses_and_a_tunnel_are_nobodys_fault() {
    let origin = Origin::listen().await;
    let yaml = proxying_yaml(
        ", write_timeout: 50ms, write_rate: 1GiB",
        &format!("endpoints: ['{}']", origin.address),
    );
    let yaml = yaml.replace("max_body: 100MiB", "max_body: 100MiB, websocket: true");
    let logged = Logged::start_with(&yaml, &Environment::default());
    let edge = logged.gateway.edge;
    let mut events = RawClient::open(edge).await;
    events.say(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(events.head().await.status, 200);
    let mut tunnel = RawClient::open(edge).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    tunnel.say(format!("GET /a HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n")).await;
    let mut other = origin.accept().await;
    other.request().await;
    other.say(format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\n")).await;
    assert_eq!(tunnel.head().await.status, 101);
    let mut next = interval(Duration::from_millis(100));
    for _ in 0..8 {
        next.tick().await;
        upstream.say("2\r\n:\n\r\n").await;
        assert_eq!(events.bytes(7).await, b"2\r\n:\n\r\n");
        other.say("x").await;
        assert_eq!(tunnel.bytes(1).await, b"x");
    }
}

#[tokio::test]
async fn each_bound_is_counted_by_its_name() {
    let times = ", head_timeout: 200ms, idle_timeout: 200ms, body_timeout: 200ms";
    let post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx";
    for (bound, said) in [
        ("head_timeout", ""),
        ("head_timeout", "GET / HT"),
        ("idle_timeout", "GET /a HTTP/1.1\r\n\r\n"),
        ("body_timeout", post),
    ] {
        let origin = Origin::listen().await;
        let logged = logged(times, origin.address).await;
        let mut raw = RawClient::open(logged.gateway.edge).await;
        raw.say(said).await;
        raw.rest().await;
        counted(&logged.gateway, bound).await;
    }
    // A body that comes byte by byte never pauses, and is late all the same.
    let origin = Origin::listen().await;
    let logged = logged(", body_timeout: 300ms, body_rate: 1GiB", origin.address).await;
    let mut raw = RawClient::open(logged.gateway.edge).await;
    raw.say("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n").await;
    let mut next = interval(Duration::from_millis(50));
    for _ in 0..20 {
        next.tick().await;
        raw.say("x").await;
    }
    counted(&logged.gateway, "body_rate").await;
}

/// Asks for the large answer by HTTP/2.
fn ask_large(stream: u32) -> Vec<u8> {
    let others = SOUND.into_iter().filter(|(name, _)| *name != ":path");
    let fields: Vec<_> = others.chain([(":path", LARGE.as_bytes())]).collect();
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields))
}

#[tokio::test]
async fn so_it_is_over_http2() {
    let origin = Origin::listen().await;
    let times = ", http2: true, idle_timeout: 100ms, write_timeout: 300ms, write_rate: 1";
    let logged = logged(times, origin.address).await;
    let gateway = &logged.gateway;
    let mut client = Http2Client::open(gateway.edge).await;
    let (answer, _) = client.send(get("/a"), true).await;
    origin.answer_once(NO_CONTENT).await;
    assert_eq!(whole(answer).await.unwrap().status, 204);
    client.ended().await.expect("a gentle end");
    counted(gateway, "idle_timeout").await;
    let mut raw = RawHttp2::silent(gateway.edge).await;
    let no_room = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    raw.say([PREFACE, &no_room, &request(1, &SOUND)].concat()).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nanswered!").await;
    assert_eq!(raw.outcome(1).await, Outcome::Reset(2));
    counted(gateway, "write_timeout").await;
    // One byte of room now and then is no progress.
    let slow =
        self::logged(", http2: true, write_timeout: 300ms, write_rate: 1KiB", replica("one").await)
            .await;
    let mut raw = RawHttp2::silent(slow.gateway.edge).await;
    let ask = ask_large(1);
    raw.say([PREFACE, &no_room, &ask].concat()).await;
    let mut next = interval(Duration::from_millis(100));
    for _ in 0..30 {
        next.tick().await;
        raw.say(frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])).await;
    }
    counted(&slow.gateway, "write_rate").await;
}

#[tokio::test]
async fn slow_readers_over_http2_hold_no_memory() {
    let service = replica("one").await;
    let process =
        Process::start(&proxying_yaml(", http2: true", &format!("endpoints: ['{service}']"))).await;
    let mut warm = Http2Client::open(process.edge).await;
    assert_eq!(warm.get("/faults/status/204").await.status, 204);
    let before = process.memory();
    let no_room = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let mut all = Vec::new();
    for _ in 0..4 {
        let mut raw = RawHttp2::silent(process.edge).await;
        raw.say([PREFACE, &no_room].concat()).await;
        for number in 0..25 {
            raw.say(ask_large(2 * number + 1)).await;
        }
        for _ in 0..25 {
            raw.next(HEADERS).await;
        }
        all.push(raw);
    }
    // Each would send 60 MB at once; what is held for it has a bound: four
    // pieces on their way through, and the buffers of both sides.
    let mut looks = interval(Duration::from_millis(100));
    for _ in 0..10 {
        looks.tick().await;
        let grown = process.memory().saturating_sub(before);
        assert!(grown < 100 * (768 << 10), "{} KiB for each", grown / 100 / 1024);
    }
    assert_eq!(process.metric("streamgate_requests_in_flight").await, 100.0);
    assert_eq!(warm.get("/faults/status/204").await.status, 204, "others are served");
}
