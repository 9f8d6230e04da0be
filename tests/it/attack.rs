//! Slow attackers of four kinds at once, and what other clients notice of them: nothing.

use crate::h2_client::{PING, RawHttp2, frame};
use crate::origin::{proxying_yaml, replica};
use crate::process::Process;
use crate::raw_client::RawClient;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

const GET: &str = "GET /faults/status/204 HTTP/1.1\r\nHost: a\r\n\r\n";

/// More than any buffer holds.
const LARGE: &str = "/faults/slow?bytes=60000000&chunk_bytes=65536&chunk_ms=1";

/// How often an attacker does the little that it does.
const EVERY: Duration = Duration::from_millis(500);

/// How many there are. The ordinary tests have few, and look only whether others are served;
/// `just attack` has two hundred and measures.
fn attackers() -> (usize, bool) {
    let wanted = std::env::var("ATTACKERS").ok().map(|number| number.parse().expect("a number"));
    (wanted.unwrap_or(40), wanted.is_some())
}

/// A head that never ends.
async fn slow_head(edge: SocketAddr) {
    let mut raw = RawClient::open(edge).await;
    raw.say("GET / HTTP/1.1\r\nHost: a\r\n").await;
    let mut next = interval(EVERY);
    while !raw.has_hung_up() {
        next.tick().await;
        raw.say("X: y\r\n").await;
    }
}

/// A body that comes byte by byte.
async fn slow_body(edge: SocketAddr) {
    let mut raw = RawClient::open(edge).await;
    raw.say("POST /faults/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await;
    let mut next = interval(EVERY);
    while !raw.has_hung_up() {
        next.tick().await;
        raw.say("x").await;
    }
}

/// A large answer that is taken byte by byte.
async fn slow_reader(edge: SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stream = socket.connect(edge).await.unwrap();
    let head = format!("GET {LARGE} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut next = interval(EVERY);
    while stream.read_u8().await.is_ok() {
        next.tick().await;
    }
}

/// A connection of HTTP/2 on which nothing is asked.
async fn idle_http2(edge: SocketAddr) {
    let mut raw = RawHttp2::open(edge).await;
    let mut next = interval(EVERY);
    loop {
        next.tick().await;
        raw.say(frame(PING, 0, 0, &[7; 8])).await;
    }
}

/// How long each of so many requests takes, on four connections that are kept.
async fn ask(edge: SocketAddr, number: usize) -> Vec<Duration> {
    let mut all = JoinSet::new();
    for _ in 0..4 {
        all.spawn(async move {
            let (mut raw, mut took) = (RawClient::open(edge).await, Vec::new());
            for _ in 0..number / 4 {
                let began = Instant::now();
                let answer = raw.ask(GET).await;
                assert_eq!(answer.status, 204, "{}", answer.head);
                took.push(began.elapsed());
                if answer.field("connection").as_deref() == Some("close") {
                    raw = RawClient::open(edge).await;
                }
            }
            took
        });
    }
    all.join_all().await.concat()
}

/// What all but one in a hundred took less than.
fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_attackers_do_not_slow_others_down() {
    let (attackers, is_measured) = attackers();
    let upstream = format!("endpoints: ['{}']", replica("one").await);
    let process = Process::start(&proxying_yaml(", http2: true", &upstream)).await;
    let (edge, number) = (process.edge, if is_measured { 20_000 } else { 400 });
    ask(edge, number / 10).await;
    let before = p99(ask(edge, number).await);
    let mut attack = JoinSet::new();
    for n in 0..attackers {
        match n % 4 {
            0 => attack.spawn(slow_head(edge)),
            1 => attack.spawn(slow_body(edge)),
            2 => attack.spawn(slow_reader(edge)),
            _ => attack.spawn(idle_http2(edge)),
        };
    }
    let open = "streamgate_connections{listener=\"edge\"}";
    crate::harness::until("all of them are there", || async {
        attackers as f64 <= process.metric(open).await
    })
    .await;
    let during = p99(ask(edge, number).await);
    let bound = (2 * before).max(before + Duration::from_millis(10));
    println!("p99 of {number} requests: {before:?} alone, {during:?} beside {attackers} attackers");
    assert!(!is_measured || during <= bound, "{during:?} beside them, {before:?} without");
    // They hold their connections and nothing else: whoever comes is served.
    attack.abort_all();
    while attack.join_next().await.is_some() {}
    assert_eq!(RawClient::open(edge).await.ask(GET).await.status, 204);
}
