//! Ejection: an endpoint whose answers fail, or come late, is not asked for a while.
//!
//! It is learned from requests alone; what checks say is `health.rs`. Three signs count: failures
//! in a row, their share of the requests of the last seconds, and answers that take many times as
//! long as those of the others. Each time it is for longer. Some endpoints always stay, because
//! when many fail together the reason is seldom in each of them.
//!
//! A request that succeeds costs two numbers in memory, no lock and no look at the clock.

use super::Outcome;
use super::notices::Notices;
use super::window::Window;
use crate::units::{Count, Share, Time};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// When an endpoint is not asked for a while because of what came of requests.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Eject")]
pub struct Config {
    /// So many failures in a row: no answer, none that is valid, or 502, 503, 504.
    pub failures: Count,
    /// This share of the requests of the last ten seconds failed, of `requests` or more.
    pub ratio: Share,
    /// Fewer requests in ten seconds tell nothing.
    pub requests: Count,
    /// Its answers take so many times as long as those of the others. Left out: not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slower: Option<Count>,
    /// How long it is not asked the first time; then twice as long, and so on.
    pub r#for: Time,
    /// How long at most.
    pub for_max: Time,
    /// This share of the endpoints is never ejected; `100%`: none is.
    pub keep: Share,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            failures: Count(5),
            ratio: Share::percent(50),
            requests: Count(20),
            slower: None,
            r#for: Time::secs(10),
            for_max: Time::secs(300),
            keep: Share::percent(50),
        }
    }
}

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EjectReason {
    /// Failures in a row.
    Failures,
    /// Their share of the requests.
    Ratio,
    /// Its answers took too long.
    Slow,
}

impl EjectReason {
    /// All of them.
    pub const ALL: [EjectReason; 3] =
        [EjectReason::Failures, EjectReason::Ratio, EjectReason::Slow];

    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            EjectReason::Failures => "failures",
            EjectReason::Ratio => "ratio",
            EjectReason::Slow => "slow",
        }
    }

    /// As people read it.
    pub const fn sentence(self) -> &'static str {
        match self {
            EjectReason::Failures => "too many failures in a row",
            EjectReason::Ratio => "too large a share of its requests failed",
            EjectReason::Slow => "its answers took many times as long as those of the others",
        }
    }
}

/// An endpoint was ejected.
#[derive(Clone, Copy, Debug)]
pub struct Ejection {
    /// Which one.
    pub endpoint: SocketAddr,
    /// Why.
    pub why: EjectReason,
    /// For how long.
    pub time: Duration,
}

/// Ejections on their way to whoever tells them, decided one at a time.
pub(super) type Ejections = Notices<Ejection>;

/// Answers that are faster than this are never late.
const SLOW_MIN: Duration = Duration::from_millis(50);

/// After so many answers it is looked whether they come late.
const LOOKS_EVERY: u64 = 16;

/// The mean of times moves by one part in so many with each answer.
const MEAN_OF: u64 = 16;

/// What requests tell of one endpoint.
#[derive(Debug, Default)]
pub struct Record {
    failures_in_row: AtomicU32,
    /// Requests that are over.
    over: AtomicU64,
    /// How long its answers take to begin, in microseconds: a moving mean. 0: nobody knows.
    took_us: AtomicU64,
    rare: Mutex<Rare>,
}

/// What is looked at only when something failed.
#[derive(Debug, Default)]
struct Rare {
    window: Window,
    /// How often it was ejected lately.
    times: u32,
    /// Until when it was ejected last.
    until: Option<Instant>,
}

impl Record {
    /// Failures since the last success.
    pub fn failures_in_row(&self) -> u32 {
        self.failures_in_row.load(Ordering::Relaxed)
    }

    /// Requests that are over.
    pub fn over(&self) -> u64 {
        self.over.load(Ordering::Relaxed)
    }

    /// How long its answers take to begin; `None` where that is not looked at.
    pub fn took(&self) -> Option<Duration> {
        let took = self.took_us.load(Ordering::Relaxed);
        (took != 0).then(|| Duration::from_micros(took))
    }

    /// Enters what came of a request, and how long its answer took to begin. A reason: so much is
    /// enough to eject the endpoint; `Slow` still has to be compared with the others.
    pub(super) fn enter(
        &self,
        outcome: Outcome,
        took: Option<Duration>,
        config: &Config,
    ) -> Option<EjectReason> {
        if outcome == Outcome::Abandoned {
            return None;
        }
        let over = self.over.fetch_add(1, Ordering::Relaxed) + 1;
        if outcome.is_failure() {
            return self.failed(over, config);
        }
        if self.failures_in_row() != 0 {
            self.failures_in_row.store(0, Ordering::Relaxed);
        }
        config.slower?;
        self.add_time(took?);
        over.is_multiple_of(LOOKS_EVERY).then_some(EjectReason::Slow)
    }

    fn failed(&self, over: u64, config: &Config) -> Option<EjectReason> {
        let in_row = self.failures_in_row.fetch_add(1, Ordering::Relaxed) + 1;
        let (requests, failed) = self.rare.lock().window.failed(over);
        let is_share = config.ratio.of(requests) <= failed;
        match () {
            () if config.failures.0 <= in_row => Some(EjectReason::Failures),
            () if u64::from(config.requests.0) <= requests && is_share => Some(EjectReason::Ratio),
            () => None,
        }
    }

