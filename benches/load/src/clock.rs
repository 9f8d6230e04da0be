//! The one clock of this program: nanoseconds that only move forward, and the time of day.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since the machine started, on the clock that the arrival timer runs by.
#[must_use]
pub fn nanos() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Seconds since 1970, for `exp` in tokens.
#[must_use]
pub fn epoch_seconds() -> u64 {
    read(ClockId::CLOCK_REALTIME) / 1_000_000_000
}

fn read(clock: ClockId) -> u64 {
    let now = clock_gettime(clock).expect("these two clocks exist on every Linux");
    let (seconds, nanos) = (now.tv_sec(), now.tv_nsec());
    u64::try_from(seconds).unwrap_or(0) * 1_000_000_000 + u64::try_from(nanos).unwrap_or(0)
}
