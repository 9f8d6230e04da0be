//! What happens on an accepted connection before its first request: the PROXY protocol says whose
//! it is, and it gets a place among those of its client, or is told that there is none.

use super::connections::Place;
use super::downstream::DownstreamStream;
use super::listener::Listener;
use super::peer::Peer;
use super::proxy_header::{self, Beginning, ProxyHeader};
use crate::denial::Denial;
use pingora::server::ShutdownWatch;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a connection for which there is no room may take to hear that.
pub(super) const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a connection is closed before a request was read on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The gateway has as many connections as it may, over all listeners.
    ProcessFull,
    /// The listener has as many connections as it may.
    Full,
    /// The client has as many connections as it may.
    ClientFull,
    /// A trusted peer did not say whose connection it passes on.
    ProxyHeaderMissing,
    /// Somebody said whose connection it is who is not trusted.
    ProxyHeaderUntrusted,
    /// What a trusted peer says is no header.
    ProxyHeaderMalformed,
    /// The header did not come in time.
    ProxyHeaderTimeout,
    /// What comes on a port of TLS is none.
    NotTls,
    /// Client and gateway did not agree, or the client broke off.
    Handshake,
    /// The handshake did not end in time.
    HandshakeTimeout,
}

impl Refusal {
    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::ProcessFull => "process_full",
            Refusal::Full => "full",
            Refusal::ClientFull => "client_full",
            Refusal::ProxyHeaderMissing => "proxy_header_missing",
            Refusal::ProxyHeaderUntrusted => "proxy_header_untrusted",
            Refusal::ProxyHeaderMalformed => "proxy_header_malformed",
            Refusal::ProxyHeaderTimeout => "proxy_header_timeout",
            Refusal::NotTls => "not_tls",
            Refusal::Handshake => "handshake",
            Refusal::HandshakeTimeout => "handshake_timeout",
        }
    }
}

/// Finds out whose connection `stream` is, where the listener speaks the PROXY protocol.
/// `Err(None)`: nobody is there any more, or the gateway stops.
pub(super) async fn meet(
    stream: &mut DownstreamStream,
    peer: Peer,
    listener: &Listener,
    shutdown: &ShutdownWatch,
) -> Result<Peer, Option<Refusal>> {
    if !listener.proxy_protocol {
        return Ok(peer);
    }
    let is_trusted = peer.is_trusted(listener);
    let mut bytes = Vec::new();
    let mut stopping = shutdown.clone();
    let until = Instant::now() + listener.head_timeout;
    let begun = tokio::select! {
        // An error means that the gateway is gone, which is as final.
        _ = stopping.wait_for(|is_over| *is_over) => return Err(None),
        begun = timeout_at(until, proxy_header::read(stream.bytes(), &mut bytes)) => begun,
    };
    match begun {
        // Who said nothing at all asked for nothing: so balancers look whether a port is open.
        Err(_) | Ok(Err(_)) if bytes.is_empty() => Err(None),
        Err(_) => Err(Some(Refusal::ProxyHeaderTimeout)),
        Ok(Err(_)) if is_trusted => Err(Some(Refusal::ProxyHeaderMalformed)),
        Ok(Err(_)) => Err(None),
        Ok(Ok(Beginning::Other)) if is_trusted => Err(Some(Refusal::ProxyHeaderMissing)),
        Ok(Ok(Beginning::Other)) => {
            stream.give_back(&bytes);
            Ok(peer)
        }
        Ok(Ok(_)) if !is_trusted => {
            listener.trusted.doubt();
            Err(Some(Refusal::ProxyHeaderUntrusted))
        }
        Ok(Ok(Beginning::Whole)) => match ProxyHeader::parse(&bytes) {
            Some(header) => Ok(peer.passes_on(header)),
            None => Err(Some(Refusal::ProxyHeaderMalformed)),
        },
        Ok(Ok(Beginning::Part(_) | Beginning::Malformed)) => {
            Err(Some(Refusal::ProxyHeaderMalformed))
        }
    }
}

/// A place among the connections of `peer`, if there is room. Only clients are counted: those of a
/// trusted peer are behind it.
pub(super) fn place(peer: Peer, listener: &Listener) -> Result<Option<Place>, Refusal> {
    match peer.address.filter(|address| !listener.trusts(*address)) {
        Some(address) => {
            listener.connections.enter_client(address).map_err(|_| Refusal::ClientFull)
        }
        None => Ok(None),
    }
}

/// Tells a connection, whatever it asks, that there is no room for it. Where too many are to be
/// told that, it is closed without a word, and so is one of TLS: a handshake costs more than most
/// requests.
pub(super) async fn turn_away(stream: &mut DownstreamStream, listener: &Listener) {
    if listener.tls.is_some() {
        return;
    }
    let Some(_place) = listener.connections.enter_refused() else { return };
    // It is over either way.
    let _ = timeout(REFUSAL_TIMEOUT, stream.turn_away(Denial::overloaded())).await;
}
