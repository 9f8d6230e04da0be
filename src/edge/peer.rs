//! The other end of one connection, and whether its word on its clients counts.

use super::listener::Listener;
use super::proxy_header::ProxyHeader;
use http::uri::Scheme;
use std::net::{IpAddr, SocketAddr};

/// The other end of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `None` when the connection has no address, as between two ends in one process.
    pub(super) address: Option<IpAddr>,
    /// What it says of its clients is believed.
    pub(super) is_trusted: bool,
    /// Its client came to it by TLS.
    pub(super) is_tls: bool,
}

impl Peer {
    /// The other end of a connection without an address.
    pub(super) const UNKNOWN: Peer = Peer { address: None, is_trusted: false, is_tls: false };

    /// The peer at this end of a socket of `listener`. An IPv4 address that the socket tells as an
    /// IPv6 one is the IPv4 address.
    pub(super) fn at(socket: Option<SocketAddr>, listener: &Listener) -> Self {
        let address = socket.map(|address| address.ip().to_canonical());
        let is_trusted = address.is_some_and(|address| listener.trusts(address));
        Peer { address, is_trusted, is_tls: false }
    }

    /// The peer whose connection this one passes on, as its header says.
    pub(super) fn passes_on(self, header: ProxyHeader, listener: &Listener) -> Self {
        match header.source {
            Some(address) => {
                let (address, is_tls) = (address.to_canonical(), header.is_tls);
                let is_trusted = listener.trusts(address);
                Peer { address: Some(address), is_trusted, is_tls }
            }
            None => Peer { is_tls: header.is_tls, ..self },
        }
    }

    /// Whether what it says of its clients is believed.
    pub fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// The scheme by which it was itself asked, as far as the connection shows it.
    pub(super) fn scheme(&self) -> Scheme {
        if self.is_tls { Scheme::HTTPS } else { Scheme::HTTP }
    }
}
