//! Whether a request may be sent to another endpoint, as far as an upstream has a say: how often,
//! and how many of all requests. Whether it is safe, the proxy knows.
//!
//! Without a budget, retries double the load in the moment in which there is too much of it. Each
//! request earns a part of a retry; a floor lets small upstreams have some.

use crate::units::{Count, Share, Time};
use parking_lot::Mutex;
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// When a request that failed is sent to another endpoint.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Retries")]
pub struct Config {
    /// How many endpoints are asked for one request, the first one included; `1`: no other.
    pub tries: Count,
    /// How many retries there may be, beside all requests.
    pub budget: Share,
    /// So many a second may be, however few requests there are.
    pub floor: Count,
    /// The pause before a retry, at most; twice as long before the next one.
    pub backoff: Time,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            tries: Count(2),
            budget: Share::percent(20),
            floor: Count(10),
            backoff: Time::ms(25),
        }
    }
}

/// How many retries can be saved up, for the moment in which a server goes away.
const SAVED_MAX: u64 = 100;

/// Retries are earned in parts: a hundred thousand are one.
const PARTS: u64 = 100_000;

/// What is left of an upstream's retries.
#[derive(Debug)]
pub(super) struct Budget {
    config: Config,
    requests: AtomicU64,
    refused: AtomicU64,
    saved: Mutex<Saved>,
}

#[derive(Debug)]
struct Saved {
    parts: u64,
    /// Requests that have earned their part already.
    requests: u64,
    at: Instant,
}

impl Budget {
    /// It begins with as much as can be saved.
    pub(super) fn new(config: Config) -> Self {
        let saved = Saved { parts: SAVED_MAX * PARTS, requests: 0, at: Instant::now() };
        let (requests, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        Budget { config, requests, refused, saved: Mutex::new(saved) }
    }

    /// A request begins.
    pub(super) fn earn(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a request for which so many endpoints were `tried` may have another one.
    pub(super) fn take(&self, tried: usize) -> bool {
        if self.config.tries.0 as usize <= tried {
            return false;
        }
        let mut saved = self.saved.lock();
        let (now, requests) = (Instant::now(), self.requests.load(Ordering::Relaxed));
        let by_requests = requests.saturating_sub(saved.requests);
        let by_requests = by_requests.saturating_mul(self.config.budget.as_percent() * PARTS / 100);
        let ms = u64::try_from((now - saved.at).as_millis()).unwrap_or(u64::MAX);
        let by_time = ms.saturating_mul(u64::from(self.config.floor.0) * PARTS / 1_000);
        let parts = saved.parts.saturating_add(by_requests).saturating_add(by_time);
        let parts = parts.min(SAVED_MAX * PARTS);
        let left = parts.checked_sub(PARTS);
        *saved = Saved { parts: left.unwrap_or(parts), requests, at: now };
        if left.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        left.is_some()
    }

    /// Goes on counting where `before` was.
    pub(super) fn take_over(&self, before: &Budget) {
        self.refused.store(before.refused(), Ordering::Relaxed);
    }

    /// Retries that there was nothing left for.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How long to wait before another endpoint is asked when so many were `tried`: any time up to
    /// the back-off, so that those who failed together do not come together.
    pub(super) fn pause(&self, tried: usize) -> Duration {
        let Some(doublings) = tried.checked_sub(1) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(doublings.min(8) as u32).unwrap_or(1);
        let most = self.config.backoff.0.saturating_mul(factor);
        most.mul_f64(rand::rng().random_range(0.0..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &Budget, tries: usize) -> usize {
        (0..tries).filter(|_| budget.take(1)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_share_of_all_requests() {
        let budget = Budget::new(Config::default());
        assert_eq!(taken(&budget, 500), 100, "what was saved");
        assert_eq!(budget.refused(), 400);
        // No time passes, so the floor gives nothing.
        (0..1_000).for_each(|_| budget.earn());
        assert_eq!(taken(&budget, 500), 100, "no more can be saved");
        let mut all = 0;
        for _ in 0..1_000 {
            budget.earn();
            all += taken(&budget, 1);
        }
        assert_eq!(all, 200, "20 % of a thousand");
    }

    #[tokio::test(start_paused = true)]
    async fn a_floor_lets_small_upstreams_have_some() {
        let budget = Budget::new(Config { floor: Count(3), ..Config::default() });
        taken(&budget, 200);
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(taken(&budget, 50), 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_has_so_many_tries() {
        let budget = Budget::new(Config { tries: Count(3), ..Config::default() });
        assert_eq!([1, 2, 3].map(|tried| budget.take(tried)), [true, true, false]);
        assert!(!Budget::new(Config { tries: Count(1), ..Config::default() }).take(1));
    }

    #[test]
    fn pauses_differ_and_grow() {
        let budget = Budget::new(Config::default());
        assert_eq!(budget.pause(0), Duration::ZERO, "the first try waits for nothing");
        for (tried, most) in [(1, 25), (2, 50), (3, 100)] {
            let most = Duration::from_millis(most);
            let pauses: Vec<Duration> = (0..200).map(|_| budget.pause(tried)).collect();
            assert!(pauses.iter().all(|pause| *pause <= most));
            assert!(pauses.iter().any(|pause| *pause < most / 4));
            assert!(pauses.iter().any(|pause| most * 3 / 4 < *pause));
        }
    }
}
