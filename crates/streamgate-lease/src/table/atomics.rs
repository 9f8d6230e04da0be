//! The fields of an entry that change while others read it: signs of life, and what the renewer
//! learns.
//!
//! Requests and the renewer share the lock of a shard, so that neither ever waits for the other.
//! Each of these values is true by itself and says nothing about another value, so `Relaxed` is
//! enough. Values that must change together change under the exclusive lock only.

use crate::sync::{AtomicBool, AtomicU8, AtomicU64, fence};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// A point in time, in the node's milliseconds.
#[derive(Debug)]
pub(super) struct AtomicMillis(AtomicU64);

/// A yes or no.
#[derive(Debug)]
pub(super) struct AtomicFlag(AtomicBool);

/// How often something happened; wraps around.
#[derive(Debug)]
pub(super) struct AtomicCount(AtomicU8);

/// What the next request of a stream has to mind. Nothing at all, once it plays.
#[derive(Debug)]
pub(super) struct AtomicGate(AtomicU8);

impl Clone for AtomicGate {
    fn clone(&self) -> Self {
        Self(AtomicU8::new(self.0.load(SeqCst)))
    }
}

impl AtomicGate {
    /// A later playback of its login has begun: its next request asks the store.
    const MARKED: u8 = 1;
    /// Its slot is reserved: its first request asks the store.
    const RESERVED: u8 = 2;
    /// One request of it was let pass, and no other.
    const FIRST_ONLY: u8 = 4;

    pub(super) fn open() -> Self {
        Self(AtomicU8::new(0))
    }

    pub(super) fn reserved() -> Self {
        Self(AtomicU8::new(Self::RESERVED))
    }

    pub(super) fn first_only() -> Self {
        Self(AtomicU8::new(Self::FIRST_ONLY))
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.load(Relaxed) == 0
    }

    pub(super) fn asks_store(&self) -> bool {
        self.0.load(Relaxed) & (Self::MARKED | Self::RESERVED) != 0
    }

    pub(super) fn is_reserved(&self) -> bool {
        self.0.load(Relaxed) & Self::RESERVED != 0
    }

    pub(super) fn mark(&self) {
        self.0.fetch_or(Self::MARKED, Relaxed);
    }

    /// A request is let pass beside the first. What this thread reads afterwards is no older than
    /// that; see `is_first_only`.
    pub(super) fn let_pass(&self) {
        self.0.fetch_and(!Self::FIRST_ONLY, SeqCst);
        fence(SeqCst);
    }

    /// Whether the first is the only one. Either this sees who was let pass, or they see what this
    /// thread wrote before.
    pub(super) fn is_first_only(&self) -> bool {
        fence(SeqCst);
        self.0.load(SeqCst) & Self::FIRST_ONLY != 0
    }
}

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
