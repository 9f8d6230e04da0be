//! The renewer's pass over the table: which leases are due, and what the store said about them.
//!
//! It looks at one shard at a time, under a lock that it shares with the requests. So they do not
//! wait for it, even if its thread loses the processor in the middle. Entries that are spent are
//! removed under the exclusive lock.

use super::entry::{Entry, EntryState};
use super::ttl::Ttl;
use super::{Asked, Table};
use crate::clock::millis;
use crate::event::{Change, End};
use crate::holder::Holder;
use crate::lease::{Claim, LeaseId};
use crate::recorder::Via;
use crate::store::{Admitted, Slot};
use std::time::Duration;

/// What the store is to be asked about.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Held and touched: their expiry is to be moved.
    pub(crate) slots: Vec<Slot>,
    /// Admitted or extended without the store, or over the limit: the store has to decide.
    pub(crate) claims: Vec<Claim>,
}

/// What the table did with a claim of the renewer that the store has granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimOutcome {
    /// The entry is confirmed.
    Confirmed,
    /// The lease was ended on this node while the store was being asked.
    EndedMeanwhile,
    /// The table has no such entry any more; the lease lives in the store until it expires.
    Forgotten,
}

/// What plays on a node, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Streams that play.
    pub playing: u64,
    /// Those of them over the limit, adopted after the store was away.
    pub over_limit: u64,
}

/// A stream on this node, for an operator's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playing {
    /// The holder.
    pub holder: Holder,
    /// The id.
    pub id: LeaseId,
    /// When it was admitted, in unix milliseconds of the store's clock.
    pub started_at: u64,
    /// How long ago its player last showed a sign of life here.
    pub touched_ago: Duration,
    /// How long it is known to be valid.
    pub expires_in: Duration,
    /// The store has not heard of it yet.
    pub is_provisional: bool,
}

impl Table {
    /// How many shards there are.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Removes what is spent in one shard, and returns what is due, at most `max`.
    pub(crate) fn due(&self, shard: usize, max: usize) -> Due {
        let mut due = Due::default();
        self.visit(shard, |holder, entry, now| {
            let is_due = entry.touched.get() && entry.renew_at.get() <= now && due.len() < max;
            if is_due && Self::may_be_sent(entry, now) {
                // Before it is sent, so that a sign of life from now on counts for the next
                // renewal.
                let keep_keys = entry.mark_sent(now);
                due.take(holder, entry, now, keep_keys);
            }
        });
        due
    }

    fn may_be_sent(entry: &Entry, now: u64) -> bool {
        match entry.state {
            EntryState::Held if entry.needs_renewal_only() => {
                entry.silent_for(now) < entry.ttl.duration()
            }
            EntryState::Held | EntryState::Provisional => entry.may_be_claimed(now),
            EntryState::Ended(_) => false,
        }
    }

    /// Removes what is spent in one shard; what is due stays due.
    pub(crate) fn sweep(&self, shard: usize) {
        self.visit(shard, |_, _, _| {});
    }

    fn visit(&self, n: usize, mut visit: impl FnMut(&Holder, &Entry, u64)) {
        let shard = self.shards.read_at(n);
        if shard.is_empty() {
            return;
        }
        let now = self.clock.now_ms();
        let mut some_are_spent = false;
        for (holder, entry) in shard.iter() {
            match entry.is_spent(now) {
                true => some_are_spent = true,
                false => visit(holder, entry, now),
            }
        }
        drop(shard);
        if some_are_spent {
            self.shards.write_at(n).retain(|holder, entry| {
                let is_spent = entry.is_spent(now);
                if is_spent {
                    let ended = entry.playing_since();
                    self.record_end(holder, &entry.id, ended, End::Expired, Via::Renewer);
                }
                !is_spent
            });
        }
    }

    /// The store moved its expiry; `asked` is from before the store was asked.
    pub(crate) fn confirm(&self, slot: &Slot, expires_in: Duration, asked: Asked) {
        if let Some(entry) = self.shards.read(&slot.holder).find(&slot.holder, &slot.id)
            && entry.state == EntryState::Held
        {
            entry.confirm(expires_in, asked);
        }
    }

