//! The one place that reads the wall clock: unix milliseconds that follow tokio's clock.
//!
//! It is read once, at construction; from then on time is counted on tokio's monotone clock, so
//! it never jumps and obeys paused time. It judges nothing a viewer sends.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Monotone time since this clock was made, with a wall-clock anchor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
    origin_unix_ms: u64,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub(crate) fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), origin_unix_ms: millis(since_epoch) }
    }

    /// Milliseconds since this clock was made.
    pub(crate) fn now_ms(&self) -> u64 {
        millis(self.origin.elapsed())
    }

    /// Milliseconds since the unix epoch, monotone.
    pub(crate) fn unix_ms(&self) -> u64 {
        self.origin_unix_ms + self.now_ms()
    }
}

/// A duration in whole milliseconds. Half a billion years fit.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
