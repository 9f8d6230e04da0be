//! Who the client is: behind proxies that the listener trusts, and for everybody else. What
//! filters, logs and upstreams see of it.

use crate::access::Logged;
use crate::harness::{Gateway, SECRET, environment};
use crate::origin::{Origin, proxying_with, proxying_yaml};
use crate::raw_client::RawClient;
use reqwest::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use streamgate::yaml::Environment;
use tokio::net::{TcpListener, TcpSocket};

const TRUSTING: &str = r#", trusted: ["127.0.0.0/8"]"#;

/// The auth service as it is run: it counts failed logins by address.
pub(crate) async fn auth_service() -> SocketAddr {
    let signing = auth::Signing::hs256(SECRET.as_bytes()).unwrap();
    let mut settings = auth::Settings::new(signing, Arc::new(auth::session::TokensOnly));
    settings.seeds = vec!["ann:a-long-password:gold:5".parse().unwrap()];
    settings.cookie_secure = auth::Secure::Auto;
    settings.trusted_hops = 2;
    settings.hash_cost = auth::password::HashCost { memory_kib: 8, passes: 1 };
    let app = auth::app(settings).await.unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(socket, app).await });
    address
}

/// A login from this address, as a proxy that ends TLS passes it on.
fn login(gateway: &Gateway, from: &str, account: &str, password: &str) -> reqwest::RequestBuilder {
    let request = gateway.request(Method::POST, "/auth/login");
    request
        .header("x-forwarded-for", from)
        .header("x-forwarded-proto", "https")
        .json(&json!({ "account": account, "password": password }))
}

#[tokio::test]
async fn one_who_guesses_passwords_locks_out_nobody_else() {
    let address = auth_service().await;
    let gateway = proxying_with(TRUSTING, &format!("endpoints: [\"{address}\"]"));
    for n in 1..=75 {
        let from = format!("198.51.100.{n}");
        let guess = login(&gateway, &from, &format!("user{n}"), &format!("wrong-password-{n}"));
        assert_eq!(guess.send().await.unwrap().status(), 401, "guess {n}");
    }
    let ann = login(&gateway, "192.0.2.99", "ann", "a-long-password").send().await.unwrap();
    assert_eq!(ann.status(), 200, "the 76th is right");
    let cookie = ann.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("; Secure"), "`auto` sees the scheme that the client used: {cookie}");

    for n in 0..61 {
        let guess = login(&gateway, "192.0.2.66", &format!("user{n}"), "another-wrong-password");
        let status = guess.send().await.unwrap().status();
        assert_eq!(status, if n < 60 { 401 } else { 429 }, "guess {n} from one address");
    }
    // What a client writes at the left of its own address changes nothing.
    let disguised = login(&gateway, "192.0.2.99, 192.0.2.66", "ann", "a-long-password");
    assert_eq!(disguised.send().await.unwrap().status(), 429, "it is the guesser");
    let ann = login(&gateway, "192.0.2.99", "ann", "a-long-password").send().await.unwrap();
    assert_eq!(ann.status(), 200, "the guesser alone waits");
}

/// Everything by which a client or a proxy may say who asks.
const SAID: &str = "Host: tv.example\r\n\
    Forwarded: for=192.0.2.1;proto=https;host=evil.example\r\n\
    X-Forwarded-For: 1.2.3.4\r\n\
    X-Forwarded-For: 203.0.113.9, 127.0.0.9\r\n\
    X-Forwarded-Proto: https\r\n\
    X-Forwarded-Host: other.example\r\n\
    X-Forwarded-Port: 443\r\n\
    X-Forwarded-Prefix: /a\r\n\
    X-Forwarded-Client-Cert: By=x\r\n\
    X-Real-IP: 192.0.2.1\r\n\
    X-Client-IP: 192.0.2.1\r\n\
    True-Client-IP: 192.0.2.1\r\n\
    CF-Connecting-IP: 192.0.2.1\r\n\
    X-Request-Id: cdn-abc-1\r\n\
    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";

/// What an upstream gets of a request with these fields, in lower case, and the line of the log.
async fn passed(listener: &str, edge: &str, fields: &str) -> (Vec<String>, Value) {
    let origin = Origin::listen().await;
    let upstream = format!("endpoints: [\"{}\"]", origin.address);
    let yaml = proxying_yaml(listener, &upstream);
    let yaml = yaml.replacen("127.0.0.1:0\"", &format!("{edge}\""), 1);
    let logged = Logged::start_with(&yaml, &Environment::default());
    let loopback = if edge.starts_with("[::1]") { "[::1]" } else { "127.0.0.1" };
    let to = format!("{loopback}:{}", logged.gateway.edge.port()).parse().unwrap();
    let mut raw = RawClient::open(to).await;
    raw.say(format!("GET /a HTTP/1.1\r\n{fields}\r\n")).await;
    let head = origin.answer_once("HTTP/1.1 204 No Content\r\n\r\n").await.to_lowercase();
    assert_eq!(raw.answer().await.status, 204);
    let mut lines: Vec<String> = head.lines().skip(1).map(str::to_owned).collect();
    lines.sort();
    (lines, logged.lines(1).await.remove(0))
}

