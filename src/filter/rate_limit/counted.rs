//! The table in which this gateway counts for one limit.

use super::key::Of;
use crate::quota::{Algorithm, Bucket, Rate, Table, Taken, Window};
use tokio::time::Instant;

/// A table of the kind that the limit asks for.
pub(super) enum Counted {
    Bucket(Table<Bucket>),
    Window(Table<Window>),
}

impl Counted {
    pub(super) fn new(algorithm: Algorithm, rate: Rate, keys: usize) -> Self {
        match algorithm {
            Algorithm::TokenBucket => Counted::Bucket(Table::new(rate, keys)),
            Algorithm::SlidingWindow => Counted::Window(Table::new(rate, keys)),
        }
    }

    pub(super) fn take(&self, key: &Of<'_>, units: u32, now: Instant) -> Taken {
        match self {
            Counted::Bucket(table) => table.take(key, units, now),
            Counted::Window(table) => table.take(key, units, now),
        }
    }

    pub(super) fn give_back(&self, key: &Of<'_>, units: u32, now: Instant) {
        match self {
            Counted::Bucket(table) => table.give_back(key, units, now),
            Counted::Window(table) => table.give_back(key, units, now),
        }
    }

    /// Forgets the key, and says how much of its rate had not come back yet.
    pub(super) fn drain(&self, key: &Of<'_>, now: Instant) -> u64 {
        match self {
            Counted::Bucket(table) => table.drain(key, now),
            Counted::Window(table) => table.drain(key, now),
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        match self {
            Counted::Bucket(table) => table.evicted(),
            Counted::Window(table) => table.evicted(),
        }
    }
}
