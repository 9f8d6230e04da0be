//! The table's shards: the entries of each holder, each shard under a lock of its own, and the
//! totals of all shards.
//!
//! Look-ups and signs of life share the lock; insertions and removals hold it exclusively. A reader
//! does not even wait behind a writer that is waiting (`read_recursive`), so a shard that the
//! renewer is looking at delays no request.

use super::Asked;
use super::cached_entry::OwnedEntry;
use super::entry::{ENDING_KEPT_MAX, Entry};
use super::entry_start::Told;
use crate::holder::Holder;
use crate::lease::{Ending, LeaseId};
use crate::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::timing::Timing;
use smallvec::SmallVec;
use std::collections::{HashMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Notices that a shard remembers, and for how long: longer than an answer may take.
const NOTICES_MAX: usize = 64;
const NOTICE_KEPT_MS: u64 = 60_000;
/// How many entries are looked at to find one to evict.
const EVICTION_SAMPLE: usize = 16;

#[derive(Debug)]
pub(super) struct Shards {
    all: Box<[RwLock<Shard>]>,
    entries: AtomicUsize,
    provisional: AtomicUsize,
}

/// Most holders have one stream.
type OfHolder = SmallVec<[OwnedEntry; 2]>;
type Entries = HashMap<Holder, OfHolder, foldhash::fast::RandomState>;

#[derive(Debug, Default)]
pub(super) struct Shard {
    holders: Entries,
    entries: usize,
    provisional: usize,
    /// The last notices, oldest first: one may come before the answer that it is about.
    notices: VecDeque<Noted>,
    /// The number of the last notice that is remembered no more.
    forgotten: u64,
}

/// A notice about a lease.
#[derive(Debug, Clone, Copy)]
struct Noted {
    holder: Holder,
    id: LeaseId,
    number: u64,
    at: u64,
    is_mark: bool,
}

/// A shard under its exclusive lock. Dropping the guard brings the totals up to date.
pub(super) struct ShardGuard<'a> {
    shard: RwLockWriteGuard<'a, Shard>,
    shards: &'a Shards,
    entries: usize,
    provisional: usize,
}

impl Shards {
    pub(super) fn new(count: usize) -> Self {
        Self {
            all: (0..count).map(|_| RwLock::default()).collect(),
            entries: AtomicUsize::new(0),
            provisional: AtomicUsize::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Entries, and those of them that are provisional.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.entries.load(Relaxed), self.provisional.load(Relaxed))
    }

    /// The holder's shard, for look-ups and signs of life.
    pub(super) fn read(&self, holder: &Holder) -> RwLockReadGuard<'_, Shard> {
        let lock = &self.all[self.place(holder)];
        let shard = lock.read_recursive();
        if !shard.needs_rename(holder) {
            return shard;
        }
        drop(shard);
        drop(self.write(holder));
        lock.read_recursive()
    }

    /// The holder's shard, for insertions, changes and removals.
    pub(super) fn write(&self, holder: &Holder) -> ShardGuard<'_> {
        let mut shard = self.write_at(self.place(holder));
        if let Some(other) = holder.other() {
            shard.rename(holder, &other);
        }
        shard
    }

    pub(super) fn read_at(&self, n: usize) -> RwLockReadGuard<'_, Shard> {
        self.all[n].read_recursive()
    }

    pub(super) fn write_at(&self, n: usize) -> ShardGuard<'_> {
        let shard = self.all[n].write();
        let (entries, provisional) = (shard.entries, shard.provisional);
        ShardGuard { shard, shards: self, entries, provisional }
    }

    fn place(&self, holder: &Holder) -> usize {
        holder.spread() % self.all.len()
    }
}

impl Deref for ShardGuard<'_> {
    type Target = Shard;

    fn deref(&self) -> &Shard {
        &self.shard
    }
}

impl DerefMut for ShardGuard<'_> {
    fn deref_mut(&mut self) -> &mut Shard {
        &mut self.shard
    }
}

