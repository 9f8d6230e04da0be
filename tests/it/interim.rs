//! Interim answers (1xx) on their way to clients: they pass as they come, and are no answers.

use crate::h2_client::{Http2Client, whole};
use crate::origin::{Origin, proxying_to, proxying_with};
use crate::raw_client::RawClient;
use http::Request;
use std::future::poll_fn;

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.js>; rel=preload\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const STICKY: &str =
    "balance: { sticky: { cookie: at, secret: 'f4b1c0a97d3e5b268f0a1c2d3e4f5a6b' } }";

#[tokio::test]
async fn hints_reach_the_client_before_the_answer_is_there() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}'], {STICKY}", origin.address));
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    for n in 0..3 {
        if n == 0 {
            upstream.request().await;
        }
        upstream.say(HINTS).await;
        let interim = raw.head().await;
        assert_eq!(interim.status, 103);
        assert_eq!(interim.field("link").as_deref(), Some("</a.js>; rel=preload"));
        assert_eq!(interim.field("set-cookie"), None, "it is no answer: {}", interim.head);
    }
    upstream.say(OK).await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    assert!(answer.field("set-cookie").is_some(), "{}", answer.head);
    // One answer is counted, and the connection serves on.
    gateway.counts("streamgate_upstream_requests_total{code=\"200\",upstream=\"all\"}", 1.0).await;
    let interim = "streamgate_upstream_requests_total{code=\"103\",upstream=\"all\"}";
    assert_eq!(gateway.metric(interim).await, 0.0);
    raw.say("GET /b HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(upstream.request().await.starts_with("GET /b "));
    upstream.say(OK).await;
    assert_eq!(raw.answer().await.status, 200);
}

/// HTTP/1.0 knows none (RFC 9110 §15.2).
#[tokio::test]
async fn an_old_client_gets_the_answer_alone() {
    let origin = Origin::listen().await;
    let gateway = proxying_to(&format!("endpoints: ['{}']", origin.address));
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say("GET /a HTTP/1.0\r\nHost: a\r\n\r\n").await;
    origin.answer_once(&format!("{HINTS}{OK}")).await;
    assert_eq!(raw.head().await.status, 200);
}

#[tokio::test]
async fn a_client_of_http_2_is_told_when_its_body_is_wanted() {
    let origin = Origin::listen().await;
    let gateway = proxying_with(", http2: true", &format!("endpoints: ['{}']", origin.address));
    let mut client = Http2Client::open(gateway.edge).await;
    let request = Request::post("https://tv.example/a").header("expect", "100-continue");
    let request = request.header("content-length", "5").body(()).unwrap();
    let (mut answer, mut sending) = client.send(request, false).await;
    let upstream = async {
        let mut upstream = origin.accept().await;
        assert!(upstream.request().await.to_lowercase().contains("expect: 100-continue"));
        upstream.say("HTTP/1.1 100 Continue\r\n\r\n").await;
        upstream
    };
    let (interim, mut upstream) =
        tokio::join!(poll_fn(|task| answer.poll_informational(task)), upstream);
    assert_eq!(interim.expect("an interim answer").unwrap().status(), 100);
    sending.send_data("hello".into(), true).unwrap();
    assert_eq!(upstream.bytes(5).await, b"hello");
    upstream.say(OK).await;
    assert_eq!(whole(answer).await.unwrap().status, 200);
}
