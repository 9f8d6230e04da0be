//! What passes through: bodies as they come, both ways, in every framing; tunnels; header fields.

use crate::harness::{Gateway, Login, STANDARD, environment, until};
use crate::origin::{Origin, proxying_by, proxying_to, proxying_with, replica};
use crate::raw_client::RawClient;
use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

const IN_FLIGHT: &str = "streamgate_requests_in_flight";

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

async fn nothing_is_under_way(gateway: &Gateway) {
    until("nothing is under way", || async { gateway.metric(IN_FLIGHT).await == 0.0 }).await;
}

#[tokio::test]
async fn an_answer_is_passed_on_as_it_comes_and_dropped_with_its_client() {
    let gateway = proxying_to(&format!("endpoints: ['{}']", replica("a").await));
    for chunked in ["false", "true"] {
        // The second half comes in ten minutes.
        let path =
            format!("/faults/slow?bytes=20000&chunk_bytes=10000&chunk_ms=600000&chunked={chunked}");
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(get(&path, "")).await;
        assert_eq!(raw.head().await.status, 200);
        assert!(raw.bytes(8_000).await.ends_with(b"xxxx"));
        assert_eq!(gateway.metric(IN_FLIGHT).await, 1.0);
        drop(raw);
        nothing_is_under_way(&gateway).await;
    }
}

#[tokio::test]
async fn the_upstream_is_let_go_when_the_client_goes() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}']", origin.address));
    // Before the answer begins, and in the middle of it.
    for begun in ["", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nhalf of"] {
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(get("/a", "")).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.say(begun).await;
        if !begun.is_empty() {
            assert_eq!(raw.head().await.status, 200);
        }
        raw.reset();
        assert_eq!(upstream.rest().await, b"");
        nothing_is_under_way(&gateway).await;
    }
}

/// A client that has closed looks like one that waits for its answer, until there is an answer.
#[tokio::test]
async fn a_client_that_closes_is_gone_when_the_answer_comes() {
    let origin = Origin::listen().await;
    let gateway =
        proxying_to(&format!("endpoints: ['{}'], timeouts: {{ read: 500ms }}", origin.address));
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say(get("/a", "")).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    drop(raw);
    upstream.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nhalf of").await;
    let more = tokio::spawn(async move {
        while !upstream.has_hung_up() {
            upstream.say("\r\n1\r\nx").await;
            tokio::task::yield_now().await;
        }
    });
    tokio::time::timeout(crate::harness::DEADLINE, more).await.expect("it is let go").unwrap();
    nothing_is_under_way(&gateway).await;
    // And when no answer comes, the upstream's time is the bound, as for everybody.
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say(get("/a", "")).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    drop(raw);
    assert_eq!(upstream.rest().await, b"");
    nothing_is_under_way(&gateway).await;
}

#[tokio::test]
async fn a_request_body_is_passed_on_as_it_comes() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}']", origin.address));
    for (fields, first, last, seen) in [
        ("Content-Length: 10\r\n", "hello", "world", ("hello", "world")),
        (
            "Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n",
            "5\r\nworld\r\n0\r\n\r\n",
            ("5\r\nhello\r\n", "5\r\nworld\r\n0\r\n\r\n"),
        ),
    ] {
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n{first}")).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        assert_eq!(upstream.bytes(seen.0.len()).await, seen.0.as_bytes());
        raw.say(last).await;
        assert_eq!(upstream.bytes(seen.1.len()).await, seen.1.as_bytes());
        upstream.say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
        assert_eq!(raw.answer().await.status, 204);
    }
}