impl Drop for ShardGuard<'_> {
    fn drop(&mut self) {
        let update = |total: &AtomicUsize, before: usize, after: usize| {
            if before != after {
                // A subtraction wraps around, and so does its sum: what is subtracted was added
                // before.
                total.fetch_add(after.wrapping_sub(before), Relaxed);
            }
        };
        update(&self.shards.entries, self.entries, self.shard.entries);
        update(&self.shards.provisional, self.provisional, self.shard.provisional);
    }
}

impl Shard {
    pub(super) fn find(&self, holder: &Holder, id: &LeaseId) -> Option<&OwnedEntry> {
        self.entries_of(holder).iter().find(|entry| entry.id == *id)
    }

    /// Remembers a notice.
    pub(super) fn note(
        &mut self,
        holder: &Holder,
        id: &LeaseId,
        number: u64,
        is_mark: bool,
        now: u64,
    ) {
        let is_old = |noted: &Noted| noted.at + NOTICE_KEPT_MS <= now;
        while NOTICES_MAX <= self.notices.len() || self.notices.front().is_some_and(is_old) {
            self.forgotten = self.notices.pop_front().map_or(self.forgotten, |old| old.number);
        }
        self.notices.push_back(Noted { holder: *holder, id: *id, number, at: now, is_mark });
    }

    /// What was told of this lease since the store was asked. What is remembered no more may have
    /// been about it, of either kind: a false alarm costs one round trip.
    pub(super) fn told_since(&self, asked: Asked, holder: &Holder, id: &LeaseId) -> Told {
        let forgotten = Some(self.forgotten).filter(|number| asked.notices < *number);
        let mut told = Told { ended: forgotten, is_marked: forgotten.is_some() };
        let is_it = |noted: &&Noted| {
            asked.notices < noted.number && noted.holder == *holder && noted.id == *id
        };
        for noted in self.notices.iter().filter(is_it) {
            match noted.is_mark {
                true => told.is_marked = true,
                false => told.ended = Some(noted.number),
            }
        }
        told
    }

    /// The entry, to be changed.
    pub(super) fn find_mut(&mut self, holder: &Holder, id: &LeaseId) -> Option<&mut Entry> {
        let mut entries = self.holders.get_mut(holder)?.iter_mut();
        entries.find(|entry| entry.id == *id).map(OwnedEntry::make_mut)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    pub(super) fn entries_of(&self, holder: &Holder) -> &[OwnedEntry] {
        self.holders.get(holder).map_or(&[], SmallVec::as_slice)
    }

    /// All entries with their holders.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Holder, &Entry)> {
        self.holders
            .iter()
            .flat_map(|(holder, all)| all.iter().map(move |entry| (holder, &**entry)))
    }

    /// Removes the entries for which `stays` is false.
    pub(super) fn retain(&mut self, stays: impl Fn(&Holder, &Entry) -> bool) {
        let (mut entries, mut provisional) = (0, 0);
        self.holders.retain(|holder, all| {
            all.retain(|entry| stays(holder, entry));
            entries += all.len();
            provisional += all.iter().filter(|entry| entry.is_provisional()).count();
            !all.is_empty()
        });
        (self.entries, self.provisional) = (entries, provisional);
    }

    /// Inserts an entry; it replaces the one of the same id.
    pub(super) fn insert(&mut self, holder: &Holder, entry: Entry) {
        self.remove(holder, &entry.id);
        self.entries += 1;
        self.provisional += usize::from(entry.is_provisional());
        self.holders.entry(*holder).or_default().push(OwnedEntry::new(entry));
    }

    /// Changes an entry, and counts it again if it became provisional or is so no longer.
    pub(super) fn update<T>(
        &mut self,
        holder: &Holder,
        id: &LeaseId,
        change: impl FnOnce(&mut Entry) -> T,
    ) -> Option<T> {
        let entry = self.find_mut(holder, id)?;
        let before = usize::from(entry.is_provisional());
        let result = change(entry);
        let after = usize::from(entry.is_provisional());
        self.provisional = self.provisional + after - before;
        Some(result)
    }

