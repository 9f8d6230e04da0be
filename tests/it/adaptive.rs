//! The limit that is learned: an upstream whose capacity drops gets fewer requests, and those who
//! play are the last that it is not asked for.

use crate::harness::{Gateway, Login, STANDARD, environment, until};
use crate::origin::{Origin, proxying_to};
use crate::raw_client::RawClient;
use futures_util::future::join_all;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use streamgate::yaml::Environment;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

const LIMIT: &str = "streamgate_upstream_in_flight_limit{upstream=\"all\"}";

/// A server that answers so many at once, each after 50 ms; the others wait for it.
async fn server(at_once: usize) -> (std::net::SocketAddr, Arc<Semaphore>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let places = Arc::new(Semaphore::new(at_once));
    let all = Arc::clone(&places);
    let app = axum::Router::new().fallback(move || {
        let places = Arc::clone(&all);
        async move {
            let _place = places.acquire_owned().await.unwrap();
            passes(50).await;
        }
    });
    tokio::spawn(async move { axum::serve(socket, app).await });
    (address, places)
}

/// So many milliseconds, which is what a server needs, or a player waits.
async fn passes(ms: u64) {
    let mut tick = tokio::time::interval(Duration::from_millis(ms));
    tick.tick().await;
    tick.tick().await;
}

/// Asks with so many clients until `is_over`; returns how many answers there were, and how many of
/// them were refusals.
async fn load<F: Future<Output = bool>>(
    gateway: &Gateway,
    clients: usize,
    is_over: impl FnMut() -> F,
) -> (u64, u64) {
    let (answers, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let client = || async {
        loop {
            let answer = gateway.get("/a").send().await.unwrap();
            answers.fetch_add(1, Ordering::Relaxed);
            if answer.status() == 503 {
                let after = answer.headers()["retry-after"].to_str().unwrap().to_owned();
                assert!((1..=3).contains(&after.parse::<u64>().unwrap()), "{after}");
                let body: Value = answer.json().await.unwrap();
                assert_eq!(body["code"], "overloaded");
                refused.fetch_add(1, Ordering::Relaxed);
                // A player waits.
                passes(50).await;
            }
        }
    };
    tokio::select! {
        _ = join_all((0..clients).map(|_| client())) => unreachable!("clients go on"),
        () = until("the limit is found", is_over) => {}
    }
    (answers.into_inner(), refused.into_inner())
}

#[tokio::test]
async fn an_upstream_whose_capacity_drops_gets_fewer_requests() {
    let (address, places) = server(32).await;
    let bounds = "in_flight: { max: 32, adaptive: { min: 4, tolerance: 200% } }";
    let gateway = proxying_to(&format!("endpoints: ['{address}'], {bounds}"));
    assert_eq!(gateway.metric(LIMIT).await, 32.0, "it begins with the most");
    // A few at a time tell how long an answer takes.
    let began = tokio::time::Instant::now();
    let (_, refused) =
        load(&gateway, 4, || async { Duration::from_secs(1) < began.elapsed() }).await;
    assert_eq!((refused, gateway.metric(LIMIT).await), (0, 32.0));
    places.forget_permits(30);
    let (answers, refused) =
        load(&gateway, 24, || async { gateway.metric(LIMIT).await < 16.0 }).await;
    assert!(0 < answers);
    let (_, more) = load(&gateway, 24, || async {
        let reached = "streamgate_overloaded_total{reason=\"upstream_in_flight\",route=\"all\"}";
        0.0 < gateway.metric(reached).await
    })
    .await;
    assert!(0 < refused + more);
    places.add_permits(30);
    let low = gateway.metric(LIMIT).await;
    load(&gateway, 24, || async { low * 2.0 <= gateway.metric(LIMIT).await }).await;
}

#[tokio::test]
async fn where_streams_play_starts_are_refused_first_and_media_last() {
    let origin = Origin::listen().await;
    let bounds = "endpoints: [\"${STREAM_ADDR}\"], in_flight: 10";
    let yaml = STANDARD.replace("endpoints: [\"${STREAM_ADDR}\"]", bounds);
    let environment: Environment = environment(None).await;
    let environment = environment.with("STREAM_ADDR", origin.address.to_string());
    let gateway = Gateway::start(&yaml, &environment);
    let request = |login: &Login, path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", login.cookie())
    };
    let ann = Login::of("ann", "ann");
    let mut held = Vec::new();
    let mut playlist = RawClient::open(gateway.edge).await;
    playlist.say(request(&ann, "/live/final/master.m3u8")).await;
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    origin.answer_once(ok).await;
    assert_eq!(playlist.answer().await.status, 200);
    // Of ten places eight are for everybody, the ninth for others, the tenth for those who play.
    for (what, places) in [("start", 8), ("other", 9), ("media", 10)] {
        while held.len() < places {
            let mut raw = RawClient::open(gateway.edge).await;
            raw.say(request(&ann, "/live/final/1.ts")).await;
            let mut upstream = origin.accept().await;
            upstream.request().await;
            held.push((raw, upstream));
        }
        let login = Login::of(what, what);
        let path = match what {
            "start" => "/live/final/master.m3u8",
            "other" => "/faults/a",
            _ => "/live/final/2.ts",
        };
        let login = if what == "media" { &ann } else { &login };
        let answer = RawClient::open(gateway.edge).await.ask(request(login, path)).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"), "{what}");
    }
    let leases = "streamgate_stream_leases{policy=\"standard\"}";
    gateway.counts(leases, 1.0).await;
}
