//! `Leases`: what a gateway asks. A known and fresh lease costs one look-up at most; all else one
//! round trip to the store.
//!
//! It starts nothing and owns no task; the [`Renewer`] that it is made with does the renewing.

use crate::event::{End, Events, Refusal};
use crate::holder::Holder;
use crate::lease::{Claim, Class, DegradedPolicy, Ending, Grant, Lease, LeaseId, Live, State};
use crate::node::{Bounds, Node};
use crate::recorder::Via;
use crate::renewer::Renewer;
use crate::stats::{Stats, count};
use crate::store::{Answer, LeaseStore, StoreError};
use crate::table::{CachedEntry, Census, Playing};
use crate::timing::Timing;
use std::sync::Arc;

/// The leases of one policy on one node. A clone is the same leases.
#[derive(Clone)]
pub struct Leases(Arc<Node>);

/// This node has started as many streams alone as it may; the store has to answer first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this node has started as many streams without the store as it may")]
pub struct StartsExhausted;

impl Leases {
    /// Whether both are the leases of one table.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Leases over a store, and the renewer that somebody has to run.
    #[must_use]
    pub fn new(store: Arc<dyn LeaseStore>, timing: Timing) -> (Self, Renewer) {
        Self::bounded(store, timing, Bounds::default())
    }

    /// Like `new`, with other bounds.
    #[must_use]
    pub fn bounded(store: Arc<dyn LeaseStore>, timing: Timing, bounds: Bounds) -> (Self, Renewer) {
        let node = Arc::new(Node::new(store, timing, bounds));
        (Self(node.clone()), Renewer::new(node))
    }

    /// The lease, if this node knows it to be live and to hold these classes; and its player
    /// showed a sign of life.
    ///
    /// One look-up under a short lock, no allocation, no store.
    #[must_use]
    pub fn touch(&self, holder: &Holder, id: &LeaseId, classes: &[Class]) -> Option<Lease> {
        self.0.table.touch(holder, id, classes)
    }

    /// The same for a holder that the caller remembers: what was found once is not looked up again.
    /// For every media request.
    #[must_use]
    pub fn touch_cached(
        &self,
        cached_entry: &CachedEntry,
        id: &LeaseId,
        classes: &[Class],
    ) -> Option<Lease> {
        self.0.table.touch_cached(cached_entry, id, classes)
    }

    /// Whether what flows to a player already, a long answer or a tunnel, may flow on; and it shows
    /// a sign of life. Look-ups only: what only the store can tell, the renewer asks, and the next
    /// call knows.
    ///
    /// No for what has ended, and for what is in doubt without anybody finding out. When the store
    /// is away it goes on `alone`, and the store is to adopt it later.
    #[must_use]
    pub fn may_continue(&self, holder: &Holder, id: &LeaseId, policy: DegradedPolicy) -> bool {
        self.0.table.may_continue(holder, id, policy)
    }

    /// Decides a claim: by what this node knows, else by the store in one round trip.
    ///
    /// # Errors
    /// [`StoreError`] if the store had to be asked and could not decide. Asking again is safe.
    pub async fn hold(&self, claim: &Claim) -> Result<Grant, StoreError> {
        let node = &self.0;
        node.pace.keep_up_with(node.ttl_of(claim));
        if !claim.explicit_start {
            let classes = claim.class_names();
            let known = node.table.touch(&claim.holder, &claim.id, &classes);
            if let Some(lease) = known.filter(|lease| node.ttl_of(claim) <= lease.ttl()) {
                return Ok(Grant::Held(lease));
            }
            let ending = node.table.ending(&claim.holder, &claim.id);
            let may_begin_anew = |why: &Ending| *why == Ending::Superseded && claim.starts;
            if let Some(why) = ending.filter(|why| !may_begin_anew(why)) {
                node.recorder().refused(&claim.holder, &claim.id, Refusal::Ended(why));
                return Ok(Grant::Ended(why));
            }
        }
        match self.ask(claim, false).await? {
            Grant::Ended(why) if may_play_again(claim, why) => self.ask(claim, true).await,
            grant => Ok(grant),
        }
    }

