//! The wall clock, and the only place that reads it. Not for measuring how long things take.

use std::time::Duration;

/// Where the service gets the time from. Live playlists follow from it alone, so replicas whose
/// clocks agree serve the same window without knowing of each other.
#[derive(Debug, Clone, Copy, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    Wall,
    /// Always this long after the Unix epoch: a test's clock.
    StoppedAt(Duration),
}

impl Clock {
    /// Time since the Unix epoch; zero on a machine whose clock stands before it.
    pub fn now(&self) -> Duration {
        match self {
            Clock::Wall => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap_or(Duration::ZERO),
            Clock::StoppedAt(at) => *at,
        }
    }
}
