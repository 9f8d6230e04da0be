//! What this node knows of live leases: touched when, good until when, renewed when. Bounded.
//!
//! It is a cache of the truth, never the truth: what it forgets is asked of the store again. It
//! asks no store itself and waits for nothing; every method takes one short lock.

mod alone;
mod entry;
mod walk;

use crate::clock::{Clock, millis};
use crate::holder::Holder;
use crate::lease::{Claim, Class, Ending, Lease, LeaseId, State};
use crate::store::Admitted;
use crate::timing::Timing;
use entry::{Entry, Standing};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
pub use walk::Playing;
pub(crate) use walk::{Due, Settled};

/// Entries that one lock covers, up to a million in all; then the shards grow instead. The keeper
/// holds a lock for as long as it takes to look at so many, and a request may have to wait for it.
const ENTRIES_PER_SHARD: usize = 1024;
const SHARDS_MAX: usize = 1024;
/// How many entries are looked at to find one to let go of when a shard is full.
const EVICTION_SAMPLE: usize = 16;
/// Longer than any acquire takes.
const RELEASE_NOTED: Duration = Duration::from_secs(2);
/// An ending is remembered here no longer than this; the store remembers for longer.
const ENDING_KEPT_MAX: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(crate) struct Roster {
    clock: Clock,
    timing: Timing,
    starts_max: usize,
    /// Who starts a stream alone does so one at a time, so that the bound holds.
    starting: Mutex<()>,
    entries_per_shard_max: usize,
    shards: Box<[Mutex<Shard>]>,
    evicted: AtomicU64,
}

type Entries = HashMap<Holder, Vec<Entry>, foldhash::fast::RandomState>;

#[derive(Debug, Default)]
struct Shard {
    holders: Entries,
    entries: usize,
    provisional: usize,
}

impl Roster {
    pub(crate) fn new(timing: Timing, entries_max: usize, starts_max: usize) -> Self {
        let shards = entries_max.div_ceil(ENTRIES_PER_SHARD).next_power_of_two().min(SHARDS_MAX);
        Self {
            clock: Clock::new(),
            timing,
            starts_max,
            starting: Mutex::default(),
            entries_per_shard_max: entries_max.div_ceil(shards),
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            evicted: AtomicU64::new(0),
        }
    }

    /// The node's milliseconds, by which everything here is measured.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// The lease, if it is known here, good and of these classes; and it is noted that its player
    /// is alive.
    pub(crate) fn touch(&self, holder: &Holder, id: &LeaseId, classes: &[Class]) -> Option<Lease> {
        let now = self.clock.now_ms();
        let mut shard = self.shard(holder).lock();
        let entry = shard.find(holder, id)?;
        if !entry.is_live(now) || !entry.covers(classes) {
            return None;
        }
        entry.touch(now, &self.timing);
        Some(entry.lease(holder, now, false))
    }

    /// It goes on by this node's own word: the store has not been asked about it since.
    pub(crate) fn is_own_word(&self, holder: &Holder, id: &LeaseId) -> bool {
        let now = self.clock.now_ms();
        let is_own_word = |entry: &mut Entry| entry.is_live(now) && entry.is_own_word();
        self.shard(holder).lock().find(holder, id).is_some_and(is_own_word)
    }

    /// How it ended, if this node knows for sure that it has.
    pub(crate) fn ending(&self, holder: &Holder, id: &LeaseId) -> Option<Ending> {
        let now = self.clock.now_ms();
        self.shard(holder).lock().find(holder, id).and_then(|entry| entry.ending_for_sure(now))
    }

