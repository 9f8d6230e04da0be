//! How much there may be at once: connections of a listener and of a client, requests in flight at
//! the gateway and at an upstream. Who finds no room is told so, and when to come back.

use crate::harness::{Gateway, until};
use crate::origin::{Origin, proxying_with, proxying_yaml};
use crate::raw_client::{Answer, RawClient};
use streamgate::yaml::Environment;
use tokio::net::TcpSocket;

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
/// Without a host: the gateway refuses it by itself, and keeps the connection.
const REFUSED: &str = "GET /a HTTP/1.1\r\n\r\n";
const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";

fn is_overloaded(answer: &Answer) {
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"), "{}", answer.head);
    assert_eq!(answer.field("retry-after").as_deref(), Some("1"), "{}", answer.head);
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["retry_after"], 1, "{body}");
}

async fn refused(gateway: &Gateway, reason: &str) -> f64 {
    let labels = format!("{{listener=\"edge\",reason=\"{reason}\"}}");
    gateway.metric(&format!("streamgate_connections_refused_total{labels}")).await
}

/// A connection from this address.
async fn opened(gateway: &Gateway, from: &str) -> RawClient {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    RawClient::of(socket.connect(gateway.edge).await.unwrap())
}

/// The same, in use: it has had an answer.
async fn used(gateway: &Gateway, from: &str) -> RawClient {
    let mut raw = opened(gateway, from).await;
    let answer = raw.ask(REFUSED).await;
    assert_eq!(answer.status, 400, "{}", answer.head);
    raw
}

const NOBODY: &str = "endpoints: [\"127.0.0.1:9\"]";

#[tokio::test]
async fn a_listener_has_room_for_so_many_connections() {
    let gateway = proxying_with(", connections: 2", NOBODY);
    let (one, _two) = (used(&gateway, "127.0.0.1").await, used(&gateway, "127.0.0.1").await);
    let open = "streamgate_connections{listener=\"edge\"}";
    assert_eq!(gateway.metric(open).await, 2.0);
    for _ in 0..2 {
        let mut third = RawClient::open(gateway.edge).await;
        is_overloaded(&third.ask(GET).await);
        assert_eq!(third.rest().await, b"", "it is closed");
    }
    assert_eq!(refused(&gateway, "full").await, 2.0);
    drop(one);
    gateway.counts(open, 1.0).await;
    let _third = used(&gateway, "127.0.0.1").await;
    assert_eq!(refused(&gateway, "full").await, 2.0);
}

#[tokio::test]
async fn one_client_leaves_room_for_the_others() {
    let gateway = proxying_with(", connections_per_client: 2", NOBODY);
    let one = used(&gateway, "127.0.0.1").await;
    let _two = used(&gateway, "127.0.0.1").await;
    let mut third = RawClient::open(gateway.edge).await;
    is_overloaded(&third.ask(GET).await);
    assert_eq!(refused(&gateway, "client_full").await, 1.0);
    let _other = used(&gateway, "127.0.0.2").await;
    drop(one);
    gateway.counts("streamgate_connections{listener=\"edge\"}", 2.0).await;
    let _third = used(&gateway, "127.0.0.1").await;
}

#[tokio::test]
async fn the_connections_of_a_trusted_peer_are_not_its_own() {
    let limits = r#", trusted: ["127.0.0.1"], connections_per_client: 1"#;
    let gateway = proxying_with(limits, NOBODY);
    let _many = [used(&gateway, "127.0.0.1").await, used(&gateway, "127.0.0.1").await];
    let _client = used(&gateway, "127.0.0.2").await;
    is_overloaded(&opened(&gateway, "127.0.0.2").await.ask(GET).await);

    // Behind the PROXY protocol each client is counted by itself.
    let gateway = proxying_with(&format!("{limits}, proxy_protocol: true"), NOBODY);
    let behind = |client: &str| format!("PROXY TCP4 {client} 10.0.0.1 1 2\r\n{REFUSED}");
    let mut held = Vec::new();
    for (client, status) in
        [("203.0.113.1", 400), ("203.0.113.2", 400), ("203.0.113.1", 503), ("203.0.113.2", 503)]
    {
        let mut raw = RawClient::open(gateway.edge).await;
        assert_eq!(raw.ask(behind(client)).await.status, status, "{client}");
        held.push(raw);
    }
    assert_eq!(refused(&gateway, "client_full").await, 2.0);
}

