//! What is understood and what is sent, byte for byte: targets that readers take differently, and
//! answers that are late, cut or framed in a way that somebody could misread.

use crate::harness::{Gateway, outcome};
use crate::origin::{Origin, proxying_by, proxying_to, proxying_with, proxying_yaml};
use crate::raw_client::RawClient;
use std::time::Duration;
use streamgate::yaml::Environment;

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// What the client and the upstream hear: the status and code, and the request's head.
async fn heard(
    gateway: &Gateway,
    origin: &Origin,
    asked: &str,
    said: &str,
) -> (u16, String, String) {
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say(asked).await;
    let mut upstream = origin.accept().await;
    let request = upstream.request().await.to_lowercase();
    upstream.say(said).await;
    let answer = raw.answer().await;
    (answer.status, answer.code(), request)
}

#[tokio::test]
async fn an_upgrade_that_nobody_granted_buys_no_time() {
    let origin = Origin::listen().await;
    // A tunnel may be silent for five minutes: within the deadline nothing but `read` can end this.
    let fields = format!("endpoints: ['{}'], timeouts: {{ read: 300ms }}", origin.address);
    let late = (504, "upstream_timeout".to_owned());
    for (route, is_passed) in [("websocket: false", false), ("websocket: true", true)] {
        let gateway = proxying_by(route, "", &fields);
        for upgrade in ["websocket", "WebSocket", "h2c", "websocket, h2c"] {
            let asked = get("/a", &format!("Connection: Upgrade\r\nUpgrade: {upgrade}\r\n"));
            let (status, code, request) = heard(&gateway, &origin, &asked, "").await;
            assert_eq!((status, code), late, "{route}, {upgrade}");
            let is_websocket = upgrade.eq_ignore_ascii_case("websocket");
            let is_expected = is_passed && is_websocket;
            assert_eq!(request.contains("upgrade"), is_expected, "{route}, {upgrade}: {request}");
        }
        // The upstream answers and grants nothing: it may pause as any other, and no longer.
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(get("/a", UPGRADE)).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nhalf of").await;
        upstream.say("it".repeat(1_000)).await;
        assert_eq!(raw.head().await.status, 200, "{route}");
        let cut = raw.rest().await;
        assert!(cut.len() < 5_000, "{route}: {}", cut.len());
        // And a tunnel that it may not open is none.
        if !is_passed {
            let said = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
            let (status, code, _) = heard(&gateway, &origin, &get("/a", UPGRADE), said).await;
            assert_eq!((status, code.as_str()), (502, "upstream_invalid"));
        }
    }
}

/// Says `first`, and then `again` and again, until the client has its answer: its status.
async fn dripped(gateway: &Gateway, origin: &Origin, first: &str, again: &str) -> u16 {
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say(get("/a", "")).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.say(first).await;
    let drip = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            upstream.say(again).await;
        }
    };
    let last = async {
        loop {
            let head = raw.head().await;
            if head.status >= 200 {
                return head.status;
            }
        }
    };
    tokio::select! { status = last => status, () = drip => unreachable!("it drips for ever") }
}

