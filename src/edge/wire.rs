//! A client's connection, as Pingora holds it, with two things changed. Its next request can be
//! waited for without holding more than the connection; and what Pingora says by itself of a head
//! that it can't read or won't take is said in the gateway's own words.
//!
//! Pingora answers such heads with a bare 400 or 405 before any of its phases, and closes. Whatever
//! it writes before the edge was told of a head is that answer. Everything else passes as it is.

use super::{HEAD, Head};
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
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A client's connection.
#[derive(Debug)]
pub(super) struct Wire {
    inner: Stream,
    /// The first byte of a request, while nobody reads the rest.
    first: Option<u8>,
    /// What is said in place of Pingora's answer, as far as it is not sent yet.
    refusal: Option<Bytes>,
}

impl Wire {
    pub(super) fn new(inner: Stream) -> Self {
        Wire { inner, first: None, refusal: None }
    }

    /// Ready when a request begins; an error when the connection ends instead.
    pub(super) fn poll_begun(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.first.is_none() {
            let mut byte = [0];
            let mut buffer = ReadBuf::new(&mut byte);
            ready!(Pin::new(&mut self.inner).poll_read(task, &mut buffer))?;
            self.first = buffer.filled().first().copied();
        }
        Poll::Ready(self.first.map(|_| ()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
    }

    /// Sends our words for Pingora's, which are taken as written.
    fn refuse(&mut self, task: &mut Context<'_>, theirs: &[u8]) -> Poll<io::Result<usize>> {
        let ours = self.refusal.get_or_insert_with(|| {
            let code = code(theirs);
            HEAD.set(Head::Refused(code));
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

    fn is_refused(&self) -> bool {
        self.refusal.is_some() || !matches!(HEAD.get(), Head::Read)
    }
}

/// The row of the table that Pingora's status line means.
fn code(theirs: &[u8]) -> Code {
    match theirs.get(9..12) {
        Some(b"405") => Code::MethodNotAllowed,
        _ => Code::RequestMalformed,
    }
}

fn answer(code: Code) -> Bytes {
    let reply = Denial::from(code).reply(RequestId::random().as_str());
    let mut head = Vec::with_capacity(512);
    let mut say = |line: std::fmt::Arguments<'_>| {
        head.write_fmt(line).expect("a vector takes all that is written");
    };
    say(format_args!("HTTP/1.1 {}\r\nconnection: close\r\n", reply.status));
    say(format_args!("content-length: {}\r\n", reply.body.len()));
    for (name, value) in &reply.headers {
        say(format_args!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
    }
    say(format_args!("\r\n"));
    head.extend_from_slice(&reply.body);
    head.into()
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(first) = self.first else {
            return Pin::new(&mut self.inner).poll_read(task, buffer);
        };
        if buffer.remaining() > 0 {
            buffer.put_slice(&[first]);
            self.first = None;
            // With what else is there, or Pingora would parse the head twice. A connection that
            // broke meanwhile says so at the next read, too.
            let _ = Pin::new(&mut self.inner).poll_read(task, buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.is_refused() {
            true => self.refuse(task, bytes),
            false => Pin::new(&mut self.inner).poll_write(task, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.is_refused() {
            true => self.refuse(task, parts.first().map_or(&[], |part| part)),
            false => Pin::new(&mut self.inner).poll_write_vectored(task, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(task)
    }
}

#[async_trait]
impl Shutdown for Wire {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut *self.inner).await;
    }
}

/// Only Pingora's own wait for a request would ask for it.
impl Peek for Wire {}

impl UniqueID for Wire {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Wire {
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

impl GetTimingDigest for Wire {
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

impl GetProxyDigest for Wire {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.inner.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Wire {
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

    async fn connected() -> (TcpStream, Wire) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let stream = pingora::protocols::l4::stream::Stream::from(accepted.expect("a client").0);
        (client.expect("connected"), Wire::new(Box::new(stream)))
    }

    #[tokio::test]
    async fn the_byte_that_was_waited_for_is_read_with_the_rest() {
        let (mut client, mut wire) = connected().await;
        for said in ["GET / HTTP/1.1\r\n", "x"] {
            client.write_all(said.as_bytes()).await.expect("sent");
            poll_fn(|task| wire.poll_begun(task)).await.expect("it began");
            poll_fn(|task| wire.poll_begun(task)).await.expect("it is not waited for again");
            let mut none = [0; 0];
            assert_eq!(wire.read(&mut none).await.expect("no room"), 0);
            let mut read = [0; 64];
            let length = wire.read(&mut read).await.expect("read");
            assert_eq!(&read[..length], said.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_begins_nothing() {
        let (client, mut wire) = connected().await;
        drop(client);
        assert!(poll_fn(|task| wire.poll_begun(task)).await.is_err());
    }
}
