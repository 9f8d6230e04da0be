//! The table of leases: what this node knows of each lease, when it was touched, until when it is
//! valid, when it is to be renewed. The table is bounded.
//!
//! It is a cache and never the truth: what it has evicted is asked of the store again. It asks no
//! store itself and waits for nothing. Every method takes one short lock; a sign of life shares
//! that lock with others, or finds its entry through a [`CachedEntry`] and takes no lock at all.

mod sweep;
mod degraded;
mod shard;
mod cached_entry;
mod entry_start;
mod entry;
mod ttl;
mod atomics;
#[cfg(all(test, streamgate_loom))]
mod model;

use crate::clock::Clock;
use crate::event::{Change, End, Start};
use crate::holder::Holder;
use crate::lease::{Attempt, Claim, Class, Ending, Lease, LeaseId, State};
use crate::recorder::{Recorder, Via};
use crate::stats::count;
use crate::store::Admitted;
use crate::timing::Timing;
pub use cached_entry::CachedEntry;
use cached_entry::OwnedEntry;
use entry::{ENDING_KEPT_MAX, Entry, EntryState};
use parking_lot::Mutex;
use shard::{ShardGuard, Shards};
use std::num::NonZeroU64;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::Duration;
pub use sweep::{Census, Playing};
pub(crate) use sweep::{ClaimOutcome, Due};

/// Entries under one lock, up to a million in all; beyond that, shards grow and do not multiply. A
/// new stream may have to wait until the renewer has looked at so many entries; a stream that plays
/// does not wait.
const ENTRIES_PER_SHARD: usize = 64;
const SHARDS_MAX: usize = 16_384;
/// How long the release of a reusable id is remembered: longer than any acquire takes.
const RELEASE_NOTED: Duration = Duration::from_secs(2);

/// The table. Its other methods: admission without the store in `degraded`, the renewer's pass in
/// `sweep`.
#[derive(Debug)]
pub(crate) struct Table {
    /// Unique in this process, so that a cached entry is used with the table that it came from
    /// only.
    number: u64,
    clock: Clock,
    timing: Timing,
    starts_max: usize,
    /// Held while a stream is started without the store, so that `starts_max` holds.
    starting: Mutex<()>,
    entries_max: usize,
    shards: Shards,
    evicted: AtomicU64,
    /// Notices that have come so far.
    notices: AtomicU64,
    recorder: Recorder,
}

/// The moment before the store was asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// The node's milliseconds.
    at: u64,
    /// Notices that had come by then.
    notices: u64,
}

