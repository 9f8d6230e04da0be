//! Endpoints that break under way: who notices, what is asked in their place, and when they are
//! asked again.

use crate::harness::{Gateway, outcome, until};
use crate::origin::{Origin, answering, proxying_to, replica};
use reqwest::Method;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::time::Instant;

const NONSENSE: &str = "SSH-2.0-OpenSSH_9.6\r\n\r\n";

/// What the admin port shows of the endpoint at `address`.
async fn shown(gateway: &Gateway, address: SocketAddr) -> Value {
    let all: Value = gateway.admin("/api/upstreams").await.json().await.unwrap();
    let all = all[0]["endpoints"].as_array().unwrap().clone();
    all.into_iter().find(|endpoint| endpoint["address"] == address.to_string()).unwrap()
}

async fn statuses(gateway: &Gateway, method: Method, number: usize) -> Vec<u16> {
    let mut all = Vec::new();
    for _ in 0..number {
        all.push(outcome(gateway.request(method.clone(), "/faults/echo")).await.0);
    }
    all
}

fn ejections(reason: &str) -> String {
    format!("streamgate_upstream_ejections_total{{reason=\"{reason}\",upstream=\"all\"}}")
}

/// One that was away and is back.
const BACK: &str = "HTTP/1.1 200 OK\r\nX-Back: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

const RETRIES: &str = "streamgate_upstream_retries_total{upstream=\"all\"}";

#[tokio::test]
async fn an_endpoint_that_talks_nonsense_costs_no_request_that_may_be_repeated() {
    let (bad, a, b) = (answering(NONSENSE).await, replica("a").await, replica("b").await);
    let gateway = proxying_to(&format!("endpoints: ['{bad}', '{a}', '{b}']"));
    assert!(statuses(&gateway, Method::GET, 60).await.iter().all(|status| *status == 200));
    assert_eq!(gateway.metric(RETRIES).await, 5.0, "then it was ejected");
    gateway.counts(&ejections("failures"), 1.0).await;
    let shown = shown(&gateway, bad).await;
    assert_eq!((&shown["state"], &shown["well"]), (&"ejected".into(), &true.into()), "{shown}");
    assert_eq!(shown["why"], "too many failures in a row");
    assert!((0.0..=10.0).contains(&shown["back_in_seconds"].as_f64().unwrap()), "{shown}");
    let states = "streamgate_upstream_endpoints{state=\"ejected\",upstream=\"all\"}";
    assert_eq!(gateway.metric(states).await, 1.0);
}

/// What may have been done already is not done twice.
#[tokio::test]
async fn what_must_not_be_repeated_is_not() {
    let (bad, a) = (answering(NONSENSE).await, replica("a").await);
    let eject = "eject: { keep: 100% }, balance: round_robin";
    let gateway = proxying_to(&format!("endpoints: ['{bad}', '{a}'], {eject}"));
    let ask = |method: Method, body: &'static str| {
        outcome(gateway.request(method, "/faults/echo").body(body))
    };
    for (method, body, expected) in [
        (Method::GET, "", 200),
        (Method::PUT, "", 200),
        (Method::POST, "", 502),
        (Method::PUT, "a body", 502),
        (Method::GET, "a body", 502),
    ] {
        // One of two in turn is the bad one.
        let both = [ask(method.clone(), body).await.0, ask(method.clone(), body).await.0];
        let worst = both.into_iter().max().unwrap();
        assert_eq!(worst, expected, "{method} {body:?}: {both:?}");
    }
    assert_eq!(gateway.metric(&ejections("failures")).await, 0.0, "all are kept");
}

#[tokio::test]
async fn an_endpoint_that_hangs_costs_time_alone() {
    let (hangs, a) = (Origin::listen().await, replica("a").await);
    let fields = "timeouts: { read: 300ms }, eject: { failures: 2, for: 1h }";
    let gateway = proxying_to(&format!("endpoints: ['{}', '{a}'], {fields}", hangs.address));
    assert!(statuses(&gateway, Method::GET, 20).await.iter().all(|status| *status == 200));
    gateway.counts(&ejections("failures"), 1.0).await;
    assert_eq!(gateway.metric(RETRIES).await, 2.0);
}

