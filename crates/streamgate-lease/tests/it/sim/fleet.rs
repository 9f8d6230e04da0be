//! The gateways: they crash and start anew, and each takes the next step of a change of pepper when
//! it likes, but never before all have taken the last one and a ttl has passed.

use super::faults::{Faults, Handle};
use super::policy::{Key, PEPPER_STEPS, TTL_MAX, account};
use super::post::{Books, Subscriber};
use rand::RngExt;
use rand::rngs::SmallRng;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamgate_lease::{
    Bounds, CachedEntry, Change, Claim, Events, Grant, Holder, Leases, StoreError,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const GATEWAYS: usize = 3;
/// Few enough to be reached.
const STARTS_MAX: usize = 4;
/// More than a run has.
const EVENTS_MAX: usize = 1 << 20;

/// By the step of the pepper, too: a holder has another other name then.
type CachedEntries = HashMap<(usize, Holder), Arc<CachedEntry>>;

/// What a viewer's request has of a gateway; it stays if the gateway crashes meanwhile.
#[derive(Clone)]
pub(super) struct Gateway {
    pub(super) leases: Leases,
    pub(super) bounds: Bounds,
    pub(super) confirmed: Arc<Mutex<HashMap<Key, Instant>>>,
    pub(super) pepper_step: usize,
    pub(super) books: Arc<Mutex<Books>>,
    /// What it remembers of viewers between their requests.
    cached_entries: Arc<Mutex<CachedEntries>>,
}

impl Gateway {
    /// A media request: by what is remembered of its viewer, else by a look-up, else by the store.
    pub(super) async fn hold(&self, claim: &Claim) -> Result<Grant, StoreError> {
        let key = (self.pepper_step, claim.holder);
        let fresh = || Arc::new(CachedEntry::new(claim.holder));
        let cached_entry =
            self.cached_entries.lock().unwrap().entry(key).or_insert_with(fresh).clone();
        let classes: Vec<_> = claim.classes.iter().map(|of| of.class).collect();
        let touch = || self.leases.touch_cached(&cached_entry, &claim.id, &classes);
        match (!claim.explicit_start).then(touch).flatten() {
            Some(lease) => {
                let key = (account(&claim.holder), claim.id);
                self.books.lock().unwrap().i16_no_notice_is_lost(key, &lease);
                Ok(Grant::Held(lease))
            }
            None => self.leases.hold(claim).await,
        }
    }
}

pub(super) struct Fleet {
    faults: Arc<Faults>,
    pub(super) gateways: Vec<Gateway>,
    renewers: Vec<JoinHandle<()>>,
    events: Vec<Events>,
    stop: watch::Sender<()>,
    bounds: Bounds,
    ttl: Duration,
    /// Since when all are at the same step.
    at_one: Instant,
}

impl Fleet {
    pub(super) fn start(faults: Arc<Faults>, rng: &mut SmallRng) -> Self {
        let starts_max = if rng.random_range(0..3) == 0 { STARTS_MAX } else { 10_000 };
        let mut fleet = Self {
            ttl: TTL_MAX,
            faults,
            gateways: Vec::new(),
            renewers: Vec::new(),
            events: Vec::new(),
            stop: watch::channel(()).0,
            bounds: Bounds { table_entries_max: 4096, starts_max, events_max: EVENTS_MAX },
            at_one: Instant::now(),
        };
        let step = rng.random_range(0..PEPPER_STEPS);
        for n in 0..GATEWAYS {
            let (gateway, renewer) = fleet.gateway(n, step);
            fleet.events.push(gateway.leases.events());
            fleet.gateways.push(gateway);
            fleet.renewers.push(renewer);
        }
        fleet
    }

    fn gateway(&self, n: usize, pepper_step: usize) -> (Gateway, JoinHandle<()>) {
        let confirmed = Arc::<Mutex<HashMap<_, _>>>::default();
        let books = Arc::<Mutex<Books>>::default();
        let (faults, kept) = (self.faults.clone(), books.clone());
        let handle = Handle { faults, confirmed: confirmed.clone(), books: kept };
        let timing = self.faults.checked.timing;
        let (leases, renewer) = Leases::bounded(Arc::new(handle), timing, self.bounds);
        let mut stopped = self.stop.subscribe();
        let renewer = tokio::spawn(renewer.run(async move { drop(stopped.changed().await) }));
        let subscriber = Subscriber { leases: leases.clone(), books: books.clone() };
        self.faults.checked.post.subscribe(n, subscriber);
        let (bounds, cached_entries) = (self.bounds, Arc::default());
        (Gateway { leases, bounds, confirmed, pepper_step, books, cached_entries }, renewer)
    }

    /// Two of them.
    pub(super) fn any_two(&self, rng: &mut SmallRng) -> [Gateway; 2] {
        let one = rng.random_range(0..GATEWAYS);
        let other = (one + rng.random_range(1..GATEWAYS)) % GATEWAYS;
        [one, other].map(|n| self.gateways[n].clone())
    }

    pub(super) fn any(&self, rng: &mut SmallRng) -> Gateway {
        self.gateways[rng.random_range(0..GATEWAYS)].clone()
    }

    /// One is gone in the middle of whatever it did, and another one is there that knows nothing.
    pub(super) fn crashes(&mut self, rng: &mut SmallRng) {
        let n = rng.random_range(0..GATEWAYS);
        let (gateway, renewer) = self.gateway(n, self.gateways[n].pepper_step);
        starts_and_ends_alternate(&mut self.events[n]);
        self.events[n] = gateway.leases.events();
        self.gateways[n] = gateway;
        std::mem::replace(&mut self.renewers[n], renewer).abort();
    }

    /// One takes the next step, if it may.
    pub(super) fn changes_its_pepper(&mut self, rng: &mut SmallRng) {
        let steps = self.gateways.iter().map(|gateway| gateway.pepper_step);
        let (first, last) = (steps.clone().max().unwrap(), steps.min().unwrap());
        let gateway = &mut self.gateways[rng.random_range(0..GATEWAYS)];
        let is_late = gateway.pepper_step < first;
        let may_lead = first == last && self.ttl * 5 / 4 < self.at_one.elapsed();
        if is_late || (may_lead && first + 1 < PEPPER_STEPS) {
            gateway.pepper_step += 1;
        }
        let step = self.gateways[0].pepper_step;
        if first != last && self.gateways.iter().all(|gateway| gateway.pepper_step == step) {
            self.at_one = Instant::now();
        }
    }

    pub(super) async fn stop(self) {
        drop(self.stop);
        for renewer in self.renewers {
            renewer.await.unwrap();
        }
        for (mut events, gateway) in self.events.into_iter().zip(self.gateways) {
            let playing = starts_and_ends_alternate(&mut events);
            assert!(gateway.leases.playing(usize::MAX).len() <= playing, "one never started");
            assert_eq!(gateway.leases.stats().events_dropped, 0);
        }
    }
}

/// On one node each stream starts, ends and starts again. Returns how many have not ended.
fn starts_and_ends_alternate(events: &mut Events) -> usize {
    let mut playing = BTreeSet::new();
    while let Some(event) = events.try_recv() {
        let key = (account(&event.holder), event.id);
        match event.change {
            Change::Started { .. } => assert!(playing.insert(key), "started twice: {event:?}"),
            Change::Ended { .. } => assert!(playing.remove(&key), "ended twice: {event:?}"),
            Change::Adopted { .. } => assert!(playing.contains(&key), "not there: {event:?}"),
            Change::Refused { .. } => {}
        }
    }
    playing.len()
}