    /// Ends it. Returns since when it had played, if it did.
    pub(super) fn end(
        &mut self,
        holder: &Holder,
        id: &LeaseId,
        why: Ending,
        now: u64,
        timing: &Timing,
    ) -> Option<u64> {
        let end = |entry: &mut Entry| {
            let timing = timing.for_ttl(Some(entry.ttl.duration()));
            let lasts = timing.tombstone_of(why, entry.reusable).min(ENDING_KEPT_MAX);
            entry.end(why, now, lasts)
        };
        self.update(holder, id, end).flatten()
    }

    /// A later playback of its login began.
    pub(super) fn mark(&self, holder: &Holder, id: &LeaseId, now: u64) {
        let found = self.find(holder, id);
        // One that has run out, or is in doubt, may turn out to be live.
        if let Some(entry) = found.filter(|entry| entry.playing_since().is_some()) {
            entry.mark(now);
        }
    }

    /// Removes it. Returns since when it had played, if it did.
    pub(super) fn remove(&mut self, holder: &Holder, id: &LeaseId) -> Option<u64> {
        let entries = self.holders.get_mut(holder)?;
        let at = entries.iter().position(|entry| entry.id == *id)?;
        let entry = entries.swap_remove(at);
        if entries.is_empty() {
            self.holders.remove(holder);
        }
        self.entries -= 1;
        self.provisional -= usize::from(entry.is_provisional());
        entry.playing_since()
    }

    /// Removes, of a few entries, the one that was silent for the longest time. Returns it, and
    /// since when it had played.
    pub(super) fn evict_one(&mut self) -> Option<(Holder, LeaseId, Option<u64>)> {
        let few = self.iter().take(EVICTION_SAMPLE);
        let silent = few.min_by_key(|(_, entry)| entry.touched_at.get());
        let (holder, id) = silent.map(|(holder, entry)| (*holder, entry.id))?;
        let playing_since = self.remove(&holder, &id);
        Some((holder, id, playing_since))
    }

    /// While the pepper changes: whether the shard has entries under the holder's other name, or
    /// under a holder that does not know its other name yet.
    fn needs_rename(&self, holder: &Holder) -> bool {
        holder
            .other()
            .is_some_and(|other| self.lacks_other_name(holder) || self.holders.contains_key(&other))
    }

    fn lacks_other_name(&self, holder: &Holder) -> bool {
        let known = self.holders.get_key_value(holder);
        known.is_some_and(|(known, _)| known.other() != holder.other())
    }

    /// Moves entries from the holder's other name to the current one, and makes the other name
    /// known to the renewer. It costs two look-ups when there is nothing to do.
    fn rename(&mut self, holder: &Holder, other: &Holder) {
        if self.lacks_other_name(holder) {
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
                self.provisional -= usize::from(entry.is_provisional());
            } else {
                here.push(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::Pepper;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    const WAIT_MAX: Duration = Duration::from_secs(10);

    #[test]
    fn a_sign_of_life_waits_neither_for_the_renewer_nor_for_a_waiting_writer() {
        let shards = Shards::new(1);
        let holder = Holder::of(&Pepper::new([7; 32]).unwrap(), "alice");
        thread::scope(|scope| {
            let renewer = shards.read_at(0);
            scope.spawn(|| drop(shards.write_at(0)));
            // A writer that waits turns ordinary readers away.
            while shards.all[0].try_read().is_some() {
                thread::yield_now();
            }
            let (tell, told) = mpsc::channel();
            let (shards, holder) = (&shards, &holder);
            scope.spawn(move || {
                drop(shards.read(holder));
                let _ = tell.send(());
            });
            let is_in_time = told.recv_timeout(WAIT_MAX).is_ok();
            drop(renewer);
            assert!(is_in_time, "a request waited for the renewer");
        });
    }
}
