//! Everything changes again and again under load: routes, listeners, upstreams, policies. The
//! ordinary tests change it some dozens of times; `just soak-reload` a thousand times, and then
//! memory may not grow either.

use crate::harness::{Login, PEPPER, SECRET, until};
use crate::origin::{Origin, replica};
use crate::process::Process;
use crate::raw_client::RawClient;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const TOKEN: &str = "an admin token of thirty-two bytes or more";

/// How often everything changes.
fn reloads() -> u64 {
    std::env::var("SOAK_RELOADS").map_or(40, |number| number.parse().expect("a number"))
}

/// From so many reloads on, memory is looked at.
const MEASURED_FROM: u64 = 1_000;

/// By how much it may have grown between the middle and the end: one in twenty.
const GROWTH_MAX: u64 = 20;

/// The configuration number `n`. What plays keeps its route, its policy and its listener's socket.
fn yaml(n: u64, stream: SocketAddr, other: SocketAddr) -> String {
    let (limit, head_timeout) = (3 + n % 3, 10 + n / 10 % 7);
    let extra = match n % 3 {
        0 => String::new(),
        _ => format!("  - {{ name: extra{}, address: \"127.0.0.1:0\" }}\n", n % 4),
    };
    let policy = match n % 2 {
        0 => String::new(),
        _ => format!(
            "  p{}: {{ store: shared, pepper: \"another {PEPPER}\", limit: {{ default: 1 }} }}\n",
            n % 5
        ),
    };
    format!(
        r#"
listeners:
  - {{ name: edge, address: "127.0.0.1:0", head_timeout: {head_timeout}s }}
{extra}admin: {{ address: "127.0.0.1:0", token: "{TOKEN}" }}
drain: {{ delay: 0s }}
workers: 2
access_log: {{ to: off }}
stores: {{ shared: {{ url: "memory:" }} }}
sessions:
  viewers: {{ issuer: streamgate-auth, audience: streamgate, keys: [ {{ hs256: "{SECRET}" }} ] }}
concurrency:
  standard: {{ store: shared, pepper: "{PEPPER}", limit: {{ default: {limit} }} }}
{policy}upstreams:
  stream: {{ endpoints: ["{stream}"] }}
  u{}: {{ endpoints: ["{other}"], in_flight: {} }}
routes:
  - {{ name: open, match: {{ path: "/faults/{{*rest}}" }}, upstream: stream }}
  - {{ name: long, match: {{ path: "/long" }}, upstream: u{} }}
  - {{ name: r{}, match: {{ path: "/r{}/{{*rest}}" }}, upstream: stream }}
  - name: live
    match: {{ path: "/live/{{event}}/{{*file}}" }}
    filters: [ {{ session: viewers }}, {{ concurrency: standard }} ]
    upstream: stream
"#,
        n % 6,
        100 + n % 10,
        n % 6,
        n % 7,
        n % 7,
    )
}

/// Asks on one connection after the other, until it is over.
async fn ask(edge: SocketAddr, request: String, is_over: Arc<AtomicBool>, asked: Arc<AtomicU64>) {
    let mut raw = RawClient::open(edge).await;
    while !is_over.load(Ordering::Relaxed) {
        let answer = raw.ask(&request).await;
        assert!(answer.status == 200 || answer.status == 204, "{}", answer.head);
        asked.fetch_add(1, Ordering::Relaxed);
        if answer.field("connection").as_deref() == Some("close") {
            raw = RawClient::open(edge).await;
        }
    }
}

#[tokio::test]
async fn everything_changes_and_no_request_fails() {
    let (stream, origin) = (replica("a").await, Origin::listen().await);
    let gateway = Process::start(&yaml(0, stream, origin.address)).await;
    let file = gateway.directory.file("gateway.yaml");
    // Its upstream, its route and its listener's settings go while it is answered.
    let mut long = RawClient::open(gateway.edge).await;
    long.say("GET /long HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut behind = origin.accept().await;
    behind.request().await;
    behind.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(long.head().await.status, 200);

    let (is_over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let plain = "GET /faults/status/204 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    // Their slots are counted by the store in the gateway: all of them play from beginning to end.
    let playing = (0..3).map(|n| {
        let token = Login::of("ann", &format!("tv{n}")).token();
        let field = format!("Authorization: Bearer {token}\r\n");
        format!("GET /live/final/master.m3u8 HTTP/1.1\r\nHost: a\r\n{field}\r\n")
    });
    let requests: Vec<String> = playing.chain([plain]).collect();
    let clients: Vec<_> = requests
        .into_iter()
        .map(|request| {
            tokio::spawn(ask(gateway.edge, request, Arc::clone(&is_over), Arc::clone(&asked)))
        })
        .collect();
    let mut middle = 0;
    let all = reloads();
    for n in 1..=all {
        std::fs::write(&file, yaml(n, stream, origin.address)).unwrap();
        let before = asked.load(Ordering::Relaxed);
        let reload = format!(
            "POST /api/reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let answer = RawClient::open(gateway.admin).await.ask(reload).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        until("requests go on", || async { before < asked.load(Ordering::Relaxed) }).await;
        behind.say("1\r\n.\r\n").await;
        if n == all / 2 {
            middle = gateway.memory();
        }
    }
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no request failed");
    }
    let end = gateway.memory();
    println!(
        "{all} reloads, {} requests: {middle} bytes, {end} at the end",
        asked.load(Ordering::Relaxed)
    );
    if MEASURED_FROM <= all {
        assert!(end <= middle + middle / GROWTH_MAX, "{middle} bytes, {end} at the end");
    }
    behind.say("0\r\n\r\n").await;
    let body = long.bytes(6 * usize::try_from(all).unwrap() + 5).await;
    assert!(body.ends_with(b"0\r\n\r\n"), "the long answer has its end");
    let shown = gateway.admin("/metrics").await.body;
    let routes = shown.matches("streamgate_route_requests_total").count();
    assert!(routes < 100, "series of routes that are gone go, too");
}

/// How many connections are idle at once.
fn connections() -> usize {
    std::env::var("SOAK_CONNECTIONS").map_or(100, |number| number.parse().expect("a number"))
}

/// From so many connections on, memory is looked at.
const IDLE_MEASURED_FROM: usize = 5_000;

/// How often they all come and go.
const ROUNDS: usize = 6;

/// Opens connections, each of which has one answer and then waits.
async fn idle(edge: SocketAddr, number: usize) -> Vec<RawClient> {
    let mut all = Vec::with_capacity(number);
    for _ in 0..number {
        let mut raw = RawClient::open(edge).await;
        let answer = raw.ask("GET /faults/status/204 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(answer.status, 204);
        all.push(raw);
    }
    all
}

#[tokio::test]
async fn connections_come_and_go_in_steady_memory() {
    let stream = replica("a").await;
    let gateway = Process::start(&yaml(0, stream, stream)).await;
    let (number, before) = (connections(), gateway.memory());
    let open = "streamgate_connections{listener=\"edge\"}";
    let mut held = Vec::new();
    for _ in 0..ROUNDS {
        let all = idle(gateway.edge, number).await;
        assert_eq!(gateway.metric(open).await, number as f64);
        held.push(gateway.memory());
        drop(all);
        until("they are gone", || async { gateway.metric(open).await == 0.0 }).await;
    }
    let (first, last) = (held[1], held[ROUNDS - 1]);
    let each = last.saturating_sub(before) / number as u64;
    println!("{number} idle connections, {ROUNDS} times: {each} bytes each; {held:?}");
    if IDLE_MEASURED_FROM <= number {
        assert!(last <= first + first / GROWTH_MAX, "{held:?}");
    }
}