    /// Writes down what the store admitted. `asked_at` is from before it was asked.
    ///
    /// If the id was ended on this node while the store was being asked, the older answer does
    /// not undo the ending, unless `in_spite` of it.
    pub(crate) fn admit(
        &self,
        claim: &Claim,
        admitted: &Admitted,
        asked_at: u64,
        in_spite: bool,
    ) -> Result<Lease, Ending> {
        let now = self.clock.now_ms();
        let mut shard = self.shard(&claim.holder).lock();
        for id in &admitted.replaced {
            shard.end(&claim.holder, id, Ending::Replaced, now, &self.timing);
        }
        for id in &admitted.idle {
            shard.remove(&claim.holder, id);
        }
        let known = shard.find(&claim.holder, &claim.id);
        let mut entry = Entry::held(claim, admitted, asked_at, &self.timing);
        if let Some(known) = known {
            if let Some(why) = known.ended_since(asked_at).filter(|_| !in_spite) {
                return Err(why);
            }
            if known.standing == Standing::Held && !admitted.is_new {
                entry.valid_until = entry.valid_until.max(known.valid_until);
            }
            if entry.about.is_none() {
                entry.about = known.about.take();
            }
            if !admitted.is_new
                && let Some(classes) = known.classes.take()
            {
                let younger = entry.classes.take().unwrap_or_default();
                entry.classes = Some(Box::new(classes.joined(&younger)));
            }
            entry.paused_since = known.paused_since.filter(|_| !claim.anew);
        }
        let lease = entry.lease(&claim.holder, now, admitted.is_new);
        self.put(&mut shard, &claim.holder, entry);
        Ok(lease)
    }

    /// Remembers that it ended, for as long as the store said but not for long.
    pub(crate) fn end(&self, holder: &Holder, id: &LeaseId, why: Ending, lasts: Duration) {
        let now = self.clock.now_ms();
        let mut shard = self.shard(holder).lock();
        shard.alter(holder, id, |entry| entry.end(why, now, lasts.min(ENDING_KEPT_MAX)));
    }

    /// Its own player stopped it. A reusable id may play again; it is only noted for a moment, so
    /// that an acquire which is under way does not bring it back here.
    pub(crate) fn release(&self, holder: &Holder, id: &LeaseId) {
        let now = self.clock.now_ms();
        let mut shard = self.shard(holder).lock();
        shard.alter(holder, id, |entry| {
            let lasts = if entry.reusable { RELEASE_NOTED } else { ENDING_KEPT_MAX };
            entry.end(Ending::Released, now, lasts.min(self.timing.tombstone()));
        });
    }

    /// Somebody stopped it. True if it was known here and live.
    pub(crate) fn terminate(&self, holder: &Holder, id: &LeaseId) -> bool {
        let now = self.clock.now_ms();
        let mut shard = self.shard(holder).lock();
        let was_live = shard.find(holder, id).is_some_and(|entry| entry.is_live(now));
        shard.end(holder, id, Ending::Terminated, now, &self.timing);
        was_live
    }

    /// What the store has confirmed is to be confirmed again, by its next request or at the next
    /// beat. It is kept for when the store cannot be asked; an ending stays known, and so does what
    /// the store never heard of.
    pub(crate) fn doubt(&self, holder: &Holder, id: &LeaseId) {
        let now = self.clock.now_ms();
        if let Some(entry) = self.shard(holder).lock().find(holder, id)
            && entry.standing == Standing::Held
        {
            entry.valid_until = entry.valid_until.min(now);
            entry.doubtful = true;
            entry.ask_soon(now);
        }
    }

    /// Nothing is known of it any more; the store will be asked.
    pub(crate) fn forget(&self, holder: &Holder, id: &LeaseId) {
        self.shard(holder).lock().remove(holder, id);
    }

    pub(crate) fn declare(&self, holder: &Holder, id: &LeaseId, state: State) {
        let now = NonZeroU64::new(self.clock.now_ms()).or(NonZeroU64::new(1));
        if let Some(entry) = self.shard(holder).lock().find(holder, id) {
            entry.paused_since = match state {
                State::Playing => None,
                State::Paused => entry.paused_since.or(now),
            };
        }
    }

    /// Entries, those of them that are provisional, and how many had to go so far.
    pub(crate) fn counts(&self) -> (usize, usize, u64) {
        let (mut entries, mut provisional) = (0, 0);
        for shard in &self.shards {
            let shard = shard.lock();
            entries += shard.entries;
            provisional += shard.provisional;
        }
        (entries, provisional, self.evicted.load(Relaxed))
    }

    fn shard(&self, holder: &Holder) -> &Mutex<Shard> {
        &self.shards[holder.spread() % self.shards.len()]
    }

