//! Who the client of a request is, as filters, logs and upstreams are to see it.
//!
//! Today this is what the connection itself says: the other end of the socket, and `http`, because
//! no listener speaks TLS. Nothing that a client writes counts. Other sources of the truth, such as
//! a load balancer in front, are to be read here and nowhere else.

use http::uri::Scheme;
use pingora::proxy::Session as Downstream;
use std::net::SocketAddr;

/// The client of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// `None` when the connection has no address, as between two ends in one process.
    pub address: Option<SocketAddr>,
    /// The scheme of the URL that the client asked for.
    pub scheme: Scheme,
}

impl Client {
    /// The client at the other end of `downstream`.
    pub fn of(downstream: &Downstream) -> Self {
        let address = downstream.client_addr().and_then(|address| address.as_inet().copied());
        Client { address, scheme: Scheme::HTTP }
    }
}
