//! Who the client of a request is, as filters, logs and upstreams are to see it.
//!
//! Today both come from the connection itself: the address of the other end, and `http`, because no
//! listener has TLS. Nothing that a client writes is believed. What a load balancer in front says
//! of its clients is to be read here and nowhere else.

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
