//! The PROXY protocol in front of HTTP: whose connection it is, who may say so, and what becomes of
//! those who say it wrongly.

use crate::access::Logged;
use crate::client::auth_service;
use crate::harness::{Gateway, until};
use crate::origin::{Origin, proxying_with, proxying_yaml};
use crate::raw_client::RawClient;
use serde_json::{Value, json};
use std::time::Duration;
use streamgate::yaml::Environment;
use tokio::time::Instant;

const SPEAKS: &str = r#", trusted: ["127.0.0.0/8", "10.0.0.0/8"], proxy_protocol: true"#;
const HEAD: &str = "GET /a HTTP/1.1\r\nHost: tv.example\r\n";
const START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 for a client of IPv4, by TLS or not.
fn v2(client: [u8; 4], is_tls: bool) -> Vec<u8> {
    let tls = [0x20, 0, 5, u8::from(is_tls), 0, 0, 0, 0];
    let rest = [&client[..], &[10, 0, 0, 1, 0x12, 0x34, 1, 0xbb], &tls].concat();
    [START, &[0x21, 0x11, 0, rest.len() as u8], &rest].concat()
}

/// A header of version 2 that says an address of IPv4 as one of IPv6.
fn v2_mapped(client: [u8; 4]) -> Vec<u8> {
    let address = [&[0; 10][..], &[0xff, 0xff], &client].concat();
    [START, &[0x21, 0x21, 0, 36], &address, &[0; 20]].concat()
}

/// What the upstream gets and the log tells of two requests behind this header.
async fn behind(header: &[u8], fields: &str) -> (String, String, Value) {
    let origin = Origin::listen().await;
    let yaml = proxying_yaml(SPEAKS, &format!("endpoints: [\"{}\"]", origin.address));
    let logged = Logged::start_with(&yaml, &Environment::default());
    let mut raw = RawClient::open(logged.gateway.edge).await;
    let mut told = Vec::new();
    for first in [header, b""] {
        raw.say([first, format!("{HEAD}{fields}\r\n").as_bytes()].concat()).await;
        let head = origin.answer_once("HTTP/1.1 204 No Content\r\n\r\n").await.to_lowercase();
        assert_eq!(raw.answer().await.status, 204);
        let field = |name: &str| {
            let mut values = head.lines().filter_map(|line| line.strip_prefix(name));
            let value = values.next().unwrap_or_else(|| panic!("{name} in {head}")).to_owned();
            assert_eq!(values.next(), None, "one only: {head}");
            value
        };
        told.push((field("x-forwarded-for: "), field("x-forwarded-proto: ")));
    }
    assert_eq!(told[0], told[1], "a connection has one peer for all its requests");
    let line = logged.lines(2).await.remove(1);
    let (client, scheme) = told.remove(0);
    (client, scheme, line)
}

