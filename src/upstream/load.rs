//! What one endpoint has to do at the moment.

use std::sync::atomic::{AtomicU32, Ordering};

/// Requests under way to one endpoint.
#[derive(Debug, Default)]
pub struct Load {
    in_flight: AtomicU32,
}

impl Load {
    /// How many there are now.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts one more, if there are fewer than `max`.
    pub(super) fn enter_below(&self, max: u32) -> bool {
        let one_more = |now: u32| (now < max).then_some(now + 1);
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    pub(super) fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        let before = self.in_flight.fetch_sub(1, Ordering::Relaxed);
        assert!(before != 0, "whoever leaves has entered");
    }
}
