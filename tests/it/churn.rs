//! Everything changes again and again under load: routes, listeners, upstreams, policies,
//! certificates. The ordinary tests change it a dozen times; `just soak-reload` a thousand
//! times, and then memory may not grow either.

use crate::audience::{Stage, TOKEN};
use crate::harness::until;
use crate::process::Process;
use crate::raw_client::RawClient;
use std::net::SocketAddr;

/// How often everything changes.
fn reloads() -> u64 {
    std::env::var("SOAK_RELOADS").map_or(12, |number| number.parse().expect("a number"))
}

/// How often the certificate changes meanwhile.
fn certificates() -> u64 {
    std::env::var("SOAK_CERTIFICATES").map_or(1, |number| number.parse().expect("a number"))
}

/// From so many reloads on, memory is looked at.
const MEASURED_FROM: u64 = 1_000;

/// By how much it may have grown between the middle and the end: one in twenty.
const GROWTH_MAX: u64 = 20;

#[tokio::test]
async fn everything_changes_and_no_request_fails() {
    let stage = Stage::build().await;
    let gateway = Process::start(&stage.yaml(0)).await;
    let file = gateway.directory.file("gateway.yaml");
    let audience = stage.gather(&gateway);
    let playing = stage.all_play(&gateway).await;
    let (mut middle, all) = (0, reloads());
    let reloading = async {
        for n in 1..=all {
            std::fs::write(&file, stage.yaml(n)).unwrap();
            let reload = format!(
                "POST /api/reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
                 Content-Length: 0\r\n\r\n"
            );
            let answer = RawClient::open(gateway.admin).await.ask(reload).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            audience.goes_on(&format!("reload {n}")).await;
            if n == all / 2 {
                middle = gateway.memory();
            }
        }
    };
    tokio::join!(reloading, stage.renew_again_and_again(&gateway, certificates()));
    let end = gateway.memory();
    assert_eq!(stage.leases(&gateway).await, playing, "no lease was lost");
    let answered = audience.goes_home().await;
    println!("{all} reloads, {answered}: {middle} bytes, {end} at the end");
    if MEASURED_FROM <= all {
        assert!(end <= middle + middle / GROWTH_MAX, "{middle} bytes, {end} at the end");
    }
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
    let stage = Stage::build().await;
    let gateway = Process::start(&stage.yaml(0)).await;
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
