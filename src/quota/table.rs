//! The keys that this process counts for: a table of fixed size.
//!
//! A key has one set of [`WAYS`] places, so a look-up reads a few lines of memory, nothing is
//! allocated after the start and nobody has to sweep. Where a set is full, the key gives way that
//! would be forgotten first anyway: who asks most is remembered longest, whatever comes past.

use super::{Meter, Rate, Taken};
use foldhash::quality::RandomState;
use parking_lot::Mutex;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::time::Instant;

/// How many keys share a set.
const WAYS: usize = 8;

/// A table is made for twice the keys that it is asked for: they do not spread evenly, and so few
/// sets are full that a key seldom has to give way.
const SPARE: usize = 2;

/// One key's place. No tag is zero: that is an empty one.
#[derive(Clone, Copy, Default)]
struct Slot<M> {
    tag: u64,
    meter: M,
}

/// A table of meters, one for each key.
pub struct Table<M> {
    rate: Rate,
    /// A power of two of them.
    sets: Box<[Mutex<[Slot<M>; WAYS]>]>,
    hasher: RandomState,
    epoch: Instant,
    evicted: AtomicU64,
    /// Somebody was counted here.
    is_used: AtomicBool,
}

impl<M> fmt::Debug for Table<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl<M: Meter> Table<M> {
    /// A table for so many keys. Time begins now.
    pub fn new(rate: Rate, keys: usize) -> Self {
        let sets = (keys * SPARE).div_ceil(WAYS).next_power_of_two();
        Table {
            rate,
            sets: (0..sets).map(|_| Mutex::new([Slot::default(); WAYS])).collect(),
            hasher: RandomState::default(),
            epoch: Instant::now(),
            evicted: AtomicU64::new(0),
            is_used: AtomicBool::new(false),
        }
    }

    /// Takes so many units of what `key` has at this time.
    pub fn take(&self, key: &impl Hash, units: u32, now: Instant) -> Taken {
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
        let (tag, now) = (self.tag(key), self.ns(now));
        let mut set = self.set(tag).lock();
        let slot = match set.iter().position(|slot| slot.tag == tag) {
            Some(known) => &mut set[known],
            None => self.room_in(&mut set, now),
        };
        slot.tag = tag;
        slot.meter.take(&self.rate, units, now)
    }

    /// Gives back what was taken at this time, unless the key is forgotten.
    pub fn give_back(&self, key: &impl Hash, units: u32, taken_at: Instant) {
        let (tag, taken_at) = (self.tag(key), self.ns(taken_at));
        let mut set = self.set(tag).lock();
        if let Some(slot) = set.iter_mut().find(|slot| slot.tag == tag) {
            slot.meter.give_back(&self.rate, units, taken_at);
        }
    }

    /// Forgets the key, and says how much of what it had taken has not come back at this time.
    pub fn drain(&self, key: &impl Hash, now: Instant) -> u64 {
        if !self.is_used.load(Ordering::Relaxed) {
            return 0;
        }
        let (tag, now) = (self.tag(key), self.ns(now));
        let mut set = self.set(tag).lock();
        let slot = set.iter_mut().find(|slot| slot.tag == tag);
        slot.map_or(0, |slot| std::mem::take(slot).meter.missing(&self.rate, now))
    }

    /// How many keys were forgotten for want of room, since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// A place for a new key: an empty one, or that of the key that is forgotten first.
    fn room_in<'s>(&self, set: &'s mut [Slot<M>; WAYS], now: u64) -> &'s mut Slot<M> {
        let until = |slot: &Slot<M>| match slot.tag {
            0 => 0,
            _ => slot.meter.forgotten_at(&self.rate),
        };
        let slot = set.iter_mut().min_by_key(|slot| until(slot)).expect("a set has places");
        if now < until(slot) {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        *slot = Slot::default();
        slot
    }

    fn tag(&self, key: &impl Hash) -> u64 {
        self.hasher.hash_one(key).max(1)
    }

    fn set(&self, tag: u64) -> &Mutex<[Slot<M>; WAYS]> {
        // The low bits alone: the whole of it tells the keys of a set apart.
        &self.sets[tag as usize & (self.sets.len() - 1)]
    }

    fn ns(&self, now: Instant) -> u64 {
        let ns = now.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}
