//! One server of an upstream, as a pool has it.

use super::{Health, Load, Record};
use pingora::upstreams::peer::HttpPeer;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// One server of an upstream.
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of the requests.
    pub weight: u32,
    /// Endpoints with a larger number are asked when none with a smaller one is well.
    pub priority: u32,
    /// What the file calls it.
    pub written: Arc<str>,
    /// Host and port as a client names them.
    pub host: Arc<str>,
    /// Kept from pool to pool, as long as the address stays.
    pub health: Arc<Health>,
    /// What it has to do now; kept likewise.
    pub load: Arc<Load>,
    /// What came of requests; kept likewise.
    pub record: Arc<Record>,
    /// Cloned for every request: building one anew would cost more.
    pub(super) peer: HttpPeer,
}

impl Endpoint {
    /// Whether checks or requests say that it fails. One that took no connection a moment ago may
    /// only have been started again.
    pub(super) fn is_out(&self) -> bool {
        !self.health.is_well() || self.health.is_ejected()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.address).field(&self.weight).finish()
    }
}
