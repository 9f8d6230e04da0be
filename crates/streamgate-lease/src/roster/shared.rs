//! What changes in an entry while others read it: signs of life, and what the keeper learns.
//!
//! Requests and the keeper hold a shard's lock together, so that neither ever waits for the other.
//! Each of these is true by itself and none vouches for another, hence `Relaxed`; what has to
//! change together changes under the lock alone.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

/// A moment in the node's milliseconds.
#[derive(Debug)]
pub(super) struct Moment(AtomicU64);

/// Yes or no.
#[derive(Debug)]
pub(super) struct Flag(AtomicBool);

/// How often something happened; wraps around.
#[derive(Debug, Default)]
pub(super) struct Tally(AtomicU8);

impl Clone for Moment {
    fn clone(&self) -> Self {
        Self::new(self.get())
    }
}

impl Clone for Flag {
    fn clone(&self) -> Self {
        Self::new(self.get())
    }
}

impl Clone for Tally {
    fn clone(&self) -> Self {
        Self(AtomicU8::new(self.0.load(Relaxed)))
    }
}

impl Moment {
    pub(super) const fn new(at: u64) -> Self {
        Self(AtomicU64::new(at))
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn set(&self, at: u64) {
        self.0.store(at, Relaxed);
    }

    /// No earlier than this.
    pub(super) fn raise(&self, at: u64) {
        if self.get() < at {
            self.0.fetch_max(at, Relaxed);
        }
    }

    /// No later than this.
    pub(super) fn lower(&self, at: u64) {
        if at < self.get() {
            self.0.fetch_min(at, Relaxed);
        }
    }
}

impl Flag {
    pub(super) const fn new(is_so: bool) -> Self {
        Self(AtomicBool::new(is_so))
    }

    pub(super) fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Written only if it changes: the line of memory is read by others.
    pub(super) fn set(&self, is_so: bool) {
        if self.get() != is_so {
            self.0.store(is_so, Relaxed);
        }
    }
}

impl Tally {
    /// One more; tells how many there were before.
    pub(super) fn count(&self) -> u8 {
        self.0.fetch_add(1, Relaxed)
    }
}
