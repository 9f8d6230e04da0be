//! How much there may be at once: connections of a listener and of a client, requests in flight at
//! the gateway and at an upstream. Who finds no room is told so, and when to come back.

use crate::access::Logged;
use crate::harness::{DEADLINE, Gateway, Login, STANDARD, environment};
use crate::origin::{Origin, proxying_with, proxying_yaml};
use crate::raw_client::{Answer, RawClient};
use streamgate::yaml::Environment;
use tokio::net::TcpSocket;
use tokio::time::Instant;

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
/// Without a host: the gateway refuses it by itself, and keeps the connection.
const REFUSED: &str = "GET /a HTTP/1.1\r\n\r\n";
const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";

fn is_overloaded(answer: &Answer) {
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"), "{}", answer.head);
    let after: u64 = answer.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=3).contains(&after), "not all come back together: {}", answer.head);
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["retry_after"], after, "{body}");
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
    let upstreams = proxying_yaml("", &to(", in_flight: 2"));
    for (yaml, route, reason) in
        [(global, "_unmatched", "in_flight"), (upstreams, "all", "upstream_in_flight")]
    {
        let logged = Logged::start_with(&yaml, &Environment::default());
        let gateway = &logged.gateway;
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
        // Who asks whether the gateway is well is no request of a client's.
        for path in ["/healthz", "/readyz"] {
            assert_eq!(gateway.admin(path).await.status().as_u16(), 200, "{path}");
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
        for labels in [
            format!("denials_total{{code=\"overloaded\",route=\"{route}\"}}"),
            format!("overloaded_total{{reason=\"{reason}\",route=\"{route}\"}}"),
        ] {
            gateway.counts(&format!("streamgate_{labels}"), 3.0).await;
        }
        let line = logged.lines(3).await.remove(0);
        assert_eq!((&line["code"], &line["reason"]), (&"overloaded".into(), &reason.into()));
    }
}

const UPGRADE: &str = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\n\r\n";
const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\n\r\n";
const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";

/// Every way in which a request may end, once its upstream has it.
const ENDS: [&str; 14] = [
    "it is answered",
    "it is answered, and so is a client that sends no more",
    "the client is reset before the answer",
    "the client is reset in the answer",
    "the client closes and no answer comes",
    "the client closes and the answer goes on",
    "the client breaks off in its body",
    "the upstream hangs up before the answer",
    "the upstream hangs up in the answer",
    "the upstream is reset",
    "the upstream does not answer in time",
    "the upstream does not speak HTTP",
    "a client ends a tunnel",
    "an upstream ends a tunnel",
];

async fn end(how: &str, gateway: &Gateway, origin: &Origin) {
    let request = match how {
        "the client breaks off in its body" => {
            "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello"
        }
        tunnel if tunnel.ends_with("tunnel") => UPGRADE,
        _ => GET,
    };
    let (mut raw, mut upstream) = admitted(gateway, origin, request).await;
    match how {
        "it is answered" => {
            upstream.say(NO_CONTENT).await;
            assert_eq!(raw.answer().await.status, 204);
        }
        "it is answered, and so is a client that sends no more" => {
            let closed = tokio::spawn(async move { raw.rest_after_close().await });
            upstream.say(NO_CONTENT).await;
            assert!(closed.await.unwrap().starts_with(b"HTTP/1.1 204"));
        }
        "the client is reset before the answer" => raw.reset(),
        "the client is reset in the answer" => {
            upstream.say(HALF).await;
            assert_eq!(raw.head().await.status, 200);
            raw.reset();
            assert_eq!(upstream.rest().await, b"");
        }
        "the client closes and no answer comes" | "the client breaks off in its body" => {
            drop(raw);
            upstream.rest().await;
        }
        "the client closes and the answer goes on" => {
            upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nhello").await;
            assert_eq!(raw.head().await.status, 200);
            drop(raw);
            while !upstream.has_hung_up() {
                upstream.say([b'x'; 1024]).await;
                tokio::task::yield_now().await;
            }
        }
        "the upstream hangs up before the answer" => {
            drop(upstream);
            assert_eq!(raw.answer().await.status, 502);
        }
        "the upstream hangs up in the answer" => {
            upstream.say(HALF).await;
            drop(upstream);
            assert!(raw.rest().await.ends_with(b"hello"));
        }
        "the upstream is reset" => {
            upstream.reset();
            assert_eq!(raw.answer().await.status, 502);
        }
        "the upstream does not answer in time" => assert_eq!(raw.answer().await.status, 504),
        "the upstream does not speak HTTP" => {
            upstream.say("hello\r\n\r\n").await;
            assert_eq!(raw.answer().await.status, 502);
        }
        "a client ends a tunnel" | "an upstream ends a tunnel" => {
            upstream.say(GRANTED).await;
            assert_eq!(raw.head().await.status, 101);
            // It counts as long as it is open, however silent it is.
            assert_eq!(gateway.metric("streamgate_requests_in_flight").await, 1.0);
            let (gone, mut left) = match how.starts_with("a client") {
                true => (raw, upstream),
                false => (upstream, raw),
            };
            drop(gone);
            assert_eq!(left.rest().await, b"");
        }
        other => panic!("no such end: {other}"),
    }
}

