//! The keeper's way through the roster: what is due, and what became of it.
//!
//! One shard at a time, under a lock that it shares with the requests: they do not wait for it,
//! even if its thread loses the processor half-way. What is spent is taken out under the lock
//! alone.

use super::entry::{Entry, Standing};
use super::{Roster, is_spent};
use crate::clock::millis;
use crate::holder::Holder;
use crate::lease::{Claim, Ending, LeaseId};
use crate::store::{Admitted, Slot};
use std::time::Duration;

/// What one shard has for the store.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Held and touched: their expiry wants moving.
    pub(crate) slots: Vec<Slot>,
    /// Admitted by this node alone, or over the limit: the store should decide about them.
    pub(crate) claims: Vec<Claim>,
}

/// What became of a lease that the keeper asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is in the roster, confirmed.
    Kept,
    /// It was ended on this node while the store was being asked.
    EndedMeanwhile,
    /// The roster knows nothing of it any more; it lives on in the store until it expires.
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
    /// Whose, as logs show it.
    pub holder: Holder,
    /// Which.
    pub id: LeaseId,
    /// When it was admitted, in unix milliseconds of the store's clock.
    pub started_at: u64,
    /// How long ago its player last showed a sign of life here.
    pub touched_ago: Duration,
    /// How long it is known to be good.
    pub expires_in: Duration,
    /// The store has not heard of it yet.
    pub is_provisional: bool,
}

impl Roster {
    /// How many shards there are to walk.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Drops what is spent in one shard, and takes along what is due, at most `max`.
    pub(crate) fn due(&self, shard: usize, max: usize) -> Due {
        let mut due = Due::default();
        self.walk(shard, |holder, entry, now| {
            let is_due = entry.touched.get() && entry.renew_at.get() <= now && due.len() < max;
            if is_due && self.may_be_sent(entry, now) {
                // First, so that a sign of life from now on is one for the next renewal.
                let keep_keys = entry.take_along(now, &self.timing);
                due.take(holder, entry, now, keep_keys);
            }
        });
        due
    }

    fn may_be_sent(&self, entry: &Entry, now: u64) -> bool {
        match entry.standing {
            Standing::Held if entry.is_plain() => entry.silent_for(now) < self.timing.ttl(),
            Standing::Held | Standing::Provisional => entry.may_be_claimed(now, &self.timing),
            Standing::Ended(_) => false,
        }
    }

    /// Drops what is spent in one shard; what is due stays due.
    pub(crate) fn sweep(&self, shard: usize) {
        self.walk(shard, |_, _, _| {});
    }

    fn walk(&self, n: usize, mut visit: impl FnMut(&Holder, &Entry, u64)) {
        let shard = self.shards.read_at(n);
        if shard.is_empty() {
            return;
        }
        let now = self.clock.now_ms();
        let mut some_are_spent = false;
        for (holder, entry) in shard.iter() {
            match is_spent(entry, now, &self.timing) {
                true => some_are_spent = true,
                false => visit(holder, entry, now),
            }
        }
        drop(shard);
        if some_are_spent {
            self.shards.write_at(n).retain(|entry| !is_spent(entry, now, &self.timing));
        }
    }

    /// The store moved its expiry; `asked_at` is from before it was asked.
    pub(crate) fn confirm(&self, slot: &Slot, expires_in: Duration, asked_at: u64) {
        if let Some(entry) = self.shards.read(&slot.holder).find(&slot.holder, &slot.id)
            && entry.standing == Standing::Held
        {
            entry.confirm(expires_in, asked_at);
        }
    }

    /// The store admitted what the keeper claimed, unless it ended here in the meantime.
    pub(crate) fn settle(&self, claim: &Claim, admitted: &Admitted, asked_at: u64) -> Settled {
        let mut shard = self.shards.write(&claim.holder);
        let mut settled = Settled::Forgotten;
        shard.alter(&claim.holder, &claim.id, |entry| {
            if matches!(entry.standing, Standing::Ended(_)) {
                settled = Settled::EndedMeanwhile;
                return;
            }
            entry.standing = Standing::Held;
            entry.started_at = admitted.started_at;
            entry.active = admitted.active;
            entry.valid_until.set(asked_at + millis(admitted.expires_in));
            entry.confirm(admitted.expires_in, asked_at);
            entry.over_limit = admitted.over_limit;
            settled = Settled::Kept;
        });
        settled
    }

    /// The store could not be asked: it stays due, and is tried again at the next beat.
    pub(crate) fn put_off(&self, holder: &Holder, id: &LeaseId) {
        let now = self.clock.now_ms();
        if let Some(entry) = self.shards.read(holder).find(holder, id) {
            entry.ask_soon(now);
        }
    }

    /// What the keeper needs to ask whether a held lease may go on. None if it is gone by now, or
    /// its player silent.
    ///
    /// What was promised for longer than until now is lost, unless the store knows how it ended. A
    /// reusable id that nobody had promised may have been released through another node; the keeper
    /// must not start it again. Under a limit of 0 it is confirmed if it is still held, and never
    /// admitted. One that went on without the store is adopted.
    pub(crate) fn claim(&self, slot: &Slot) -> Option<Claim> {
        let shard = self.shards.read(&slot.holder);
        let entry = shard.find(&slot.holder, &slot.id)?;
        let now = self.clock.now_ms();
        let lost = !entry.alone.get() && !entry.doubtful.get() && entry.is_live(now);
        let limit = if entry.reusable && !entry.alone.get() && !lost { 0 } else { entry.limit };
        let claim = Claim { limit, lost, ..entry.claim(&slot.holder) };
        let may_be = entry.standing == Standing::Held && entry.may_be_claimed(now, &self.timing);
        may_be.then_some(claim)
    }

    /// The ending that a lease met elsewhere.
    pub(crate) fn lose(&self, claim: &Claim, why: Ending, lasts: Duration) {
        self.end(&claim.holder, &claim.id, why, lasts);
    }

    /// Counts what plays, a shard at a time.
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
        match entry.standing {
            Standing::Held if entry.is_plain() => self.slots.push(Slot {
                holder: *holder,
                id: entry.id,
                silent_for: entry.silent_for(now),
                keep_keys,
            }),
            Standing::Held | Standing::Provisional => self.claims.push(entry.claim(holder)),
            Standing::Ended(_) => {}
        }
    }
}
