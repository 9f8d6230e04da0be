//! The endpoints of an upstream at one moment. A change of addresses makes another pool; requests
//! under way go on with the one that they began with.

use super::balance::{Ask, Balance, Draw, Wanted};
use super::ejections::{Ejection, Ejections};
use super::tls::Identity;
use super::written::Written;
use super::{Config, EjectReason, Endpoint, Outcome, eject, peer};
use crate::resolve::Found;
use pingora::upstreams::peer::HttpPeer;
use rand::RngExt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// The sum of all weights of one pool; bounds the size of its schedule.
pub(super) const WEIGHTS_MAX: u32 = 1_000;

/// Endpoints of one pool. Only names with very many addresses get there.
const ENDPOINTS_MAX: usize = 1_000;

/// The endpoints of an upstream, and which of them is next.
#[derive(Debug)]
pub struct Pool {
    /// Its addresses, those of one priority beside each other, the best first.
    pub endpoints: Vec<Endpoint>,
    /// How many are left out because they are too many.
    pub surplus: usize,
    groups: Vec<Group>,
    eject: eject::Config,
    ejections: Arc<Ejections>,
    /// From where the next request draws its chance.
    draws: AtomicU64,
    /// Notified when an address may be no more what its name leads to.
    pub(super) doubt: Arc<Notify>,
}

/// Endpoints of one priority.
#[derive(Debug)]
struct Group {
    range: Range<usize>,
    balance: Box<dyn Balance>,
}

/// What all pools of one upstream are made with.
#[derive(Debug)]
pub(super) struct Mould {
    name: Arc<str>,
    balance: super::balance::Config,
    protocol: super::Protocol,
    timeouts: super::Timeouts,
    identity: Option<Identity>,
    eject: eject::Config,
    slow_start: Duration,
    pub(super) ejections: Arc<Ejections>,
    pub(super) doubt: Arc<Notify>,
}

impl Mould {
    pub(super) fn new(name: &str, config: &Config, identity: Option<Identity>) -> Self {
        let balance = config.balance.as_ref().map(|balance| balance.value.clone());
        let balance = balance.unwrap_or_default();
        let (protocol, timeouts) = (config.protocol.value, config.timeouts);
        Mould {
            name: name.into(),
            balance,
            protocol,
            timeouts,
            identity,
            eject: config.eject,
            slow_start: config.slow_start.map(|time| time.0).unwrap_or_default(),
            ejections: Arc::default(),
            doubt: Arc::default(),
        }
    }

    /// By what requests belong together, where that plays a part.
    pub(super) fn key(&self) -> Option<&super::HashKey> {
        self.balance.key()
    }

    /// The pool of these servers, each with what the file says of it. What stands there twice is
    /// one endpoint. Addresses that were in the pool `before` stay as well or unwell as they were.
    pub(super) fn pool<'a>(
        &self,
        servers: impl Iterator<Item = (&'a Written, &'a Found)>,
        before: Option<&Pool>,
    ) -> Pool {
        let (mut endpoints, mut surplus): (Vec<Endpoint>, usize) = (Vec::new(), 0);
        for (written, found) in servers {
            if endpoints.iter().any(|known| known.address == found.address) {
                continue;
            }
            if endpoints.len() == ENDPOINTS_MAX {
                surplus += 1;
                continue;
            }
            let is_it = |known: &&Endpoint| known.address == found.address;
            let kept = before.and_then(|pool| pool.endpoints.iter().find(is_it));
            let identity = self.identity.as_ref();
            let (name, protocol, timeouts) = (&self.name, self.protocol, &self.timeouts);
            let peer = peer::template(name, found.address, protocol, timeouts, identity);
            endpoints.push(Endpoint {
                address: found.address,
                weight: written.weight.saturating_mul(found.weight),
                priority: written.priority,
                written: Arc::clone(&written.name),
                host: Arc::clone(&found.host),
                health: kept.map(|kept| Arc::clone(&kept.health)).unwrap_or_default(),
                load: kept.map(|kept| Arc::clone(&kept.load)).unwrap_or_default(),
                record: kept.map(|kept| Arc::clone(&kept.record)).unwrap_or_default(),
                peer,
            });
            let health = &endpoints[endpoints.len() - 1].health;
            health.warms_up_for(self.slow_start);
            // At the start all are new, and share what comes.
            if kept.is_none() && before.is_some_and(|pool| !pool.endpoints.is_empty()) {
                health.warm_up();
            }
        }
        bound_weights(&mut endpoints);
        endpoints.sort_by_key(|endpoint| endpoint.priority);
        let mut groups: Vec<Group> = Vec::new();
        let mut first = 0;
        for group in endpoints.chunk_by(|one, other| one.priority == other.priority) {
            let range = first..first + group.len();
            first = range.end;
            groups.push(Group { range, balance: self.balance.build(group) });
        }
        let draws = AtomicU64::new(rand::rng().random());
        let (eject, ejections) = (self.eject, Arc::clone(&self.ejections));
        let doubt = Arc::clone(&self.doubt);
        Pool { endpoints, surplus, groups, eject, ejections, draws, doubt }
    }
}