    /// The store admitted what the renewer claimed; the lease may have ended here in the meantime.
    pub(crate) fn confirm_claim(
        &self,
        claim: &Claim,
        admitted: &Admitted,
        asked: Asked,
    ) -> ClaimOutcome {
        let mut shard = self.shards.write(&claim.holder);
        let told = shard.told_since(asked, &claim.holder, &claim.id);
        let now = self.clock.now_ms();
        let mut outcome = ClaimOutcome::Forgotten;
        shard.update(&claim.holder, &claim.id, |entry| {
            if matches!(entry.state, EntryState::Ended(_)) {
                outcome = ClaimOutcome::EndedMeanwhile;
                return;
            }
            entry.state = EntryState::Held;
            entry.started_at = admitted.started_at;
            entry.active = admitted.active;
            entry.ttl = Ttl::of(admitted.ttl);
            entry.valid_until.set(asked.at + millis(admitted.expires_in));
            if told.ended.is_none() {
                entry.confirm(admitted.expires_in, asked);
            }
            entry.hear(told, now);
            entry.over_limit = admitted.over_limit;
            outcome = ClaimOutcome::Confirmed;
        });
        if outcome == ClaimOutcome::Confirmed && (claim.adopt || claim.lost) {
            let change = Change::Adopted { over_limit: admitted.over_limit };
            self.recorder.record(&claim.holder, &claim.id, change, Via::Renewer);
        }
        outcome
    }

    /// The store could not be asked: the lease stays due, and is asked about at the next tick.
    pub(crate) fn defer(&self, holder: &Holder, id: &LeaseId) {
        let now = self.clock.now_ms();
        if let Some(entry) = self.shards.read(holder).find(holder, id) {
            entry.make_due(now);
        }
    }

    /// The claims of what this node has decided alone of a holder, beside this one: the store does
    /// not count them yet.
    pub(crate) fn local_claims(&self, holder: &Holder, but: &LeaseId) -> Vec<Claim> {
        let now = self.clock.now_ms();
        let shard = self.shards.read(holder);
        let entries = shard.entries_of(holder).iter();
        let local = entries.filter(|entry| {
            entry.id != *but
                && entry.is_local_decision()
                && entry.is_live(now)
                && entry.may_be_claimed(now)
        });
        local.map(|entry| entry.claim(holder)).collect()
    }

    /// The claim that asks the store about a held lease whose renewal changed nothing. None if the
    /// entry is gone by now, or its player was silent.
    ///
    /// If the store had promised the lease for longer than until now, then it was lost, unless the
    /// store knows how it ended. A reusable id without such a promise may have been released
    /// through another node, and the renewer must not start it again: under a limit of 0 it is
    /// confirmed if it is still held, and never admitted. A lease that was extended without the
    /// store is adopted.
    pub(crate) fn claim(&self, slot: &Slot) -> Option<Claim> {
        let shard = self.shards.read(&slot.holder);
        let entry = shard.find(&slot.holder, &slot.id)?;
        let now = self.clock.now_ms();
        let lost = !entry.extended_locally.get() && !entry.is_stale() && entry.is_live(now);
        let limit =
            if entry.reusable && !entry.extended_locally.get() && !lost { 0 } else { entry.limit };
        let claim = Claim { limit, lost, ..entry.claim(&slot.holder) };
        let may_be = entry.state == EntryState::Held && entry.may_be_claimed(now);
        may_be.then_some(claim)
    }

    /// Counts the streams that play, a shard at a time.
    pub(crate) fn census(&self) -> Census {
        let now = self.clock.now_ms();
        let mut census = Census::default();
        for n in 0..self.shards.len() {
            let shard = self.shards.read_at(n);
            for (_, entry) in shard.iter().filter(|(_, entry)| entry.is_live(now)) {
                census.playing += 1;
                census.over_limit += u64::from(entry.over_limit);
            }
        }
        census
    }

    /// Some of the streams that are live here, at most `max`.
    pub(crate) fn playing(&self, max: usize) -> Vec<Playing> {
        let now = self.clock.now_ms();
        let mut found = Vec::new();
        for n in 0..self.shards.len() {
            let shard = self.shards.read_at(n);
            let live = shard.iter().filter(|(_, entry)| entry.is_live(now));
            found.extend(live.take(max - found.len()).map(|(holder, entry)| Playing {
                holder: *holder,
                id: entry.id,
                started_at: entry.started_at,
                touched_ago: entry.silent_for(now),
                expires_in: Duration::from_millis(entry.valid_until.get().saturating_sub(now)),
                is_provisional: entry.is_provisional(),
            }));
            if found.len() == max {
                break;
            }
        }
        found
    }
}

impl Due {
    pub(crate) fn extend(&mut self, more: Due) {
        self.slots.extend(more.slots);
        self.claims.extend(more.claims);
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() + self.claims.len()
    }

    fn take(&mut self, holder: &Holder, entry: &Entry, now: u64, keep_keys: bool) {
        match entry.state {
            EntryState::Held if entry.needs_renewal_only() => self.slots.push(Slot {
                holder: *holder,
                id: entry.id,
                silent_for: entry.silent_for(now),
                keep_keys,
                ttl: Some(entry.ttl.duration()),
            }),
            EntryState::Held | EntryState::Provisional => self.claims.push(entry.claim(holder)),
            EntryState::Ended(_) => {}
        }
    }
}
