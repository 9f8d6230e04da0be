//! The keeper: one loop per node that renews what was touched, in batches, off the request path.
//!
//! A media request only marks its lease. At every beat the keeper walks the roster, one shard and
//! one short lock at a time, and takes along the leases that were touched since their last renewal
//! and are a jittered third of a ttl old. So a stream costs the store at most one renewal per
//! ttl/3 however many requests it makes, and a request never waits for a renewal.
//!
//! A renewal that changes nothing has a reason, and acquire knows it: ended, refused for want of
//! room, lost by a failover and adopted, or moved already by another node. What is lost is
//! marked in the roster, so the next request of that stream hears of it without asking.
//!
//! Streams that this node admitted alone are claimed as soon as the store answers again, each at
//! its own moment within ttl/3. One that the store has no room for goes on over the limit for a
//! while: it is claimed at each of its renewals, until it has a place or its time is up.
//!
//! It is not a reaper: nothing depends on it to free a slot. If it stops, leases expire.

use crate::lease::{Claim, Ending};
use crate::leases::Node;
use crate::roster::{Due, Settled};
use crate::stats::count;
use crate::store::{Answer, Slot, StoreError};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// Renewals that the store is asked for at once, and claims, of which each costs it ten times as
/// much. Even one that needs most of its deadline for each of their pipelines answers in time.
const BATCH_SLOTS_MAX: usize = 256;
const BATCH_CLAIMS_MAX: usize = 64;
/// Shards that are looked at in one go: a thousand entries of a million. Whatever else runs on the
/// keeper's thread, as connections to the store do, then has its turn.
const SHARDS_AT_ONCE: usize = 16;
/// Beats per ttl: a renewal is late by at most a thirtieth of a ttl.
const BEATS_PER_TTL: u32 = 30;
/// One beat asks for at most this share of the roster. In quiet times a tenth of it is due; after
/// an outage all of it is, on every gateway in the same moment, and a store that has just come
/// back would fall again. So the roster is renewed within four beats, at 2.5 times the usual rate.
const BEAT_SHARE: usize = 4;

/// Renews the leases of one [`Leases`](crate::Leases). Made with it, run by whoever owns tasks.
pub struct Keeper {
    node: Arc<Node>,
    /// The shard where the next beat begins: the one at which the share of the last was used up.
    first_shard: usize,
}

