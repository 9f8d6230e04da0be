//! A sliding window: in no span of the rate's length is more taken than its limit.
//!
//! The span is counted in slices. A slice counts until all of it lies behind the span, so a window
//! errs by one slice at most, and always to the side of less. Two counters with a weight, as others
//! have them, let through nearly twice the limit in a span that is not theirs.

use super::{Left, Meter, Rate, Taken};
use std::time::Duration;

/// How many slices there are in a span.
const SLICES: u64 = 16;

/// Those that may lie in a span, in part or whole.
const COUNTED: usize = SLICES as usize + 1;

/// The window of one key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// The number of the newest slice.
    newest: u64,
    /// What was taken in each, at its number modulo their number.
    taken: [u32; COUNTED],
}

/// How long a slice is, in nanoseconds.
fn slice_ns(rate: &Rate) -> u64 {
    let ns = rate.per_ns().div_ceil(SLICES.into());
    u64::try_from(ns).unwrap_or(u64::MAX).max(1)
}

fn place(slice: u64) -> usize {
    (slice % COUNTED as u64) as usize
}

impl Window {
    /// Moves on to the slice of this time. Requests may come here a little late: they count in the
    /// newest one then.
    fn move_on(&mut self, rate: &Rate, now: u64) {
        let slice = now / slice_ns(rate);
        let passed = slice.saturating_sub(self.newest);
        for gone in 0..passed.min(COUNTED as u64) {
            self.taken[place(slice - gone)] = 0;
        }
        self.newest = self.newest.max(slice);
    }

    fn used(&self) -> u64 {
        self.taken.iter().map(|taken| u64::from(*taken)).sum()
    }

    /// How long it takes until at least so many units count no longer.
    fn until_gone(&self, rate: &Rate, units: u64, now: u64) -> Duration {
        let mut gone = 0;
        let oldest = self.newest.saturating_sub(SLICES);
        for slice in oldest..=self.newest {
            gone += u64::from(self.taken[place(slice)]);
            if units <= gone {
                let end = (slice + COUNTED as u64).saturating_mul(slice_ns(rate));
                return Duration::from_nanos(end.saturating_sub(now));
            }
        }
        rate.per
    }

    fn left(&self, rate: &Rate, now: u64) -> Left {
        let used = self.used();
        let units = u64::from(rate.limit).saturating_sub(used);
        let more_in = if used == 0 { Duration::ZERO } else { self.until_gone(rate, 1, now) };
        Left { units, more_in }
    }
}

impl Meter for Window {
    fn take(&mut self, rate: &Rate, units: u32, now: u64) -> Taken {
        self.move_on(rate, now);
        let wanted = self.used() + u64::from(units);
        if wanted <= u64::from(rate.limit) {
            self.taken[place(self.newest)] += units;
            return Taken::All(self.left(rate, now));
        }
        let too_many = wanted - u64::from(rate.limit);
        Taken::Nothing(self.left(rate, now), self.until_gone(rate, too_many, now))
    }

    fn give_back(&mut self, rate: &Rate, units: u32, taken_at: u64) {
        let slice = (taken_at / slice_ns(rate)).min(self.newest);
        // Older ones count no longer.
        if self.newest - slice <= SLICES {
            let taken = &mut self.taken[place(slice)];
            *taken = taken.saturating_sub(units);
        }
    }

    fn missing(&self, rate: &Rate, now: u64) -> u64 {
        let mut copy = *self;
        copy.move_on(rate, now);
        copy.used()
    }

    fn forgotten_at(&self, rate: &Rate) -> u64 {
        match self.used() {
            0 => 0,
            _ => (self.newest + COUNTED as u64).saturating_mul(slice_ns(rate)),
        }
    }
}
