//! Misbehaviour does what was asked for, and only where it is switched on.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::Method;
use http_body_util::BodyExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{BEGIN, Stream};

/// Everything that comes over a connection until it ends.
async fn raw(stream: &Stream, path: &str) -> String {
    let mut connection = TcpStream::connect(&stream.address).await.unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    connection.write_all(ask.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    // A reset is an end too; what came before it is what counts.
    let _ = connection.read_to_end(&mut heard).await;
    String::from_utf8(heard).unwrap()
}

#[tokio::test]
async fn faults_exist_only_where_they_are_switched_on() {
    let stream = Stream::at(BEGIN).await;
    for path in ["/faults/status/500", "/faults/close", "/faults/echo", "/faults/hits"] {
        assert_eq!(stream.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_status_is_answered_as_asked() {
    let stream = Stream::with_faults().await;
    for code in [200, 204, 304, 404, 429, 500, 503, 599] {
        let path = format!("/faults/status/{code}?retry_after=7");
        let answer = stream.send(Method::POST, &path, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.field("retry-after")), (code, "7"));
    }
    for odd in ["100", "199", "600", "x"] {
        assert_eq!(stream.get(&format!("/faults/status/{odd}")).await.status, 400, "{odd}");
    }
}

#[tokio::test]
async fn slow_waits_before_the_first_byte_and_between_pieces() {
    let stream = Stream::with_faults().await;
    let begun = Instant::now();
    let path = "/faults/slow?first_byte_ms=60&bytes=1000&chunk_bytes=250&chunk_ms=20";
    let answer = stream.get(path).await;
    assert_eq!((answer.bytes.len(), answer.field("content-length")), (1000, "1000"));
    assert!(Duration::from_millis(120) <= begun.elapsed(), "60 and three times 20");
    let chunked = stream.get("/faults/slow?bytes=10&chunked=true").await;
    assert_eq!((chunked.bytes.len(), chunked.field("transfer-encoding")), (10, "chunked"));
    for odd in ["chunk_bytes=0", "bytes=99999999999", "first_byte_ms=600001", "other=1"] {
        assert_eq!(stream.get(&format!("/faults/slow?{odd}")).await.status, 400, "{odd}");
    }
}

#[tokio::test]
async fn close_sends_nothing_and_truncate_sends_less_than_it_promised() {
    let stream = Stream::with_faults().await;
    assert_eq!(raw(&stream, "/faults/close").await, "");
    let cut = raw(&stream, "/faults/truncate?bytes=500&of=900").await;
    let (head, body) = cut.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-length: 900"), "{head}");
    assert_eq!(body.len(), 500);
}

#[tokio::test]
async fn hang_never_answers_and_stall_stops_in_the_middle() {
    let stream = Stream::with_faults().await;
    let patience = Duration::from_millis(100);
    let hang = stream.ask(Method::GET, "/faults/hang", &[], "");
    assert!(tokio::time::timeout(patience, hang).await.is_err());

    let stall = stream.ask(Method::GET, "/faults/stall?bytes=100&of=200", &[], "").await.unwrap();
    let mut body = stall.into_body();
    let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(piece.len(), 100);
    assert!(tokio::time::timeout(patience, body.frame()).await.is_err());
}

#[tokio::test]
async fn echo_tells_what_arrived() {
    let stream = Stream::with_faults().await;
    let fields = [("x-twice", "one"), ("x-twice", "two"), ("cookie", "a=b")];
    let answer = stream.ask(Method::PUT, "/faults/echo/a%20b?c=d&e", &fields, "hello").await;
    let bytes = answer.unwrap().into_body().collect().await.unwrap().to_bytes();
    let echo: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((&echo["method"], &echo["path"]), (&"PUT".into(), &"/faults/echo/a%20b".into()));
    assert_eq!((&echo["query"], &echo["body"]), (&"c=d&e".into(), &"hello".into()));
    assert_eq!(echo["headers"]["x-twice"], serde_json::json!(["one", "two"]));
    assert_eq!(echo["headers"]["cookie"], serde_json::json!(["a=b"]));
    assert_eq!((&echo["body_bytes"], &echo["replica"]), (&5.into(), &"stream".into()));
}

#[tokio::test]
async fn a_websocket_says_everything_back() {
    let stream = Stream::with_faults().await;
    let url = format!("ws://{}/faults/websocket", stream.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    for message in [Message::text("hello"), Message::binary(vec![0, 1, 2])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.close(None).await.unwrap();
    while let Some(message) = socket.next().await {
        assert!(message.unwrap().is_close());
    }
}

#[tokio::test]
async fn health_and_headers_can_be_asked_for() {
    let stream = Stream::with_faults().await;
    assert_eq!(stream.get("/healthz").await.status, 200);
    assert_eq!(stream.send(Method::PUT, "/faults/health/503", &[]).await.status, 204);
    assert_eq!(stream.get("/healthz").await.status, 503);
    stream.send(Method::PUT, "/faults/health/200", &[]).await;
    assert_eq!(stream.get("/healthz").await.status, 200);
    let answer = stream.get("/faults/headers?fields=20&bytes=50").await;
    let many = answer.fields.iter().filter(|(name, _)| name.as_str().starts_with("x-fault-"));
    assert_eq!(many.map(|(_, value)| value.len()).sum::<usize>(), 1000);
}

#[tokio::test]
async fn hits_tell_how_often_the_origin_was_asked() {
    let stream = Stream::with_faults().await;
    let path = "/vod/replay/360p/0.ts";
    for _ in 0..3 {
        stream.get(path).await;
    }
    assert_eq!(stream.get("/faults/hits").await.json()[path], 3);
    stream.send(Method::DELETE, "/faults/hits", &[]).await;
    assert!(stream.get("/faults/hits").await.json().get(path).is_none());
}
