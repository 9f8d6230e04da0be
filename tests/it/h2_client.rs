//! Two clients of HTTP/2: a real one, and one that sends exactly the frames that a test gives it.

use crate::harness::DEADLINE;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames (RFC 9113 §6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A connection of the real client.
pub(crate) struct Http2Client {
    pub(crate) requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Http2Answer {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Http2Answer {
    /// The `code` of a refusal; empty when the body is none.
    pub(crate) fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Http2Client {
    /// Connects without TLS, by prior knowledge.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(crate) async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: S) -> Self {
        Self::with(h2::client::Builder::new(), io).await
    }

    pub(crate) async fn with<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        builder: h2::client::Builder,
        io: S,
    ) -> Self {
        let (requests, connection) = builder.handshake(io).await.unwrap();
        Http2Client { requests, connection: tokio::spawn(connection) }
    }

    /// Sends the head of a request, and its end if there is no body.
    pub(crate) async fn send(
        &mut self,
        request: Request<()>,
        is_whole: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let ready = timeout(DEADLINE, self.requests.clone().ready()).await;
        self.requests = ready.expect("room for a request").unwrap();
        self.requests.send_request(request, is_whole).unwrap()
    }

    /// Asks for `path`.
    pub(crate) async fn get(&mut self, path: &str) -> Http2Answer {
        let (answer, _) = self.send(get(path), true).await;
        whole(answer).await.unwrap()
    }

    /// How the gateway ended the connection, once it has.
    pub(crate) async fn ended(self) -> Result<(), h2::Error> {
        let _open = self.requests;
        timeout(DEADLINE, self.connection).await.expect("the connection ends").unwrap()
    }
}

/// A request for `path` of a host.
pub(crate) fn get(path: &str) -> Request<()> {
    Request::get(format!("https://tv.example{path}")).body(()).unwrap()
}

/// The head of an answer.
pub(crate) async fn head(answer: ResponseFuture) -> Result<Response<RecvStream>, h2::Error> {
    timeout(DEADLINE, answer).await.expect("an answer in time")
}

/// A whole answer, or how it broke off.
pub(crate) async fn whole(answer: ResponseFuture) -> Result<Http2Answer, h2::Error> {
    let (head, mut body) = head(answer).await?.into_parts();
    let mut all = Vec::new();
    while let Some(piece) = timeout(DEADLINE, body.data()).await.expect("more in time") {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len()).unwrap();
        all.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await?;
    let (status, fields) = (head.status.as_u16(), head.headers);
    Ok(Http2Answer { status, fields, body: all.into(), trailers })
}

/// One frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// What became of one exchange of frames.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The stream was reset, for this reason.
    Reset(u32),
    /// The connection was ended, for this reason.
    GoAway(u32),
    /// The request was answered, with this code of a refusal, or with something else.
    Answer(String),
    /// The gateway hung up without a word.
    HungUp,
}

/// A client that sends exactly what it is told to.
pub(crate) struct RawHttp2 {
    pub(crate) stream: TcpStream,
    heard: Vec<u8>,
}

impl RawHttp2 {
    /// Connects, and says nothing.
    pub(crate) async fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        RawHttp2 { stream, heard: Vec::new() }
    }

    /// Connects, and says how every connection begins.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let mut raw = Self::silent(address).await;
        raw.say([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
        raw
    }

    /// Sends the bytes. If the gateway has closed already, the next read shows it.
    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = timeout(DEADLINE, self.stream.write_all(bytes.as_ref())).await;
    }

    /// The next frame; `None` when the gateway hangs up instead.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let [a, b, c, kind, flags, s @ ..] = &self.heard[..]
                && let Some(stream) = s.first_chunk::<4>()
            {
                let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
                if self.heard.len() >= 9 + length {
                    let stream = u32::from_be_bytes(*stream);
                    let (kind, flags) = (*kind, *flags);
                    let payload = self.heard.drain(..9 + length).skip(9).collect();
                    return Some(Frame { kind, flags, stream, payload });
                }
            }
            let read = timeout(DEADLINE, self.stream.read_buf(&mut self.heard)).await;
            if read.expect("more in time").unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next frame of this kind.
    pub(crate) async fn next(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame().await.expect("the connection is open");
            if frame.kind == kind && !(kind == SETTINGS && frame.flags & ACK != 0) {
                return frame;
            }
        }
    }

    /// What becomes of the request on `stream`, or of the connection.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Outcome {
        let mut body = Vec::new();
        while let Some(frame) = self.frame().await {
            let word = |from: usize| frame.payload[from..][..4].try_into().map(u32::from_be_bytes);
            match frame.kind {
                GOAWAY => return Outcome::GoAway(word(4).unwrap()),
                RST_STREAM if frame.stream == stream => return Outcome::Reset(word(0).unwrap()),
                DATA if frame.stream == stream => body.extend_from_slice(&frame.payload),
                _ => {}
            }
            let is_its = frame.stream == stream && matches!(frame.kind, DATA | HEADERS);
            if is_its && frame.flags & END_STREAM != 0 {
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                return Outcome::Answer(body["code"].as_str().unwrap_or_default().to_owned());
            }
        }
        Outcome::HungUp
    }
}

/// One frame, to be sent.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A head in a block: each field as it is, without the table of HPACK (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_bytes(), value] {
            length(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

/// A length with a prefix of 7 bits (RFC 7541 §5.1).
fn length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return block.push(u8::try_from(length).unwrap());
    }
    block.push(127);
    let mut rest = length - 127;
    while 128 <= rest {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The fields of a request that is sound, without a body.
pub(crate) const SOUND: [(&str, &[u8]); 4] = [
    (":method", b"GET"),
    (":scheme", b"http"),
    (":authority", b"tv.example"),
    (":path", b"/faults/status/204"),
];

/// A whole request in one frame.
pub(crate) fn request(stream: u32, fields: &[(&str, &[u8])]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields))
}
