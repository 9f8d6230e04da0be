//! The fields of an entry that change while others read it: signs of life, and what the renewer
//! learns.
//!
//! Requests and the renewer share the lock of a shard, so that neither ever waits for the other.
//! Each of these values is true by itself and says nothing about another value, so `Relaxed` is
//! enough. Values that must change together change under the exclusive lock only.

use crate::sync::{AtomicBool, AtomicU8, AtomicU64};
use std::sync::atomic::Ordering::Relaxed;

/// A point in time, in the node's milliseconds.
#[derive(Debug)]
pub(super) struct AtomicMillis(AtomicU64);

/// A yes or no.
#[derive(Debug)]
pub(super) struct AtomicFlag(AtomicBool);

/// How often something happened; wraps around.
#[derive(Debug)]
pub(super) struct AtomicCount(AtomicU8);

impl Clone for AtomicMillis {
    fn clone(&self) -> Self {
        Self::new(self.get())
    }
}

impl Clone for AtomicFlag {
    fn clone(&self) -> Self {
        Self::new(self.get())
    }
}

impl Clone for AtomicCount {
    fn clone(&self) -> Self {
        Self(AtomicU8::new(self.0.load(Relaxed)))
    }
}

impl AtomicMillis {
    pub(super) fn new(at: u64) -> Self {
        Self(AtomicU64::new(at))
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn set(&self, at: u64) {
        self.0.store(at, Relaxed);
    }

    /// Moves it to this time, unless it is later already.
    pub(super) fn raise(&self, at: u64) {
        if self.get() < at {
            self.0.fetch_max(at, Relaxed);
        }
    }

    /// Moves it to this time, unless it is earlier already.
    pub(super) fn lower(&self, at: u64) {
        if at < self.get() {
            self.0.fetch_min(at, Relaxed);
        }
    }
}

impl AtomicFlag {
    pub(super) fn new(is_so: bool) -> Self {
        Self(AtomicBool::new(is_so))
    }

    pub(super) fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Writes only if the value changes, because other cores have the cache line, too.
    pub(super) fn set(&self, is_so: bool) {
        if self.get() != is_so {
            self.0.store(is_so, Relaxed);
        }
    }
}

impl AtomicCount {
    pub(super) fn new() -> Self {
        Self(AtomicU8::new(0))
    }

    /// Adds one; returns how many there were before.
    pub(super) fn increment(&self) -> u8 {
        self.0.fetch_add(1, Relaxed)
    }
}