#[tokio::test]
async fn a_head_that_drips_is_cut() {
    let origin = Origin::listen().await;
    let fields = format!("endpoints: ['{}'], timeouts: {{ read: 500ms }}", origin.address);
    let gateway = proxying_to(&fields);
    for (what, first, again) in [
        ("a field", "HTTP/1.1 200 OK\r\nX-A: ", "a"),
        ("fields", "HTTP/1.1 200 OK\r\n", "X-A: a\r\n"),
        ("a status line", "HTTP/1.1 200 O", "K"),
        ("interim answers", "", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    ] {
        assert_eq!(dripped(&gateway, &origin, first, again).await, 504, "{what}");
    }
    let timeouts = "streamgate_upstream_requests_total{code=\"error\",upstream=\"all\"}";
    assert_eq!(gateway.metric(timeouts).await, 4.0, "the upstream failed, and not the client");
    // The next one is as well served as ever.
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(heard(&gateway, &origin, &get("/a", ""), ok).await.0, 200);
}

#[tokio::test]
async fn a_request_that_is_long_under_way_costs_its_answer_no_time() {
    let origin = Origin::listen().await;
    let fields = format!("endpoints: ['{}'], timeouts: {{ read: 1500ms }}", origin.address);
    let gateway = proxying_to(&fields);
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    for _ in 0..5 {
        tick.tick().await;
        raw.say("x").await;
        upstream.bytes(1).await;
    }
    upstream.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(raw.answer().await.status, 204);
}

#[tokio::test]
async fn a_route_has_its_own_patience() {
    let origin = Origin::listen().await;
    let fields = format!("endpoints: ['{}'], timeouts: {{ read: 1h }}", origin.address);
    let gateway = proxying_by("timeouts: { read: 300ms }", "", &fields);
    let (status, code, _) = heard(&gateway, &origin, &get("/a", ""), "").await;
    assert_eq!((status, code.as_str()), (504, "upstream_timeout"));
    let patient = "timeouts: { read: 1h }";
    let fields = format!("endpoints: ['{}'], timeouts: {{ read: 1ms }}", origin.address);
    let gateway = proxying_by(patient, "", &fields);
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say(get("/a", "")).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    tokio::time::timeout(Duration::from_millis(100), upstream.rest()).await.unwrap_err();
    upstream.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(raw.answer().await.status, 204);
}

#[tokio::test]
async fn an_answer_that_could_end_in_two_places_is_none() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}']", origin.address));
    let chunks = "2\r\nok\r\n0\r\n\r\n";
    for (fields, status) in [
        ("Transfer-Encoding: chunked\r\n", 200),
        ("Transfer-Encoding: Chunked\r\n", 200),
        ("Transfer-Encoding: gzip, chunked\r\n", 502),
        ("Transfer-Encoding: chunked, gzip\r\n", 502),
        ("Transfer-Encoding: chunked, chunked\r\n", 502),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 502),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 502),
        ("Transfer-Encoding: identity\r\n", 502),
        ("Transfer-Encoding: identity\r\nContent-Length: 12\r\n", 502),
        ("Transfer-Encoding: xchunked\r\n", 502),
        ("Transfer-Encoding: \"chunked\"\r\n", 502),
        ("Transfer-Encoding:\r\n", 502),
    ] {
        let said = format!("HTTP/1.1 200 OK\r\n{fields}\r\n{chunks}");
        let (reply, _) = tokio::join!(outcome(gateway.get("/a")), origin.answer_once(&said));
        assert_eq!(reply.0, status, "{fields}: {}", reply.1);
        let code = if status == 200 { "" } else { "upstream_invalid" };
        assert_eq!(reply.1, code, "{fields}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_has_no_framing() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}']", origin.address));
    for status in ["204 No Content", "304 Not Modified"] {
        for fields in [
            "",
            "Transfer-Encoding: chunked\r\n",
            "Content-Length: 0\r\n",
            "Content-Length: 1234\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        ] {
            let mut raw = RawClient::open(gateway.edge).await;
            raw.say(get("/a", "")).await;
            let said = format!("HTTP/1.1 {status}\r\nETag: \"1\"\r\n{fields}\r\n");
            origin.answer_once(&said).await;
            let answer = raw.answer().await;
            let framing = ["transfer-encoding", "content-length"].map(|name| answer.field(name));
            assert_eq!(framing, [None, None], "{status}, {fields}: {}", answer.head);
            assert_eq!(answer.field("etag").as_deref(), Some("\"1\""));
            // What follows is the next answer, and nothing of this one.
            raw.say(get("/b", "")).await;
            origin.answer_once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            assert_eq!(raw.answer().await.body, "ok", "{status}, {fields}");
        }
    }
}

