//! The renewer: one loop per node that renews the leases that were touched, in batches, off the
//! request path.
//!
//! A media request only marks its lease. At every tick the renewer walks the table, one shard and
//! one short lock at a time, and collects the leases that were touched since their last renewal and
//! are a jittered third of a ttl old. So a stream costs the store at most one renewal per ttl/3
//! however many requests it makes, and a request never waits for a renewal.
//!
//! If a renewal changes nothing, there is a reason, and an acquire tells it: the lease was ended,
//! there is no room, a failover lost it and it is adopted, or another node has renewed it already.
//! A lost lease is marked in the table, so the next request of that stream hears of it without
//! asking the store.
//!
//! Streams that this node admitted without the store are claimed as soon as the store answers
//! again, each at its own moment within ttl/3. A stream that the store has no room for continues
//! over the limit for a while: it is claimed at each of its renewals, until it has a place or its
//! time is up.
//!
//! It is not a reaper: nothing depends on it to free a slot. If it stops, leases expire.

use crate::abandoned::{AGAIN_AFTER, Abandoned};
use crate::lease::Claim;
use crate::node::Node;
use crate::stats::count;
use crate::store::{Slot, StoreError};
use crate::table::Due;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// Renewals that the store is asked for at once, and claims, each of which costs it ten times as
/// much. A store that needs most of its deadline for each of these pipelines still answers in time.
const BATCH_SLOTS_MAX: usize = 256;
const BATCH_CLAIMS_MAX: usize = 64;
/// Shards between two yields: a thousand entries of a million. Other tasks on the renewer's thread,
/// such as connections to the store, then have their turn.
const SHARDS_AT_ONCE: usize = 16;
/// Beats per ttl, the shortest there is: a renewal is late by at most a thirtieth of a ttl.
const TICKS_PER_TTL: u32 = 30;
/// One tick asks for at most this share of the table. In quiet times a tenth of it is due. After an
/// outage all of it is due, on every gateway in the same moment, and a store that has just come
/// back would fail again. So the table is renewed within four ticks, at 2.5 times the usual rate.
const TICK_SHARE: usize = 4;
/// Ticks that wait for the store at one time. Where the store is far away, a tick waits for longer
/// than until the next one is due; and the leases of that one must not wait, too.
const TICKS_AT_ONCE: usize = 8;

/// Renews the leases of one [`Leases`](crate::Leases). It is made with it; the owner of tasks runs
/// it.
pub struct Renewer {
    node: Arc<Node>,
    /// The shard where the next tick begins: there the share of the last tick was used up.
    first_shard: AtomicUsize,
}