    /// Decides a claim without the store, which has failed: known holders go on for the grace,
    /// newcomers are counted against what this node knows and are provisional.
    ///
    /// # Errors
    /// [`StartsExhausted`] if it would be one start too many for this node.
    pub fn hold_locally(&self, claim: &Claim) -> Result<Grant, StartsExhausted> {
        let node = &self.0;
        node.pace.keep_up_with(node.ttl_of(claim));
        let Some(grant) = node.table.decide_locally(claim) else {
            node.recorder().refused(&claim.holder, &claim.id, Refusal::StartsExhausted);
            return Err(StartsExhausted);
        };
        match &grant {
            Grant::Held(_) => {}
            Grant::Full(full) => node.recorder().full(&claim.holder, &claim.id, full),
            Grant::Ended(why) => {
                node.recorder().refused(&claim.holder, &claim.id, Refusal::Ended(*why));
            }
        }
        Ok(grant)
    }

    /// Notes what the player declares. False if the stream is not live.
    ///
    /// # Errors
    /// [`StoreError`]; this node has noted it all the same.
    pub async fn state(
        &self,
        holder: &Holder,
        id: &LeaseId,
        state: State,
    ) -> Result<bool, StoreError> {
        self.0.table.declare(holder, id, state);
        self.0.noted(self.0.store.declare(holder, id, state).await)
    }

    /// The player stopped: the slot is free when this returns. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`]; this node lets it play no more, and others may have the slot after a ttl.
    pub async fn release(&self, holder: &Holder, id: &LeaseId) -> Result<(), StoreError> {
        self.0.table.release(holder, id);
        self.0.noted(self.0.store.release(holder, id, &self.0.timing).await)
    }

    /// The first answer to a playback is an error, or the answer to a reservation reached nobody:
    /// gives its slot back, unless another request of its stream was let pass since, by any node.
    /// Says whether it did. Only the lease that [`is_first`](Lease::is_first) or
    /// [`is_reserved`](Lease::is_reserved) can.
    ///
    /// # Errors
    /// [`StoreError`]; others may have the slot after a ttl.
    pub async fn give_back(&self, lease: &Lease) -> Result<bool, StoreError> {
        let node = &self.0;
        let Some(start) = lease.start else { return Ok(false) };
        if !node.table.give_back(lease) {
            return Ok(false);
        }
        let (holder, id) = (&lease.holder, &lease.id);
        let is_free =
            lease.provisional || node.noted(node.store.give_back(holder, id, start).await)?;
        if is_free {
            count(&node.recorder().counters.given_back);
        }
        Ok(is_free)
    }

    /// No answer came to this claim, whose id was made for it and is known to nobody else: if the
    /// store has admitted it, or does so yet, the renewer gives its slot back.
    pub fn abandon(&self, claim: &Claim) {
        if !self.0.abandoned.note(claim) {
            count(&self.0.recorder().counters.starts_left);
        }
    }

    /// Somebody says that a later playback of its login began: its next request asks the store. A
    /// false alarm costs one round trip.
    pub fn mark_older(&self, holder: &Holder, id: &LeaseId) {
        self.0.table.mark(holder, id);
    }