#[tokio::test]
async fn http_1_0_is_told_the_truth_about_its_connection() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}']", origin.address));
    let keep = "Connection: keep-alive\r\n";
    for (what, asked, said, is_kept) in [
        ("a length", keep, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
        ("no body", keep, "HTTP/1.1 204 No Content\r\n\r\n", true),
        (
            "chunks",
            keep,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            false,
        ),
        ("an end", keep, "HTTP/1.1 200 OK\r\n\r\nok", false),
        ("an end in 1.0", keep, "HTTP/1.0 200 OK\r\n\r\nok", false),
        ("nobody asked", "", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
    ] {
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(format!("GET /a HTTP/1.0\r\nHost: a\r\n{asked}\r\n")).await;
        origin.answer_once(said).await;
        let answer = raw.answer().await;
        let connection = if is_kept { "keep-alive" } else { "close" };
        assert_eq!(answer.field("connection").as_deref(), Some(connection), "{what}");
        assert_eq!(answer.field("transfer-encoding"), None, "{what}: {}", answer.head);
        assert!(answer.status == 204 || answer.body == "ok", "{what}: {}", answer.body);
        match is_kept {
            true => {
                raw.say(get("/b", "")).await;
                origin.answer_once("HTTP/1.1 204 No Content\r\n\r\n").await;
                assert_eq!(raw.answer().await.status, 204, "{what}");
            }
            false => assert_eq!(raw.rest().await, b"", "{what}"),
        }
    }
}

#[tokio::test]
async fn an_upstream_of_http_1_0_changes_nothing_for_a_client_of_1_1() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}']", origin.address));
    let mut raw = RawClient::open(gateway.edge).await;
    for said in [
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    ] {
        raw.say(get("/a", "")).await;
        origin.answer_once(said).await;
        let answer = raw.answer().await;
        assert!(answer.head.starts_with("HTTP/1.1 200 "), "{}", answer.head);
        assert_eq!(
            (answer.body.as_str(), answer.field("connection").as_deref()),
            ("ok", Some("keep-alive"))
        );
    }
}

#[tokio::test]
async fn a_path_that_a_second_reader_could_climb_is_refused() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}']", origin.address));
    let mut raw = RawClient::open(gateway.edge).await;
    for path in [
        "/a/%252e%252e/b",
        "/a/%25%32%65%2e/b",
        "/a/.%252e",
        "/a/..;/b",
        "/a/..;x=1/b",
        "/a/..%3b/b",
        "/a/..%253b/b",
        "/a/.;/b",
        "/a/%c0%ae%c0%ae/b",
        "/a/%c0%2e%c0%2e/b",
        "/a/%e0%80%ae%e0%80%ae/b",
        "/a/..%c0%afb",
        "/a/..%252fb",
        "/a/..%255cb",
        "/a/%25252e%25252e/b",
    ] {
        let answer = raw.ask(get(path, "")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "request_malformed"), "{path}");
        assert!(answer.body.contains("could be read as `.` or `..`"), "{path}: {}", answer.body);
    }
    for (path, sent) in [
        ("/a/../b", "/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/%2e/b", "/a/b"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/a/...;v=1/b", "/a/...;v=1/b"),
        ("/a/%252fb", "/a/%252fb"),
        ("/a/100%25", "/a/100%25"),
        ("/a/caf%c3%a9.ts", "/a/caf%C3%A9.ts"),
    ] {
        let ok = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        let (status, _, request) = heard(&gateway, &origin, &get(path, ""), ok).await;
        let expected = format!("get {} http/1.1", sent.to_lowercase());
        assert_eq!((status, request.lines().next().unwrap()), (204, expected.as_str()), "{path}");
    }
}

