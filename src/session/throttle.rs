//! A throttle: of all who ask, at most one in each interval is admitted. It does nothing else: what
//! is admitted, and by which clock, is the caller's.

use std::sync::atomic::{AtomicU64, Ordering};

/// Says when something may be done again.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// From when on the next caller is admitted, by the clock that all callers share.
    next_at: AtomicU64,
}

impl Throttle {
    /// Whether the caller is admitted at `now`; then nobody else is before `now + every`.
    pub(super) fn admits(&self, now: u64, every: u64) -> bool {
        let due = self.next_at.load(Ordering::Relaxed);
        let next = now.saturating_add(every);
        // Of those who come at the same time only one wins the exchange.
        let replace =
            || self.next_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        due <= now && replace().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_admitted_at_once_and_then_one_in_each_interval() {
        let throttle = Throttle::default();
        let admitted: Vec<u64> = (0..100).filter(|now| throttle.admits(*now, 30)).collect();
        assert_eq!(admitted, [0, 30, 60, 90]);
    }
}
