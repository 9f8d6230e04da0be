//! gRPC through the gateway: messages pass both ways as they come, and a call ends with the status
//! that stands in its trailers, or in its head where there is no message.

use crate::h2_client::{Http2Client, head, whole};
use crate::harness::{DEADLINE, Gateway, until};
use crate::origin::proxying_with;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response, header};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::time::timeout;

const H2C: &str = ", http2: true";

/// A server of four methods, by their names.
async fn service() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, answer))) = connection.accept().await {
                    tokio::spawn(method(request, answer));
                }
            });
        }
    });
    address
}

async fn method(request: Request<RecvStream>, mut answer: SendResponse<Bytes>) {
    assert_eq!(request.headers()[header::TE], "trailers", "gRPC insists on it");
    assert_eq!(request.headers()["grpc-timeout"], "5S");
    let grpc = || Response::builder().header(header::CONTENT_TYPE, "application/grpc");
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    if path == "/a.B/Missing" {
        let head = grpc().header("grpc-status", "5").header("grpc-message", "no such thing");
        answer.send_response(head.body(()).unwrap(), true).unwrap();
        return;
    }
    let mut sending = answer.send_response(grpc().body(()).unwrap(), false).unwrap();
    match path.as_str() {
        // One answer for each message, as soon as that is here.
        "/a.B/Echo" => {
            while let Some(Ok(message)) = body.data().await {
                body.flow_control().release_capacity(message.len()).unwrap();
                sending.send_data(message, false).unwrap();
            }
            let trailers = body.trailers().await.unwrap();
            let seen = trailers.map_or(0, |trailers| trailers.len());
            ends(&mut sending, "0", &format!("{seen} trailers"));
        }
        "/a.B/Fails" => {
            sending.send_data("\0\0\0\0\u{1}x".into(), false).unwrap();
            ends(&mut sending, "13", "half way");
        }
        "/a.B/Dies" => sending.send_reset(h2::Reason::INTERNAL_ERROR),
        other => panic!("no such method: {other}"),
    }
}

fn ends(sending: &mut SendStream<Bytes>, status: &str, message: &str) {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    trailers.insert("grpc-message", message.parse().unwrap());
    sending.send_trailers(trailers).unwrap();
}

async fn gateway() -> Gateway {
    let address = service().await;
    proxying_with(H2C, &format!("endpoints: ['{address}'], protocol: h2c"))
}

fn call(method: &str) -> Request<()> {
    let request = Request::post(format!("https://tv.example/a.B/{method}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header("grpc-timeout", "5S")
        .header(header::TE, "trailers");
    request.body(()).unwrap()
}

#[tokio::test]
async fn a_call_ends_with_the_status_in_its_trailers() {
    let gateway = gateway().await;
    let mut client = Http2Client::open(gateway.edge).await;
    for (method, body, status) in [("Echo", "asked", "0"), ("Fails", "\0\0\0\0\u{1}x", "13")] {
        let (answer, mut sending) = client.send(call(method), false).await;
        sending.send_data("asked".into(), true).unwrap();
        let answer = whole(answer).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, body.as_bytes()), "{method}");
        assert_eq!(answer.trailers.expect("trailers")["grpc-status"], status, "{method}");
    }
}

#[tokio::test]
async fn a_call_without_a_message_ends_in_its_head() {
    let gateway = gateway().await;
    let mut client = Http2Client::open(gateway.edge).await;
    let (answer, mut sending) = client.send(call("Missing"), false).await;
    sending.send_data("asked".into(), true).unwrap();
    let (parts, body) = head(answer).await.unwrap().into_parts();
    assert_eq!(parts.status, 200);
    assert_eq!(
        (&parts.headers["grpc-status"], &parts.headers["grpc-message"]),
        (&"5".parse().unwrap(), &"no such thing".parse().unwrap(),)
    );
    assert!(body.is_end_stream(), "there is nothing behind the head");
}

#[tokio::test]
async fn messages_pass_both_ways_as_they_come() {
    let gateway = gateway().await;
    let mut client = Http2Client::open(gateway.edge).await;
    let (answer, mut sending) = client.send(call("Echo"), false).await;
    let mut answers = None;
    let mut answer = Some(answer);
    for n in 0..5_u8 {
        sending.send_data(Bytes::from(vec![n; 1_000]), false).unwrap();
        if let Some(answer) = answer.take() {
            answers = Some(head(answer).await.unwrap().into_body());
        }
        let body = answers.as_mut().unwrap();
        let mut message = Vec::new();
        while message.len() < 1_000 {
            let piece = timeout(DEADLINE, body.data()).await.expect("in time").unwrap().unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            message.extend_from_slice(&piece);
        }
        assert_eq!(message, vec![n; 1_000], "before the next one is sent");
    }
    sending.send_data(Bytes::new(), true).unwrap();
    let mut body = answers.unwrap();
    assert!(timeout(DEADLINE, body.data()).await.expect("in time").is_none());
    let trailers = timeout(DEADLINE, body.trailers()).await.expect("in time").unwrap();
    assert_eq!(trailers.expect("trailers")["grpc-status"], "0");
}

/// Pingora sends none on; gRPC's clients have none.
#[tokio::test]
async fn trailers_of_a_request_end_here() {
    let gateway = gateway().await;
    let mut client = Http2Client::open(gateway.edge).await;
    let (answer, mut sending) = client.send(call("Echo"), false).await;
    sending.send_data("asked".into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "1".parse().unwrap());
    sending.send_trailers(trailers).unwrap();
    let answer = whole(answer).await.unwrap();
    assert_eq!(&answer.body[..], b"asked");
    assert_eq!(answer.trailers.expect("trailers")["grpc-message"], "0 trailers");
}

#[tokio::test]
async fn a_call_that_breaks_off_never_looks_whole() {
    let gateway = gateway().await;
    let mut client = Http2Client::open(gateway.edge).await;
    let (answer, mut sending) = client.send(call("Dies"), false).await;
    sending.send_data("asked".into(), true).unwrap();
    let ended = whole(answer).await;
    let is_refusal = ended.as_ref().is_ok_and(|answer| answer.status == 502);
    assert!(ended.is_err() || is_refusal, "{ended:?}");
    until("nothing is under way", || async {
        gateway.metric("streamgate_requests_in_flight").await == 0.0
    })
    .await;
}
