//! Breaker: a circuit breaker for one connection. After a failure it is open for about a second:
//! callers get an error at once, and one of them is let through as a probe.
//!
//! It does not retry and does not wait. It only says whether to ask the server.

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// How long the breaker is open after a failure.
const OPEN_FOR: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<BreakerState>);

#[derive(Debug, Default)]
struct BreakerState {
    /// Open until then. The first caller after it is the probe; the breaker stays open for others.
    open_until: Option<Instant>,
    failed_at: Option<Instant>,
    /// When a command timed out, if nothing was answered since.
    suspect_since: Option<Instant>,
}

impl Breaker {
    /// Whether a caller may ask now. Whoever is let through while the breaker is open is the probe.
    pub(crate) fn allow(&self) -> bool {
        let mut state = self.0.lock();
        let now = Instant::now();
        match state.open_until {
            Some(until) if now < until => false,
            Some(_) => {
                state.open_until = Some(now + jittered(OPEN_FOR));
                true
            }
            None => true,
        }
    }

    /// Nobody would be let through now.
    pub(crate) fn is_open(&self) -> bool {
        self.0.lock().open_until.is_some_and(|until| Instant::now() < until)
    }

    /// The server answered: the breaker closes.
    pub(crate) fn record_success(&self) {
        *self.0.lock() = BreakerState::default();
    }

    /// The server failed: the breaker opens.
    pub(crate) fn record_failure(&self) {
        let now = Instant::now();
        let mut state = self.0.lock();
        state.failed_at = Some(now);
        state.open_until = Some(now + jittered(OPEN_FOR));
    }

    /// Whether the server failed for another caller while this one was waiting.
    pub(crate) fn failed_since(&self, began: Instant) -> bool {
        self.0.lock().failed_at.is_some_and(|failed_at| began <= failed_at)
    }

    /// A command that was sent at `began` timed out. True if the breaker opens.
    ///
    /// A stall shorter than the deadline hits every caller who asked before it. So the breaker
    /// opens only when a command that was sent after the first timeout times out, too.
    pub(crate) fn record_timeout(&self, began: Instant) -> bool {
        let mut state = self.0.lock();
        let now = Instant::now();
        match state.suspect_since {
            Some(since) if since <= began => {
                state.open_until = Some(now + jittered(OPEN_FOR));
                true
            }
            Some(_) => false,
            None => {
                state.suspect_since = Some(now);
                false
            }
        }
    }
}

/// ± 20 %, so that gateways do not all ask again at once.
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(rand::random_range(0.8..1.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_one_asks_again_and_the_others_are_refused() {
        let breaker = Breaker::default();
        assert!(breaker.allow());
        breaker.record_failure();
        assert!(!breaker.allow());
        advance(OPEN_FOR * 2).await;
        assert!(breaker.allow(), "the probe");
        assert!(!breaker.allow(), "all others");
        advance(OPEN_FOR * 2).await;
        assert!(breaker.allow(), "nothing came of the probe: another one");
        breaker.record_success();
        assert!(breaker.allow() && breaker.allow());
    }

    #[tokio::test(start_paused = true)]
    async fn one_stall_is_forgiven_and_two_are_not() {
        let breaker = Breaker::default();
        let began = Instant::now();
        advance(Duration::from_millis(50)).await;
        assert!(!breaker.record_timeout(began));
        assert!(!breaker.record_timeout(began), "of the same stall");
        assert!(breaker.allow());
        let began = Instant::now();
        advance(Duration::from_millis(50)).await;
        assert!(breaker.record_timeout(began));
        assert!(!breaker.allow());
        breaker.record_success();
        let began = Instant::now();
        advance(Duration::from_millis(50)).await;
        assert!(!breaker.record_timeout(began), "an answer in between starts over");
    }
}
