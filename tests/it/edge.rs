//! The edge under attack: heads that are not sound, framing that two readers could take
//! differently, and clients that take their time.

use crate::harness::{Gateway, Login, STANDARD, environment};
use crate::raw_client::RawClient;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// Where every bad request wants to go; the upstream counts who arrived.
const BAD: &str = "/faults/echo/bad";

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// Paths that reached the upstream, but for the tests' own.
async fn reached(gateway: &Gateway) -> Vec<String> {
    let hits: Value = gateway.get("/faults/hits").send().await.unwrap().json().await.unwrap();
    let paths = hits.as_object().unwrap().keys().cloned();
    paths.filter(|path| !matches!(path.as_str(), "/faults/hits" | "/faults/status/204")).collect()
}

/// Says each head on a connection of its own: the status, and whether another request is served.
async fn refused(rows: &[(&str, String, u16, bool)]) {
    let gateway = Gateway::standard(None).await;
    for (what, head, status, is_kept) in rows {
        let mut raw = RawClient::open(gateway.edge).await;
        let answer = raw.ask(head).await;
        assert_eq!(answer.status, *status, "{what}: {}", answer.head);
        let reply: Value = serde_json::from_str(&answer.body).expect(what);
        assert_eq!(reply["status"], *status, "{what}: also Pingora's own no is in our words");
        assert!(reply["code"].is_string() && reply["instance"].is_string(), "{what}: {reply}");
        assert_eq!(raw.serves_another_after(&answer).await, *is_kept, "{what}: {}", answer.head);
    }
    assert_eq!(reached(&gateway).await, [""; 0], "nothing reached the upstream");
}

#[tokio::test]
async fn a_request_needs_one_valid_host() {
    let head = |hosts: &str| format!("GET {BAD} HTTP/1.1\r\n{hosts}\r\n");
    refused(&[
        ("no Host", head(""), 400, true),
        ("no Host in 1.0", format!("GET {BAD} HTTP/1.0\r\n\r\n"), 400, false),
        ("two", head("Host: a\r\nHost: b\r\n"), 400, false),
        ("two alike", head("Host: a\r\nHost: a\r\n"), 400, false),
        ("empty", head("Host:\r\n"), 400, true),
        ("space", head("Host: a b\r\n"), 400, true),
        ("list", head("Host: a,b\r\n"), 400, true),
        ("path", head("Host: a/b\r\n"), 400, true),
        ("query", head("Host: a?b\r\n"), 400, true),
        ("user", head("Host: u@a\r\n"), 400, false),
        ("port", head("Host: a:x\r\n"), 400, true),
        ("large port", head("Host: a:123456\r\n"), 400, true),
        ("long", head(&format!("Host: {}\r\n", "a".repeat(256))), 400, true),
    ])
    .await;
}

