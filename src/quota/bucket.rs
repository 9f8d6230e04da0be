//! A token bucket, as the generic cell rate algorithm (GCRA, ITU-T I.371) keeps it: in one number,
//! the time at which the bucket is full again.
//!
//! Nothing fills buckets, no timer runs, and a bucket that is full is worth nothing: it may be
//! forgotten without anybody's noticing.

use super::{Left, Meter, Rate, Taken};
use std::time::Duration;

/// The bucket of one key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// In nanoseconds. In the past for a full one.
    full_at: u64,
}

impl Bucket {
    fn left(&self, rate: &Rate, now: u64) -> Left {
        let missing = self.full_at.saturating_sub(now);
        let room = rate.ns_of(rate.burst.into()).saturating_sub(missing);
        let units = u128::from(room) * u128::from(rate.limit) / rate.per_ns();
        let units = u64::try_from(units).unwrap_or(u64::MAX).min(rate.burst.into());
        let more = rate.ns_of(units + 1).saturating_sub(room);
        let more_in = Duration::from_nanos(if missing == 0 { 0 } else { more });
        Left { units, more_in }
    }
}

impl Meter for Bucket {
    fn take(&mut self, rate: &Rate, units: u32, now: u64) -> Taken {
        let full_at = self.full_at.max(now).saturating_add(rate.ns_of(units.into()));
        let most = now.saturating_add(rate.ns_of(rate.burst.into()));
        if full_at <= most {
            self.full_at = full_at;
            Taken::All(self.left(rate, now))
        } else {
            Taken::Nothing(self.left(rate, now), Duration::from_nanos(full_at - most))
        }
    }

    fn give_back(&mut self, rate: &Rate, units: u32, _: u64) {
        self.full_at = self.full_at.saturating_sub(rate.ns_of(units.into()));
    }

    fn missing(&self, rate: &Rate, now: u64) -> u64 {
        let ns = u128::from(self.full_at.saturating_sub(now));
        let units = (ns * u128::from(rate.limit)).div_ceil(rate.per_ns());
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    fn forgotten_at(&self, _: &Rate) -> u64 {
        self.full_at
    }
}