impl Pool {
    /// The endpoint to ask next, none of those that were `tried`: one of the best priority that has
    /// any that is well. When none is well, all are taken to be: what says so may be what is
    /// broken. `key` is what requests have in common that belong together.
    pub(super) fn pick(&self, tried: &[usize], key: Option<u64>) -> Option<usize> {
        let draw = Draw::new(self.draws.fetch_add(1, Ordering::Relaxed));
        let mut ask = Ask { tried, first: 0, key, wanted: Wanted::Warm, draw };
        let mut picked = self.pick_in_order(&mut ask);
        for wanted in [Wanted::Well, Wanted::Any] {
            if picked.is_none() {
                ask.wanted = wanted;
                picked = self.pick_in_order(&mut ask);
            }
        }
        assert!(picked.is_none_or(|index| !tried.contains(&index)), "no endpoint is picked twice");
        picked
    }

    fn pick_in_order(&self, ask: &mut Ask<'_>) -> Option<usize> {
        self.groups.iter().find_map(|group| {
            ask.first = group.range.start;
            let picked = group.balance.pick(&self.endpoints[group.range.clone()], ask)?;
            Some(group.range.start + picked)
        })
    }

    /// A request to endpoint number `index` is over; its answer took so long to begin.
    pub(super) fn over(&self, index: usize, outcome: Outcome, took: Option<Duration>) {
        let endpoint = &self.endpoints[index];
        endpoint.load.leave();
        let Some(why) = endpoint.record.enter(outcome, took, &self.eject) else { return };
        if self.ejections.enter(|| self.ejection(index, why)) {
            // The server may have moved.
            self.doubt.notify_waiters();
        }
    }

    /// Ejects endpoint number `index`, if there is reason and room.
    fn ejection(&self, index: usize, why: EjectReason) -> Option<Ejection> {
        let endpoint = &self.endpoints[index];
        let others = || self.endpoints.iter().enumerate().filter(|(i, _)| *i != index);
        let is_out =
            |endpoint: &Endpoint| !endpoint.health.is_well() || endpoint.health.is_ejected();
        // Requests that were under way when it was ejected tell nothing new.
        let is_known = endpoint.health.is_ejected();
        let out = others().filter(|(_, other)| is_out(other)).count();
        if is_known || eject::out_max(self.endpoints.len(), &self.eject) <= out {
            return None;
        }
        if why == EjectReason::Slow {
            let well = others().filter(|(_, other)| other.health.is_asked());
            let mut took: Vec<Duration> =
                well.filter_map(|(_, other)| other.record.took()).collect();
            if !eject::is_late(endpoint.record.took(), &mut took, &self.eject) {
                return None;
            }
        }
        let time = endpoint.record.eject(&self.eject);
        endpoint.health.eject(why, time);
        Some(Ejection { endpoint: endpoint.address, why, time })
    }

    /// What Pingora connects to for endpoint number `index`.
    pub(super) fn peer(&self, index: usize) -> Box<HttpPeer> {
        Box::new(self.endpoints[index].peer.clone())
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