#[tokio::test]
async fn a_body_that_two_readers_could_end_differently_is_refused_and_the_connection_closed() {
    // Whatever the framing means, a request hides behind it.
    let hidden = format!("0\r\n\r\nGET {BAD} HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = |fields: &str| format!("POST {BAD} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{hidden}");
    refused(&[
        ("a list", head("Content-Length: 5, 5\r\n"), 400, false),
        ("two alike", head("Content-Length: 5\r\nContent-Length: 5\r\n"), 400, false),
        ("two others", head("Content-Length: 5\r\nContent-Length: 6\r\n"), 400, false),
        ("signed", head("Content-Length: +5\r\n"), 400, false),
        ("negative", head("Content-Length: -1\r\n"), 400, false),
        ("hexadecimal", head("Content-Length: 0x5\r\n"), 400, false),
        ("empty", head("Content-Length:\r\n"), 400, false),
        ("endless", head("Content-Length: 99999999999999999999999\r\n"), 400, false),
        ("both", head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400, false),
        ("both, turned", head("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400, false),
        ("two TE", head("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n"), 400, false),
        ("chunked twice", head("Transfer-Encoding: chunked, chunked\r\n"), 400, false),
        ("gzip", head("Transfer-Encoding: gzip, chunked\r\n"), 400, false),
        ("not last", head("Transfer-Encoding: chunked, gzip\r\n"), 400, false),
        ("unknown", head("Transfer-Encoding: xchunked\r\n"), 400, false),
        ("identity", head("Transfer-Encoding: identity\r\n"), 400, false),
        ("spaced", head("Transfer-Encoding : chunked\r\n"), 400, false),
        ("tab", head("Transfer-Encoding:\tchunked, \t\r\n"), 400, false),
        ("quoted", head("Transfer-Encoding: \"chunked\"\r\n"), 400, false),
        (
            "1.0",
            format!("POST {BAD} HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{hidden}"),
            400,
            false,
        ),
    ])
    .await;
}

#[tokio::test]
async fn names_and_values_that_are_none_are_refused() {
    refused(&[
        ("space before the colon", get(BAD, "X-User : 1\r\n"), 400, false),
        ("a folded line", get(BAD, "X-A: 1\r\n  2\r\n"), 400, false),
        ("a folded first line", get(BAD, "  X-A: 1\r\n"), 400, false),
        ("a lone CR in a value", get(BAD, "X-A: 1\rX-B: 2\r\n"), 400, false),
        ("NUL in a value", get(BAD, "X-A: 1\x002\r\n"), 400, false),
        ("an empty name", get(BAD, ": 1\r\n"), 400, false),
        ("no colon", get(BAD, "X-A\r\n"), 400, false),
        ("a name that is no token", get(BAD, "X(A): 1\r\n"), 400, false),
    ])
    .await;
}

#[tokio::test]
async fn heads_have_their_limits() {
    let long = |n: usize| "y".repeat(n);
    let many: String = (0..120).map(|i| format!("X-{i}: 1\r\n")).collect();
    let too_many: String = (0..300).map(|i| format!("X-{i}: 1\r\n")).collect();
    let wide: String = (0..5).map(|i| format!("X-{i}: {}\r\n", long(8_000))).collect();
    refused(&[
        ("target", get(&format!("{BAD}/{}", long(9_000)), ""), 431, true),
        ("query", get(&format!("{BAD}?{}", long(9_000)), ""), 431, true),
        ("one field", get(BAD, &format!("X-A: {}\r\n", long(17_000))), 431, true),
        ("all fields", get(BAD, &wide), 431, true),
        ("how many", get(BAD, &many), 431, true),
        ("far too many", get(BAD, &too_many), 400, false),
        (
            "a method without end",
            format!("{} {BAD} HTTP/1.1\r\nHost: a\r\n\r\n", long(9_000)),
            431,
            true,
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_target_is_a_path_or_an_http_url() {
    let line = |line: &str| format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(&[
        ("another scheme", line(&format!("GET ftp://a{BAD}")), 400, true),
        ("no scheme", line("GET a"), 400, true),
        ("all", line("OPTIONS *"), 400, true),
        ("authority", line("GET a:80"), 400, true),
        ("TRACE", line(&format!("TRACE {BAD}")), 405, true),
        ("CONNECT", line("CONNECT a:80"), 405, false),
        ("an encoded slash", line(&format!("GET {BAD}%2fx")), 400, true),
        ("an encoded backslash", line(&format!("GET {BAD}%5Cx")), 400, true),
        ("a backslash", line(&format!("GET {BAD}\\x")), 400, true),
        ("an encoded NUL", line(&format!("GET {BAD}%00")), 400, true),
        ("a NUL", line(&format!("GET {BAD}\0")), 400, true),
        ("a CR", line(&format!("GET {BAD}\rx")), 400, true),
        ("a DEL", line(&format!("GET {BAD}\x7f")), 400, true),
        ("an encoded newline", line(&format!("GET {BAD}%0d%0aX-A:%201")), 400, true),
        ("a broken escape", line(&format!("GET {BAD}%zz")), 400, true),
        ("a user", line(&format!("GET http://u@a{BAD}")), 400, false),
        ("two hosts", line(&format!("GET http://b{BAD}")), 400, false),
        ("no version", format!("GET {BAD}\r\nHost: a\r\n\r\n"), 400, false),
        ("HTTP/2.0", format!("GET {BAD} HTTP/2.0\r\nHost: a\r\n\r\n"), 400, false),
        ("the preface of h2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 400, false),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n".to_owned(), 400, false),
    ])
    .await;
}

#[tokio::test]
async fn an_early_no_leaves_the_connection_usable_if_the_body_allows() {
    let gateway = Gateway::standard(None).await;
    let small = "Content-Length: 5\r\n\r\nhello";
    let chunked = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let held = "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let huge = "Content-Length: 900000000\r\n\r\nhello";
    let bob = Login::of("bob", "s").with("max_streams", 0);
    let full = format!("Cookie: {}\r\n", bob.cookie());
    for (what, line, fields, status) in [
        ("401", "GET /live/final/master.m3u8", "", 401),
        ("404", "GET /nowhere", "", 404),
        ("405", "POST /streams", full.as_str(), 405),
        ("409", "GET /live/final/master.m3u8", full.as_str(), 409),
    ] {
        for (body, rest, is_kept) in [
            ("no body", "\r\n", true),
            ("a small body", small, true),
            ("a chunked body", chunked, true),
            ("a body that is held back", held, false),
            ("a huge body", huge, false),
        ] {
            let mut raw = RawClient::open(gateway.edge).await;
            let head = format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}{rest}");
            let answer = raw.ask(head).await;
            // The route knows before anyone else what is too large for it.
            let is_too_large = body == "a huge body" && what != "404";
            let status = if is_too_large { 413 } else { status };
            assert_eq!(answer.status, status, "{what}, {body}: {}", answer.body);
            let is_served = raw.serves_another_after(&answer).await;
            assert_eq!(is_served, is_kept, "{what}, {body}: {}", answer.head);
        }
    }
}

#[tokio::test]
async fn a_small_body_may_come_after_the_no() {
    let gateway = Gateway::standard(None).await;
    let mut raw = RawClient::open(gateway.edge).await;
    let answer = raw.ask("POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
    assert_eq!(answer.status, 404);
    raw.say("hello").await;
    assert!(raw.serves_another_after(&answer).await, "{}", answer.head);
}

#[tokio::test]
async fn what_hides_in_a_refused_body_is_never_a_request() {
    let gateway = Gateway::standard(None).await;
    let hidden = get(BAD, "");
    let length = hidden.len();
    let good = get("/faults/status/204", "");
    let mut raw = RawClient::open(gateway.edge).await;
    let head = format!("POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let answer = raw.ask(format!("{head}{hidden}")).await;
    assert_eq!(answer.status, 404);
    assert!(raw.serves_another_after(&answer).await);
    // Said at once: the gateway may hang up instead, but must not answer what is hidden.
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say(format!("{head}{hidden}{good}")).await;
    let all = String::from_utf8(raw.rest_after_close().await).unwrap();
    assert!(all.starts_with("HTTP/1.1 404"), "{all}");
    assert!(!all.contains("\"path\""), "{all}");
    assert_eq!(reached(&gateway).await, [""; 0]);
}

#[tokio::test]
async fn the_clients_wish_to_close_is_granted() {
    let gateway = Gateway::standard(None).await;
    for (what, head, is_kept) in [
        ("close", get("/faults/status/204", "Connection: close\r\n"), false),
        ("1.0", "GET /faults/status/204 HTTP/1.0\r\nHost: a\r\n\r\n".to_owned(), false),
        ("close, denied", get("/nowhere", "Connection: close\r\n"), false),
        ("1.1", get("/faults/status/204", ""), true),
    ] {
        let mut raw = RawClient::open(gateway.edge).await;
        let answer = raw.ask(head).await;
        assert_eq!(raw.serves_another_after(&answer).await, is_kept, "{what}: {}", answer.head);
    }
}

fn patient(fields: &str) -> String {
    STANDARD.replace("\"127.0.0.1:0\" }\nadmin", &format!("\"127.0.0.1:0\", {fields} }}\nadmin"))
}

/// Says a byte now and then until the gateway hangs up; how long that took.
async fn drip(raw: &mut RawClient, text: &str) -> Duration {
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for byte in text.bytes().chain(std::iter::repeat(b'a')) {
        tick.tick().await;
        raw.say([byte]).await;
        if raw.has_hung_up() {
            break;
        }
        assert!(began.elapsed() < crate::harness::DEADLINE, "it drips for ever");
    }
    began.elapsed()
}

#[tokio::test]
async fn a_head_that_drips_is_cut_on_a_first_and_on_a_later_request() {
    let yaml = patient("head_timeout: 300ms, idle_timeout: 1s");
    let gateway = Gateway::start(&yaml, &environment(None).await);
    for start in ["", "GET /faults", "GET /faults/status/204 HTTP/1.1\r\nHost: a\r\nX-A: "] {
        let mut first = RawClient::open(gateway.edge).await;
        first.say(start).await;
        let took = drip(&mut first, "").await;
        assert!((250..1_000).contains(&took.as_millis()), "{start}: {took:?}");

        let mut later = RawClient::open(gateway.edge).await;
        assert_eq!(later.ask(get("/faults/status/204", "")).await.status, 204);
        later.say(start).await;
        let took = drip(&mut later, "").await;
        assert!((250..1_000).contains(&took.as_millis()), "{start}: {took:?}");
    }
    let series = "streamgate_heads_refused_total{listener=\"edge\",reason=\"timeout\"}";
    assert_eq!(gateway.metric(series).await, 6.0);
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let yaml = patient("head_timeout: 300ms, idle_timeout: 1s");
    let gateway = Gateway::start(&yaml, &environment(None).await);
    let mut raw = RawClient::open(gateway.edge).await;
    assert_eq!(raw.ask(get("/faults/status/204", "")).await.status, 204);
    let began = Instant::now();
    assert_eq!(raw.rest().await, b"");
    let took = began.elapsed().as_millis();
    assert!((900..3_000).contains(&took), "{took}");
}

#[tokio::test]
async fn a_connection_carries_a_thousand_requests_and_then_makes_room() {
    let gateway = Gateway::standard(None).await;
    let mut raw = RawClient::open(gateway.edge).await;
    let mut answered = 1;
    while raw.ask(get("/nowhere", "")).await.field("connection").as_deref() == Some("keep-alive") {
        answered += 1;
    }
    assert_eq!(raw.rest().await, b"");
    assert!((1_000..=1_001).contains(&answered), "{answered}");
}

#[tokio::test]
async fn many_slow_heads_disturb_nobody() {
    let gateway = Gateway::standard(None).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say("GET /faults/status/204 HTTP/1.1\r\nX-A: ").await;
        slow.push(raw);
    }
    // Beside a gateway that has none of them, on the same machine in the same moments.
    let other = Gateway::standard(None).await;
    let mut quick = [RawClient::open(gateway.edge).await, RawClient::open(other.edge).await];
    let mut took = [Duration::ZERO; 2];
    for _ in 0..20 {
        for (client, took) in quick.iter_mut().zip(&mut took) {
            let began = Instant::now();
            assert_eq!(client.ask(get("/faults/status/204", "")).await.status, 204);
            *took += began.elapsed();
        }
    }
    let [disturbed, undisturbed] = took;
    assert!(disturbed < undisturbed * 10 + Duration::from_millis(200), "{took:?}");
    // The last answer may be here before its request is over; a head that is slow is no request.
    gateway.counts("streamgate_requests_in_flight", 0.0).await;
    for mut raw in slow {
        assert_eq!(raw.ask("1\r\nHost: a\r\n\r\n").await.status, 204);
    }
}
