//! Failures of the last seconds, and of how many requests they are.

use std::time::Duration;
use tokio::time::Instant;

/// Over so long the share of failures is looked at.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// It is touched only when something failed: requests are counted elsewhere.
#[derive(Debug)]
pub(super) struct Window {
    began: Instant,
    /// Requests that were over when it began.
    over_before: u64,
    failed: u64,
}

impl Default for Window {
    fn default() -> Self {
        Window { began: Instant::now(), over_before: 0, failed: 0 }
    }
}

impl Window {
    /// One more has failed, the last of so many that are `over`. Returns how many requests the
    /// window has, and how many of them failed.
    pub(super) fn failed(&mut self, over: u64) -> (u64, u64) {
        let now = Instant::now();
        if WINDOW <= now - self.began {
            *self = Window { began: now, over_before: over.saturating_sub(1), failed: 0 };
        }
        self.failed += 1;
        (over.saturating_sub(self.over_before), self.failed)
    }

    /// Begins anew when so many are `over`.
    pub(super) fn clear(&mut self, over: u64) {
        *self = Window { began: Instant::now(), over_before: over, failed: 0 };
    }
}