impl Keeper {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node, first_shard: 0 }
    }

    /// Beats until `stop` is done. It may be dropped at any moment: leases then just expire.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut beats = tokio::time::interval(self.node.timing.ttl() / BEATS_PER_TTL);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                _ = beats.tick() => {}
            }
            let began = Instant::now();
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = self.beat() => {}
            }
            self.node.counters.last_beat_us.store(micros(began.elapsed()), Relaxed);
            count(&self.node.counters.beats);
        }
    }

    /// Once through the roster. After an outage the rest is swept, not asked for: it stays due,
    /// and the store is left in peace until the next beat. Where servers fail one by one, those
    /// that are well are asked all the same, and it is for the store to spare the others.
    async fn beat(&mut self) {
        let shards = self.node.roster.shards();
        let first = self.first_shard;
        let mut share = (self.node.roster.counts().0 / BEAT_SHARE).max(BATCH_SLOTS_MAX);
        let mut store_answers = true;
        let mut due = Due::default();
        for (n, shard) in (first..shards).chain(0..first).enumerate() {
            if n % SHARDS_AT_ONCE == SHARDS_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            if !store_answers || share == 0 {
                self.node.roster.sweep(shard);
                continue;
            }
            let found = self.node.roster.due(shard, share);
            share -= found.len();
            if share == 0 {
                self.first_shard = shard;
            }
            due.extend(found);
            if BATCH_SLOTS_MAX <= due.len() {
                store_answers = self.send(&std::mem::take(&mut due)).await.is_ok();
            }
        }
        // What failed stays due by itself; there is nobody else to tell.
        let _ = self.send(&due).await;
    }

    async fn send(&self, due: &Due) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for slots in due.slots.chunks(BATCH_SLOTS_MAX) {
            match outcome {
                Ok(()) => outcome = self.renew(slots).await,
                Err(_) => self.put_off(slots, &[]),
            }
        }
        self.claim_all(&due.claims, outcome).await
    }

    /// Asks whether these may go on; after a failure, later.
    async fn claim_all(
        &self,
        claims: &[Claim],
        mut outcome: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for claims in claims.chunks(BATCH_CLAIMS_MAX) {
            match outcome {
                Ok(()) => outcome = self.claim(claims).await,
                Err(_) => self.put_off(&[], claims),
            }
        }
        outcome
    }

    async fn renew(&self, slots: &[Slot]) -> Result<(), StoreError> {
        let node = &self.node;
        let asked_at = node.roster.now_ms();
        let renewed = node.store.renew(slots, &node.timing).await;
        let mut outcome = Ok(());
        let mut doubtful = Vec::new();
        for (slot, renewed) in slots.iter().zip(renewed) {
            match renewed {
                Ok(Some(expires_in)) => {
                    count(&node.counters.renewals);
                    node.roster.confirm(slot, expires_in, asked_at);
                }
                Ok(None) => doubtful.extend(node.roster.claim(slot)),
                Err(error) => {
                    self.put_off(std::slice::from_ref(slot), &[]);
                    outcome = Err(error);
                }
            }
        }
        // Counted once, however many were in the batch.
        let outcome = self.unless_partial(node.noted(outcome));
        self.claim_all(&doubtful, outcome).await
    }

    async fn claim(&self, claims: &[Claim]) -> Result<(), StoreError> {
        let node = &self.node;
        let asked_at = node.roster.now_ms();
        let answers = node.store.acquire_all(claims, &node.timing).await;
        let mut outcome = Ok(());
        for (claim, answer) in claims.iter().zip(answers) {
            match node.noted(answer) {
                Ok(answer) => {
                    if let Err(error) = self.settle(claim, answer, asked_at).await {
                        outcome = Err(error);
                    }
                }
                Err(error) if error.is_outage() => {
                    self.put_off(&[], std::slice::from_ref(claim));
                    outcome = Err(error);
                }
                // A matter of this holder alone, whose next request will hear of it.
                Err(_) => {}
            }
        }
        self.unless_partial(outcome)
    }

    /// An outage only if it is everybody's.
    fn unless_partial(&self, outcome: Result<(), StoreError>) -> Result<(), StoreError> {
        outcome.or_else(|error| if self.node.store.fails_as_one() { Err(error) } else { Ok(()) })
    }

    async fn settle(&self, claim: &Claim, answer: Answer, asked_at: u64) -> Result<(), StoreError> {
        let node = &self.node;
        match answer {
            Answer::Held(admitted) => {
                count(&node.counters.registered);
                if (claim.adopt || claim.lost) && admitted.over_limit {
                    count(&node.counters.adopted_over_limit);
                }
                if node.roster.settle(claim, &admitted, asked_at) == Settled::EndedMeanwhile {
                    node.noted(node.store.release(&claim.holder, &claim.id, &node.timing).await)?;
                }
            }
            Answer::Full(full) => {
                let gone = full.limit == 0;
                let counters = &node.counters;
                count(if gone { &counters.lost_gone } else { &counters.lost_refused });
                node.roster.forget(&claim.holder, &claim.id);
            }
            Answer::Ended(why, lasts) => {
                count(match why {
                    Ending::Released => &node.counters.lost_released,
                    Ending::Terminated => &node.counters.lost_terminated,
                    Ending::Replaced => &node.counters.lost_replaced,
                });
                node.roster.lose(claim, why, lasts);
            }
        }
        Ok(())
    }

    fn put_off(&self, slots: &[Slot], claims: &[Claim]) {
        for slot in slots {
            self.node.roster.put_off(&slot.holder, &slot.id);
        }
        for claim in claims {
            self.node.roster.put_off(&claim.holder, &claim.id);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