#[tokio::test]
async fn what_no_url_holds_is_passed_on_encoded() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}']", origin.address));
    let ok = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    for (target, sent) in [
        ("/a?CMCD=sid=\"abc\"", "/a?CMCD=sid=%22abc%22"),
        ("/a?x=<b>", "/a?x=%3Cb%3E"),
        ("/a?x=caf\u{e9}", "/a?x=caf%C3%A9"),
        ("/\"q\"", "/%22q%22"),
        ("/<q>`", "/%3Cq%3E%60"),
        ("/caf\u{e9}", "/caf%C3%A9"),
        ("/a b", "/a%20b"),
        ("/a?x='y'", "/a?x='y'"),
        ("/a?x=a|b&y[]={1}^", "/a?x=a|b&y[]={1}^"),
        ("/a?x=%00%0a+%20", "/a?x=%00%0a+%20"),
        ("/a?x=/../", "/a?x=/../"),
        ("/a?", "/a?"),
        ("/a??x=\"", "/a??x=%22"),
    ] {
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(get(target, "")).await;
        let request = origin.answer_once(ok).await;
        let line = format!("GET {sent} HTTP/1.1");
        assert_eq!(request.lines().next(), Some(line.as_str()), "{target}");
        assert_eq!(raw.answer().await.status, 204, "{target}");
    }
    // In pieces, as the network may cut it, and with a body behind the head.
    let mut raw = RawClient::open(gateway.edge).await;
    let asked = "POST /a?x=\"\u{e9}\" HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\"\u{e9}";
    for byte in asked.as_bytes() {
        raw.say([*byte]).await;
        tokio::task::yield_now().await;
    }
    let mut upstream = origin.accept().await;
    assert!(upstream.request().await.starts_with("POST /a?x=%22%C3%A9%22 HTTP/1.1\r\n"));
    assert_eq!(upstream.bytes(3).await, "\"\u{e9}".as_bytes());
    upstream.say(ok).await;
    assert_eq!(raw.answer().await.status, 204);
}

#[tokio::test]
async fn what_cannot_be_meant_in_a_query_is_named() {
    let gateway = proxying_to("endpoints: ['127.0.0.1:1']");
    for (query, named) in [
        ("a b", "a space as it is; it is written `%20`"),
        ("a  b c", "a space"),
        ("a\0", "NUL as it is; it is written `%00`"),
        ("a\t", "the control byte 0x09"),
        ("a\x1b[0m", "the control byte 0x1B"),
        ("a\rb", "the control byte 0x0D"),
        ("\"\x7f", "the control byte 0x7F"),
    ] {
        let mut raw = RawClient::open(gateway.edge).await;
        let answer = raw.ask(get(&format!("/a?{query}"), "")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "request_malformed"), "{query}");
        assert!(answer.body.contains(named), "{query:?}: {}", answer.body);
    }
}

#[tokio::test]
async fn one_dot_at_the_end_is_the_same_host() {
    let origin = Origin::listen().await;
    let fields = format!("endpoints: ['{}']", origin.address);
    let yaml = proxying_yaml("", &fields).replace(
        "routes:\n",
        "routes:\n  - name: by\n    match: { host: [tv.example, '*.tv.example'], path: '/{*r}' }\n\
         \x20   redirect: { to: /by }\n",
    );
    let gateway = Gateway::start(&yaml, &Environment::default());
    let mut raw = RawClient::open(gateway.edge).await;
    let ask = |host: &str| format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for host in
        ["tv.example", "tv.example.", "TV.example.:8443", "a.tv.example.", "a.tv.example.:1"]
    {
        assert_eq!(raw.ask(ask(host)).await.status, 308, "{host}");
    }
    for host in ["tv.example..", ".tv.example", "tv..example", ".", "..", ".:80"] {
        let answer = raw.ask(ask(host)).await;
        assert_eq!(answer.code(), "request_malformed", "{host}: no route is stepped around");
    }
    for (host, sent) in [("b.example.", "b.example"), ("b.example.:80", "b.example:80")] {
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(ask(host)).await;
        let ok = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        let request = origin.answer_once(ok).await.to_lowercase();
        assert!(request.contains(&format!("\r\nhost: {sent}\r\n")), "{request}");
        assert!(request.contains(&format!("\r\nx-forwarded-host: {sent}\r\n")), "{request}");
        assert_eq!(raw.answer().await.status, 204);
    }
}

