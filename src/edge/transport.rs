//! What carries the bytes of a client's connection: its socket, or TLS on it. The bytes of a plain
//! connection take the way that they would take without this file, but for one comparison.

use super::tls::Credentials;
use pingora::protocols::{Shutdown, Stream};
use rustls::{HandshakeKind, ProtocolVersion};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

/// How long a client may take to hear that its connection is over, if it does not read.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// The bytes of one connection.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(Stream),
    /// Boxed, because it is large, and a plain connection is to hold no more than its socket.
    Tls(Box<Secured>),
}

/// A connection behind its handshake.
#[derive(Debug)]
pub(super) struct Secured {
    stream: TlsStream<Stream>,
    credentials: Arc<Credentials>,
}

/// What client and gateway have agreed on.
#[derive(Clone, Copy, Debug)]
pub struct Handshake<'a> {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The name that the client asked for (SNI), in lower case.
    pub sni: Option<&'a str>,
    /// What the client had to show, and what it has shown.
    pub credentials: &'a Arc<Credentials>,
    /// The client has come back with a ticket.
    pub is_resumed: bool,
}

impl Transport {
    pub(super) fn secured(stream: TlsStream<Stream>, credentials: Credentials) -> Self {
        Transport::Tls(Box::new(Secured { stream, credentials: Arc::new(credentials) }))
    }

    /// The socket below.
    pub(super) fn socket(&self) -> &Stream {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(secured) => secured.stream.get_ref().0,
        }
    }

    /// The socket below, to be read and written before there is TLS.
    pub(super) fn socket_mut(&mut self) -> &mut Stream {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(secured) => secured.stream.get_mut().0,
        }
    }

    /// What was agreed on, where there is TLS.
    pub(super) fn handshake(&self) -> Option<Handshake<'_>> {
        let Transport::Tls(secured) = self else { return None };
        let session = secured.stream.get_ref().1;
        Some(Handshake {
            version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "1.3",
                _ => "1.2",
            },
            sni: session.server_name(),
            credentials: &secured.credentials,
            is_resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }

    /// The protocol that was agreed on (ALPN), if any was, where there is TLS.
    pub(super) fn agreed_protocol(&self) -> Option<Option<&[u8]>> {
        let Transport::Tls(secured) = self else { return None };
        Some(secured.stream.get_ref().1.alpn_protocol())
    }

    /// Says that nothing more comes (close_notify), if that can be said at once. Without it, a
    /// client of TLS must take the end of its connection for an attack. It is always ready.
    pub(super) fn poll_goodbye(&mut self, task: &mut Context<'_>) -> Poll<()> {
        if let Transport::Tls(secured) = self {
            // Who does not read can't be told.
            let _ = Pin::new(&mut secured.stream).poll_shutdown(task);
        }
        Poll::Ready(())
    }

    /// Ends the side of the gateway.
    pub(super) async fn shutdown(&mut self) {
        match self {
            Transport::Plain(socket) => Shutdown::shutdown(&mut **socket).await,
            Transport::Tls(secured) => {
                // It is over either way.
                let _ = timeout(GOODBYE_TIMEOUT, secured.stream.shutdown()).await;
            }
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_read(task, buffer),
            Transport::Tls(secured) => Pin::new(&mut secured.stream).poll_read(task, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_write(task, bytes),
            Transport::Tls(secured) => Pin::new(&mut secured.stream).poll_write(task, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_write_vectored(task, parts),
            Transport::Tls(secured) => {
                Pin::new(&mut secured.stream).poll_write_vectored(task, parts)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Transport::Plain(socket) => socket.is_write_vectored(),
            Transport::Tls(secured) => secured.stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_flush(task),
            Transport::Tls(secured) => Pin::new(&mut secured.stream).poll_flush(task),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_shutdown(task),
            Transport::Tls(secured) => Pin::new(&mut secured.stream).poll_shutdown(task),
        }
    }
}
