//! The bounds of a connection that speaks HTTP/2: each acts, is counted, and harms nobody else.

use crate::h2_client::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2Client, Outcome, PING,
    PREFACE, PRIORITY, RST_STREAM, RawHttp2, SETTINGS, SOUND, WINDOW_UPDATE, block, frame, get,
    request, whole,
};
use crate::harness::{Gateway, until};
use crate::origin::{Origin, answering, proxying_by, proxying_with, replica};
use crate::raw_client::RawClient;
use http::Request;
use std::pin::pin;
use std::time::Duration;

const CALM: u32 = 11;

async fn serving(listener: &str) -> Gateway {
    proxying_with(listener, &format!("endpoints: ['{}']", replica("one").await))
}

async fn ended(gateway: &Gateway, how: &str) {
    let labels = format!("{{how=\"{how}\",listener=\"edge\"}}");
    gateway.counts(&format!("streamgate_http2_connections_ended_total{labels}"), 1.0).await;
    until("its place is free", || async {
        gateway.metric("streamgate_connections{listener=\"edge\"}").await == 0.0
    })
    .await;
}

/// Somebody else is answered meanwhile.
async fn serves_others(gateway: &Gateway) {
    let mut other = Http2Client::open(gateway.edge).await;
    assert_eq!(other.get("/faults/status/204").await.status, 204);
}

#[tokio::test]
async fn floods_end_the_connection_and_are_named() {
    let post: [(&str, &[u8]); 4] =
        [(":method", b"POST"), (":scheme", b"http"), (":authority", b"a"), (":path", b"/x")];
    let opened = frame(HEADERS, END_HEADERS, 1, &block(&post));
    let ask = |stream: u32| request(stream, &SOUND);
    // Each is said again and again, with the number of its round, after what comes first.
    type Round = Box<dyn Fn(u32) -> Vec<u8>>;
    let floods: [(&str, &str, Vec<u8>, Round); 9] = [
        ("rapid resets (CVE-2023-44487)", "resets", vec![], {
            Box::new(move |n| {
                let stream = 2 * n + 1;
                [ask(stream), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
            })
        }),
        ("requests that make the gateway reset (CVE-2025-8671)", "resets", vec![], {
            Box::new(move |n| {
                [ask(2 * n + 1), frame(WINDOW_UPDATE, 0, 2 * n + 1, &[0x7f, 0xff, 0xff, 0xff])]
                    .concat()
            })
        }),
        ("malformed requests", "resets", vec![], {
            Box::new(move |n| {
                let fields: Vec<_> = SOUND.into_iter().chain([("connection", &b"x"[..])]).collect();
                request(2 * n + 1, &fields)
            })
        }),
        ("settings (CVE-2019-9515)", "control_frames", vec![], {
            Box::new(|_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]))
        }),
        ("pings (CVE-2019-9512)", "control_frames", vec![], {
            Box::new(|_| frame(PING, 0, 0, &[7; 8]))
        }),
        ("answers to pings that nobody sent", "control_frames", vec![], {
            Box::new(|_| frame(PING, ACK, 0, &[7; 8]))
        }),
        ("priorities (CVE-2019-9513)", "control_frames", vec![], {
            Box::new(|n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 9]))
        }),
        ("windows", "control_frames", vec![], {
            Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))
        }),
        ("unknown frames", "control_frames", vec![], Box::new(|_| frame(99, 0, 0, &[0; 5]))),
    ];
    for (what, how, first, round) in floods {
        let gateway = serving(", http2: { resets: 20, control_frames: 50 }").await;
        let mut raw = RawHttp2::open(gateway.edge).await;
        raw.say(first).await;
        for number in 0..60 {
            raw.say(round(number)).await;
        }
        assert_eq!(raw.outcome(0).await, Outcome::GoAway(CALM), "{what}");
        ended(&gateway, how).await;
        serves_others(&gateway).await;
    }
    // The library has bounds of its own for these.
    let crumb = frame(DATA, 0, 1, b"x");
    let endless = frame(CONTINUATION, 0, 1, &block(&[("x", b"y")]));
    let hollow = frame(DATA, 0, 1, &[]);
    for (what, first, round) in [
        ("small pieces of a body", opened.clone(), crumb.repeat(9_000)),
        ("continuations (CVE-2024-27316)", frame(HEADERS, 0, 1, &block(&post)), endless.repeat(99)),
        ("empty pieces of a body (CVE-2019-9518)", opened, hollow.repeat(200)),
    ] {
        let gateway = serving(", http2: true").await;
        let mut raw = RawHttp2::open(gateway.edge).await;
        raw.say([first, round].concat()).await;
        assert_eq!(raw.outcome(0).await, Outcome::GoAway(CALM), "{what}");
        ended(&gateway, "enhance_your_calm").await;
        serves_others(&gateway).await;
    }
}