    /// A lost update makes the mean a little older, and costs nobody a lock.
    fn add_time(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let mean = self.took_us.load(Ordering::Relaxed);
        let mean = match mean {
            0 => took,
            mean => (mean - mean / MEAN_OF).saturating_add(took / MEAN_OF),
        };
        self.took_us.store(mean.max(1), Ordering::Relaxed);
    }

    /// It is ejected: for how long. What was known of it begins anew.
    pub(super) fn eject(&self, config: &Config) -> Duration {
        let mut rare = self.rare.lock();
        let (now, once) = (Instant::now(), config.r#for.0);
        // Each time of the first length without trouble takes one back.
        let quiet = rare.until.map_or(Duration::ZERO, |until| now - until.min(now));
        let forgiven = quiet.as_millis() / once.as_millis().max(1);
        rare.times = rare.times.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
        let factor = 1_u32.checked_shl(rare.times).unwrap_or(u32::MAX);
        let time = once.saturating_mul(factor).min(config.for_max.0.max(once));
        rare.times = rare.times.saturating_add(1).min(30);
        rare.until = Some(now + time);
        rare.window.clear(self.over());
        self.failures_in_row.store(0, Ordering::Relaxed);
        self.took_us.store(0, Ordering::Relaxed);
        time
    }
}

/// Whether answers that take this long come late beside those of the others.
pub(super) fn is_late(took: Option<Duration>, others: &mut [Duration], config: &Config) -> bool {
    let (Some(slower), Some(took)) = (config.slower, took) else { return false };
    others.sort_unstable();
    let Some(median) = others.get(others.len() / 2) else { return false };
    SLOW_MIN < took && median.saturating_mul(slower.0) < took
}

/// How many of so many endpoints may be out because of their requests.
pub(super) fn out_max(endpoints: usize, config: &Config) -> usize {
    let kept = (endpoints as u64 * config.keep.as_percent()).div_ceil(100).max(1);
    endpoints.saturating_sub(usize::try_from(kept).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::window::WINDOW;

    const BAD: Outcome = Outcome::Failed("no valid answer");
    const GOOD: Outcome = Outcome::Answered(200);

    fn enter(record: &Record, outcomes: &[Outcome], config: &Config) -> Option<EjectReason> {
        outcomes.iter().filter_map(|outcome| record.enter(*outcome, None, config)).last()
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_are_counted_anew_after_a_success() {
        let (record, config) = (Record::default(), Config::default());
        let four = [BAD, Outcome::Answered(503), Outcome::Refused, Outcome::Answered(502)];
        assert_eq!(enter(&record, &four, &config), None);
        assert_eq!(record.failures_in_row(), 4);
        assert_eq!(enter(&record, &[GOOD], &config), None);
        assert_eq!(enter(&record, &four, &config), None);
        // Whoever goes away says nothing, and 500 is about the request.
        assert_eq!(enter(&record, &[Outcome::Abandoned], &config), None);
        assert_eq!(record.failures_in_row(), 4);
        assert_eq!(enter(&record, &[BAD], &config), Some(EjectReason::Failures));
        assert_eq!(enter(&Record::default(), &[Outcome::Answered(500); 30], &config), None);
    }

    #[tokio::test(start_paused = true)]
    async fn every_other_request_fails() {
        let (record, config) = (Record::default(), Config::default());
        let mut told = Vec::new();
        for n in 1..=20 {
            let outcome = if n % 2 == 0 { BAD } else { GOOD };
            told.extend(enter(&record, &[outcome], &config).map(|why| (n, why)));
        }
        assert_eq!(told, [(20, EjectReason::Ratio)], "fewer than `requests` tell nothing");
        // Failures of ten seconds ago are not counted.
        let record = Record::default();
        enter(&record, &[GOOD, BAD, GOOD, BAD, GOOD, BAD, GOOD, BAD], &config);
        tokio::time::advance(WINDOW).await;
        let many = [GOOD; 12].into_iter().chain([BAD]).collect::<Vec<_>>();
        assert_eq!(enter(&record, &many, &config), None);
    }

    #[tokio::test(start_paused = true)]
    async fn each_time_is_longer_and_quiet_makes_it_shorter() {
        let (record, config) = (Record::default(), Config::default());
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            let time = record.eject(&config);
            assert_eq!(time, Duration::from_secs(seconds));
            tokio::time::advance(time).await;
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(record.eject(&config), Duration::from_secs(20));
    }

    #[test]
    fn late_is_many_times_the_median_of_the_others() {
        let ms = Duration::from_millis;
        let config = Config { slower: Some(Count(4)), ..Config::default() };
        let late = |took, others: &[u64]| {
            let mut others: Vec<Duration> = others.iter().map(|other| ms(*other)).collect();
            is_late(Some(ms(took)), &mut others, &config)
        };
        assert!(late(500, &[20, 30]));
        assert!(!late(500, &[20, 300]));
        assert!(!late(40, &[1, 1]), "what is fast is never late");
        assert!(!late(500, &[]), "beside nobody");
        assert!(!is_late(Some(ms(500)), &mut [ms(1)], &Config::default()), "nobody asked for it");
    }

    #[test]
    fn a_share_always_stays() {
        let max = |endpoints, keep| {
            out_max(endpoints, &Config { keep: Share::percent(keep), ..Config::default() })
        };
        for (endpoints, keep, expected) in
            [(1, 50, 0), (2, 50, 1), (3, 50, 1), (4, 50, 2), (10, 90, 1), (3, 100, 0), (3, 1, 2)]
        {
            assert_eq!(max(endpoints, keep), expected, "{endpoints} {keep}");
        }
    }
}
