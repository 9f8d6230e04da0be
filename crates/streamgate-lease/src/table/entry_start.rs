//! `impl Entry`: what the starts of its login do to an entry, and which requests of it may pass
//! without the store.

use super::atomics::AtomicGate;
use super::entry::Entry;
use crate::admission::{ANEW_EVERY_MS, Mark};
use crate::lease::{Claim, Ending};

/// What notices have told of a lease since the store was asked about it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    /// The number of the last notice that it was ended, or that may have said so.
    pub(super) ended: Option<u64>,
    pub(super) is_marked: bool,
}

impl Entry {
    /// Lets another request of it pass, unless the store is to be asked about it first.
    pub(super) fn lets_another_pass(&self) -> bool {
        if self.gate.asks_store() {
            return false;
        }
        self.gate.let_pass();
        !self.is_gone.get()
    }

    /// A later playback of its login began.
    pub(super) fn mark(&self, now: u64) {
        if self.mark_of(false) != Some(Mark::Passed) {
            self.marked_at.set(now.max(1));
        }
        self.gate.mark();
    }

    /// What was told since the store was asked is younger than its answer.
    pub(super) fn hear(&self, told: Told, now: u64) {
        if told.is_marked {
            self.mark(now);
        }
        if let Some(notice) = told.ended {
            self.doubt(notice, now);
        }
    }

    /// Whether it makes room before others, as far as this node knows.
    pub(super) fn mark_of(&self, is_older: bool) -> Option<Mark> {
        let marked_at = Some(self.marked_at.get()).filter(|at| *at != 0);
        Mark::of(marked_at, self.touched_at.get(), is_older)
    }

    /// Lets a request of it pass without the store. True if it is the first.
    pub(super) fn open_locally(&mut self) -> bool {
        let is_first = self.gate.is_reserved();
        self.gate = if is_first { AtomicGate::first_only() } else { AtomicGate::open() };
        self.marked_at.set(0);
        is_first
    }

    /// How it ended, unless this claim starts it again without the store.
    pub(super) fn ending_of(&self, claim: &Claim, now: u64) -> Option<Ending> {
        let starts_again = |why: &Ending| match why {
            Ending::Superseded => claim.starts && self.touched_at.get() + ANEW_EVERY_MS <= now,
            _ => self.reusable && claim.explicit_start,
        };
        self.ending(now).filter(|why| !starts_again(why))
    }
}