#[tokio::test]
async fn an_ordinary_client_is_no_flood() {
    let gateway = serving(", http2: { resets: 5, control_frames: 10 }").await;
    let mut raw = RawHttp2::open(gateway.edge).await;
    for number in 0..40 {
        let stream = 2 * number + 1;
        let window = |stream| frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]);
        raw.say([request(stream, &SOUND), window(0), frame(PING, 0, 0, &[7; 8])].concat()).await;
        assert_eq!(raw.outcome(stream).await, Outcome::Answer(String::new()));
    }
    // A download allows for the frames that widen its window.
    let origin = Origin::listen().await;
    let upstream = format!("endpoints: ['{}']", origin.address);
    let gateway = proxying_with(", http2: { resets: 5, control_frames: 10 }", &upstream);
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(8 << 10).initial_connection_window_size(64 << 10);
    let stream = tokio::net::TcpStream::connect(gateway.edge).await.unwrap();
    let mut client = Http2Client::with(builder, stream).await;
    let (answer, _) = client.send(get("/download"), true).await;
    let large = large();
    let (answer, _) = tokio::join!(whole(answer), origin.answer_once(&large));
    assert_eq!(answer.unwrap().body.len(), LARGE_BYTES);
}

const LARGE_BYTES: usize = 4_000_000;

/// An answer that no window and no buffer holds.
fn large() -> String {
    let body = "x".repeat(LARGE_BYTES);
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {LARGE_BYTES}\r\n\r\n{body}")
}