/// The lines of a head whose name begins so.
fn named<'a>(lines: &'a [String], start: &str) -> Vec<&'a str> {
    lines.iter().filter(|line| line.starts_with(start)).map(String::as_str).collect()
}

#[tokio::test]
async fn upstreams_and_logs_get_the_client_that_a_trusted_peer_tells() {
    let (head, line) = passed(TRUSTING, "127.0.0.1:0", SAID).await;
    let forwarded = ["x-forwarded-for: 203.0.113.9", "x-forwarded-host: tv.example"];
    assert_eq!(named(&head, "x-forwarded")[..2], forwarded, "{head:?}");
    assert_eq!(named(&head, "x-forwarded")[2..], ["x-forwarded-proto: https"], "{head:?}");
    assert_eq!(named(&head, "host:"), ["host: tv.example"]);
    for gone in ["forwarded:", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"] {
        assert_eq!(named(&head, gone), [""; 0], "{head:?}");
    }
    let ours = format!("x-request-id: {}", line["id"].as_str().unwrap());
    assert_eq!(named(&head, "x-request-id"), [ours]);
    assert_eq!(named(&head, "traceparent").len(), 1, "{head:?}");
    assert_eq!(line["client"], "203.0.113.9", "{line}");
    assert_eq!(line["host"], "tv.example", "{line}");
    assert_eq!(line["client_request_id"], "cdn-abc-1", "{line}");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(line["traceparent"], trace, "{line}");
}

#[tokio::test]
async fn nobody_else_names_a_client() {
    for trusting in ["", r#", trusted: ["10.0.0.0/8", "::1"]"#] {
        let (head, line) = passed(trusting, "127.0.0.1:0", SAID).await;
        assert_eq!(named(&head, "x-forwarded-for"), ["x-forwarded-for: 127.0.0.1"]);
        assert_eq!(named(&head, "x-forwarded-proto"), ["x-forwarded-proto: http"]);
        assert_eq!(named(&head, "x-forwarded-host"), ["x-forwarded-host: tv.example"]);
        assert_eq!(line["client"], "127.0.0.1", "{line}");
        assert_eq!(line["client_request_id"], Value::Null, "{line}");
        assert!(line["traceparent"].is_string(), "a trace may be told by anybody: {line}");
    }
}

#[tokio::test]
async fn a_trusted_peer_may_name_the_host_where_the_file_says_so() {
    let hosted = r#", trusted: ["127.0.0.1"], trusted_host: true"#;
    let (head, line) = passed(hosted, "127.0.0.1:0", SAID).await;
    assert_eq!(named(&head, "host:"), ["host: other.example"]);
    assert_eq!(named(&head, "x-forwarded-host"), ["x-forwarded-host: other.example"]);
    assert_eq!(line["host"], "other.example", "{line}");
    let (head, _) = passed(hosted, "127.0.0.1:0", "Host: tv.example\r\n").await;
    assert_eq!(named(&head, "host:"), ["host: tv.example"], "it says nothing of a host");

    let yaml = proxying_yaml(hosted, "endpoints: [\"127.0.0.1:9\"]");
    let yaml = yaml.replace("path: \"/{*rest}\"", "host: other.example, path: \"/{*rest}\"");
    let yaml = yaml.replace(", upstream: all,", ", redirect: { to: \"/found\" },");
    let yaml = yaml.replace("upstreams:\n  all: { endpoints: [\"127.0.0.1:9\"] }\n", "");
    let gateway = Gateway::start(&yaml, &Environment::default());
    for (fields, status) in [
        ("Host: tv.example\r\n", 404),
        ("Host: tv.example\r\nX-Forwarded-Host: other.example\r\n", 308),
        ("Host: tv.example\r\nX-Forwarded-Host: OTHER.example:443\r\n", 308),
        ("Host: tv.example\r\nX-Forwarded-Host: a b\r\n", 400),
        ("Host: tv.example\r\nX-Forwarded-Host: a/b\r\n", 400),
        ("Host: other.example\r\nHost: tv.example\r\nX-Forwarded-Host: other.example\r\n", 400),
    ] {
        let mut raw = RawClient::open(gateway.edge).await;
        let answer = raw.ask(format!("GET /a HTTP/1.1\r\n{fields}\r\n")).await;
        assert_eq!(answer.status, status, "{fields}: {}", answer.head);
    }
    // A whole URL names a host, too, and the peer's word counts in its place.
    let mut raw = RawClient::open(gateway.edge).await;
    let url = "GET http://tv.example/a HTTP/1.1\r\nHost: tv.example\r\n";
    assert_eq!(raw.ask(format!("{url}X-Forwarded-Host: other.example\r\n\r\n")).await.status, 308);
}

