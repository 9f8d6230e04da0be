//! The other end of one connection, and whether its word on its clients counts.

use super::listener::Listener;
use super::proxy_header::ProxyHeader;
use http::uri::Scheme;
use std::net::{IpAddr, SocketAddr};

/// The other end of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `None` when the connection has no address: it is to a socket of Unix.
    pub(super) address: Option<IpAddr>,
    /// It came by TLS, or its client came to it by TLS.
    pub(super) is_tls: bool,
}

impl Peer {
    /// The other end of a connection without an address.
    pub(super) const UNKNOWN: Peer = Peer { address: None, is_tls: false };

    /// The peer at the other end of a socket. An IPv4 address that the socket tells as an
    /// IPv6 one is the IPv4 address.
    pub(super) fn at(socket: Option<SocketAddr>) -> Self {
        let address = socket.map(|address| address.ip().to_canonical());
        Peer { address, is_tls: false }
    }

    /// The peer whose connection this one passes on, as its header says.
    pub(super) fn passes_on(self, header: ProxyHeader) -> Self {
        let source = header.source.map(|address| address.to_canonical());
        Peer { address: source.or(self.address), is_tls: header.is_tls }
    }

    /// The same peer, by TLS that ends here.
    pub(super) fn over_tls(self) -> Self {
        Peer { is_tls: true, ..self }
    }

    /// Whether what it says of its clients is believed, as of now: names may lead elsewhere while a
    /// connection is open.
    pub fn is_trusted(&self, listener: &Listener) -> bool {
        match self.address {
            Some(address) => listener.trusts(address),
            None => listener.trusted.has_sockets(),
        }
    }

    /// The scheme by which it was itself asked, as far as the connection shows it.
    pub(super) fn scheme(&self) -> Scheme {
        if self.is_tls { Scheme::HTTPS } else { Scheme::HTTP }
    }
}
