//! The stream to a client, plain or by TLS, as Pingora holds it, with seven changes. The edge can
//! wait for the next request without holding more than the connection. Pingora's own answer to a
//! head that it can't parse or won't take is replaced by the gateway's. A read from the client
//! fails when its upstream has let it wait for too long (`AnswerClock`). What no URL may hold is
//! encoded before Pingora parses it (`RequestLine`). A client may close its side and wait for its
//! answer: Pingora would end the exchange, or stop to poll the stream and with it the clock, so it
//! does not see the end as long as the client is taken to wait (`ClientEnd`). And what was written
//! goes out as soon as the exchange waits: Pingora holds a head with a `Content-Length` back until
//! there is a packet of it. And a client that takes too little is cut (`ReaderPace`): Pingora has a
//! bound for a whole piece, however large.
//!
//! Pingora answers a head that it won't take with a bare 400 or 405 before `early_request_filter`
//! has run, and closes. So all bytes that it writes before that phase are this answer, and ours are
//! sent in their place; all other writes pass through.

mod digest;

use super::answer_clock::AnswerClock;
use super::client_end::{ClientEnd, ClientEndWatch};
use super::deadline::Deadline;
use super::head_state::HeadState;
use super::reader_pace::{ReaderBounds, ReaderPace, SlowClient, receipts};
use super::receipt::Receipt;
use super::request_line::RequestLine;
use super::tls;
use super::transport::{Handshake, Transport};
use crate::denial::{Code, Denial};
use crate::exchange::RequestId;
use async_trait::async_trait;
use bytes::{Buf, Bytes};
use pingora::protocols::{Shutdown, Stream};
use pingora::proxy::Session as Downstream;
use smallvec::SmallVec;
use std::future::poll_fn;
use std::io::{self, IoSlice, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// The stream to a client. What a request begins with can be read ahead of the rest.
#[derive(Debug)]
pub struct DownstreamStream {
    inner: Transport,
    /// What was read ahead, and nobody reads yet: the first byte of a request, or what might have
    /// been a header of the PROXY protocol.
    ahead: SmallVec<[u8; 16]>,
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
    end_watch: ClientEndWatch,
    pace: ReaderPace,
}

impl DownstreamStream {
    pub(super) fn new(socket: Stream, bounds: ReaderBounds) -> Self {
        Self::over(Transport::Plain(socket), bounds)
    }

    pub(super) fn over(inner: Transport, bounds: ReaderBounds) -> Self {
        DownstreamStream {
            inner,
            ahead: SmallVec::new(),
            refusal: None,
            answer_clock: AnswerClock::default(),
            timer: None,
            line: RequestLine::default(),
            unread: Bytes::new(),
            is_unsent: false,
            end_watch: ClientEndWatch::default(),
            pace: ReaderPace::new(bounds),
        }
    }

    /// The stream behind a request that Pingora has read.
    pub fn of(downstream: &Downstream) -> Option<&Self> {
        downstream.stream()?.as_any().downcast_ref()
    }

    /// The address of the other end, as the socket tells it.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let digest = self.inner.socket().get_socket_digest()?;
        digest.peer_addr().and_then(|address| address.as_inet().copied())
    }

    /// What the client's system said to what was sent.
    pub fn receipt(&self) -> Receipt {
        Receipt::told(self.inner.socket().get_socket_digest().as_deref())
    }

    /// How slowly the client may take what is sent to it.
    pub(super) fn reader_bounds(&self) -> ReaderBounds {
        self.pace.bounds()
    }

    /// How the client was too slow to take what was sent to it, if it was.
    pub(super) fn slow_reader(&self) -> Option<SlowClient> {
        self.pace.slow()
    }

    /// What a write came to: an error, if the client takes too little.
    fn keep_pace<T: Copy>(
        &mut self,
        task: &mut Context<'_>,
        wrote: Poll<io::Result<T>>,
        bytes: impl Fn(T) -> usize,
    ) -> Poll<io::Result<T>> {
        let taken = match &wrote {
            Poll::Ready(Ok(wrote)) => Poll::Ready(bytes(*wrote)),
            Poll::Ready(Err(_)) => return wrote,
            Poll::Pending => Poll::Pending,
        };
        let DownstreamStream { inner, pace, .. } = self;
        let ask = || receipts(inner.socket().get_socket_digest().as_deref());
        match ready!(pace.poll(taken, ask, task)) {
            Ok(()) => wrote,
            Err(_) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }

    /// The bytes of the connection as they come, before there is HTTP.
    pub(super) fn bytes(&mut self) -> &mut Stream {
        self.inner.socket_mut()
    }

    /// The connection, and what was read ahead of what is to read it from now on.
    pub(super) fn into_parts(self) -> (Transport, SmallVec<[u8; 16]>) {
        (self.inner, self.ahead)
    }

    /// What client and gateway agreed on, where there is TLS.
    pub fn handshake(&self) -> Option<Handshake<'_>> {
        self.inner.handshake()
    }

    /// The first byte of what was read ahead.
    pub(super) fn first_byte(&self) -> Option<u8> {
        self.ahead.first().copied()
    }

    /// Tells a client of TLS that nothing more comes; it is always ready.
    pub(super) fn poll_goodbye(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.inner.poll_goodbye(task)
    }

    /// Gives back `bytes` that were read last and belong to what follows.
    pub(super) fn give_back(&mut self, bytes: &[u8]) {
        self.ahead.insert_from_slice(0, bytes);
    }

    /// Answers with `denial` whatever is asked, and reads on until the client closes: who still
    /// sends would lose the answer otherwise.
    pub(super) async fn turn_away(&mut self, denial: Denial) -> io::Result<()> {
        poll_fn(|task| self.poll_begun(task)).await?;
        let answer = answer(denial);
        self.inner.write_all(&answer).await?;
        self.inner.flush().await?;
        AsyncWriteExt::shutdown(&mut self.inner).await?;
        let mut rest = [0; 1024];
        while 0 < self.inner.read(&mut rest).await? {}
        Ok(())
    }

    /// Ready when a request begins; an error when the connection ends instead.
    pub(super) fn poll_begun(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let mut byte = [0];
            let mut buffer = ReadBuf::new(&mut byte);
            ready!(Pin::new(&mut self.inner).poll_read(task, &mut buffer))?;
            self.ahead.extend_from_slice(buffer.filled());
            self.line = RequestLine::default();
            self.end_watch = ClientEndWatch::default();
        }
        Poll::Ready(match self.ahead.is_empty() {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(()),
        })
    }

    /// Ready when it is clear whether the connection begins with `expected`, of which no request
    /// of HTTP/1 is a beginning; an error when it ends instead. What was read is read again.
    pub(super) fn poll_begins_with(
        &mut self,
        expected: &[u8],
        task: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        while self.ahead.len() < expected.len() && expected.starts_with(&self.ahead) {
            let mut bytes = [0; 32];
            let wanted = (expected.len() - self.ahead.len()).min(bytes.len());
            let mut buffer = ReadBuf::new(&mut bytes[..wanted]);
            ready!(Pin::new(&mut self.inner).poll_read(task, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.ahead.extend_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(self.ahead.starts_with(expected)))
    }

    /// Whether client and gateway agreed on HTTP/2, where there is TLS.
    pub(super) fn agreed_on_http2(&self) -> Option<bool> {
        self.inner.agreed_protocol().map(|protocol| protocol == Some(tls::HTTP2))
    }

    /// What it means from now on that the client closes its side.
    pub fn at_end(&self, meaning: ClientEnd) {
        self.end_watch.mean(meaning);
    }

    /// Sends our refusal; `theirs`, Pingora's answer, is taken as written.
    fn refuse(&mut self, task: &mut Context<'_>, theirs: &[u8]) -> Poll<io::Result<usize>> {
        let ours = self.refusal.get_or_insert_with(|| {
            let code = code(theirs);
            HeadState::Refused(code).set();
            answer(code.into())
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
        let is_end = matches!(read, Poll::Ready(Ok(())))
            && buffer.filled().len() == from
            && 0 < buffer.remaining();
        if read.is_ready() && !(is_end && self.end_watch.poll_gone(task).is_pending()) {
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

fn answer(denial: Denial) -> Bytes {
    let reply = denial.reply(RequestId::random().as_str());
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
        if self.ahead.is_empty() {
            return self.poll_more(task, buffer);
        }
        let from = buffer.filled().len();
        let n = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..n]);
        self.ahead.drain(..n);
        if 0 < n && self.ahead.is_empty() {
            // With what else is there, or Pingora would parse the head twice. A connection that
            // broke meanwhile says so at the next read, too.
            let _ = Pin::new(&mut self.inner).poll_read(task, buffer);
        }
        self.read_along(from, buffer);
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
                let wrote = Pin::new(&mut self.inner).poll_write(task, bytes);
                let wrote = ready!(self.keep_pace(task, wrote, |bytes| bytes));
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
                let wrote = Pin::new(&mut self.inner).poll_write_vectored(task, parts);
                let wrote = ready!(self.keep_pace(task, wrote, |bytes| bytes));
                self.note_written();
                Poll::Ready(wrote)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(task);
        let flushed = ready!(self.keep_pace(task, flushed, |()| 0));
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
        self.inner.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    async fn connected() -> (TcpStream, DownstreamStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let stream = pingora::protocols::l4::stream::Stream::from(accepted.expect("a client").0);
        (
            client.expect("connected"),
            DownstreamStream::new(Box::new(stream), ReaderBounds::UNBOUNDED),
        )
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
    async fn what_was_given_back_is_read_before_the_rest() {
        let (mut client, mut stream) = connected().await;
        client.write_all(b"PROXYX /").await.expect("sent");
        let mut taken = [0; 6];
        stream.bytes().read_exact(&mut taken).await.expect("read");
        stream.give_back(&taken);
        poll_fn(|task| stream.poll_begun(task)).await.expect("it began");
        let mut read = [0; 8];
        stream.read_exact(&mut read[..4]).await.expect("read");
        stream.read_exact(&mut read[4..]).await.expect("read");
        assert_eq!(&read, b"PROXYX /");
    }

    #[tokio::test]
    async fn a_connection_that_ends_begins_nothing() {
        let (client, mut stream) = connected().await;
        drop(client);
        assert!(poll_fn(|task| stream.poll_begun(task)).await.is_err());
    }
}