impl Renewer {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node, first_shard: AtomicUsize::new(0) }
    }

    /// Ticks until `stop` is done. It may be dropped at any moment: leases then just expire.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = stop => {}
            () = self.renews() => {}
            () = self.gives_back() => {}
        }
    }

    /// Never done.
    async fn renews(&self) {
        let mut ticks = self.ticks();
        let mut under_way = FuturesUnordered::new();
        let mut store_answers = true;
        loop {
            // A store that does not answer is asked by one tick at a time.
            let at_once = if store_answers { TICKS_AT_ONCE } else { 1 };
            tokio::select! {
                biased;
                Some(answers) = under_way.next() => store_answers = answers,
                () = self.node.pace.becomes_shorter() => ticks = self.ticks(),
                _ = ticks.tick(), if under_way.len() < at_once => under_way.push(self.tick()),
            }
        }
    }

    /// Gives back what starts that gave up may have been given. Never done.
    async fn gives_back(&self) {
        let node = &self.node;
        let mut owed: Vec<Abandoned> = Vec::new();
        loop {
            tokio::select! {
                biased;
                more = node.abandoned.take() => owed.extend(more),
                () = tokio::time::sleep(AGAIN_AFTER), if !owed.is_empty() => {}
            }
            let mut left = Vec::new();
            for start in owed {
                let given = node.store.give_back(&start.holder, &start.id, start.attempt).await;
                match node.noted(given) {
                    Ok(true) => count(&node.recorder().counters.given_back),
                    Ok(false) | Err(_) if start.may_come() => left.push(start),
                    Ok(false) => {}
                    Err(_) => count(&node.recorder().counters.starts_left),
                }
            }
            owed = left;
        }
    }

    /// The beats, by the shortest ttl so far.
    fn ticks(&self) -> Interval {
        let mut ticks = tokio::time::interval(self.node.pace.shortest_ttl() / TICKS_PER_TTL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    /// One pass over the table, timed. Says whether the store answered.
    async fn tick(&self) -> bool {
        let began = Instant::now();
        let answers = self.pass().await;
        self.node.recorder().counters.last_tick_us.store(micros(began.elapsed()), Relaxed);
        count(&self.node.recorder().counters.ticks);
        answers
    }

    /// One pass over the table. When the store does not answer, or the share is used up, the other
    /// shards are only swept: their leases stay due, and the store is not asked until the next
    /// tick. Where servers fail one by one, the healthy ones are asked all the same; the store
    /// itself then spares the others.
    async fn pass(&self) -> bool {
        let shards = self.node.table.shards();
        let first = self.first_shard.load(Relaxed);
        let mut share = (self.node.table.counts().0 / TICK_SHARE).max(BATCH_SLOTS_MAX);
        let mut store_answers = true;
        let mut due = Due::default();
        for (n, shard) in (first..shards).chain(0..first).enumerate() {
            if n % SHARDS_AT_ONCE == SHARDS_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            if !store_answers || share == 0 {
                self.node.table.sweep(shard);
                continue;
            }
            let found = self.node.table.due(shard, share);
            share -= found.len();
            if share == 0 {
                self.first_shard.store(shard, Relaxed);
            }
            due.extend(found);
            if BATCH_SLOTS_MAX <= due.len() {
                store_answers = self.send(&std::mem::take(&mut due)).await.is_ok();
            }
        }
        // What failed stays due; nobody else has to know.
        self.send(&due).await.is_ok() && store_answers
    }

    async fn send(&self, due: &Due) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for slots in due.slots.chunks(BATCH_SLOTS_MAX) {
            match outcome {
                Ok(()) => outcome = self.renew(slots).await,
                Err(_) => self.defer(slots, &[]),
            }
        }
        self.claim_all(&due.claims, outcome).await
    }

    /// Asks the store to decide about these; after a failure they are deferred.
    async fn claim_all(
        &self,
        claims: &[Claim],
        mut outcome: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for claims in claims.chunks(BATCH_CLAIMS_MAX) {
            match outcome {
                Ok(()) => outcome = self.claim(claims).await,
                Err(_) => self.defer(&[], claims),
            }
        }
        outcome
    }

    async fn renew(&self, slots: &[Slot]) -> Result<(), StoreError> {
        let node = &self.node;
        let asked = node.table.asking();
        let renewed = node.store.renew(slots, &node.timing).await;
        let mut outcome = Ok(());
        let mut unconfirmed = Vec::new();
        for (slot, renewed) in slots.iter().zip(renewed) {
            match renewed {
                Ok(Some(expires_in)) => {
                    count(&node.recorder().counters.renewals);
                    node.table.confirm(slot, expires_in, asked);
                }
                Ok(None) => unconfirmed.extend(node.table.claim(slot)),
                Err(error) => {
                    self.defer(std::slice::from_ref(slot), &[]);
                    outcome = Err(error);
                }
            }
        }
        // One failure, however many were in the batch.
        let outcome = self.unless_partial(node.noted(outcome));
        self.claim_all(&unconfirmed, outcome).await
    }

    async fn claim(&self, claims: &[Claim]) -> Result<(), StoreError> {
        let node = &self.node;
        let asked = node.table.asking();
        let answers = node.store.acquire_all(claims, &node.timing).await;
        let mut outcome = Ok(());
        for (claim, answer) in claims.iter().zip(answers) {
            match node.noted(answer) {
                Ok(answer) => {
                    if let Err(error) = node.settle(claim, answer, asked).await {
                        outcome = Err(error);
                    }
                }
                // It concerns this holder alone, and its next request will get the same error.
                Err(StoreError::Protocol(_)) => {}
                Err(error) => {
                    self.defer(&[], std::slice::from_ref(claim));
                    outcome = Err(error);
                }
            }
        }
        self.unless_partial(outcome)
    }

    /// The error, if it is an outage for all holders.
    fn unless_partial(&self, outcome: Result<(), StoreError>) -> Result<(), StoreError> {
        outcome.or_else(|error| if self.node.store.fails_as_one() { Err(error) } else { Ok(()) })
    }

    fn defer(&self, slots: &[Slot], claims: &[Claim]) {
        for slot in slots {
            count(&self.node.recorder().counters.renewals_skipped);
            self.node.table.defer(&slot.holder, &slot.id);
        }
        for claim in claims {
            self.node.table.defer(&claim.holder, &claim.id);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
