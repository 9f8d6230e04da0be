//! The stream to a client, as Pingora holds it, with five changes. The edge can wait for the next
//! request without holding more than the connection. Pingora's own answer to a head that it can't
//! parse or won't take is replaced by the gateway's. A read from the client fails when its upstream
//! has let it wait for too long (`AnswerClock`). What no URL may hold is encoded before Pingora
//! parses it (`RequestLine`). And what was written goes out as soon as the exchange waits: Pingora
//! holds a head with a `Content-Length` back until there is a packet of it.
//!
//! Pingora answers a head that it won't take with a bare 400 or 405 before `early_request_filter`
//! has run, and closes. So all bytes that it writes before that phase are this answer, and ours are
//! sent in their place; all other writes pass through.

use super::answer_clock::AnswerClock;
use super::deadline::Deadline;
use super::head_state::HeadState;
use super::request_line::RequestLine;
use crate::denial::{Code, Denial};
use crate::exchange::RequestId;
use async_trait::async_trait;
use bytes::{Buf, Bytes};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use pingora::proxy::Session as Downstream;
use std::io::{self, IoSlice, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The address of the other end of `stream`, as its socket tells it.
pub(super) fn address(stream: &Stream) -> Option<SocketAddr> {
    let digest = stream.get_socket_digest()?;
    digest.peer_addr().and_then(|address| address.as_inet().copied())
}

/// The stream to a client. The next request's first byte can be read ahead of the rest.
#[derive(Debug)]
pub struct DownstreamStream {
    inner: Stream,
    /// The first byte of a request that nobody reads yet.
    first: Option<u8>,
    /// The unsent rest of what replaces Pingora's answer.
    refusal: Option<Bytes>,
    /// How long the client may be kept waiting by its upstream.
    pub answer_clock: AnswerClock,
    timer: Option<Deadline>,
    line: RequestLine,
    /// What is to be parsed in the place of bytes that were read.
    unread: Bytes,
    /// Something was written that may not be sent yet.
    is_unsent: bool,
}

impl DownstreamStream {
    pub(super) fn new(inner: Stream) -> Self {
        let answer_clock = AnswerClock::default();
        DownstreamStream {
            inner,
            first: None,
            refusal: None,
            answer_clock,
            timer: None,
            line: RequestLine::default(),
            unread: Bytes::new(),
            is_unsent: false,
        }
    }

    /// The stream behind a request that Pingora has read.
    pub fn of(downstream: &Downstream) -> Option<&Self> {
        downstream.stream()?.as_any().downcast_ref()
    }

    /// Ready when a request begins; an error when the connection ends instead.
    pub(super) fn poll_begun(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.first.is_none() {
            let mut byte = [0];
            let mut buffer = ReadBuf::new(&mut byte);
            ready!(Pin::new(&mut self.inner).poll_read(task, &mut buffer))?;
            self.first = buffer.filled().first().copied();
            self.line = RequestLine::default();
        }
        Poll::Ready(self.first.map(|_| ()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
    }

    /// Sends our refusal; `theirs`, Pingora's answer, is taken as written.
    fn refuse(&mut self, task: &mut Context<'_>, theirs: &[u8]) -> Poll<io::Result<usize>> {
        let ours = self.refusal.get_or_insert_with(|| {
            let code = code(theirs);
            HeadState::Refused(code).set();
            answer(code)
        });
        while ours.has_remaining() {
            let sent = ready!(Pin::new(&mut self.inner).poll_write(task, ours))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            ours.advance(sent);
        }
        Poll::Ready(Ok(theirs.len()))
    }

    /// Refuses a request whose query holds what cannot be meant.
    pub fn check_query(&self) -> Result<(), Denial> {
        self.line.check()
    }

    /// Reads along what was read last, from byte `from` of the buffer on.
    fn read_along(&mut self, from: usize, buffer: &mut ReadBuf<'_>) {
        if self.line.is_over() {
            return;
        }
        if let Some(encoded) = self.line.read(&buffer.filled()[from..]) {
            buffer.set_filled(from);
            self.unread = encoded.into();
            self.hand_over(buffer);
        }
    }

    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) {
        let n = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread.split_to(n));
    }

    /// Sends what was written and is held back, as far as it goes.
    fn send_written(&mut self, task: &mut Context<'_>) {
        if self.is_unsent {
            // A broken connection says so when it is written or read the next time.
            self.is_unsent = Pin::new(&mut self.inner).poll_flush(task).is_pending();
        }
    }

    /// Reads, or fails because the upstream has let the client wait for too long.
    fn poll_more(
        &mut self,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let from = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(task, buffer);
        if read.is_ready() {
            self.read_along(from, buffer);
            return read;
        }
        self.send_written(task);
        let run_out = self.answer_clock.poll(&mut self.timer, task);
        run_out.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn note_written(&mut self) {
        self.is_unsent = true;
        self.answer_clock.answer_flows();
    }

    fn is_refused(&self) -> bool {
        self.refusal.is_some() || !matches!(HeadState::get(), HeadState::Read)
    }
}

/// The code that Pingora's status line stands for.
fn code(theirs: &[u8]) -> Code {
    match theirs.get(9..12) {
        Some(b"405") => Code::MethodNotAllowed,
        _ => Code::RequestMalformed,
    }
}

fn answer(code: Code) -> Bytes {
    let reply = Denial::from(code).reply(RequestId::random().as_str());
    let mut head = Vec::with_capacity(512);
    let mut push = |line: std::fmt::Arguments<'_>| {
        head.write_fmt(line).expect("a vector takes all that is written");
    };
    push(format_args!("HTTP/1.1 {}\r\nconnection: close\r\n", reply.status));
    push(format_args!("content-length: {}\r\n", reply.body.len()));
    for (name, value) in &reply.headers {
        push(format_args!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
    }
    push(format_args!("\r\n"));
    head.extend_from_slice(&reply.body);
    head.into()
}

impl AsyncRead for DownstreamStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            self.hand_over(buffer);
            return Poll::Ready(Ok(()));
        }
        let Some(first) = self.first else {
            return self.poll_more(task, buffer);
        };
        if buffer.remaining() > 0 {
            let from = buffer.filled().len();
            buffer.put_slice(&[first]);
            self.first = None;
            // With what else is there, or Pingora would parse the head twice. A connection that
            // broke meanwhile says so at the next read, too.
            let _ = Pin::new(&mut self.inner).poll_read(task, buffer);
            self.read_along(from, buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for DownstreamStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.is_refused() {
            true => self.refuse(task, bytes),
            false => {
                let wrote = ready!(Pin::new(&mut self.inner).poll_write(task, bytes));
                self.note_written();
                Poll::Ready(wrote)
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.is_refused() {
            true => self.refuse(task, parts.first().map_or(&[], |part| part)),
            false => {
                let wrote = ready!(Pin::new(&mut self.inner).poll_write_vectored(task, parts));
                self.note_written();
                Poll::Ready(wrote)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.inner).poll_flush(task));
        self.is_unsent = false;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(task)
    }
}

#[async_trait]
impl Shutdown for DownstreamStream {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut *self.inner).await;
    }
}

/// Only Pingora's own wait for a request would peek, and that wait is not used.
impl Peek for DownstreamStream {}

impl UniqueID for DownstreamStream {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for DownstreamStream {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for DownstreamStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.get_write_pending_time()
    }
}

impl GetProxyDigest for DownstreamStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.inner.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for DownstreamStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.inner.set_socket_digest(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    async fn connected() -> (TcpStream, DownstreamStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let stream = pingora::protocols::l4::stream::Stream::from(accepted.expect("a client").0);
        (client.expect("connected"), DownstreamStream::new(Box::new(stream)))
    }

    #[tokio::test]
    async fn the_byte_that_was_waited_for_is_read_with_the_rest() {
        let (mut client, mut stream) = connected().await;
        for said in ["GET / HTTP/1.1\r\n", "x"] {
            client.write_all(said.as_bytes()).await.expect("sent");
            poll_fn(|task| stream.poll_begun(task)).await.expect("it began");
            poll_fn(|task| stream.poll_begun(task)).await.expect("it is not waited for again");
            let mut none = [0; 0];
            assert_eq!(stream.read(&mut none).await.expect("no room"), 0);
            let mut read = [0; 64];
            let length = stream.read(&mut read).await.expect("read");
            assert_eq!(&read[..length], said.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_begins_nothing() {
        let (client, mut stream) = connected().await;
        drop(client);
        assert!(poll_fn(|task| stream.poll_begun(task)).await.is_err());
    }
}
