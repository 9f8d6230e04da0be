//! The handshake of TLS on a connection that was accepted, within its time.

use super::arrival::{REFUSAL_TIMEOUT, Refusal};
use super::downstream::DownstreamStream;
use super::tls::{self, Tls};
use super::transport::Transport;
use crate::denial::{Code, Denial};
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use rustls::ServerConnection;
use std::future::poll_fn;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

/// What the first record of a client of TLS begins with (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Why there is no TLS on a connection.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) refusal: Refusal,
    /// What the library says of it.
    pub(super) why: Option<io::Error>,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure { refusal, why: None }
    }
}

/// Secures a connection. `Err(None)`: nobody is there any more, or the gateway stops.
pub(super) async fn secure(
    stream: Box<DownstreamStream>,
    tls: &Tls,
    shutdown: &ShutdownWatch,
) -> Result<Box<DownstreamStream>, Option<Failure>> {
    let mut stopping = shutdown.clone();
    let until = Instant::now() + tls.handshake_timeout();
    let secured = tokio::select! {
        // An error means that the gateway is gone, which is as final.
        _ = stopping.wait_for(|is_over| *is_over) => return Err(None),
        secured = timeout_at(until, shake_hands(stream, tls)) => secured,
    };
    let broken = match secured {
        Ok(Ok(secured)) => return Ok(secured),
        Ok(Err(broken)) => broken,
        Err(_) => return Err(Some(Refusal::HandshakeTimeout.into())),
    };
    match broken {
        Broken::Silent => Err(None),
        Broken::Plain(mut stream) => {
            let denial = Denial::from(Code::RequestMalformed).because("this port speaks TLS");
            // It is over either way.
            let _ = timeout(REFUSAL_TIMEOUT, stream.turn_away(denial)).await;
            Err(Some(Refusal::NotTls.into()))
        }
        Broken::Other(mut socket) => {
            let _ = timeout(REFUSAL_TIMEOUT, hang_up(&mut socket)).await;
            Err(Some(Refusal::NotTls.into()))
        }
        Broken::Failed(why, mut socket) => {
            let _ = timeout(REFUSAL_TIMEOUT, hang_up(&mut socket)).await;
            Err(Some(Failure { refusal: Refusal::Handshake, why: Some(why) }))
        }
    }
}

/// A connection without TLS, to be ended.
enum Broken {
    /// Nobody said anything: so balancers look whether a port is open.
    Silent,
    /// It looks like HTTP.
    Plain(Box<DownstreamStream>),
    Other(Stream),
    Failed(io::Error, Stream),
}

async fn shake_hands(
    mut stream: Box<DownstreamStream>,
    tls: &Tls,
) -> Result<Box<DownstreamStream>, Broken> {
    if poll_fn(|task| stream.poll_begun(task)).await.is_err() {
        return Err(Broken::Silent);
    }
    let first = stream.first_byte();
    if first.is_some_and(|byte| byte.is_ascii_uppercase()) {
        return Err(Broken::Plain(stream));
    }
    let (socket, ahead) = stream.into_parts();
    let Transport::Plain(socket) = socket else { unreachable!("one handshake is enough") };
    if first != Some(HANDSHAKE_RECORD) {
        return Err(Broken::Other(socket));
    }
    let acceptor = TlsAcceptor::from(tls.server());
    let accept = acceptor.accept_with(socket, |session| feed(session, &ahead)).into_fallible();
    match accept.await {
        Ok(secured) => {
            let shown = secured.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let subject = shown.and_then(tls::subject);
            Ok(Box::new(DownstreamStream::over(Transport::secured(secured, subject))))
        }
        Err((why, socket)) => Err(Broken::Failed(why, socket)),
    }
}

/// Gives a session the bytes that were read before it was there. What is wrong with them is told
/// when the handshake goes on.
fn feed(session: &mut ServerConnection, mut ahead: &[u8]) {
    while !ahead.is_empty() && matches!(session.read_tls(&mut ahead), Ok(read) if 0 < read) {
        if session.process_new_packets().is_err() {
            return;
        }
    }
}

/// Ends a connection gently: who still sends would lose the last words of the gateway otherwise.
async fn hang_up(socket: &mut Stream) -> io::Result<()> {
    socket.flush().await?;
    AsyncWriteExt::shutdown(socket).await?;
    let mut rest = [0; 1024];
    while 0 < socket.read(&mut rest).await? {}
    Ok(())
}
