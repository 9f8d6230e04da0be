//! Upstreams that are let alone: when their breaker opens and closes, what clients get meanwhile,
//! and how many requests an endpoint may have at once.

use crate::harness::{Gateway, until};
use crate::origin::{Origin, proxying_to, proxying_yaml, replica};
use crate::raw_client::{Answer, RawClient};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use streamgate::yaml::Environment;

/// Of the admin port.
const TOKEN: &str = "6c0d7b4be2a94e5f8f3d1a7e9b20c4d8";

const CODES: &str = "streamgate_upstream_requests_total";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

async fn ask(gateway: &Gateway, path: &str) -> Answer {
    RawClient::open(gateway.edge).await.ask(get(path)).await
}

async fn shown(gateway: &Gateway) -> Value {
    let all: Value = gateway.admin("/api/upstreams").await.json().await.unwrap();
    all[0].clone()
}

/// The answer of an open breaker, which says when to come back: so many seconds or two more.
fn is_let_alone(answer: &Answer, seconds: u64) {
    let said = (answer.status, answer.code());
    assert_eq!(said, (503, "upstream_unavailable".to_owned()), "{}", answer.head);
    let after: u64 = answer.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=seconds + 2).contains(&after), "{}", answer.head);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["retry_after"], after, "{body}");
}

async fn states(gateway: &Gateway) -> [f64; 3] {
    let text = gateway.admin("/metrics").await.text().await.unwrap();
    ["closed", "open", "half_open"].map(|state| {
        let series =
            format!("streamgate_upstream_breaker_state{{state=\"{state}\",upstream=\"all\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.map_or(f64::NAN, |value| value.parse().unwrap())
    })
}

fn opened(reason: &str) -> String {
    format!("streamgate_upstream_breaker_opened_total{{reason=\"{reason}\",upstream=\"all\"}}")
}

#[tokio::test]
async fn an_upstream_that_fails_is_let_alone_until_it_answers() {
    let fields = "breaker: { requests: 10, for: 300ms, probes: 2 }, eject: { keep: 100% }";
    let gateway = proxying_to(&format!("endpoints: ['{}'], {fields}", replica("a").await));
    assert_eq!(states(&gateway).await, [1.0, 0.0, 0.0]);
    for _ in 0..10 {
        let answer = ask(&gateway, "/faults/status/503").await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.code(), "", "it is the upstream's own");
    }
    is_let_alone(&ask(&gateway, "/faults/status/200").await, 1);
    gateway.counts(&opened("ratio"), 1.0).await;
    assert_eq!(gateway.metric(&format!("{CODES}{{code=\"503\",upstream=\"all\"}}")).await, 10.0);
    let denials = "streamgate_denials_total{code=\"upstream_unavailable\",route=\"all\"}";
    gateway.counts(denials, 1.0).await;
    // One that is let through fails, too.
    until("it is asked again", || async {
        ask(&gateway, "/faults/status/503").await.code().is_empty()
    })
    .await;
    is_let_alone(&ask(&gateway, "/faults/status/200").await, 1);
    gateway.counts(&opened("probe"), 1.0).await;
    // Two that succeed close it.
    until("it is asked again", || async {
        ask(&gateway, "/faults/status/200").await.status == 200
    })
    .await;
    for _ in 0..5 {
        assert_eq!(ask(&gateway, "/faults/status/200").await.status, 200);
    }
    assert_eq!(states(&gateway).await, [1.0, 0.0, 0.0]);
    assert_eq!(shown(&gateway).await["breaker"]["state"], "closed");
}

#[tokio::test]
async fn without_an_endpoint_that_is_well_nobody_waits_in_vain() {
    let address = replica("a").await;
    let health = "health: { path: /healthz, interval: 20ms, timeout: 5s, threshold: 1 }";
    let fields = format!("endpoints: ['{address}'], {health}, breaker: {{ for: 1h }}");
    let gateway = proxying_to(&fields);
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    client.put(format!("http://{address}/faults/health/503")).send().await.unwrap();
    until("it is unwell", || async {
        shown(&gateway).await["endpoints"][0]["well"] == json!(false)
    })
    .await;
    is_let_alone(&ask(&gateway, "/faults/status/200").await, 3_600);
    gateway.counts(&opened("endpoints"), 1.0).await;
    assert_eq!(states(&gateway).await, [0.0, 1.0, 0.0]);
    let breaker = shown(&gateway).await["breaker"].clone();
    assert_eq!(
        (&breaker["state"], &breaker["why"]),
        (&json!("open"), &json!("all endpoints are unwell or ejected"),)
    );
    let left = breaker["asked_again_in_seconds"].as_f64().unwrap();
    assert!((3_500.0..=3_600.0).contains(&left), "{breaker}");
    // Without a breaker it is asked: what says that it is unwell may be what is broken.
    let other = proxying_to(&format!("endpoints: ['{address}'], {health}"));
    until("it is unwell", || async { shown(&other).await["endpoints"][0]["well"] == json!(false) })
        .await;
    assert_eq!(ask(&other, "/faults/status/200").await.status, 200);
    assert_eq!(shown(&other).await["breaker"], Value::Null);
}