#[tokio::test]
async fn so_many_requests_may_be_in_flight() {
    let origin = Origin::listen().await;
    let to = |settings: &str| format!("endpoints: [\"{}\"]{settings}", origin.address);
    let global = proxying_yaml("", &to("")).replace("workers: 2", "workers: 2\nin_flight: 2");
    for yaml in [global, proxying_yaml("", &to(", in_flight: 2"))] {
        let gateway = Gateway::start(&yaml, &Environment::default());
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut raw = RawClient::open(gateway.edge).await;
            raw.say(GET).await;
            let mut upstream = origin.accept().await;
            upstream.request().await;
            held.push((raw, upstream));
        }
        let mut third = RawClient::open(gateway.edge).await;
        for _ in 0..3 {
            is_overloaded(&third.ask(GET).await);
        }
        let (mut raw, mut upstream) = held.remove(0);
        upstream.say(NO_CONTENT).await;
        assert_eq!(raw.answer().await.status, 204, "who is in flight is not disturbed");
        drop(upstream);
        gateway.counts("streamgate_requests_in_flight", 1.0).await;
        // The connection that was refused serves again.
        third.say(GET).await;
        origin.answer_once(NO_CONTENT).await;
        assert_eq!(third.answer().await.status, 204, "there is room again");
        let refusals = ["all", "_unmatched"].map(|route| {
            format!("streamgate_denials_total{{code=\"overloaded\",route=\"{route}\"}}")
        });
        let counted =
            async || gateway.metric(&refusals[0]).await + gateway.metric(&refusals[1]).await;
        until("the refusals are counted", || async { counted().await == 3.0 }).await;
    }
}

#[tokio::test]
async fn a_client_that_sends_no_more_gets_its_answer() {
    let origin = Origin::listen().await;
    let gateway = proxying_with("", &format!("endpoints: [\"{}\"]", origin.address));
    let post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let chunks = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                  5\r\nhello\r\n0\r\n\r\n";
    let old = "GET /a HTTP/1.0\r\nHost: a\r\n\r\n";
    for request in [GET, post, chunks, old] {
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(request).await;
        let closed = tokio::spawn(async move { raw.rest_after_close().await });
        let mut upstream = origin.accept().await;
        upstream.request().await;
        // It goes on sending after the client's end was seen.
        upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
        // The gateway has passed on what there is, and waits for the rest.
        gateway.counts("streamgate_requests_in_flight", 1.0).await;
        upstream.say("world").await;
        let answer = String::from_utf8(closed.await.unwrap()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{request}: {answer}");
        assert!(answer.ends_with("helloworld"), "{request}: {answer}");
    }
    // It waits no longer than others: the clock of the answer goes on.
    let settings =
        "endpoints: [\"{}\"], timeouts: { read: 300ms }".replace("{}", &origin.address.to_string());
    let hasty = proxying_with("", &settings);
    let mut raw = RawClient::open(hasty.edge).await;
    raw.say(GET).await;
    let closed = tokio::spawn(async move { raw.rest_after_close().await });
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
    upstream.say("HTTP/1.1 200 OK\r\nX-A: ").await;
    while !upstream.has_hung_up() {
        tick.tick().await;
        upstream.say("a").await;
    }
    let answer = String::from_utf8(closed.await.unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    // The gateway's own answers, too.
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say("GET /a HTTP/1.1\r\n\r\n").await;
    let answer = String::from_utf8(raw.rest_after_close().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}
