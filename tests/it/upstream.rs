//! Upstreams that fail in every way: what the client gets, what is tried again, who is asked.

use crate::harness::{Gateway, outcome, until};
use crate::origin::{Origin, UnusedPort, h2c_replica, proxying_to, replica};
use crate::raw_client::RawClient;
use reqwest::Method;
use serde_json::{Value, json};

const IMPATIENT: &str = "timeouts: { connect: 300ms, read: 300ms, write: 300ms }";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

async fn reply(gateway: &Gateway, path: &str) -> (u16, String) {
    outcome(gateway.get(path)).await
}

fn no(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// Which replica answered.
async fn answers(gateway: &Gateway, method: Method) -> String {
    let request = gateway.request(method, "/faults/echo").body("a body");
    let echo: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(echo["body"], "a body", "{echo}");
    echo["replica"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_way_to_fail_has_its_code() {
    let gateway = proxying_to(&format!("endpoints: ['{}'], {IMPATIENT}", replica("a").await));
    assert_eq!(reply(&gateway, "/faults/close").await, no(502, "upstream_invalid"));
    assert_eq!(reply(&gateway, "/faults/hang").await, no(504, "upstream_timeout"));
    let slow = "/faults/slow?first_byte_ms=60000";
    assert_eq!(reply(&gateway, slow).await, no(504, "upstream_timeout"));
    let nobody = UnusedPort::reserve();
    let gateway = proxying_to(&format!("endpoints: ['{}'], {IMPATIENT}", nobody.address));
    assert_eq!(reply(&gateway, "/a").await, no(502, "upstream_unreachable"));
    let failed = "streamgate_upstream_requests_total{code=\"error\",upstream=\"all\"}";
    assert_eq!(gateway.metric(failed).await, 1.0);
}

#[tokio::test]
async fn an_answer_that_is_none_is_not_passed_on() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}'], {IMPATIENT}", origin.address));
    let many: String = (0..300).map(|i| format!("X-{i}: 1\r\n")).collect();
    let cookie = "y".repeat(2_000_000);
    for (what, answer) in [
        ("nothing", String::new()),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-".to_owned()),
        ("something else", "SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned()),
        ("no number", "HTTP/1.1 abc OK\r\n\r\n".to_owned()),
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok".into(),
        ),
        ("a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok".to_owned()),
        ("a tunnel nobody asked for", "HTTP/1.1 101 Switching Protocols\r\n\r\nhidden".to_owned()),
        ("too many fields", format!("HTTP/1.1 200 OK\r\n{many}\r\n")),
        ("a field without end", format!("HTTP/1.1 200 OK\r\nX-A: {cookie}\r\n\r\n")),
    ] {
        let (reply, _) = tokio::join!(reply(&gateway, "/a"), origin.answer_once(&answer));
        assert_eq!(reply, no(502, "upstream_invalid"), "{what}");
    }
}

#[tokio::test]
async fn a_large_head_passes() {
    let gateway = proxying_to(&format!("endpoints: ['{}']", replica("a").await));
    let mut raw = RawClient::open(gateway.edge).await;
    let answer = raw.ask(get("/faults/headers?fields=200&bytes=500")).await;
    assert_eq!((answer.status, answer.head.matches("x-fault-").count()), (200, 200));
}

#[tokio::test]
async fn a_cut_answer_never_looks_whole() {
    let gateway = proxying_to(&format!("endpoints: ['{}'], {IMPATIENT}", replica("a").await));
    for path in ["/faults/truncate?bytes=100&of=200", "/faults/stall?bytes=100&of=200"] {
        let response = gateway.get(path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.bytes().await.is_err(), "{path}");
    }
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}'], {IMPATIENT}", origin.address));
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say(get("/a")).await;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    origin.answer_once(&format!("{head}5\r\nhello\r\n")).await;
    assert_eq!(raw.head().await.status, 200);
    let all = String::from_utf8(raw.rest().await).unwrap();
    assert!(all.contains("hello") && !all.contains("0\r\n\r\n"), "{all}");
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_over_without_anybody_noticing() {
    let nobody = UnusedPort::reserve();
    let endpoints = format!("endpoints: ['{}', '{}']", nobody.address, replica("a").await);
    let gateway = proxying_to(&endpoints);
    for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
        for _ in 0..5 {
            assert_eq!(answers(&gateway, method.clone()).await, "a");
        }
    }
    let retries = "streamgate_upstream_retries_total{upstream=\"all\"}";
    assert_eq!(gateway.metric(retries).await, 1.0, "then it is passed over for a while");
}