/// Asks on new connections until there is room: the client, and its upstream that has the request.
async fn admitted(gateway: &Gateway, origin: &Origin, request: &str) -> (RawClient, RawClient) {
    let began = Instant::now();
    while began.elapsed() < DEADLINE {
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(request).await;
        tokio::select! {
            answer = raw.answer() => is_overloaded(&answer),
            mut upstream = origin.accept() => {
                upstream.request().await;
                return (raw, upstream);
            }
        }
    }
    panic!("there is no room after {:?}", began.elapsed());
}

#[tokio::test]
async fn room_is_given_back_however_a_request_ends() {
    let origin = Origin::listen().await;
    let upstream = |settings: &str| {
        format!("endpoints: [\"{}\"], timeouts: {{ read: 500ms }}{settings}", origin.address)
    };
    let tunnels = |yaml: String| yaml.replace("max_body: 100MiB", "websocket: true");
    let global = proxying_yaml("", &upstream("")).replace("workers: 2", "workers: 2\nin_flight: 1");
    for yaml in [
        global,
        proxying_yaml("", &upstream(", in_flight: 1")),
        proxying_yaml(", connections: 1", &upstream("")),
        proxying_yaml(", connections_per_client: 1", &upstream("")),
    ] {
        let gateway = Gateway::start(&tunnels(yaml), &Environment::default());
        for how in ENDS {
            end(how, &gateway, &origin).await;
            let (mut raw, mut upstream) = admitted(&gateway, &origin, GET).await;
            upstream.say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
            assert_eq!(raw.answer().await.status, 204, "after {how}");
        }
        gateway.counts("streamgate_requests_in_flight", 0.0).await;
        gateway.counts("streamgate_connections{listener=\"edge\"}", 0.0).await;
    }
}

#[tokio::test]
async fn tunnels_and_long_polls_take_room_as_long_as_they_last() {
    let origin = Origin::listen().await;
    let upstream = format!("endpoints: [\"{}\"], in_flight: 2", origin.address);
    let yaml = proxying_yaml("", &upstream).replace("max_body: 100MiB", "websocket: true");
    let gateway = Gateway::start(&yaml, &Environment::default());
    let mut tunnel = RawClient::open(gateway.edge).await;
    tunnel.say(UPGRADE).await;
    let mut end = origin.accept().await;
    end.request().await;
    end.say(GRANTED).await;
    assert_eq!(tunnel.head().await.status, 101);
    let mut poll = RawClient::open(gateway.edge).await;
    poll.say(GET).await;
    let mut polled = origin.accept().await;
    polled.request().await;
    let mut third = RawClient::open(gateway.edge).await;
    is_overloaded(&third.ask(GET).await);
    end.say("still here").await;
    assert_eq!(tunnel.bytes(10).await, b"still here", "who is in is not disturbed");
    is_overloaded(&third.ask(GET).await);
    polled.say(NO_CONTENT).await;
    assert_eq!(poll.answer().await.status, 204);
    drop((poll, polled));
    drop(admitted(&gateway, &origin, GET).await);
    // An upstream that is not there holds nothing, either.
    drop((tunnel, end));
    gateway.counts("streamgate_requests_in_flight", 0.0).await;
    let nowhere = proxying_with("", &format!("{NOBODY}, in_flight: 1"));
    let mut raw = RawClient::open(nowhere.edge).await;
    for _ in 0..3 {
        assert_eq!(raw.ask(GET).await.status, 502);
        nowhere.counts("streamgate_requests_in_flight", 0.0).await;
        raw = RawClient::open(nowhere.edge).await;
    }
}

