//! The table in which this gateway counts for one limit.

use super::key::Of;
use crate::quota::{Algorithm, Bucket, Rate, Table, Taken, Window};
use std::sync::atomic::AtomicU64;
use tokio::time::Instant;

/// The table of one limit. It outlives a change of the configuration, and its figures with it.
pub(super) struct Counted {
    table: Kind,
    /// How many questions its store has not answered.
    pub(super) alone: AtomicU64,
}

/// A table of the kind that the limit asks for.
enum Kind {
    Bucket(Table<Bucket>),
    Window(Table<Window>),
}

impl Counted {
    pub(super) fn new(algorithm: Algorithm, rate: Rate, keys: usize) -> Self {
        let table = match algorithm {
            Algorithm::TokenBucket => Kind::Bucket(Table::new(rate, keys)),
            Algorithm::SlidingWindow => Kind::Window(Table::new(rate, keys)),
        };
        Counted { table, alone: AtomicU64::new(0) }
    }

    pub(super) fn take(&self, key: &Of<'_>, units: u32, now: Instant) -> Taken {
        match &self.table {
            Kind::Bucket(table) => table.take(key, units, now),
            Kind::Window(table) => table.take(key, units, now),
        }
    }

    pub(super) fn give_back(&self, key: &Of<'_>, units: u32, now: Instant) {
        match &self.table {
            Kind::Bucket(table) => table.give_back(key, units, now),
            Kind::Window(table) => table.give_back(key, units, now),
        }
    }

    /// Forgets the key, and says how much of its rate had not come back yet.
    pub(super) fn drain(&self, key: &Of<'_>, now: Instant) -> u64 {
        match &self.table {
            Kind::Bucket(table) => table.drain(key, now),
            Kind::Window(table) => table.drain(key, now),
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        match &self.table {
            Kind::Bucket(table) => table.evicted(),
            Kind::Window(table) => table.evicted(),
        }
    }
}
