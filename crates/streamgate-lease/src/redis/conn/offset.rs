//! ServerClock: estimates the server's time without asking, from every reply that carries it.
//!
//! The estimate is never ahead of the server: its time was read before the reply arrived. So a
//! renewal's score is never later than `ttl` from now by the server's own clock. The uncertainty,
//! at most the round trip, is taken off what this gateway believes.

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// A sample is replaced by one with a longer round trip only when it is this old.
const FRESH_FOR: Duration = Duration::from_secs(10);
/// Older samples are not used at all.
const USED_FOR: Duration = Duration::from_secs(60);
/// Clocks drift apart by far less than one part in this many.
const DRIFT_DIVISOR: u32 = 1000;

/// It learns from every reply that came within the deadline of its command: how long a round trip
/// may be is the operator's decision. A long one is safe, because it is part of the uncertainty.
#[derive(Debug, Default)]
pub(crate) struct ServerClock(Mutex<Option<Sample>>);

#[derive(Debug, Clone, Copy)]
struct Sample {
    server_ms: u64,
    received: Instant,
    round_trip: Duration,
}

/// An estimate of the server's time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading(Sample);

impl ServerClock {
    /// Takes the time from a reply that has just arrived; its command was sent at `sent`.
    pub(crate) fn learn(&self, server_ms: Option<u64>, sent: Instant) {
        let received = Instant::now();
        let round_trip = received - sent;
        let Some(server_ms) = server_ms else {
            return;
        };
        let mut known = self.0.lock();
        let better = known.is_none_or(|sample| {
            round_trip <= sample.round_trip || FRESH_FOR < received - sample.received
        });
        if better {
            *known = Some(Sample { server_ms, received, round_trip });
        }
    }

    /// Drops the estimate: the next server may have another clock.
    pub(crate) fn forget(&self) {
        *self.0.lock() = None;
    }

    /// The estimate; none if no reply has carried the time lately.
    pub(crate) fn read(&self) -> Option<Reading> {
        let sample = (*self.0.lock())?;
        (sample.received.elapsed() < USED_FOR).then_some(Reading(sample))
    }

    /// How far away the server is, there and back; none if no reply has carried its time lately.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.read().map(|reading| reading.0.round_trip)
    }
}

impl Reading {
    /// Unix milliseconds by the server's clock, or a little less.
    pub(crate) fn now_ms(&self) -> u64 {
        self.0.server_ms + crate::clock::millis(self.0.received.elapsed())
    }

    /// How much less it may be.
    pub(crate) fn uncertainty(&self) -> Duration {
        // The millisecond is for the server's time having been rounded down.
        self.0.round_trip + self.0.received.elapsed() / DRIFT_DIVISOR + Duration::from_millis(1)
    }
}
