//! How much a key may still ask for: rates, the bounded table in which this process counts, and the
//! store in which all gateways do.
//!
//! It knows no request. What a key is, and what becomes of one that has asked too often, the filter
//! `rate_limit` says.

mod bucket;
mod window;
mod table;
pub mod shared;

pub use bucket::Bucket;
pub use table::Table;
pub use window::Window;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How it is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RateLimitAlgorithm")]
pub enum Algorithm {
    /// What was not asked for comes back steadily; up to `burst` may be asked for at once.
    #[default]
    TokenBucket,
    /// No span of the length `per`, whenever it begins, has more than `limit`.
    SlidingWindow,
}

/// How much may be asked for, and how it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// So many units in each span.
    pub limit: u32,
    /// The span.
    pub per: Duration,
    /// So many units at once. Windows have none of their own: it is the limit.
    pub burst: u32,
}

impl Rate {
    /// No rate is faster: a unit each microsecond. Counting in nanoseconds is exact to a thousandth
    /// then.
    pub const UNIT_MIN: Duration = Duration::from_micros(1);

    /// A text that is equal for equal rates that are counted alike.
    pub fn print(&self, algorithm: Algorithm) -> String {
        format!("{algorithm:?} {} {} {}", self.limit, self.per.as_nanos(), self.burst)
    }

    fn per_ns(&self) -> u128 {
        self.per.as_nanos()
    }

    /// The time in which so many units come back, in nanoseconds.
    fn ns_of(&self, units: u64) -> u64 {
        let ns = self.per_ns() * u128::from(units) / u128::from(self.limit);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

/// What a key has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// So many units could be taken at once now.
    pub units: u64,
    /// So long until there is one more; zero where nothing is missing.
    pub more_in: Duration,
}

/// Whether the units could be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// They were taken, and so much is left.
    All(Left),
    /// Nothing was taken. So much is left, and the same could be taken after this time.
    Nothing(Left, Duration),
}

/// What is remembered of one key.
pub trait Meter: Copy + Default {
    /// Takes so many units at this time, in nanoseconds since any moment.
    fn take(&mut self, rate: &Rate, units: u32, now: u64) -> Taken;

    /// Gives back what was taken at this time.
    fn give_back(&mut self, rate: &Rate, units: u32, taken_at: u64);

    /// How much of what was taken has not come back at this time.
    fn missing(&self, rate: &Rate, now: u64) -> u64;

    /// From this time on it is as if the key had never asked.
    fn forgotten_at(&self, rate: &Rate) -> u64;
}

/// What rates of a filter count beside refusals, since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Keys that were forgotten for want of room.
    pub evicted: u64,
    /// Questions to a store that had no answer.
    pub alone: u64,
}

#[cfg(test)]
mod tests;