#[tokio::test]
async fn an_endpoint_has_so_many_requests_at_once_and_then_others_are_asked() {
    let (one, other) = (Origin::listen().await, Origin::listen().await);
    let bounds = "in_flight: { max: 10, per_endpoint: 1 }";
    let endpoints = format!("endpoints: ['{}', '{}'], {bounds}", one.address, other.address);
    for balance in ["least_in_flight", "round_robin", "{ hash: { by: path } }"] {
        let gateway = proxying_to(&format!("{endpoints}, balance: {balance}"));
        let (mut first, mut second) =
            (RawClient::open(gateway.edge).await, RawClient::open(gateway.edge).await);
        first.say(get("/a")).await;
        second.say(get("/a")).await;
        let (mut at_one, mut at_other) = tokio::join!(one.accept(), other.accept());
        tokio::join!(at_one.request(), at_other.request());
        let mut third = RawClient::open(gateway.edge).await;
        let answer = third.ask(get("/a")).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"), "{balance}");
        let after: u64 = answer.field("retry-after").unwrap().parse().unwrap();
        assert!((1..=3).contains(&after), "{}", answer.head);
        let reached = "streamgate_overloaded_total{reason=\"endpoints_in_flight\",route=\"all\"}";
        gateway.counts(reached, 1.0).await;
        let in_flight = shown(&gateway).await["in_flight"].clone();
        assert_eq!(in_flight, json!({ "now": 2, "limit": 10, "per_endpoint": 1 }));
        let failed = format!("{CODES}{{code=\"error\",upstream=\"all\"}}");
        assert_eq!(gateway.metric(&failed).await, 0.0, "it is no failure of the upstream");
        for upstream in [&mut at_one, &mut at_other] {
            upstream.say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
        }
        assert_eq!((first.answer().await.status, second.answer().await.status), (204, 204));
        until("nothing is under way", || async { shown(&gateway).await["in_flight"]["now"] == 0 })
            .await;
        let limit = "streamgate_upstream_in_flight_limit{upstream=\"all\"}";
        assert_eq!(gateway.metric(limit).await, 10.0);
    }
}

/// A bound that is changed while requests are under way counts those.
#[tokio::test]
async fn what_is_under_way_counts_after_a_reload() {
    let origin = Origin::listen().await;
    let yaml = |max: u32| {
        let fields = format!("endpoints: ['{}'], in_flight: {max}", origin.address);
        let admin = format!("admin: {{ token: \"{TOKEN}\", ");
        proxying_yaml("", &fields).replace("admin: { ", &admin)
    };
    let text = Arc::new(Mutex::new(yaml(3)));
    let gateway = Gateway::start_from(&text, &Environment::default());
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(get("/a")).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        held.push((raw, upstream));
    }
    let limit = "streamgate_upstream_in_flight_limit{upstream=\"all\"}";
    assert_eq!(gateway.metric(limit).await, 3.0);
    *text.lock().unwrap() = yaml(2);
    assert_eq!(gateway.post_admin("/api/reload", TOKEN, &json!({})).await.0, 200);
    assert_eq!(ask(&gateway, "/a").await.code(), "overloaded");
    assert_eq!(gateway.metric(limit).await, 2.0);
    held.truncate(1);
    until("there is room again", || async {
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(get("/a")).await;
        tokio::select! {
            answer = raw.answer() => {
                assert_eq!(answer.code(), "overloaded");
                false
            }
            mut upstream = origin.accept() => {
                upstream.request().await;
                true
            }
        }
    })
    .await;
}

/// A series of what an upstream had, and has no more, would be read as if it held.
#[tokio::test]
async fn bounds_that_are_taken_out_of_the_file_are_shown_no_more() {
    let address = replica("a").await;
    let yaml = |bounds: &str| {
        let admin = format!("admin: {{ token: \"{TOKEN}\", ");
        let fields = format!("endpoints: ['{address}']{bounds}");
        proxying_yaml("", &fields).replace("admin: { ", &admin)
    };
    let text = Arc::new(Mutex::new(yaml(", in_flight: 3, breaker: {}")));
    let gateway = Gateway::start_from(&text, &Environment::default());
    let series = || async {
        let text = gateway.admin("/metrics").await.text().await.unwrap();
        let names = ["upstream_in_flight_limit{", "upstream_breaker_state{"];
        names.map(|name| text.matches(&format!("streamgate_{name}")).count())
    };
    assert_eq!(series().await, [1, 3]);
    *text.lock().unwrap() = yaml("");
    assert_eq!(gateway.post_admin("/api/reload", TOKEN, &json!({})).await.0, 200);
    assert_eq!(series().await, [0, 0]);
}