#[tokio::test]
async fn an_ejected_endpoint_is_asked_again() {
    let (origin, a) = (Origin::listen().await, replica("a").await);
    let fields = "eject: { failures: 1, for: 100ms }";
    let gateway = proxying_to(&format!("endpoints: ['{}', '{a}'], {fields}", origin.address));
    // The first answer is nonsense; those after it are good.
    let address = origin.address;
    tokio::spawn(async move {
        origin.answer_once(NONSENSE).await;
        loop {
            origin.answer_once(BACK).await;
        }
    });
    until("it was ejected", || async {
        statuses(&gateway, Method::GET, 1).await;
        gateway.metric(&ejections("failures")).await == 1.0
    })
    .await;
    until("it is back", || async {
        let answer = gateway.get("/faults/echo").send().await.unwrap();
        answer.headers().contains_key("x-back")
    })
    .await;
    assert_eq!(shown(&gateway, address).await["state"], "well");
}

/// Answers that say that the server can't answer count, and are passed on.
#[tokio::test]
async fn not_all_are_ejected_when_all_fail() {
    let unavailable = "HTTP/1.1 503 Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let (one, other) = (answering(unavailable).await, answering(unavailable).await);
    let gateway = proxying_to(&format!("endpoints: ['{one}', '{other}'], balance: round_robin"));
    assert!(statuses(&gateway, Method::GET, 40).await.iter().all(|status| *status == 503));
    let states = [shown(&gateway, one).await, shown(&gateway, other).await];
    let ejected = states.iter().filter(|shown| shown["state"] == "ejected").count();
    assert_eq!(ejected, 1, "{states:?}");
    assert_eq!(gateway.metric(RETRIES).await, 0.0, "an answer is an answer");
}

#[tokio::test]
async fn retries_have_a_budget() {
    let (one, other) = (answering(NONSENSE).await, answering(NONSENSE).await);
    let fields = "eject: { keep: 100% }, retries: { budget: 1%, floor: 1, backoff: 1ms }";
    let gateway = proxying_to(&format!("endpoints: ['{one}', '{other}'], {fields}"));
    let began = Instant::now();
    assert!(statuses(&gateway, Method::GET, 200).await.iter().all(|status| *status == 502));
    let (seconds, retries) = (began.elapsed().as_secs_f64(), gateway.metric(RETRIES).await);
    // A hundred are saved up, two are earned, and time gives one a second.
    assert!((100.0..=103.0 + seconds).contains(&retries), "{retries} in {seconds} s");
    let refused = "streamgate_upstream_retries_refused_total{upstream=\"all\"}";
    assert_eq!(gateway.metric(refused).await, 200.0 - retries);
}

#[tokio::test]
async fn a_request_may_have_more_tries_or_none() {
    let (one, other) = (answering(NONSENSE).await, answering(NONSENSE).await);
    let a = replica("a").await;
    for (tries, expected) in [(1, 502), (2, 502), (3, 200)] {
        let fields = format!("eject: {{ keep: 100% }}, retries: {{ tries: {tries} }}");
        let endpoints = format!("'{one}', '{other}', '{a} priority=2'");
        let gateway = proxying_to(&format!("endpoints: [{endpoints}], {fields}"));
        assert_eq!(statuses(&gateway, Method::GET, 1).await, [expected], "{tries}");
        assert_eq!(gateway.metric(RETRIES).await, f64::from(tries - 1));
    }
}

#[tokio::test]
async fn all_tries_together_have_an_end_where_one_is_set() {
    let hang = [Origin::listen().await, Origin::listen().await];
    let [one, other] = [hang[0].address, hang[1].address];
    let timeouts = "timeouts: { read: 9s, total: 400ms }";
    let gateway = proxying_to(&format!("endpoints: ['{one}', '{other}'], {timeouts}"));
    let began = Instant::now();
    let reply = outcome(gateway.get("/faults/echo")).await;
    assert_eq!(reply, (504, "upstream_timeout".to_owned()));
    assert!(began.elapsed().as_millis() < 3_000, "{:?}", began.elapsed());
    // An answer that has begun takes as long as it takes.
    let gateway = proxying_to(&format!("endpoints: ['{}'], {timeouts}", replica("a").await));
    let long = "/faults/slow?bytes=10&chunk_bytes=1&chunk_ms=100";
    let began = Instant::now();
    let answer = gateway.get(long).send().await.unwrap();
    assert_eq!(answer.bytes().await.unwrap().len(), 10);
    assert!(400 < began.elapsed().as_millis(), "{:?}", began.elapsed());
}
