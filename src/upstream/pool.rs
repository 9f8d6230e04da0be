//! The endpoints of an upstream at one moment. A change of addresses makes another pool; requests
//! under way go on with the one that they began with.

use super::balance::Balance;
use super::tls::Identity;
use super::{Config, Endpoint, Health, peer};
use crate::resolve::Found;
use pingora::upstreams::peer::HttpPeer;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Notify;

/// The sum of all weights of one pool; bounds the size of its schedule.
pub(super) const WEIGHTS_MAX: u32 = 1_000;

/// Endpoints of one pool. Only names with very many addresses get there.
const ENDPOINTS_MAX: usize = 1_000;

/// The endpoints of an upstream, and which of them is next.
#[derive(Debug)]
pub struct Pool {
    /// Its addresses.
    pub endpoints: Vec<Endpoint>,
    /// How many are left out because they are too many.
    pub surplus: usize,
    pub(super) balance: Box<dyn Balance>,
    /// Notified when an address may be no more what its name leads to.
    pub(super) doubt: Arc<Notify>,
}

/// What all pools of one upstream are made with.
#[derive(Debug)]
pub(super) struct Mould {
    name: Arc<str>,
    balance: super::balance::Config,
    protocol: super::Protocol,
    timeouts: super::Timeouts,
    identity: Option<Identity>,
    pub(super) doubt: Arc<Notify>,
}

impl Mould {
    pub(super) fn new(name: &str, config: &Config, identity: Option<Identity>) -> Self {
        let (balance, protocol, timeouts) = (config.balance, config.protocol, config.timeouts);
        let (name, doubt) = (name.into(), Arc::default());
        Mould { name, balance, protocol, timeouts, identity, doubt }
    }

    /// The pool of these servers, each with what the file calls it and the weight that it says.
    /// What stands there twice is one endpoint. Addresses that were in the pool `before` stay as
    /// well or unwell as they were.
    pub(super) fn pool<'a>(
        &self,
        servers: impl Iterator<Item = (&'a Arc<str>, u32, &'a Found)>,
        before: Option<&Pool>,
    ) -> Pool {
        let (mut endpoints, mut surplus): (Vec<Endpoint>, usize) = (Vec::new(), 0);
        for (written, weight, found) in servers {
            if endpoints.iter().any(|known| known.address == found.address) {
                continue;
            }
            if endpoints.len() == ENDPOINTS_MAX {
                surplus += 1;
                continue;
            }
            let kept = before.and_then(|pool| pool.health_of(found.address));
            let identity = self.identity.as_ref();
            let (name, protocol, timeouts) = (&self.name, self.protocol, &self.timeouts);
            let peer = peer::template(name, found.address, protocol, timeouts, identity);
            endpoints.push(Endpoint {
                address: found.address,
                weight: weight.saturating_mul(found.weight),
                written: Arc::clone(written),
                host: Arc::clone(&found.host),
                health: kept.unwrap_or_default(),
                peer,
            });
        }
        bound_weights(&mut endpoints);
        let balance = self.balance.build(&endpoints);
        Pool { endpoints, surplus, balance, doubt: Arc::clone(&self.doubt) }
    }
}

impl Pool {
    /// The endpoint to ask next, none of those that were `tried`.
    pub(super) fn pick(&self, tried: &[usize]) -> Option<usize> {
        let picked = self.balance.pick(&self.endpoints, tried);
        assert!(picked.is_none_or(|index| !tried.contains(&index)), "no endpoint is picked twice");
        picked
    }

    /// What Pingora connects to for endpoint number `index`.
    pub(super) fn peer(&self, index: usize) -> Box<HttpPeer> {
        Box::new(self.endpoints[index].peer.clone())
    }

    fn health_of(&self, address: SocketAddr) -> Option<Arc<Health>> {
        let known = self.endpoints.iter().find(|endpoint| endpoint.address == address)?;
        Some(Arc::clone(&known.health))
    }
}

/// Makes weights smaller in proportion, if names with many addresses make their sum too large.
fn bound_weights(endpoints: &mut [Endpoint]) {
    let sum: u64 = endpoints.iter().map(|endpoint| u64::from(endpoint.weight)).sum();
    let max = u64::from(WEIGHTS_MAX);
    if sum <= max {
        return;
    }
    for endpoint in endpoints {
        let scaled = u64::from(endpoint.weight) * max / sum;
        endpoint.weight = u32::try_from(scaled).unwrap_or(WEIGHTS_MAX).max(1);
    }
}
