//! The endpoints of an upstream at one moment. A change of addresses makes another pool; requests
//! under way go on with the one that they began with.

use super::balance::{Ask, Balance, Draw, Wanted};
use super::eject::{Ejection, Ejections};
use super::tls::Identity;
use super::written::Written;
use super::{Config, EjectReason, Endpoint, HashKey, Outcome, eject, peer};
use crate::resolve::Found;
use http::HeaderValue;
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
    /// How many requests may be under way to each endpoint.
    in_flight_max: Option<u32>,
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
    key: Option<HashKey>,
    protocol: super::Protocol,
    timeouts: super::Timeouts,
    identity: Option<Identity>,
    eject: eject::Config,
    in_flight_max: Option<u32>,
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
            key: balance.key(),
            balance,
            protocol,
            timeouts,
            identity,
            eject: config.eject,
            in_flight_max: config.in_flight.as_ref().and_then(|bounds| bounds.per_endpoint()),
            slow_start: config.slow_start.map(|time| time.0).unwrap_or_default(),
            ejections: Arc::default(),
            doubt: Arc::default(),
        }
    }

    /// By what requests belong together, where that plays a part.
    pub(super) fn key(&self) -> Option<&HashKey> {
        self.key.as_ref()
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
        let (in_flight_max, doubt) = (self.in_flight_max, Arc::clone(&self.doubt));
        Pool { endpoints, surplus, groups, eject, ejections, in_flight_max, draws, doubt }
    }
}

impl Pool {
    /// Picks the endpoint to ask next, and counts a request to it.
    pub(super) fn enter(&self, tried: &[usize], key: Option<u64>) -> Option<usize> {
        let Some(max) = self.in_flight_max else {
            let index = self.pick(tried, key)?;
            self.endpoints[index].load.enter();
            return Some(index);
        };
        loop {
            let index = self.pick(tried, key)?;
            // Another request may have taken its last place: then it is full, and passed over.
            if self.endpoints[index].load.enter_below(max) {
                return Some(index);
            }
        }
    }

    /// The endpoint to ask next, none of those that were `tried`: one of the best priority that has
    /// any that is well. When none is well, all are taken to be: what says so may be what is
    /// broken. `key` is what requests have in common that belong together.
    pub(super) fn pick(&self, tried: &[usize], key: Option<u64>) -> Option<usize> {
        let draw = Draw::new(self.draws.fetch_add(1, Ordering::Relaxed));
        let in_flight_max = self.in_flight_max;
        let mut ask = Ask { tried, first: 0, key, in_flight_max, wanted: Wanted::Warm, draw };
        let mut picked = self.pick_in_order(&mut ask);
        for wanted in [Wanted::Well, Wanted::Any] {
            // Those that are well and full are no reason to ask those that are not well.
            if picked.is_none() && !(wanted == Wanted::Any && self.is_full()) {
                ask.wanted = wanted;
                picked = self.pick_in_order(&mut ask);
            }
        }
        assert!(picked.is_none_or(|index| !tried.contains(&index)), "no endpoint is picked twice");
        picked
    }

    /// Whether some endpoint that is well has as many requests as it may have.
    fn is_full(&self) -> bool {
        let Some(max) = self.in_flight_max else { return false };
        let full = |endpoint: &Endpoint| max <= endpoint.load.in_flight();
        self.endpoints.iter().any(|endpoint| endpoint.health.is_asked() && full(endpoint))
    }

    /// How many requests may be under way to each endpoint; `None`: as many as come.
    pub fn in_flight_max(&self) -> Option<u32> {
        self.in_flight_max
    }

    /// Whether any endpoint is left that neither checks nor requests have taken out. Of an upstream
    /// whose names have led nowhere yet, nobody knows.
    pub(super) fn has_endpoint(&self) -> bool {
        self.endpoints.is_empty() || self.endpoints.iter().any(|endpoint| !endpoint.is_out())
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
        // Requests that were under way when it was ejected tell nothing new.
        let is_known = endpoint.health.is_ejected();
        let out = others().filter(|(_, other)| other.is_out()).count();
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

    /// The cookie that the answer of endpoint number `index` brings to a client.
    pub(super) fn cookie(
        &self,
        index: usize,
        key: Option<u64>,
        is_https: bool,
    ) -> Option<HeaderValue> {
        let group = self.groups.iter().find(|group| group.range.contains(&index))?;
        group.balance.cookie(index - group.range.start, key, is_https)
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
