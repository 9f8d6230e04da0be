//! How many requests may be under way to an upstream, learned from how long its answers take to
//! begin. When it gets slower than it is while few are under way, requests wait in it, and fewer
//! are sent; as long as it does not, more are.
//!
//! The rule is *Gradient2* of Netflix's concurrency-limits: the limit times the ratio of how long
//! answers take with few under way to how long they take now, and the root of it added, so that it
//! grows until there is a queue, and a short one. Gradient2 takes a long mean for the first of the
//! two, which follows an overload that lasts. Envoy's adaptive concurrency filter measures it with
//! few under way, and lowers the limit for that again and again. Here it is measured, too, and
//! only when few are under way anyway, or the limit has got as low as it may.

use crate::problem::Problem;
use crate::units::{Count, Share};
use crate::yaml::At;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How the limit is learned.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "AdaptiveLimit")]
pub(super) struct Config {
    /// It never gets lower than this.
    pub(super) min: At<Count>,
    /// Answers may take so much of the time that they take with few under way.
    pub(super) tolerance: At<Share>,
}

impl Default for Config {
    fn default() -> Self {
        let tolerance = At::unwritten(Share::percent(150));
        Config { min: At::unwritten(Count(10)), tolerance }
    }
}

impl Config {
    /// What is wrong beside this greatest limit.
    pub(super) fn problems(&self, max: &At<Count>) -> Option<Problem> {
        if max.0 < self.min.0 {
            let text = format!("the least, {}, is more than the most, {}", self.min.0, max.0);
            return Some(max.problem(text).help("make `min` smaller than `max`"));
        }
        (self.tolerance.value < Share::percent(100)).then(|| {
            let text = "answers would have to be faster than they are with few under way";
            self.tolerance.problem(text).help("write `100%` or more, such as `150%`")
        })
    }
}

/// The limit is looked at so often, if there were so many answers.
const WINDOW: Duration = Duration::from_millis(100);
const ANSWERS_MIN: usize = 10;

/// So many answers of a window are looked at; more say no more.
const ANSWERS_MAX: usize = 128;

/// Answers may take so much longer, whatever they usually take: machines are busy now and then.
const SLACK_US: f64 = 5_000.0;

/// The limit shrinks to no less than this part of itself at once.
const GRADIENT_MIN: f64 = 0.5;

/// By such a part both numbers move to what a window says.
const LIMIT_STEP: f64 = 0.2;
const BASE_STEP: f64 = 0.1;

/// One whose answer failed or did not come: later than every other.
const NEVER_US: u32 = u32::MAX;

/// The limit of one upstream.
#[derive(Debug)]
pub(super) struct Adaptive {
    min: f64,
    max: f64,
    tolerance: f64,
    now: AtomicU32,
    learned: Mutex<Learned>,
}

#[derive(Clone, Debug)]
struct Learned {
    limit: f64,
    /// How long answers take that wait for no other, in microseconds; `None`: nobody knows.
    base_us: Option<f64>,
    began: Instant,
    /// How long those of this window took, in microseconds.
    took_us: SmallVec<[u32; ANSWERS_MAX]>,
    /// The most that were under way in it.
    peak: u32,
}

impl Adaptive {
    /// It begins with as much as may be, so that a start refuses nobody.
    pub(super) fn new(config: &Config, max: u32) -> Self {
        let learned = Learned {
            limit: max.into(),
            base_us: None,
            began: Instant::now(),
            took_us: SmallVec::new(),
            peak: 0,
        };
        Adaptive {
            min: config.min.0.into(),
            max: max.into(),
            tolerance: config.tolerance.as_percent() as f64 / 100.0,
            now: AtomicU32::new(max),
            learned: Mutex::new(learned),
        }
    }

