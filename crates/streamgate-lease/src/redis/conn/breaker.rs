//! Breaker: a circuit breaker for one connection. While it is open, callers get an error at once.
//!
//! Where a [`Monitor`](crate::redis::Monitor) runs, it finds out beside the requests whether a
//! server that was silent is away, and when one that failed is back: a timeout opens nothing then,
//! and no request is a probe. Without one the breaker opens by two timeouts in a row, and lets one
//! caller a second through.
//!
//! It does not retry and does not wait. It only says whether to ask the server.

use super::alarm::Alarm;
use crate::store::StoreError;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the breaker is open after a failure, before the server is asked again.
const OPEN_FOR: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Breaker {
    state: Mutex<BreakerState>,
    alarm: Arc<Alarm>,
}

#[derive(Debug, Default)]
struct BreakerState {
    /// Open, and until when nobody asks. Without a monitor the first caller after it is the probe;
    /// the breaker stays open for others.
    open_until: Option<Instant>,
    /// Why it is open.
    why: Option<StoreError>,
    failed_at: Option<Instant>,
    /// When a command timed out, if nothing was answered since.
    suspect_since: Option<Instant>,
}

impl Breaker {
    pub(crate) fn new(alarm: Arc<Alarm>) -> Self {
        Self { state: Mutex::default(), alarm }
    }

    /// Whether a caller may ask now. Without a monitor, whoever is let through while the breaker is
    /// open is the probe.
    pub(crate) fn allow(&self) -> bool {
        let mut state = self.state.lock();
        let now = Instant::now();
        match state.open_until {
            Some(_) if self.alarm.is_monitored() => false,
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
        let state = self.state.lock();
        let is_over = |until| !self.alarm.is_monitored() && until <= Instant::now();
        state.open_until.is_some_and(|until| !is_over(until))
    }

    pub(crate) fn is_monitored(&self) -> bool {
        self.alarm.is_monitored()
    }

    /// Why it is open, if it is.
    pub(crate) fn why(&self) -> Option<StoreError> {
        self.state.lock().why.clone()
    }

    /// When the monitor should probe the server: none if there is no doubt.
    pub(crate) fn probe_due(&self) -> Option<Instant> {
        let state = self.state.lock();
        state.open_until.or(state.suspect_since)
    }

    /// A request was answered. It closes the breaker, unless there is a monitor to do so: what
    /// answers a question need not take a write.
    pub(crate) fn record_success(&self) {
        let mut state = self.state.lock();
        if state.open_until.is_none() || !self.alarm.is_monitored() {
            *state = BreakerState::default();
        }
    }

    /// The monitor's probe was answered: the breaker closes.
    pub(crate) fn close(&self) {
        *self.state.lock() = BreakerState::default();
    }

    /// The server failed: the breaker opens.
    pub(crate) fn record_failure(&self, why: &StoreError) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let was_open = state.open_until.is_some();
        state.failed_at = Some(now);
        state.open_until = Some(now + jittered(OPEN_FOR));
        state.why = Some(why.clone());
        drop(state);
        if !was_open {
            self.alarm.ring();
        }
    }

    /// Whether the server failed for another caller while this one was waiting.
    pub(crate) fn failed_since(&self, began: Instant) -> bool {
        self.state.lock().failed_at.is_some_and(|failed_at| began <= failed_at)
    }

    /// A command that was sent at `began` was not answered in time. True if the breaker opens.
    ///
    /// The monitor finds out what it means. Where there is none: a stall shorter than the deadline
    /// hits every caller who asked before it, so the breaker opens only when a command that was
    /// sent after the first timeout times out, too.
    pub(crate) fn record_timeout(&self, began: Instant) -> bool {
        let mut state = self.state.lock();
        let now = Instant::now();
        match state.suspect_since {
            None => {
                state.suspect_since = Some(now);
                drop(state);
                self.alarm.ring();
                false
            }
            Some(since) if since <= began && !self.alarm.is_monitored() => {
                state.open_until = Some(now + jittered(OPEN_FOR));
                state.why = Some(StoreError::Timeout);
                true
            }
            Some(_) => false,
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
        breaker.record_failure(&StoreError::Timeout);
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

    #[tokio::test(start_paused = true)]
    async fn where_a_monitor_runs_it_decides_and_no_request_is_a_probe() {
        let alarm = Arc::new(Alarm::default());
        alarm.set_monitored(true);
        let breaker = Breaker::new(alarm);
        for _ in 0..3 {
            let began = Instant::now();
            advance(Duration::from_millis(50)).await;
            assert!(!breaker.record_timeout(began) && breaker.allow(), "silence opens nothing");
        }
        assert!(breaker.probe_due().is_some(), "but it is looked into");
        breaker.record_failure(&StoreError::Timeout);
        advance(OPEN_FOR * 2).await;
        assert!(!breaker.allow() && breaker.is_open(), "no caller is let through");
        breaker.record_success();
        assert!(breaker.is_open(), "an answer to a question is not a write");
        breaker.close();
        assert!(breaker.allow() && breaker.probe_due().is_none());
    }
}