#[tokio::test]
async fn every_framing_of_an_answer_leaves_the_connection_usable() {
    let gateway = proxying_to(&format!("endpoints: ['{}']", replica("a").await));
    let mut raw = RawClient::open(gateway.edge).await;
    let long = raw.ask(get("/faults/slow?bytes=100000", "")).await;
    assert_eq!(long.body.len(), 100_000);
    let chunked = raw.ask(get("/faults/slow?bytes=100000&chunked=true", "")).await;
    assert_eq!(chunked.body.len(), 100_000);
    for status in [200, 204, 304, 404, 500, 503] {
        assert_eq!(raw.ask(get(&format!("/faults/status/{status}"), "")).await.status, status);
    }
    raw.say("HEAD /faults/slow?bytes=100 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = raw.head().await;
    assert_eq!(head.field("content-length").as_deref(), Some("100"));
    let part = raw.ask(get("/vod/replay/360p/0.ts", "Range: bytes=10-19\r\n")).await;
    assert_eq!((part.status, part.body.is_empty()), (206, false));
    assert!(part.field("content-range").unwrap().starts_with("bytes 10-19/"), "{}", part.head);
    let none = raw.ask(get("/vod/replay/360p/0.ts", "Range: bytes=999999999-\r\n")).await;
    assert_eq!(none.status, 416);
    let tag = raw.ask(get("/vod/replay/360p/0.ts", "")).await.field("etag").unwrap();
    let same = get("/vod/replay/360p/0.ts", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(raw.ask(same).await.status, 304);
    let old = raw.ask("GET /faults/slow?chunked=true HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert_eq!((old.body.len(), old.field("transfer-encoding")), (1024, None));
}

#[tokio::test]
async fn the_upstream_says_whether_a_held_back_body_is_wanted() {
    let gateway = proxying_to(&format!("endpoints: ['{}']", replica("a").await));
    let mut raw = RawClient::open(gateway.edge).await;
    let fields = "Content-Length: 5\r\nExpect: 100-continue\r\n";
    raw.say(format!("POST /faults/echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    assert_eq!(raw.head().await.status, 100);
    let answer = raw.ask("hello").await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("\"body\":\"hello\""), "{}", answer.body);
    assert!(raw.serves_another_after(&answer).await);
}

#[tokio::test]
async fn trailers_break_nothing() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}']", origin.address));
    let mut raw = RawClient::open(gateway.edge).await;
    let chunks = "5;ext=1\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    raw.say(format!("POST /a HTTP/1.1\r\nHost: a\r\n{chunked}\r\n{chunks}")).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    assert_eq!(upstream.bytes(15).await, b"5\r\nhello\r\n0\r\n\r\n");
    upstream.say(format!("HTTP/1.1 200 OK\r\n{chunked}\r\n{chunks}")).await;
    assert_eq!(raw.answer().await.body, "hello");
    raw.say(get("/b", "")).await;
    assert!(upstream.request().await.starts_with("GET /b"));
    upstream.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(raw.answer().await.status, 204);
}

#[tokio::test]
async fn a_broken_chunked_body_is_no_whole_one() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}']", origin.address));
    for broken in ["zz\r\nhello", "5\r\nhelloXX0\r\n\r\n", "-5\r\nhello"] {
        let mut raw = RawClient::open(gateway.edge).await;
        let head = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        raw.say(format!("{head}{broken}")).await;
        let mut upstream = origin.accept().await;
        let seen = String::from_utf8(upstream.rest().await).unwrap();
        assert!(!seen.ends_with("0\r\n\r\n"), "{broken:?}: {seen}");
        assert_eq!(raw.answer().await.code(), "request_malformed", "{broken:?}");
    }
}