#[tokio::test]
async fn an_address_is_told_in_its_own_family() {
    let (head, line) = passed("", "[::]:0", SAID).await;
    assert_eq!(named(&head, "x-forwarded-for"), ["x-forwarded-for: 127.0.0.1"]);
    assert_eq!(line["client"], "127.0.0.1", "the socket says ::ffff:127.0.0.1");
    let (_, line) = passed(TRUSTING, "[::]:0", SAID).await;
    assert_eq!(line["client"], "203.0.113.9", "it is trusted as IPv4");
    let (head, line) = passed("", "[::1]:0", SAID).await;
    assert_eq!(named(&head, "x-forwarded-for"), ["x-forwarded-for: ::1"]);
    assert_eq!(line["client"], "::1");
    let said = "Host: a\r\nX-Forwarded-For: 2001:db8::9\r\n";
    let (head, line) = passed(r#", trusted: ["::1"]"#, "[::1]:0", said).await;
    assert_eq!(named(&head, "x-forwarded-for"), ["x-forwarded-for: 2001:db8::9"]);
    assert_eq!(line["client"], "2001:db8::9");
}

#[tokio::test]
async fn ipv4_and_ipv6_have_listeners_of_their_own_on_one_port() {
    // Whoever asks for a free port does not get this one, and who may share an address can bind it.
    let held = TcpSocket::new_v6().unwrap();
    held.set_reuseaddr(true).unwrap();
    held.bind("[::]:0".parse().unwrap()).unwrap();
    let port = held.local_addr().unwrap().port();
    let written = r#"{ name: edge, address: "127.0.0.1:0" }"#;
    for v4 in ["0.0.0.0", "127.0.0.1"] {
        for order in [[v4, "[::]"], ["[::]", v4]] {
            let listeners =
                order.map(|at| format!("{{ name: n{}, address: '{at}:{port}' }}", at.len()));
            let yaml = proxying_yaml("", "endpoints: [\"127.0.0.1:9\"]");
            let yaml = yaml.replace(written, &listeners.join(", "));
            let logged = Logged::start_with(&yaml, &Environment::default());
            for (n, to, client, listener) in
                [(1, "127.0.0.1", "127.0.0.1", v4), (2, "[::1]", "::1", "[::]")]
            {
                let mut raw = RawClient::open(format!("{to}:{port}").parse().unwrap()).await;
                assert_eq!(raw.ask("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 502);
                let line = logged.lines(n).await.pop().unwrap();
                let told = (line["client"].clone(), line["listener"].clone());
                let listener = format!("n{}", listener.len());
                assert_eq!(told, (json!(client), json!(listener)), "{order:?}");
            }
            logged.gateway.stop().await;
        }
    }
}

#[tokio::test]
async fn what_a_peer_calls_a_request_is_cut_and_escaped() {
    for (id, logged) in [
        ("a\"},{\"b\\", "a\"},{\"b\\".to_owned()),
        ("\u{1b}[31m", String::new()),
        ("é\u{2028}", "é\u{2028}".to_owned()),
        (&"x".repeat(5_000), "x".repeat(128)),
        (&"é".repeat(100), "é".repeat(64)),
    ] {
        let fields = format!("Host: a\r\nX-Request-Id: {id}\r\n");
        if logged.is_empty() {
            // A control byte in a value is no HTTP; nothing of it reaches the log.
            let gateway = proxying_with(TRUSTING, "endpoints: [\"127.0.0.1:9\"]");
            let mut raw = RawClient::open(gateway.edge).await;
            let answer = raw.ask(format!("GET /a HTTP/1.1\r\n{fields}\r\n")).await;
            assert_eq!(answer.status, 400);
            continue;
        }
        let (head, line) = passed(TRUSTING, "127.0.0.1:0", &fields).await;
        assert_eq!(line["client_request_id"], logged, "{id}");
        let ours = format!("x-request-id: {}", line["id"].as_str().unwrap());
        assert_eq!(named(&head, "x-request-id"), [ours], "upstreams get ours alone");
    }
}

#[tokio::test]
async fn a_session_is_played_by_the_client_behind_the_proxy() {
    // Filters see the same client as the log: a refusal of theirs is logged with it.
    let yaml = crate::harness::STANDARD.replace(
        "address: \"127.0.0.1:0\" }\nadmin",
        "address: \"127.0.0.1:0\", trusted: [\"127.0.0.1\"] }\nadmin",
    );
    let logged = Logged::start_with(&yaml, &environment(None).await);
    let play = logged.gateway.get("/live/final/master.m3u8");
    let play = play.header("x-forwarded-for", "203.0.113.9");
    assert_eq!(play.send().await.unwrap().status(), 401);
    assert_eq!(logged.lines(1).await[0]["client"], "203.0.113.9");
}