#[tokio::test]
async fn what_was_sent_once_is_not_sent_again() {
    let (first, second) = (Origin::listen().await, Origin::listen().await);
    let endpoints = format!("endpoints: ['{}', '{}']", first.address, second.address);
    let gateway = proxying_to(&endpoints);
    for (method, body) in [(Method::POST, ""), (Method::PATCH, "a body"), (Method::PUT, "a body")] {
        let request = outcome(gateway.request(method.clone(), "/a").body(body));
        // Whoever is asked hears the request and hangs up.
        let hung_up = async {
            tokio::select! {
                request = first.answer_once("") => request,
                request = second.answer_once("") => request,
            }
        };
        let (reply, _) = tokio::join!(request, hung_up);
        assert_eq!(reply, no(502, "upstream_invalid"), "{method}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_is_gone_costs_no_request_that_may_be_repeated() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}']", origin.address));
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (method, expected) in [("GET", 200), ("POST", 502)] {
        // One connection of the client stays with one worker and its pool.
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(get("/first")).await;
        let mut kept = origin.accept().await;
        kept.request().await;
        kept.say(ok).await;
        assert_eq!(raw.answer().await.status, 200);
        // The upstream closes in the moment in which it is asked again.
        raw.say(format!("{method} /again HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")).await;
        assert!(kept.request().await.starts_with(method));
        drop(kept);
        if expected == 200 {
            origin.answer_once(ok).await;
        }
        assert_eq!(raw.answer().await.status, expected, "{method}");
    }
}

#[tokio::test]
async fn requests_are_spread_by_weight() {
    let (a, b) = (replica("a").await, replica("b").await);
    let gateway = proxying_to(&format!("endpoints: ['{a} weight=3', '{b}'], balance: round_robin"));
    let mut asked = Vec::new();
    for _ in 0..8 {
        asked.push(answers(&gateway, Method::GET).await);
    }
    let of = |name: &str| asked.iter().filter(|replica| *replica == name).count();
    assert_eq!((of("a"), of("b")), (6, 2), "{asked:?}");
}

#[tokio::test]
async fn an_unwell_endpoint_is_taken_out_and_comes_back() {
    let (a, b) = (replica("a").await, replica("b").await);
    let health = "health: { path: /healthz, interval: 20ms, timeout: 5s, threshold: 2 }";
    let gateway = proxying_to(&format!("endpoints: ['{a}', '{b}'], {health}"));
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let is_well = || async {
        let shown: Value = gateway.admin("/api/upstreams").await.json().await.unwrap();
        shown[0]["endpoints"][1]["well"] == json!(true)
    };
    for (code, expected) in [(503, false), (200, true)] {
        let say = client.put(format!("http://{b}/faults/health/{code}")).send().await.unwrap();
        assert_eq!(say.status(), 204);
        until("the verdict changes", || async { is_well().await == expected }).await;
        let is_b = || async { answers(&gateway, Method::GET).await == "b" };
        if expected {
            // Which of the two is asked is drawn.
            until("it is asked again", is_b).await;
            continue;
        }
        for _ in 0..4 {
            assert!(!is_b().await, "it is unwell, and asked");
        }
    }
}

#[tokio::test]
async fn an_upstream_may_speak_http_2_without_tls() {
    let address = h2c_replica().await;
    // It waits for whatever comes, however busy the machine is.
    let gateway = proxying_to(&format!("endpoints: ['{address}'], protocol: h2c"));
    let body = "x".repeat(1_000_000);
    let request = gateway.request(Method::POST, "/faults/echo/a//b?c=d").body(body.clone());
    let echo: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(echo["version"], "HTTP/2.0");
    assert_eq!((&echo["path"], &echo["query"]), (&json!("/faults/echo/a/b"), &json!("c=d")));
    assert_eq!(echo["body_bytes"], body.len());
    assert_eq!(echo["headers"]["x-forwarded-for"], json!(["127.0.0.1"]));
    let large = gateway.get("/faults/slow?bytes=5000000&chunk_bytes=100000").send().await.unwrap();
    assert_eq!(large.bytes().await.unwrap().len(), 5_000_000);
    let cut = gateway.get("/faults/truncate?bytes=100&of=200").send().await.unwrap();
    assert!(cut.bytes().await.is_err());
    // And this one gives up on what never comes.
    let impatient = proxying_to(&format!("endpoints: ['{address}'], protocol: h2c, {IMPATIENT}"));
    assert_eq!(reply(&impatient, "/faults/hang").await, no(504, "upstream_timeout"));
    // One connection carries them all, side by side.
    let many = (0..20).map(|_| gateway.get("/faults/slow?first_byte_ms=100").send());
    for response in futures_util::future::join_all(many).await {
        assert_eq!(response.unwrap().status(), 200);
    }
}