    /// Puts an entry in the place of its namesake, or in a new place; makes one if need be.
    fn put(&self, shard: &mut Shard, holder: &Holder, entry: Entry) {
        shard.remove(holder, &entry.id);
        if self.entries_per_shard_max <= shard.entries && shard.evict_one() {
            self.evicted.fetch_add(1, Relaxed);
        }
        shard.entries += 1;
        shard.provisional += usize::from(entry.standing == Standing::Provisional);
        // Most holders have one stream: room for exactly one, where a vector would take four.
        let place = shard.holders.entry(*holder).or_default();
        place.reserve_exact(1);
        place.push(entry);
    }
}

impl Shard {
    fn find(&mut self, holder: &Holder, id: &LeaseId) -> Option<&mut Entry> {
        self.entries_of(holder)?.iter_mut().find(|entry| entry.id == *id)
    }

    fn entries_of(&mut self, holder: &Holder) -> Option<&mut Vec<Entry>> {
        if let Some(other) = holder.other() {
            self.rename(holder, &other);
        }
        self.holders.get_mut(holder)
    }

    /// While the pepper changes: what is known under the other name goes by the current one, and
    /// the keeper learns that there is another. Two look-ups when nothing is to be done.
    fn rename(&mut self, holder: &Holder, other: &Holder) {
        let is_stale = |known: &Holder| known.other() != holder.other();
        if self.holders.get_key_value(holder).is_some_and(|(known, _)| is_stale(known)) {
            let entries = self.holders.remove(holder).unwrap_or_default();
            self.holders.insert(*holder, entries);
        }
        let Some(found) = self.holders.remove(other) else {
            return;
        };
        let here = self.holders.entry(*holder).or_default();
        for entry in found {
            if here.iter().any(|known| known.id == entry.id) {
                self.entries -= 1;
                self.provisional -= usize::from(entry.standing == Standing::Provisional);
            } else {
                here.push(entry);
            }
        }
    }

    /// Changes an entry and keeps the count of provisional ones true.
    fn alter(&mut self, holder: &Holder, id: &LeaseId, change: impl FnOnce(&mut Entry)) {
        let is_provisional = |entry: &Entry| entry.standing == Standing::Provisional;
        let Some(entry) = self.find(holder, id) else {
            return;
        };
        let before = usize::from(is_provisional(entry));
        change(entry);
        let after = usize::from(is_provisional(entry));
        self.provisional = self.provisional + after - before;
    }

    fn end(&mut self, holder: &Holder, id: &LeaseId, why: Ending, now: u64, timing: &Timing) {
        self.alter(holder, id, |entry| {
            let lasts = timing.tombstone_of(entry.reusable).min(ENDING_KEPT_MAX);
            entry.end(why, now, lasts);
        });
    }

    fn remove(&mut self, holder: &Holder, id: &LeaseId) {
        let Some(entries) = self.entries_of(holder) else {
            return;
        };
        if let Some(at) = entries.iter().position(|entry| entry.id == *id) {
            let entry = entries.swap_remove(at);
            let is_empty = entries.is_empty();
            self.entries -= 1;
            self.provisional -= usize::from(entry.standing == Standing::Provisional);
            if is_empty {
                self.holders.remove(holder);
            }
        }
    }

    /// Lets go of the one that was silent the longest, among the first few.
    fn evict_one(&mut self) -> bool {
        let sample = self.holders.iter().take(EVICTION_SAMPLE);
        let silent = sample
            .flat_map(|(holder, entries)| entries.iter().map(move |entry| (holder, entry)))
            .min_by_key(|(_, entry)| entry.touched_at)
            .map(|(holder, entry)| (*holder, entry.id));
        if let Some((holder, id)) = silent {
            self.remove(&holder, &id);
        }
        silent.is_some()
    }
}

/// An entry outlives its validity by a ttl, so that a store that is down does not erase holders.
fn is_spent(entry: &Entry, now: u64, timing: &Timing) -> bool {
    match entry.standing {
        Standing::Held => entry.valid_until + millis(timing.ttl()) <= now,
        Standing::Provisional | Standing::Ended(_) => entry.valid_until <= now,
    }
}