#[tokio::test]
async fn fields_with_underscores_are_dropped_or_refused() {
    let origin = Origin::listen().await;
    let upstream = format!("endpoints: ['{}']", origin.address);
    let fields = "api_key: 1\r\nX_Forwarded_For: 6.6.6.6\r\nContent_Length: 1\r\n\
        Transfer_Encoding: chunked\r\nX-Kept: 2\r\n_: 3\r\n";
    for listener in ["", ", underscores: drop"] {
        let gateway = proxying_with(listener, &upstream);
        let ok = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        let (status, _, request) = heard(&gateway, &origin, &get("/a", fields), ok).await;
        assert_eq!(status, 204);
        assert!(request.contains("x-kept: 2\r\n") && !request.contains('_'), "{request}");
        assert!(!request.contains("6.6.6.6"), "{request}");
        let dropped = "streamgate_header_fields_dropped_total{listener=\"edge\"}";
        assert_eq!(gateway.metric(dropped).await, 5.0);
    }
    let gateway = proxying_with(", underscores: refuse", &upstream);
    for fields in ["api_key: 1\r\n", "Content_Length: 1\r\n", "_: 1\r\n"] {
        let mut raw = RawClient::open(gateway.edge).await;
        let answer = raw.ask(get("/a", fields)).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "request_malformed"), "{fields}");
        assert!(answer.body.contains("contains `_`"), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_head_is_sent_when_the_upstream_has_sent_it() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}']", origin.address));
    for framing in ["Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(get("/a", "")).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.say(format!("HTTP/1.1 200 OK\r\n{framing}\r\n")).await;
        // Nothing more comes before the client has it.
        assert_eq!(raw.head().await.status, 200, "{framing}");
        if framing.starts_with("Content") {
            for _ in 0..2 {
                upstream.say("hello").await;
                assert_eq!(raw.bytes(5).await, b"hello");
            }
        }
    }
}

#[tokio::test]
async fn an_encoded_slash_passes_where_the_route_says_so() {
    let origin = Origin::listen().await;
    let fields = format!("endpoints: ['{}']", origin.address);
    let gateway = proxying_to(&fields);
    let mut raw = RawClient::open(gateway.edge).await;
    for path in ["/a%2Fb", "/a%2fb", "/%2f"] {
        let answer = raw.ask(get(path, "")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "request_malformed"), "{path}");
    }
    let yaml = proxying_yaml("", &fields).replace(
        "routes:\n",
        "routes:\n  - { name: keys, match: { path: \"/keys/{*key}\" }, upstream: all, \
         encoded_slash: pass }\n",
    );
    let gateway = Gateway::start(&yaml, &Environment::default());
    let ok = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    for (path, sent) in [
        ("/keys/a%2fb/c", "/keys/a%2Fb/c"),
        ("/keys/%2F", "/keys/%2F"),
        ("/other/../keys/a%2Fb", "/keys/a%2Fb"),
    ] {
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(get(path, "")).await;
        let request = origin.answer_once(ok).await;
        assert_eq!(request.lines().next(), Some(format!("GET {sent} HTTP/1.1").as_str()));
        assert_eq!(raw.answer().await.status, 204);
    }
    let mut raw = RawClient::open(gateway.edge).await;
    for path in ["/other/a%2Fb", "/keys%2Fa", "/keys/..%2Fa", "/keys/a%2F..%2Fb", "/keys/a%5Cb"] {
        let answer = raw.ask(get(path, "")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "request_malformed"), "{path}");
    }
}