impl Table {
    pub(crate) fn new(
        timing: Timing,
        entries_max: usize,
        starts_max: usize,
        recorder: Recorder,
    ) -> Self {
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
            notices: AtomicU64::new(0),
            recorder,
        }
    }

    /// To be taken before the store is asked: what we believe never outlives what it promised, and
    /// never what a notice has told since.
    pub(crate) fn asking(&self) -> Asked {
        let notices = self.notices.load(SeqCst);
        Asked { at: self.clock.now_ms(), notices }
    }

    /// Where starts, ends and refusals are written down.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The lease, if this node knows it to be valid and to have these classes. It is a sign of
    /// life.
    pub(crate) fn touch(&self, holder: &Holder, id: &LeaseId, classes: &[Class]) -> Option<Lease> {
        let shard = self.shards.read(holder);
        self.touched(holder, shard.find(holder, id)?, classes)
    }

    /// The same without a look-up, if the cached entry is this lease's. If somebody changes the
    /// entry at this moment, then the touch came first.
    pub(crate) fn touch_cached(
        &self,
        cached_entry: &CachedEntry,
        id: &LeaseId,
        classes: &[Class],
    ) -> Option<Lease> {
        let holder = cached_entry.holder();
        if let Some(entry) = cached_entry.get(self.number, id) {
            return self.touched(holder, &entry, classes);
        }
        let shard = self.shards.read(holder);
        let entry = shard.find(holder, id)?;
        let lease = self.touched(holder, entry, classes)?;
        cached_entry.set(self.number, entry);
        Some(lease)
    }

    fn touched(&self, holder: &Holder, entry: &Entry, classes: &[Class]) -> Option<Lease> {
        let now = self.clock.now_ms();
        if !entry.is_live(now) || !entry.covers(classes) {
            return None;
        }
        if !entry.gate.is_open() && !entry.lets_another_pass() {
            return None;
        }
        entry.touch(now);
        Some(entry.lease(holder, now, false))
    }

    /// Whether it plays by a decision of this node that the store has not heard of yet.
    pub(crate) fn is_local_decision(&self, holder: &Holder, id: &LeaseId) -> bool {
        let now = self.clock.now_ms();
        let is_local = |entry: &OwnedEntry| entry.is_live(now) && entry.is_local_decision();
        self.shards.read(holder).find(holder, id).is_some_and(is_local)
    }

    /// How it ended, if this node is sure that it has ended.
    pub(crate) fn ending(&self, holder: &Holder, id: &LeaseId) -> Option<Ending> {
        let now = self.clock.now_ms();
        self.shards.read(holder).find(holder, id).and_then(|entry| entry.ending_for_sure(now))
    }

    /// Enters what the store has admitted; `asked` is from before the store was asked.
    ///
    /// If the id was ended on this node while the store was being asked, the older answer does not
    /// undo the ending, unless the caller says so with `override_ending`.
    pub(crate) fn admit(
        &self,
        claim: &Claim,
        admitted: &Admitted,
        asked: Asked,
        override_ending: bool,
    ) -> Result<Lease, Ending> {
        let asked_at = asked.at;
        let now = self.clock.now_ms();
        let mut shard = self.shards.write(&claim.holder);
        for id in &admitted.replaced {
            let ended = shard.end(&claim.holder, id, Ending::Replaced, now, &self.timing);
            self.record_end(&claim.holder, id, ended, End::Replaced, Via::Request);
        }
        for id in &admitted.superseded {
            count(&self.recorder.counters.superseded);
            let ended = shard.end(&claim.holder, id, Ending::Superseded, now, &self.timing);
            self.record_end(&claim.holder, id, ended, End::Superseded, Via::Request);
        }
        for id in &admitted.marked {
            shard.mark(&claim.holder, id, now);
        }
        for id in &admitted.idle {
            let removed = shard.remove(&claim.holder, id);
            self.record_end(&claim.holder, id, removed, End::Idle, Via::Request);
        }
        let known = shard.find(&claim.holder, &claim.id);
        let playing_since = known.and_then(|known| known.playing_since());
        let mut entry = Entry::held(claim, admitted, asked_at);
        if let Some(known) = known {
            if let Some(why) = known.ended_since(asked_at).filter(|_| !override_ending) {
                return Err(why);
            }
            if known.state == EntryState::Held && !admitted.is_new {
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
            entry.paused_since = known.paused_since.filter(|_| !claim.explicit_start);
        }
        let lease = Lease {
            start: Attempt::of(claim.by, admitted.is_new, admitted.first),
            born_at: admitted.born_at,
            ..entry.lease(&claim.holder, now, admitted.is_new)
        };
        entry.hear(shard.told_since(asked, &claim.holder, &claim.id), now);
        self.insert(&mut shard, &claim.holder, entry);
        self.record_admission(claim, admitted, playing_since);
        Ok(lease)
    }

    /// `playing_since` is what this node knew of the stream before.
    fn record_admission(&self, claim: &Claim, admitted: &Admitted, playing_since: Option<u64>) {
        let is_adopted = claim.adopt || claim.lost;
        let record = |change| self.recorder.record(&claim.holder, &claim.id, change, Via::Request);
        // Its slot had expired in the store, and it was admitted again.
        let is_restart = admitted.is_new && !is_adopted;
        if is_restart && let Some(started_at) = playing_since {
            record(Change::Ended { why: End::Expired, started_at });
        }
        if is_restart || playing_since.is_none() {
            let how = if admitted.is_new { Start::Admitted } else { Start::Joined };
            record(Change::Started { how, started_at: admitted.started_at });
        }
        if is_adopted {
            record(Change::Adopted { over_limit: admitted.over_limit });
        }
    }

    /// Records that a stream ended which had played since `started_at`. None: it had not played.
    fn record_end(
        &self,
        holder: &Holder,
        id: &LeaseId,
        started_at: Option<u64>,
        why: End,
        via: Via,
    ) {
        if let Some(started_at) = started_at {
            self.recorder.record(holder, id, Change::Ended { why, started_at }, via);
        }
    }

    /// Remembers that it ended, for as long as the store said but not for long.
    pub(crate) fn end(
        &self,
        holder: &Holder,
        id: &LeaseId,
        why: Ending,
        lasts: Duration,
        via: Via,
    ) {
        let now = self.clock.now_ms();
        let mut shard = self.shards.write(holder);
        let end = |entry: &mut Entry| entry.end(why, now, lasts.min(ENDING_KEPT_MAX));
        let ended = shard.update(holder, id, end).flatten();
        self.record_end(holder, id, ended, why.into(), via);
    }

    /// Its own player stopped it. A reusable id may play again; its release is remembered for a
    /// moment only, so that an acquire which is under way does not bring it back here.
    pub(crate) fn release(&self, holder: &Holder, id: &LeaseId) {
        let now = self.clock.now_ms();
        let mut shard = self.shards.write(holder);
        let ended = shard.update(holder, id, |entry| {
            let lasts = if entry.reusable { RELEASE_NOTED } else { ENDING_KEPT_MAX };
            entry.end(Ending::Released, now, lasts.min(self.timing.tombstone()))
        });
        self.record_end(holder, id, ended.flatten(), End::Released, Via::Request);
    }

    /// Somebody stopped it. True if this node knew it to be live.
    pub(crate) fn terminate(&self, holder: &Holder, id: &LeaseId) -> bool {
        let now = self.clock.now_ms();
        let mut shard = self.shards.write(holder);
        let was_live = shard.find(holder, id).is_some_and(|entry| entry.is_live(now));
        let ended = shard.end(holder, id, Ending::Terminated, now, &self.timing);
        self.record_end(holder, id, ended, End::Terminated, Via::Request);
        was_live
    }

    /// The store has to confirm it again, at its next request or at the next tick. The entry stays,
    /// for the case that the store cannot be asked. What has ended and what is provisional is not
    /// changed.
    pub(crate) fn mark_stale(&self, holder: &Holder, id: &LeaseId) {
        let now = self.clock.now_ms();
        let mut shard = self.shards.write(holder);
        let notice = self.notices.fetch_add(1, SeqCst) + 1;
        if let Some(entry) = shard.find(holder, id)
            && entry.state == EntryState::Held
        {
            entry.doubt(notice, now);
        }
        shard.note(holder, id, notice, false, now);
    }

    /// A later playback of its login began: its next request asks the store.
    pub(crate) fn mark(&self, holder: &Holder, id: &LeaseId) {
        let now = self.clock.now_ms();
        let mut shard = self.shards.write(holder);
        shard.mark(holder, id, now);
        let notice = self.notices.fetch_add(1, SeqCst) + 1;
        shard.note(holder, id, notice, true, now);
    }

    /// Removes a start that failed. False if another request of its stream was let pass here, or
    /// may have been; from now on none is without the store.
    pub(crate) fn give_back(&self, lease: &Lease) -> bool {
        let mut shard = self.shards.write(&lease.holder);
        let found = shard.find(&lease.holder, &lease.id);
        let Some(entry) = found.filter(|entry| entry.started_at == lease.started_at) else {
            return false;
        };
        let entry = entry.reference();
        let removed = shard.remove(&lease.holder, &lease.id);
        self.record_end(&lease.holder, &lease.id, removed, End::Failed, Via::Request);
        entry.gate.is_first_only() || entry.gate.is_reserved()
    }

    /// Removes it; the store is asked at its next request.
    pub(crate) fn forget(&self, holder: &Holder, id: &LeaseId, why: End, via: Via) {
        let mut shard = self.shards.write(holder);
        let removed = shard.remove(holder, id);
        self.record_end(holder, id, removed, why, via);
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

    /// How many entries there are, how many of them are provisional, and how many were evicted.
    pub(crate) fn counts(&self) -> (usize, usize, u64) {
        let (entries, provisional) = self.shards.counts();
        (entries, provisional, self.evicted.load(Relaxed))
    }

    /// Inserts an entry, and evicts another one if the table is full. There may be one entry too
    /// many per shard, because an empty shard has none to evict.
    fn insert(&self, shard: &mut ShardGuard<'_>, holder: &Holder, entry: Entry) {
        let is_full = self.entries_max <= self.shards.counts().0;
        if is_full
            && shard.find(holder, &entry.id).is_none()
            && let Some((holder, id, started_at)) = shard.evict_one()
        {
            self.evicted.fetch_add(1, Relaxed);
            self.record_end(&holder, &id, started_at, End::Evicted, Via::Request);
        }
        shard.insert(holder, entry);
    }
}