/// A start for which its upstream has no room has failed like any other: it holds no slot.
#[tokio::test]
async fn a_playback_for_which_there_is_no_room_holds_nothing() {
    let origin = Origin::listen().await;
    let endpoints = r#"endpoints: ["${STREAM_ADDR}"]"#;
    let yaml = STANDARD.replace(endpoints, &format!("{endpoints}, in_flight: 1"));
    let environment = environment(None).await.with("STREAM_ADDR", origin.address.to_string());
    let gateway = Gateway::start(&yaml, &environment);
    let play = |account: &str| {
        let cookie = Login::of(account, account).cookie();
        format!("GET /live/final/master.m3u8 HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n")
    };
    let (mut ann, mut upstream) = admitted(&gateway, &origin, &play("ann")).await;
    let mut ben = RawClient::open(gateway.edge).await;
    for _ in 0..2 {
        is_overloaded(&ben.ask(play("ben")).await);
    }
    gateway.counts("streamgate_stream_starts_failed_total{policy=\"standard\"}", 2.0).await;
    assert_eq!(gateway.metric("streamgate_stream_leases{policy=\"standard\"}").await, 1.0);
    upstream.say(NO_CONTENT).await;
    assert_eq!(ann.answer().await.status, 204);
    drop((ann, upstream));
    let (mut ben, mut upstream) = admitted(&gateway, &origin, &play("ben")).await;
    upstream.say(NO_CONTENT).await;
    assert_eq!(ben.answer().await.status, 204);
    assert_eq!(gateway.metric("streamgate_stream_leases{policy=\"standard\"}").await, 2.0);
}

/// A client that begins a playback and closes waits for its answer or is gone, and a slot hangs on
/// which it is.
#[tokio::test]
async fn a_client_that_begins_a_playback_and_closes_waits_for_a_moment() {
    let origin = Origin::listen().await;
    let environment = environment(None).await.with("STREAM_ADDR", origin.address.to_string());
    let gateway = Gateway::start(STANDARD, &environment);
    let ask = async |login: &Login, path: &str| {
        let mut raw = RawClient::open(gateway.edge).await;
        let cookie = login.cookie();
        raw.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n")).await;
        let closed = tokio::spawn(async move { raw.rest_after_close().await });
        let mut upstream = origin.accept().await;
        upstream.request().await;
        (closed, upstream)
    };
    let (ann, ben) = (Login::of("ann", "s-1"), Login::of("ben", "s-2"));
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    let (playing, mut upstream) = ask(&ann, "/live/final/master.m3u8").await;
    upstream.say(answer).await;
    assert!(playing.await.unwrap().ends_with(b"hello"), "its answer comes at once");
    let leases = "streamgate_stream_leases{policy=\"standard\"}";
    assert_eq!(gateway.metric(leases).await, 1.0);
    let (segment, mut upstream) = ask(&ann, "/live/final/1.ts").await;
    let (gone, mut waiting) = ask(&ben, "/live/final/master.m3u8").await;
    assert_eq!(gateway.metric(leases).await, 2.0);
    assert_eq!(gone.await.unwrap(), b"", "no answer came, so it was taken for gone");
    assert_eq!(waiting.rest().await, b"", "its upstream is let go");
    gateway.counts(leases, 1.0).await;
    // Whoever plays already holds no slot that another one waits for.
    upstream.say(answer).await;
    assert!(segment.await.unwrap().ends_with(b"hello"));
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