    /// The holder's live streams by the store's count, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, holder: &Holder) -> Result<Vec<Live>, StoreError> {
        self.0.noted(self.0.store.list(holder).await)
    }

    /// Ends a stream of this holder, wherever it plays. False if there was none to end.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed here, and it is safe to try again.
    pub async fn terminate(&self, holder: &Holder, id: &LeaseId) -> Result<bool, StoreError> {
        let node = &self.0;
        let there = node.noted(node.store.terminate(holder, id, &node.timing).await)?;
        let here = node.table.terminate(holder, id);
        Ok(there || here)
    }

    /// Somebody says that it was ended through another node: its next request asks the store. A
    /// false alarm costs one round trip.
    pub fn mark_stale(&self, holder: &Holder, id: &LeaseId) {
        self.0.table.mark_stale(holder, id);
    }

    /// What this node did so far and has now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (entries, provisional, evicted) = self.0.table.counts();
        let (degraded_for, degraded) = self.0.outage.read();
        Stats {
            table_entries: entries as u64,
            degraded_for,
            degraded,
            provisional: provisional as u64,
            evicted,
            ..self.0.recorder().read()
        }
    }

    /// How many streams play on this node now.
    ///
    /// Each entry is looked at, a million in tens of milliseconds: call it where nobody waits for
    /// the thread.
    #[must_use]
    pub fn census(&self) -> Census {
        self.0.table.census()
    }

    /// Some of the streams that play on this node, at most `max`, in no order.
    #[must_use]
    pub fn playing(&self, max: usize) -> Vec<Playing> {
        self.0.table.playing(max)
    }

    /// The starts, ends and refusals on this node from now on; see [`LeaseEvent`]. There is one
    /// subscriber: a second call takes the place of the first, which then gets no more.
    ///
    /// Events wait in a channel of [`Bounds::events_max`]. When it is full, further events are
    /// dropped and counted in [`Stats::events_dropped`]; no request ever waits for the subscriber.
    ///
    /// [`LeaseEvent`]: crate::LeaseEvent
    #[must_use]
    pub fn events(&self) -> Events {
        self.0.recorder().subscribe()
    }

    /// The durations of this policy.
    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.0.timing
    }

    /// The store is back, and does not count yet what this node has started alone for the holder:
    /// it hears of that before it decides about another one.
    async fn settle_accounts(&self, claim: &Claim) -> Result<(), StoreError> {
        let node = &self.0;
        let owed = node.table.local_claims(&claim.holder, &claim.id);
        if owed.is_empty() {
            return Ok(());
        }
        let asked = node.table.asking();
        let answers = node.store.acquire_all(&owed, &node.timing).await;
        for (claim, answer) in owed.iter().zip(answers) {
            node.settle(claim, node.noted(answer)?, asked).await?;
        }
        Ok(())
    }

    async fn ask(&self, claim: &Claim, override_ending: bool) -> Result<Grant, StoreError> {
        let node = &self.0;
        self.settle_accounts(claim).await?;
        let asked = node.table.asking();
        let adopt = claim.adopt || node.table.is_local_decision(&claim.holder, &claim.id);
        let adopting;
        let claim = if adopt == claim.adopt {
            claim
        } else {
            adopting = Claim { adopt, ..claim.clone() };
            &adopting
        };
        match node.noted(node.store.acquire(claim, &node.timing).await)? {
            Answer::Held(admitted) => {
                let retried;
                let claim = if admitted.id == claim.id {
                    claim
                } else {
                    retried = Claim { id: admitted.id, ..claim.clone() };
                    &retried
                };
                match node.table.admit(claim, &admitted, asked, override_ending) {
                    Ok(lease) => Ok(Grant::Held(lease)),
                    Err(why) => {
                        if !may_play_again(claim, why) || override_ending {
                            node.recorder().refused(&claim.holder, &claim.id, Refusal::Ended(why));
                        }
                        Ok(Grant::Ended(why))
                    }
                }
            }
            Answer::Full(full) => {
                node.recorder().full(&claim.holder, &claim.id, &full);
                if !full.keeps(&claim.id) {
                    node.table.forget(&claim.holder, &claim.id, End::Refused, Via::Request);
                }
                Ok(Grant::Full(full))
            }
            Answer::Ended(why, lasts) => {
                node.table.end(&claim.holder, &claim.id, why, lasts, Via::Request);
                node.recorder().refused(&claim.holder, &claim.id, Refusal::Ended(why));
                Ok(Grant::Ended(why))
            }
        }
    }
}

/// It was released here while the store was being asked. A reusable id may play again, and only the
/// store can say whether it does: a second answer is younger than the release.
fn may_play_again(claim: &Claim, why: Ending) -> bool {
    claim.reusable && why == Ending::Released
}