#[tokio::test]
async fn the_peer_is_the_address_in_the_header() {
    let v1 = |line: &str| format!("{line}\r\n").into_bytes();
    let tcp6 = "PROXY TCP6 2001:db8::9 ::1 1 2";
    let tls = v2([203, 0, 113, 9], true);
    let local = [START, &[0x20, 0, 0, 0]].concat();
    let unsaid = [START, &[0x21, 0, 0, 8, 0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
    for (what, header, client, scheme) in [
        ("v1", v1("PROXY TCP4 203.0.113.9 10.0.0.1 1 2"), "203.0.113.9", "http"),
        ("v1, IPv6", v1(tcp6), "2001:db8::9", "http"),
        ("v1, mapped", v1("PROXY TCP6 ::ffff:203.0.113.9 ::1 1 2"), "203.0.113.9", "http"),
        ("v1, unknown", v1("PROXY UNKNOWN"), "127.0.0.1", "http"),
        ("v2", v2([203, 0, 113, 9], false), "203.0.113.9", "http"),
        ("v2, by TLS", tls, "203.0.113.9", "https"),
        ("v2, mapped", v2_mapped([203, 0, 113, 9]), "203.0.113.9", "http"),
        ("v2, local", local, "127.0.0.1", "http"),
        ("v2, not said whose, by TLS", unsaid, "127.0.0.1", "https"),
    ] {
        let (told, used, line) = behind(&header, "").await;
        assert_eq!((told.as_str(), used.as_str()), (client, scheme), "{what}");
        assert_eq!(line["client"], client, "{what}: {line}");
    }
}

#[tokio::test]
async fn forwarded_fields_count_only_if_that_address_is_trusted() {
    let said = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Request-Id: cdn-1\r\n";
    let v1 = |address: &str| format!("PROXY TCP4 {address} 10.0.0.1 1 2\r\n").into_bytes();
    let (client, scheme, line) = behind(&v1("203.0.113.9"), said).await;
    assert_eq!((client.as_str(), scheme.as_str()), ("203.0.113.9", "http"), "its own word");
    assert_eq!(line["client_request_id"], Value::Null, "{line}");
    let (client, scheme, line) = behind(&v1("10.0.0.7"), said).await;
    assert_eq!((client.as_str(), scheme.as_str()), ("192.0.2.1", "https"), "a proxy behind it");
    assert_eq!(line["client_request_id"], "cdn-1", "{line}");
    let (client, _, _) = behind(b"PROXY UNKNOWN\r\n", said).await;
    assert_eq!(client, "192.0.2.1", "the socket is trusted");
    let tls = v2([10, 0, 0, 7], true);
    let http = "X-Forwarded-Proto: http\r\n";
    assert_eq!(behind(&tls, http).await.1, "http", "who is trusted says it of its own client");
}

/// How many connections were closed for this reason.
async fn refused(gateway: &Gateway, reason: &str) -> f64 {
    let labels = format!("{{listener=\"edge\",reason=\"{reason}\"}}");
    gateway.metric(&format!("streamgate_connections_refused_total{labels}")).await
}

#[tokio::test]
async fn who_says_nothing_or_says_it_wrongly_is_closed_without_an_answer() {
    let gateway = proxying_with(SPEAKS, "endpoints: [\"127.0.0.1:9\"]");
    let get = format!("{HEAD}\r\n");
    let mut with_sum = v2([203, 0, 113, 9], false);
    with_sum[15] += 7;
    with_sum.extend([3, 0, 4, 1, 2, 3, 4]);
    let (missing, malformed) = ("proxy_header_missing", "proxy_header_malformed");
    for (what, bytes, reason) in [
        ("HTTP at once", get.clone().into_bytes(), missing),
        ("TLS", b"\x16\x03\x01\x02\0\x01\0\x01".to_vec(), missing),
        ("an empty line before", format!("\r\n{get}").into_bytes(), missing),
        ("no address", format!("PROXY TCP4 x y 1 2\r\n{get}").into_bytes(), malformed),
        ("no end", [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(), malformed),
        ("version 3", [START, &[0x31, 0x11, 0, 0]].concat(), malformed),
        ("longer than any", [START, &[0x21, 0x11, 0xff, 0xff]].concat(), malformed),
        ("shorter than its address", [START, &[0x21, 0x11, 0, 4, 1, 2, 3, 4]].concat(), malformed),
        ("with a wrong checksum", with_sum.clone(), malformed),
    ] {
        let before = refused(&gateway, reason).await;
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(&bytes).await;
        assert_eq!(raw.rest().await, b"", "{what}");
        let is_counted = || async { refused(&gateway, reason).await == before + 1.0 };
        until(&format!("{what} is counted as {reason}"), is_counted).await;
    }
    // One that breaks off in the middle is no header, either; one that says nothing is nobody.
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say("PROXY TCP4 203").await;
    let before = refused(&gateway, malformed).await;
    assert_eq!(raw.rest_after_close().await, b"");
    until("it is counted", || async { refused(&gateway, malformed).await == before + 1.0 }).await;
    let mut silent = RawClient::open(gateway.edge).await;
    assert_eq!(silent.rest_after_close().await, b"");
    assert_eq!(refused(&gateway, malformed).await, before + 1.0, "a look at the port is no fault");
    // Twice is once too often: what follows the header is HTTP/1.1, and nothing else.
    let header = "PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n";
    let (preface, tls) = ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\0\x05hello\r\n\r\n");
    for follows in [&format!("{header}{get}"), preface, tls] {
        let mut raw = RawClient::open(gateway.edge).await;
        assert_eq!(raw.ask(format!("{header}{follows}")).await.status, 400, "{follows}");
    }
}

#[tokio::test]
async fn nobody_else_may_say_whose_connection_it_is() {
    let speaks = r#", trusted: ["10.0.0.0/8"], proxy_protocol: true"#;
    let origin = Origin::listen().await;
    let upstream = format!("endpoints: [\"{}\"]", origin.address);
    let gateway = proxying_with(speaks, &upstream);
    let v1 = b"PROXY TCP4 10.0.0.9 10.0.0.1 1 2\r\n".to_vec();
    for header in [v1, v2([10, 0, 0, 9], true), b"PROXY UNKNOWN\r\n".to_vec()] {
        let before = refused(&gateway, "proxy_header_untrusted").await;
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say([&header[..], format!("{HEAD}\r\n").as_bytes()].concat()).await;
        assert_eq!(raw.rest().await, b"");
        let now = refused(&gateway, "proxy_header_untrusted").await;
        assert_eq!(now, before + 1.0, "{}", header.escape_ascii());
    }
    // Who comes without one is served as who it is; bytes that looked like one are not lost.
    for start in ["", "\r\n"] {
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(format!("{start}{HEAD}\r\n")).await;
        let head = origin.answer_once("HTTP/1.1 204 No Content\r\n\r\n").await.to_lowercase();
        assert!(head.contains("x-forwarded-for: 127.0.0.1\r\n"), "{head}");
        assert_eq!(raw.answer().await.status, 204);
    }
    // Where the listener does not speak it, nobody's header is read: it is no HTTP.
    let gateway = proxying_with(r#", trusted: ["127.0.0.1"]"#, &upstream);
    let mut raw = RawClient::open(gateway.edge).await;
    let bytes = format!("PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n{HEAD}\r\n");
    assert_eq!(raw.ask(bytes).await.status, 400);
}

#[tokio::test]
async fn a_header_has_the_time_of_a_head() {
    let patient = format!("{SPEAKS}, head_timeout: 300ms");
    let gateway = proxying_with(&patient, "endpoints: [\"127.0.0.1:9\"]");
    let began = Instant::now();
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say("PROXY TCP4 203.0.113.9 ").await;
    assert_eq!(raw.rest().await, b"");
    assert!((250..3_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    let counted = || async { refused(&gateway, "proxy_header_timeout").await == 1.0 };
    until("it is counted", counted).await;
    // A byte now and then buys no time.
    let began = Instant::now();
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say([START, &[0x21, 0x11, 0x1f, 0xf0]].concat()).await;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while !raw.has_hung_up() {
        tick.tick().await;
        raw.say([0]).await;
    }
    assert!((250..3_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    until("it is counted", || async { refused(&gateway, "proxy_header_timeout").await == 2.0 })
        .await;
}

#[tokio::test]
async fn a_header_may_come_in_pieces_and_the_head_right_behind_it() {
    let gateway = proxying_with(SPEAKS, "endpoints: [\"127.0.0.1:9\"]");
    let v1 = b"PROXY TCP6 2001:db8::9 2001:db8::1 4124 443\r\n".to_vec();
    for header in [v1, v2([203, 0, 113, 9], true)] {
        let whole = [&header[..], format!("{HEAD}\r\n").as_bytes()].concat();
        // Byte by byte, in two pieces that are cut anywhere, and in one.
        let cuts = (1..=header.len()).map(|at| whole.split_at(at)).map(|(a, b)| vec![a, b]);
        for pieces in cuts.chain([whole.chunks(1).collect(), vec![&whole[..]]]) {
            let mut raw = RawClient::open(gateway.edge).await;
            for piece in pieces {
                raw.say(piece).await;
            }
            let answer = raw.answer().await;
            assert_eq!(answer.status, 502, "nobody listens behind: {}", answer.head);
        }
    }
}

#[tokio::test]
async fn a_listener_of_ipv6_speaks_it_with_peers_of_ipv4() {
    let yaml = proxying_yaml(
        r#", trusted: ["127.0.0.1"], proxy_protocol: true"#,
        "endpoints: [\"127.0.0.1:9\"]",
    );
    let yaml = yaml.replacen("127.0.0.1:0\"", "[::]:0\"", 1);
    let logged = Logged::start_with(&yaml, &Environment::default());
    let at = format!("127.0.0.1:{}", logged.gateway.edge.port()).parse().unwrap();
    let mut raw = RawClient::open(at).await;
    raw.say(v2_mapped([203, 0, 113, 9])).await;
    assert_eq!(raw.ask(format!("{HEAD}\r\n")).await.status, 502);
    assert_eq!(logged.lines(1).await[0]["client"], "203.0.113.9");
}

/// The same as behind a proxy that writes fields (`client.rs`): viewers have their own addresses.
#[tokio::test]
async fn one_who_guesses_passwords_locks_out_nobody_else() {
    let address = auth_service().await;
    let gateway = proxying_with(SPEAKS, &format!("endpoints: [\"{address}\"]"));
    let login = async |client: [u8; 4], account: &str, password: &str| {
        let body = json!({ "account": account, "password": password }).to_string();
        let head = "POST /auth/login HTTP/1.1\r\nHost: tv.example\r\n\
                    X-Forwarded-For: 192.0.2.99\r\nX-Forwarded-Proto: http\r\n\
                    Content-Type: application/json\r\n";
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let mut raw = RawClient::open(gateway.edge).await;
        raw.ask([&v2(client, true)[..], request.as_bytes()].concat()).await
    };
    for n in 1..=75 {
        let guess = login([198, 51, 100, n], &format!("user{n}"), "a-wrong-password").await;
        assert_eq!(guess.status, 401, "guess {n}: {}", guess.head);
    }
    let ann = login([192, 0, 2, 99], "ann", "a-long-password").await;
    assert_eq!(ann.status, 200, "the 76th is right: {}", ann.head);
    let cookie = ann.field("set-cookie").unwrap();
    assert!(cookie.contains("; Secure"), "the balancer says that it came by TLS: {cookie}");
    for n in 0..61 {
        let guess = login([192, 0, 2, 66], &format!("user{n}"), "another-wrong-password").await;
        assert_eq!(guess.status, if n < 60 { 401 } else { 429 }, "guess {n} from one address");
    }
    let ann = login([192, 0, 2, 66], "ann", "a-long-password").await;
    assert_eq!(ann.status, 429, "it is the guesser, whatever the fields say");
    assert_eq!(login([192, 0, 2, 99], "ann", "a-long-password").await.status, 200);
}