#[tokio::test]
async fn more_requests_than_there_may_be_are_refused_and_may_come_again() {
    let origin = Origin::listen().await;
    let upstream = format!("endpoints: ['{}']", origin.address);
    let gateway = proxying_with(", http2: { streams: 2 }", &upstream);
    let mut raw = RawHttp2::open(gateway.edge).await;
    let settings = raw.next(SETTINGS).await.payload;
    assert!(settings.chunks(6).any(|one| one == [0, 3, 0, 0, 0, 2]), "{settings:?}");
    raw.say([request(1, &SOUND), request(3, &SOUND), request(5, &SOUND)].concat()).await;
    assert_eq!(raw.outcome(5).await, Outcome::Reset(7));
    let refused = "{by=\"gateway\",listener=\"edge\",reason=\"refused_stream\"}";
    for _ in 0..2 {
        origin.answer_once("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    }
    gateway.counts(&format!("streamgate_http2_streams_reset_total{refused}"), 1.0).await;
    raw.say(request(7, &SOUND)).await;
    origin.answer_once("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(raw.outcome(7).await, Outcome::Answer(String::new()));
}

#[tokio::test]
async fn heads_are_bounded_with_a_body_that_says_so_and_beyond_without() {
    let gateway = serving(", http2: true").await;
    let mut client = Http2Client::open(gateway.edge).await;
    for (bytes, fields, code) in [
        (16 << 10, 1, Some("header_too_large")),
        (8 << 10, 4, Some("header_too_large")),
        (10, 101, Some("header_too_large")),
        (15 << 10, 2, None),
        (15 << 10, 4, Some("")),
    ] {
        let mut request = Request::get("https://tv.example/faults/status/204");
        for number in 0..fields {
            request = request.header(format!("x-{number}"), "y".repeat(bytes));
        }
        let (answer, _) = client.send(request.body(()).unwrap(), true).await;
        let answer = whole(answer).await.unwrap();
        let expected = code.map_or((204, ""), |code| (431, code));
        assert_eq!((answer.status, answer.code().as_str()), expected, "{bytes} in {fields}");
    }
    let mut raw = RawHttp2::open(gateway.edge).await;
    let huge = vec![b'y'; 12 << 10];
    let part = |n: u8| block(&[(["a", "b", "c", "d"][usize::from(n % 4)], &huge)]);
    raw.say(frame(HEADERS, END_STREAM, 1, &block(&SOUND))).await;
    for number in 0..20 {
        raw.say(frame(CONTINUATION, 0, 1, &part(number))).await;
    }
    assert!(matches!(raw.outcome(1).await, Outcome::GoAway(_) | Outcome::HungUp));
    serves_others(&gateway).await;
}

#[tokio::test]
async fn who_says_nothing_or_not_enough_is_closed() {
    let gateway = serving(", http2: true, head_timeout: 200ms").await;
    let refused = "streamgate_heads_refused_total{listener=\"edge\",reason=\"timeout\"}";
    for (number, said) in [&PREFACE[..10], &PREFACE[..23]].into_iter().enumerate() {
        let mut raw = RawHttp2::silent(gateway.edge).await;
        raw.say(said).await;
        assert_eq!(raw.outcome(0).await, Outcome::HungUp, "{number}");
    }
    // A head whose end does not come holds no answer up that is under way.
    let mut raw = RawHttp2::open(gateway.edge).await;
    raw.say(frame(HEADERS, END_STREAM, 1, &block(&SOUND))).await;
    assert_eq!(raw.outcome(1).await, Outcome::GoAway(CALM));
    gateway.counts(refused, 1.0).await;
    // Nor does a connection that was opened for nothing stay as long as one that was of use.
    let mut raw = RawHttp2::open(gateway.edge).await;
    raw.next(GOAWAY).await;
}

#[tokio::test]
async fn a_silent_connection_is_told_goodbye_and_one_that_is_of_use_is_not() {
    let origin = Origin::listen().await;
    let upstream = format!("endpoints: ['{}']", origin.address);
    let gateway = proxying_with(", http2: true, idle_timeout: 100ms", &upstream);
    let mut client = Http2Client::open(gateway.edge).await;
    let (answer, _) = client.send(get("/long"), true).await;
    let mut held = origin.accept().await;
    held.request().await;
    let mut other = Http2Client::open(gateway.edge).await;
    let (quick, _) = other.send(get("/quick"), true).await;
    let sent = origin.answer_once("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(tokio::join!(whole(quick), sent).0.unwrap().status, 204);
    other.ended().await.expect("a gentle end");
    let idle = "streamgate_http2_connections_ended_total{how=\"idle_timeout\",listener=\"edge\"}";
    gateway.counts(idle, 1.0).await;
    held.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(whole(answer).await.unwrap().body, "ok", "it took longer than silence may");
    client.ended().await.expect("a gentle end");
    gateway.counts(idle, 2.0).await;
}

#[tokio::test]
async fn a_body_that_stalls_is_408_and_one_that_is_too_large_413() {
    let origin = Origin::listen().await;
    let upstream = format!("endpoints: ['{}']", origin.address);
    let listener = ", http2: true, body_timeout: 200ms";
    let gateway = proxying_by("timeouts: { read: 30s }", listener, &upstream);
    let mut client = Http2Client::open(gateway.edge).await;
    let post = |length: u64| {
        let request = Request::post("https://tv.example/up").header("content-length", length);
        request.body(()).unwrap()
    };
    let (answer, mut body) = client.send(post(10), false).await;
    body.send_data("half".into(), false).unwrap();
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let answer = whole(answer).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
    assert_eq!(upstream.rest().await, b"half", "the upstream's request is broken off");
    let (answer, _body) = client.send(post(200 << 20), false).await;
    let answer = whole(answer).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    assert!(client.requests.clone().ready().await.is_ok(), "the connection goes on");
}

#[tokio::test]
async fn an_upstream_that_keeps_the_client_waiting_is_504() {
    for dripping in [false, true] {
        let origin = Origin::listen().await;
        let upstream = format!("endpoints: ['{}'], timeouts: {{ read: 300ms }}", origin.address);
        let gateway = proxying_with(", http2: true", &upstream);
        let mut client = Http2Client::open(gateway.edge).await;
        let (answer, _) = client.send(get("/silent"), true).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        let mut answer = pin!(whole(answer));
        if dripping {
            upstream.say("HTTP/1.1 200 OK\r\nX-Slow: ").await;
        }
        let mut drips = tokio::time::interval(Duration::from_millis(20));
        let answer = loop {
            tokio::select! {
                answer = &mut answer => break answer.unwrap(),
                _ = drips.tick(), if dripping => upstream.say("y").await,
            }
        };
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (504, "upstream_timeout"),
            "{dripping}"
        );
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_and_its_sisters_are_not() {
    let origin = Origin::listen().await;
    let upstream = format!("endpoints: ['{}']", origin.address);
    let gateway = proxying_with(", http2: true, write_timeout: 300ms", &upstream);
    let mut raw = RawHttp2::silent(gateway.edge).await;
    let no_room = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    raw.say([PREFACE, &no_room, &request(1, &SOUND)].concat()).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let (outcome, ()) = tokio::join!(raw.outcome(1), upstream.say(large()));
    assert_eq!(outcome, Outcome::Reset(2));
    raw.say(request(3, &SOUND)).await;
    origin.answer_once("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(raw.outcome(3).await, Outcome::Answer(String::new()), "the connection goes on");
}

#[tokio::test]
async fn windows_hold_what_may_come_before_it_is_read() {
    let origin = Origin::listen().await;
    let upstream = format!("endpoints: ['{}']", origin.address);
    let gateway = proxying_with(", http2: { window: 4KiB, connection_window: 64KiB }", &upstream);
    let mut raw = RawHttp2::open(gateway.edge).await;
    let settings = raw.next(SETTINGS).await.payload;
    assert!(settings.chunks(6).any(|one| one == [0, 4, 0, 0, 0x10, 0]), "{settings:?}");
    let post: [(&str, &[u8]); 4] =
        [(":method", b"POST"), (":scheme", b"http"), (":authority", b"a"), (":path", b"/x")];
    raw.say([frame(SETTINGS, ACK, 0, &[]), frame(HEADERS, END_HEADERS, 1, &block(&post))].concat())
        .await;
    // Only what is more than the window of a connection ends it; of a stream, the stream.
    raw.say(frame(DATA, 0, 1, &vec![0; 5 << 10])).await;
    assert_eq!(raw.outcome(1).await, Outcome::Reset(3), "a flow-control error");
    let gone = "streamgate_http2_streams_reset_total";
    let labels = "{by=\"gateway\",listener=\"edge\",reason=\"flow_control_error\"}";
    gateway.counts(&format!("{gone}{labels}"), 1.0).await;
}

#[tokio::test]
async fn the_operators_own_sizes_of_a_head_rule() {
    let own = ", http2: true, head: { target: 100, field: 200, fields: 500, field_count: 4 }";
    let larger = ", http2: true, \
        head: { target: 20KiB, field: 100KiB, fields: 100KiB, field_count: 200 }";
    for (listener, target, bytes, fields, status) in [
        (own, 100, 10, 1, 204),
        (own, 101, 10, 1, 431),
        (own, 30, 190, 1, 204),
        (own, 30, 200, 1, 431),
        (own, 30, 150, 3, 204),
        (own, 30, 190, 3, 431),
        (own, 30, 10, 3, 204),
        (own, 30, 10, 4, 431),
        (larger, 20 << 10, 10, 1, 204),
        (larger, (20 << 10) + 1, 10, 1, 431),
        (larger, 30, 90 << 10, 1, 204),
        (larger, 30, 10, 150, 204),
        (larger, 30, 10, 201, 431),
    ] {
        let origin = answering("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
        let gateway = proxying_with(listener, &format!("endpoints: ['{origin}']"));
        let target = format!("/faults/status/204?{}", "y".repeat(target - 19));
        let field = |number: usize| (format!("x-{number}"), "y".repeat(bytes));
        let mut request = Request::get(format!("https://tv.example{target}"));
        let mut lines = String::new();
        for (name, value) in (0..fields).map(field) {
            lines += &format!("{name}: {value}\r\n");
            request = request.header(name, value);
        }
        let what = format!("{} {bytes} in {fields} of {listener}", target.len());
        let mut client = Http2Client::open(gateway.edge).await;
        let (answer, _) = client.send(request.body(()).unwrap(), true).await;
        assert_eq!(whole(answer).await.unwrap().status, status, "HTTP/2: {what}");
        let mut raw = RawClient::open(gateway.edge).await;
        let head = format!("GET {target} HTTP/1.1\r\nHost: tv.example\r\n{lines}\r\n");
        assert_eq!(raw.ask(head).await.status, status, "HTTP/1.1: {what}");
    }
}

/// The end of an answer comes after the connection was told goodbye.
async fn is_finished(mut client: Http2Client, origin: &Origin, gateway: &Gateway, how: &str) {
    let (answer, _) = client.send(get("/download"), true).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    let mut body = crate::h2_client::head(answer).await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "hello");
    let labels = format!("{{listener=\"edge\",reason=\"{how}\"}}");
    gateway.counts(&format!("streamgate_connections_recycled_total{labels}"), 1.0).await;
    until("no further request is taken", || async {
        client.requests.clone().ready().await.is_err()
    })
    .await;
    upstream.say("5\r\nworld\r\n0\r\n\r\n").await;
    let mut rest = Vec::new();
    while let Some(piece) = body.data().await {
        rest.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(rest, b"world", "the whole answer");
    client.ended().await.expect("a gentle end");
    ended(gateway, how).await;
}

#[tokio::test]
async fn a_connection_that_is_old_ends_gently_and_never_in_an_answer() {
    let origin = Origin::listen().await;
    let upstream = format!("endpoints: ['{}']", origin.address);
    let gateway = proxying_with(", http2: true, max_age: 500ms", &upstream);
    let client = Http2Client::open(gateway.edge).await;
    is_finished(client, &origin, &gateway, "age").await;
}

#[tokio::test]
async fn a_connection_carries_so_many_requests_and_the_last_is_answered() {
    let origin = Origin::listen().await;
    let upstream = format!("endpoints: ['{}']", origin.address);
    let gateway = proxying_with(", http2: true, requests_per_connection: 3", &upstream);
    let mut client = Http2Client::open(gateway.edge).await;
    for _ in 0..2 {
        let (answer, _) = client.send(get("/a"), true).await;
        let sent = origin.answer_once("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        assert_eq!(tokio::join!(whole(answer), sent).0.unwrap().status, 204);
    }
    is_finished(client, &origin, &gateway, "requests").await;
}
