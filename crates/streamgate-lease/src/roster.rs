//! What this node knows of live leases: touched when, good until when, renewed when. Bounded.
//!
//! It is a cache of the truth, never the truth: what it forgets is asked of the store again. It
//! asks no store itself and waits for nothing; every method takes one short lock, which those who
//! only give signs of life share, or do without.

mod alone;
mod bookmark;
mod entry;
mod shard;
mod shared;
mod walk;

use crate::clock::{Clock, millis};
use crate::holder::Holder;
use crate::lease::{Claim, Class, Ending, Lease, LeaseId, State};
use crate::store::Admitted;
use crate::timing::Timing;
pub use bookmark::Bookmark;
use bookmark::Listed;
use entry::{Entry, Standing};
use parking_lot::Mutex;
use shard::{Shards, Writing};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
pub use walk::{Census, Playing};
pub(crate) use walk::{Due, Settled};

/// Entries that one lock covers, up to a million in all; then the shards grow instead. A new stream
/// may have to wait until the keeper has looked at so many; one that plays does not.
const ENTRIES_PER_SHARD: usize = 64;
const SHARDS_MAX: usize = 16_384;
/// Longer than any acquire takes.
const RELEASE_NOTED: Duration = Duration::from_secs(2);
/// An ending is remembered here no longer than this; the store remembers for longer.
const ENDING_KEPT_MAX: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(crate) struct Roster {
    /// Of its own in this process: what a bookmark found here is no other's.
    number: u64,
    clock: Clock,
    timing: Timing,
    starts_max: usize,
    /// Who starts a stream alone does so one at a time, so that the bound holds.
    starting: Mutex<()>,
    entries_max: usize,
    shards: Shards,
    evicted: AtomicU64,
}

impl Roster {
    pub(crate) fn new(timing: Timing, entries_max: usize, starts_max: usize) -> Self {
        let shards = entries_max.div_ceil(ENTRIES_PER_SHARD).next_power_of_two().min(SHARDS_MAX);
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NEXT.fetch_add(1, Relaxed),
            clock: Clock::new(),
            timing,
            starts_max,
            starting: Mutex::default(),
            entries_max,
            shards: Shards::new(shards),
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
        let shard = self.shards.read(holder);
        self.touched(holder, shard.find(holder, id)?, classes)
    }

    /// The same without a look-up, if the bookmark points to it. A change of the entry that goes on
    /// at this moment comes after it.
    pub(crate) fn touch_by(
        &self,
        bookmark: &Bookmark,
        id: &LeaseId,
        classes: &[Class],
    ) -> Option<Lease> {
        let holder = bookmark.holder();
        if let Some(entry) = bookmark.follow(self.number, id) {
            return self.touched(holder, &entry, classes);
        }
        let shard = self.shards.read(holder);
        let entry = shard.find(holder, id)?;
        let lease = self.touched(holder, entry, classes)?;
        bookmark.point(self.number, entry);
        Some(lease)
    }

    fn touched(&self, holder: &Holder, entry: &Entry, classes: &[Class]) -> Option<Lease> {
        let now = self.clock.now_ms();
        if !entry.is_live(now) || !entry.covers(classes) {
            return None;
        }
        entry.touch(now, &self.timing);
        Some(entry.lease(holder, now, false))
    }

    /// It goes on by this node's own word: the store has not been asked about it since.
    pub(crate) fn is_own_word(&self, holder: &Holder, id: &LeaseId) -> bool {
        let now = self.clock.now_ms();
        let is_own_word = |entry: &Listed| entry.is_live(now) && entry.is_own_word();
        self.shards.read(holder).find(holder, id).is_some_and(is_own_word)
    }

    /// How it ended, if this node knows for sure that it has.
    pub(crate) fn ending(&self, holder: &Holder, id: &LeaseId) -> Option<Ending> {
        let now = self.clock.now_ms();
        self.shards.read(holder).find(holder, id).and_then(|entry| entry.ending_for_sure(now))
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
        let mut shard = self.shards.write(&claim.holder);
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
                entry.valid_until.raise(known.valid_until.get());
            }
            if entry.about.is_none() {
                entry.about = known.about.clone();
            }
            if !admitted.is_new
                && let Some(classes) = known.classes.as_deref().cloned()
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
        let mut shard = self.shards.write(holder);
        shard.alter(holder, id, |entry| entry.end(why, now, lasts.min(ENDING_KEPT_MAX)));
    }

    /// Its own player stopped it. A reusable id may play again; it is only noted for a moment, so
    /// that an acquire which is under way does not bring it back here.
    pub(crate) fn release(&self, holder: &Holder, id: &LeaseId) {
        let now = self.clock.now_ms();
        let mut shard = self.shards.write(holder);
        shard.alter(holder, id, |entry| {
            let lasts = if entry.reusable { RELEASE_NOTED } else { ENDING_KEPT_MAX };
            entry.end(Ending::Released, now, lasts.min(self.timing.tombstone()));
        });
    }

    /// Somebody stopped it. True if it was known here and live.
    pub(crate) fn terminate(&self, holder: &Holder, id: &LeaseId) -> bool {
        let now = self.clock.now_ms();
        let mut shard = self.shards.write(holder);
        let was_live = shard.find(holder, id).is_some_and(|entry| entry.is_live(now));
        shard.end(holder, id, Ending::Terminated, now, &self.timing);
        was_live
    }

    /// What the store has confirmed is to be confirmed again, by its next request or at the next
    /// beat. It is kept for when the store cannot be asked; an ending stays known, and so does what
    /// the store never heard of.
    pub(crate) fn doubt(&self, holder: &Holder, id: &LeaseId) {
        let now = self.clock.now_ms();
        if let Some(entry) = self.shards.write(holder).find(holder, id)
            && entry.standing == Standing::Held
        {
            entry.valid_until.lower(now);
            entry.doubtful.set(true);
            entry.ask_soon(now);
        }
    }

    /// Nothing is known of it any more; the store will be asked.
    pub(crate) fn forget(&self, holder: &Holder, id: &LeaseId) {
        self.shards.write(holder).remove(holder, id);
    }

    pub(crate) fn declare(&self, holder: &Holder, id: &LeaseId, state: State) {
        let now = NonZeroU64::new(self.clock.now_ms()).or(NonZeroU64::new(1));
        if let Some(entry) = self.shards.write(holder).find_mut(holder, id) {
            entry.paused_since = match state {
                State::Playing => None,
                State::Paused => entry.paused_since.or(now),
            };
        }
    }

    /// Entries, those of them that are provisional, and how many had to go so far.
    pub(crate) fn counts(&self) -> (usize, usize, u64) {
        let (entries, provisional) = self.shards.counts();
        (entries, provisional, self.evicted.load(Relaxed))
    }

    /// Puts an entry in, and lets another go if there would be too many. There may be more by one
    /// per shard, if one that was empty has nobody to let go.
    fn put(&self, shard: &mut Writing<'_>, holder: &Holder, entry: Entry) {
        let is_full = self.entries_max <= self.shards.counts().0;
        if is_full && shard.find(holder, &entry.id).is_none() && shard.evict_one() {
            self.evicted.fetch_add(1, Relaxed);
        }
        shard.put(holder, entry);
    }
}

/// An entry outlives its validity by a ttl, so that a store that is down does not erase holders.
fn is_spent(entry: &Entry, now: u64, timing: &Timing) -> bool {
    match entry.standing {
        Standing::Held => entry.valid_until.get() + millis(timing.ttl()) <= now,
        Standing::Provisional | Standing::Ended(_) => entry.valid_until.get() <= now,
    }
}
