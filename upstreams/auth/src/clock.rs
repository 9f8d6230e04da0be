//! The wall clock, and the only place that reads it. Not for measuring how long things take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where issue and expiry times come from.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    Wall,
    /// Seconds since the Unix epoch that a test sets.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// Seconds since the Unix epoch; zero on a machine whose clock stands before it.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now(&self) -> u64 {
        match self {
            Clock::Wall => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            Clock::Manual(seconds) => seconds.load(Ordering::Relaxed),
        }
    }
}
