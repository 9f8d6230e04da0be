//! The handshake of TLS on a connection that was accepted, within its time.

use super::arrival::{REFUSAL_TIMEOUT, Refusal};
use super::downstream::DownstreamStream;
use super::h2_bounds::PREFACE;
use super::tls::Tls;
use super::transport::Transport;
use crate::denial::{Code, Denial};
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use rustls::server::Acceptor;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::LazyConfigAcceptor;

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
        () = last_call(&mut stopping) => return Err(None),
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

/// How long a client that has just connected has to say what it wants, once its listener is closed:
/// a change of the configuration must not cost it its first request.
pub(super) const LAST_CALL: Duration = Duration::from_secs(1);

/// Ends when nobody who has just connected is waited for any more.
pub(super) async fn last_call(stopping: &mut ShutdownWatch) {
    // An error means that the gateway is gone, which is as final.
    let _ = stopping.wait_for(|is_over| *is_over).await;
    sleep(LAST_CALL).await;
}

/// Whether HTTP/2 is spoken on a connection: the handshake agreed on it, or, without TLS, the
/// client begins with it. `None`: nothing was said in time, or the gateway stops.
pub(super) async fn speaks_http2(
    stream: &mut DownstreamStream,
    within: Duration,
    shutdown: &ShutdownWatch,
) -> Option<bool> {
    if let Some(is_agreed) = stream.agreed_on_http2() {
        return Some(is_agreed);
    }
    let mut stopping = shutdown.clone();
    let begun = poll_fn(|task| stream.poll_begins_with(PREFACE, task));
    tokio::select! {
        () = last_call(&mut stopping) => None,
        begun = timeout(within, begun) => begun.ok()?.ok(),
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
    let bounds = stream.reader_bounds();
    let (socket, ahead) = stream.into_parts();
    let Transport::Plain(socket) = socket else { unreachable!("one handshake is enough") };
    if first != Some(HANDSHAKE_RECORD) {
        return Err(Broken::Other(socket));
    }
    let mut hello = pin!(LazyConfigAcceptor::new(ahead_of(&ahead), socket));
    let start = match hello.as_mut().await {
        Ok(start) => start,
        Err(why) => {
            let socket = hello.take_io().expect("what was not accepted is given back");
            return Err(Broken::Failed(why, socket));
        }
    };
    let asked_proof = tls.asked_proof(&start.client_hello());
    if let Some(host) = asked_proof
        && let Some(proof) = Box::pin(tls.proof(&host)).await
    {
        // It has seen what it came for, and says nothing more.
        if let Ok(mut shown) = start.into_stream(proof).await {
            let _ = AsyncWriteExt::shutdown(&mut shown).await;
        }
        return Err(Broken::Silent);
    }
    let (terms, server) = tls.begin(start.client_hello().server_name());
    match start.into_stream(server).into_fallible().await {
        Ok(secured) => {
            let credentials = tls.credentials(terms, secured.get_ref().1);
            let transport = Transport::secured(secured, credentials);
            Ok(Box::new(DownstreamStream::over(transport, bounds)))
        }
        Err((why, socket)) => Err(Broken::Failed(why, socket)),
    }
}

/// What reads the first words of a client, of which some bytes were read before. What is wrong with
/// them is told when more come.
fn ahead_of(mut ahead: &[u8]) -> Acceptor {
    let mut acceptor = Acceptor::default();
    while !ahead.is_empty() && matches!(acceptor.read_tls(&mut ahead), Ok(1..)) {}
    acceptor
}

/// Ends a connection gently: who still sends would lose the last words of the gateway otherwise.
async fn hang_up(socket: &mut Stream) -> io::Result<()> {
    socket.flush().await?;
    AsyncWriteExt::shutdown(socket).await?;
    let mut rest = [0; 1024];
    while 0 < socket.read(&mut rest).await? {}
    Ok(())
}