    /// How many requests may be under way now.
    pub(super) fn limit(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    /// Enters how long an answer took to begin while so many were `under_way`; `None`: it failed.
    pub(super) fn enter(&self, took: Option<Duration>, under_way: u32) {
        let us = |took: Duration| u32::try_from(took.as_micros()).unwrap_or(NEVER_US);
        let mut learned = self.learned.lock();
        learned.peak = learned.peak.max(under_way);
        if learned.took_us.len() < ANSWERS_MAX {
            learned.took_us.push(took.map_or(NEVER_US, us));
        }
        if ANSWERS_MIN <= learned.took_us.len() && WINDOW <= learned.began.elapsed() {
            self.learn(&mut learned);
        }
    }

    fn learn(&self, learned: &mut Learned) {
        let middle = learned.took_us.len() / 2;
        let (_, &mut median, _) = learned.took_us.select_nth_unstable(middle);
        let (short, peak, limit) = (f64::from(median), f64::from(learned.peak), learned.limit);
        (learned.began, learned.peak) = (Instant::now(), 0);
        learned.took_us.clear();
        let is_known = median != NEVER_US;
        let is_calm = peak <= self.min || limit <= self.min;
        let base = match learned.base_us {
            None if !is_known => return,
            None => short,
            // It is never longer than what was seen, and longer only when none waits for another.
            Some(base) if short < base || is_calm && is_known => base + (short - base) * BASE_STEP,
            Some(base) => base,
        };
        learned.base_us = Some(base);
        let gradient = (self.tolerance * base + SLACK_US) / short.max(1.0);
        let wanted = match gradient < 1.0 {
            // What was not under way has made nothing slow.
            true => limit.min(peak) * gradient.max(GRADIENT_MIN),
            // Whoever has not needed half of it needs no more.
            false if peak < limit / 2.0 => return,
            false => limit,
        };
        let wanted = wanted + limit.sqrt();
        learned.limit = (limit + (wanted - limit) * LIMIT_STEP).clamp(self.min, self.max);
        self.now.store(learned.limit.round() as u32, Ordering::Relaxed);
    }

    /// Goes on with what `before` has learned.
    pub(super) fn take_over(&self, before: &Adaptive) {
        let known = before.learned.lock().clone();
        let limit = known.limit.clamp(self.min, self.max);
        self.now.store(limit.round() as u32, Ordering::Relaxed);
        *self.learned.lock() = Learned { limit, ..known };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that does so many requests at once, each in so long; the others wait.
    #[derive(Clone, Copy)]
    struct Server {
        at_once: f64,
        ms: f64,
    }

    const MAX: u32 = 1_000;

    fn limit() -> Adaptive {
        Adaptive::new(&Config::default(), MAX)
    }

    /// Clients want so many under way for so long.
    async fn ask(limit: &Adaptive, server: Server, wanted: u32, seconds: u32) {
        for _ in 0..seconds * 10 {
            let under_way = wanted.min(limit.limit());
            let ms = server.ms * (f64::from(under_way) / server.at_once).max(1.0);
            for _ in 0..20 {
                limit.enter(Some(Duration::from_secs_f64(ms / 1_000.0)), under_way);
            }
            tokio::time::advance(WINDOW).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_follows_what_the_server_can_do() {
        let (limit, able) = (limit(), Server { at_once: 100.0, ms: 50.0 });
        ask(&limit, able, 8, 5).await;
        assert_eq!(limit.limit(), MAX, "few are no reason for anything");
        ask(&limit, able, 600, 20).await;
        let before = limit.limit();
        assert!((100..250).contains(&before), "{before}");
        // Four fifths of it break.
        let broken = Server { at_once: 20.0, ..able };
        ask(&limit, broken, 600, 5).await;
        let after = limit.limit();
        assert!((20..55).contains(&after), "{after}");
        ask(&limit, broken, 600, 600).await;
        let long_after = limit.limit();
        assert!((20..55).contains(&long_after), "an overload that lasts is one: {long_after}");
        ask(&limit, able, 600, 30).await;
        let repaired = limit.limit();
        assert!(before * 9 / 10 <= repaired, "{repaired} of {before}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_slower_for_good_is_known_after_a_while() {
        let (limit, fast) = (limit(), Server { at_once: 100.0, ms: 20.0 });
        ask(&limit, fast, 8, 5).await;
        ask(&limit, fast, 80, 10).await;
        ask(&limit, Server { ms: 100.0, ..fast }, 80, 60).await;
        assert!(80 <= limit.limit(), "{}", limit.limit());
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_or_is_slow_for_a_moment() {
        let (limit, server) = (limit(), Server { at_once: 100.0, ms: 20.0 });
        ask(&limit, server, 90, 20).await;
        let before = limit.limit();
        // One of three answers is slow, or none.
        for n in 0..3_000 {
            let took = (n % 3 != 0).then_some(Duration::from_millis(20));
            limit.enter(took, 90);
            tokio::time::advance(Duration::from_millis(5)).await;
        }
        assert!(before <= limit.limit(), "{} {before}", limit.limit());
        // None answers any more.
        for _ in 0..1_000 {
            limit.enter(None, limit.limit());
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        assert_eq!(limit.limit(), 10, "the least");
    }

    #[tokio::test(start_paused = true)]
    async fn another_configuration_knows_what_was_learned() {
        let before = limit();
        ask(&before, Server { at_once: 50.0, ms: 50.0 }, 8, 5).await;
        ask(&before, Server { at_once: 50.0, ms: 50.0 }, 600, 20).await;
        let after = limit();
        after.take_over(&before);
        assert_eq!(after.limit(), before.limit());
        let smaller = Adaptive::new(&Config::default(), 30);
        smaller.take_over(&before);
        assert_eq!(smaller.limit(), 30);
    }
}