#[tokio::test]
async fn a_body_that_stalls_or_drips_ends_in_time() {
    let fields = format!("endpoints: ['{}']", replica("a").await);
    let gateway = proxying_with(", body_timeout: 300ms", &fields);
    let post = |fields: &str| format!("POST /faults/echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    for (fields, start) in
        [("Content-Length: 5\r\n", "he"), ("Transfer-Encoding: chunked\r\n", "5\r\nhe")]
    {
        let mut raw = RawClient::open(gateway.edge).await;
        let answer = raw.ask(post(fields) + start).await;
        assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
        assert_eq!(raw.rest().await, b"");
    }
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say(post("Content-Length: 1000\r\n")).await;
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let began = tokio::time::Instant::now();
    while raw.is_silent().await {
        assert!(began.elapsed() < crate::harness::DEADLINE, "it drips for ever");
        raw.say("a").await;
        tick.tick().await;
    }
    assert_eq!(raw.answer().await.status, 408);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_dropped() {
    let fields = format!("endpoints: ['{}']", replica("a").await);
    let gateway = proxying_with(", write_timeout: 300ms", &fields);
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say(get("/faults/slow?bytes=60000000&chunk_bytes=1000000", "")).await;
    assert_eq!(raw.head().await.status, 200);
    nothing_is_under_way(&gateway).await;
}

#[tokio::test]
async fn a_body_has_its_limit_however_it_comes() {
    let gateway = Gateway::standard(None).await;
    let post = |fields: &str| format!("POST /faults/echo/x HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let chunk = format!("80000\r\n{}\r\n", "x".repeat(0x80000));
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n";
    for (what, request) in [
        ("announced", post("Content-Length: 1048577\r\n")),
        ("chunked", post("Transfer-Encoding: chunked\r\n") + &chunk.repeat(3)),
        ("as a tunnel that is none", post(upgrade) + &chunk.repeat(3)),
    ] {
        let mut raw = RawClient::open(gateway.edge).await;
        let answer = raw.ask(request).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{what}");
    }
}

#[tokio::test]
async fn a_websocket_passes_both_ways_and_may_be_silent() {
    let address = replica("a").await;
    let upstream = format!("endpoints: ['{address}'], timeouts: {{ read: 300ms, write: 300ms }}");
    let listener = ", body_timeout: 300ms, head_timeout: 300ms";
    let gateway = proxying_by("websocket: true", listener, &upstream);
    let url = format!("ws://{}/faults/websocket", gateway.edge);
    let (mut socket, response) = tokio_tungstenite::connect_async(url).await.unwrap();
    assert_eq!(response.status(), 101);
    for message in [Message::text("hello"), Message::binary(vec![7; 100_000])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
        // Silence is what is tested here: nothing must come within twice the deadlines.
        let silence = tokio::time::timeout(Duration::from_millis(700), socket.next()).await;
        assert!(silence.is_err(), "{silence:?}");
    }
    socket.close(None).await.unwrap();
    while let Some(message) = socket.next().await {
        assert!(message.unwrap().is_close());
    }
    nothing_is_under_way(&gateway).await;
}

#[tokio::test]
async fn a_websocket_is_over_when_either_side_is_gone() {
    let origin = Origin::listen().await;
    let fields = format!("endpoints: ['{}']", origin.address);
    let gateway = proxying_by("websocket: true", "", &fields);
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for is_clients in [true, false] {
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(get("/a", fields)).await;
        let mut upstream = origin.accept().await;
        assert!(upstream.request().await.to_lowercase().contains("upgrade: websocket"));
        upstream.say(format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n")).await;
        assert_eq!(raw.head().await.status, 101);
        upstream.say("from the upstream").await;
        assert_eq!(raw.bytes(17).await, b"from the upstream");
        raw.say("from the client").await;
        assert_eq!(upstream.bytes(15).await, b"from the client");
        let mut left = if is_clients {
            drop(raw);
            upstream
        } else {
            drop(upstream);
            raw
        };
        assert_eq!(left.rest().await, b"");
        nothing_is_under_way(&gateway).await;
    }
}

#[tokio::test]
async fn what_is_matched_is_what_is_sent() {
    let gateway = Gateway::standard(None).await;
    for (target, path, query) in [
        ("/faults/echo/a", "/faults/echo/a", Value::Null),
        ("/faults//echo/./x/../%7eb?q=%2F&&", "/faults/echo/~b", json!("q=%2F&&")),
        ("/live/../faults/echo/%2e%2E/echo/c%20d", "/faults/echo/c%20d", Value::Null),
        ("/faults/echo/a b?c%20d", "/faults/echo/a%20b", json!("c%20d")),
        ("http://a/faults/echo/e?f", "/faults/echo/e", json!("f")),
        ("HTTP://a/faults/echo/../echo/e", "/faults/echo/e", Value::Null),
        ("/faults/echo/a;b=%3b?x=/../", "/faults/echo/a;b=%3B", json!("x=/../")),
        ("/faults/echo/\u{e9}", "/faults/echo/%C3%A9", Value::Null),
        ("/faults/echo/%c3%a9#part", "/faults/echo/%C3%A9", Value::Null),
    ] {
        let mut raw = RawClient::open(gateway.edge).await;
        let answer = raw.ask(get(target, "")).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.head);
        let echo: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((&echo["path"], &echo["query"]), (&json!(path), &query), "{target}");
        assert_eq!(echo["headers"]["host"], json!(["a"]), "{target}");
    }
}

/// The header fields that the upstream was sent.
async fn seen(gateway: &Gateway, fields: &str) -> Value {
    let mut raw = RawClient::open(gateway.edge).await;
    let answer = raw.ask(get("/faults/echo/a", fields)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str::<Value>(&answer.body).unwrap()["headers"].take()
}

#[tokio::test]
async fn what_a_client_must_not_say_is_not_passed_on() {
    let gateway = Gateway::standard(None).await;
    let forged = "X-STREAMGATE-Account: forged\r\nx-streamgate-lease: forged\r\n\
        X-Streamgate-: forged\r\nForwarded: for=forged\r\nX-Forwarded-For: 6.6.6.6\r\n\
        X-Forwarded-Host: forged\r\nX-Forwarded-Proto: forged\r\nX-Forwarded-Port: 1\r\n\
        X-Real-IP: 6.6.6.6\r\nX-Request-Id: forged\r\nProxy: http://forged\r\n\
        X-Original-URL: /forged\r\nX-Rewrite-URL: /forged\r\n";
    let fields = seen(&gateway, forged).await;
    assert!(!fields.to_string().contains("forged") && !fields.to_string().contains("6.6.6.6"));
    assert_eq!(fields["x-forwarded-for"], json!(["127.0.0.1"]));
    assert_eq!(fields["x-forwarded-host"], json!(["a"]));
    assert_eq!(fields["x-forwarded-proto"], json!(["http"]));
    assert_eq!(fields["x-request-id"][0].as_str().unwrap().len(), 32);
}

#[tokio::test]
async fn hop_by_hop_fields_end_here_and_cannot_take_ours_along() {
    let gateway = Gateway::standard(None).await;
    let hops = "Connection: keep-alive, X-Hop, x-request-id, x-streamgate-lease\r\n\
        X-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n\
        Upgrade: h2c\r\nHTTP2-Settings: AAAA\r\nProxy-Authorization: Basic eDp5\r\nX-End: 1\r\n";
    let fields = seen(&gateway, hops).await;
    let names = ["x-hop", "keep-alive", "proxy-connection", "te", "upgrade", "http2-settings"];
    for name in names {
        assert_eq!(fields[name], Value::Null, "{name}: {fields}");
    }
    assert_eq!(fields["x-end"], json!(["1"]));
    assert_eq!(fields["host"], json!(["a"]));
    assert_eq!(fields["x-forwarded-for"], json!(["127.0.0.1"]));
    assert_eq!(fields["x-request-id"][0].as_str().unwrap().len(), 32);
    for named in ["host", "X-Forwarded-For", "\"x-request-id\"", ":authority"] {
        let mut raw = RawClient::open(gateway.edge).await;
        let answer = raw.ask(get("/faults/echo/a", &format!("Connection: {named}\r\n"))).await;
        assert_eq!(answer.code(), "request_malformed", "{named}");
    }
}

#[tokio::test]
async fn the_token_passes_only_where_the_file_says_so() {
    let yaml = STANDARD.replace(
        "routes:\n",
        "routes:\n  - name: trusted\n    match: { path: \"/faults/echo/trusted/{*rest}\" }\n    \
         upstream: stream\n    forward_token: true\n",
    );
    let gateway = Gateway::start(&yaml, &environment(None).await);
    let cookie = Login::of("ann", "s").cookie();
    let ask = |path: &'static str| {
        let request = gateway.get(path).header("cookie", format!("a=1; {cookie}"));
        async { request.send().await.unwrap().json::<Value>().await.unwrap()["headers"].take() }
    };
    let whole = format!("a=1; {cookie}");
    assert_eq!(ask("/faults/echo/trusted/x").await["cookie"], json!([whole]));
    assert_eq!(ask("/faults/echo/other").await["cookie"], json!(["a=1"]));
}

#[tokio::test]
async fn an_answers_own_fields_pass_and_its_hops_end_here() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}']", origin.address));
    let request = gateway.request(Method::GET, "/a").send();
    let answered = origin.answer_once(
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nX-Own: yes\r\n\
         Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
         Content-Length: 2\r\n\r\nok",
    );
    let (response, _) = tokio::join!(request, answered);
    let response = response.unwrap();
    let cookies: Vec<_> = response.headers().get_all("set-cookie").into_iter().collect();
    assert_eq!(cookies, ["a=1; Path=/", "b=2"]);
    assert_eq!(response.headers()["x-own"], "yes");
    assert_eq!(response.headers()["connection"], "keep-alive", "the client's own connection");
    assert!(!response.headers().contains_key("x-hop"), "{:?}", response.headers());
    assert!(!response.headers().contains_key("keep-alive"), "{:?}", response.headers());
    assert_eq!(response.text().await.unwrap(), "ok");
}

#[tokio::test]
async fn what_follows_an_upgrade_that_was_not_granted_is_no_tunnel() {
    let origin = Origin::listen().await;
    let fields = format!("endpoints: ['{}']", origin.address);
    let gateway = proxying_by("websocket: true", "", &fields);
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say(get("/a", fields) + &get("/hidden", "")).await;
    let mut upstream = origin.accept().await;
    assert!(upstream.request().await.starts_with("GET /a "));
    assert!(upstream.is_silent().await, "nothing is sent before the 101");
    upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(raw.answer().await.body, "ok");
    assert!(upstream.is_silent().await, "and nothing after another answer");
    nothing_is_under_way(&gateway).await;
}

#[tokio::test]
async fn requests_that_do_not_wait_are_answered_in_order_or_not_at_all() {
    // No browser and no player does that any more; Pingora refuses a request that is overtaken.
    let gateway = proxying_to(&format!("endpoints: ['{}']", replica("a").await));
    let slow = get("/faults/slow?first_byte_ms=200&bytes=3", "");
    let mut at_once = RawClient::open(gateway.edge).await;
    at_once.say(slow.clone() + &get("/faults/status/404", "")).await;
    let mut later = RawClient::open(gateway.edge).await;
    later.say(slow).await;
    until("it is under way", || async { gateway.metric(IN_FLIGHT).await == 2.0 }).await;
    later.say(get("/faults/status/404", "")).await;
    for mut raw in [at_once, later] {
        let first = raw.answer().await;
        match first.status {
            200 => assert_eq!(first.body, "xxx"),
            _ => assert_eq!(first.code(), "request_malformed"),
        }
        let rest = String::from_utf8(raw.rest_after_close().await).unwrap();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 404"), "{rest}");
    }
}
