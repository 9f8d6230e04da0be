//! Leaves a server alone that has failed: everybody else is told at once, one asks again.
//!
//! It does not retry and does not wait; it only says whether to ask.

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// A server that failed is left alone for about a second.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<Mood>);

#[derive(Debug, Default)]
struct Mood {
    /// Left alone until then. The first to come after it asks; the others go on resting.
    resting_until: Option<Instant>,
    failed_at: Option<Instant>,
    /// Since then, something has timed out and nothing has been answered.
    doubtful_since: Option<Instant>,
}

impl Breaker {
    /// Whether to ask now. Whoever is let through while it rests is the probe.
    pub(super) fn lets_through(&self) -> bool {
        let mut mood = self.0.lock();
        let now = Instant::now();
        match mood.resting_until {
            Some(until) if now < until => false,
            Some(_) => {
                mood.resting_until = Some(now + jittered(REST));
                true
            }
            None => true,
        }
    }

    /// Nobody would be let through just now.
    pub(super) fn is_resting(&self) -> bool {
        self.0.lock().resting_until.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn answered(&self) {
        *self.0.lock() = Mood::default();
    }

    pub(super) fn failed(&self) {
        let now = Instant::now();
        let mut mood = self.0.lock();
        mood.failed_at = Some(now);
        mood.resting_until = Some(now + jittered(REST));
    }

    /// It failed for somebody else while this one was waiting.
    pub(super) fn failed_since(&self, began: Instant) -> bool {
        self.0.lock().failed_at.is_some_and(|failed_at| began <= failed_at)
    }

    /// A stall shorter than the deadline hits everybody who asked before it. Only when one who
    /// asked after the first timeout also waits in vain is the server left alone. True if so.
    pub(super) fn timed_out(&self, began: Instant) -> bool {
        let mut mood = self.0.lock();
        let now = Instant::now();
        match mood.doubtful_since {
            Some(since) if since <= began => {
                mood.resting_until = Some(now + jittered(REST));
                true
            }
            Some(_) => false,
            None => {
                mood.doubtful_since = Some(now);
                false
            }
        }
    }
}

/// ± 20 %, so that gateways do not all ask again at once.
fn jittered(rest: Duration) -> Duration {
    rest.mul_f64(rand::random_range(0.8..1.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_one_asks_again_and_the_others_rest() {
        let breaker = Breaker::default();
        assert!(breaker.lets_through());
        breaker.failed();
        assert!(!breaker.lets_through());
        advance(REST * 2).await;
        assert!(breaker.lets_through(), "the probe");
        assert!(!breaker.lets_through(), "all others");
        advance(REST * 2).await;
        assert!(breaker.lets_through(), "the probe was never heard of again: another one");
        breaker.answered();
        assert!(breaker.lets_through() && breaker.lets_through());
    }

    #[tokio::test(start_paused = true)]
    async fn one_stall_is_forgiven_and_two_are_not() {
        let breaker = Breaker::default();
        let began = Instant::now();
        advance(Duration::from_millis(50)).await;
        assert!(!breaker.timed_out(began));
        assert!(!breaker.timed_out(began), "of the same stall");
        assert!(breaker.lets_through());
        let began = Instant::now();
        advance(Duration::from_millis(50)).await;
        assert!(breaker.timed_out(began));
        assert!(!breaker.lets_through());
        breaker.answered();
        let began = Instant::now();
        advance(Duration::from_millis(50)).await;
        assert!(!breaker.timed_out(began), "an answer in between starts over");
    }
}
