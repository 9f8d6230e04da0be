//! The circuit breaker of an upstream: when too many of its requests fail, or no endpoint of it is
//! left, requests are refused at once, so that it is let alone and nobody waits in vain.
//!
//! Ejection compares one endpoint with the others, and never takes out all of them; this looks at
//! the whole. It has the states of M. Nygard's *Release It!* (2007): closed, open, half open. Half
//! open, a few requests are let through; their answers close it, or open it again.
//!
//! A request that succeeds while it is closed costs two numbers in memory, and no lock.

use super::Outcome;
use super::notices::Notices;
use super::window::Window;
use crate::units::{Count, Share, Time};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// When requests are refused at once, because the upstream as a whole fails.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Breaker")]
pub struct Config {
    /// This share of the requests of the last ten seconds failed, of `requests` or more.
    pub ratio: Share,
    /// Fewer requests in ten seconds tell nothing.
    pub requests: Count,
    /// How long all requests are refused then, before some are let through.
    pub r#for: Time,
    /// So many requests are let through; if all of them succeed, it is over.
    pub probes: Count,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            ratio: Share::percent(50),
            requests: Count(20),
            r#for: Time::secs(5),
            probes: Count(3),
        }
    }
}

/// Whether requests are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// All of them.
    Closed,
    /// None.
    Open,
    /// A few, whose answers decide.
    HalfOpen,
}

impl BreakerState {
    /// All of them.
    pub const ALL: [BreakerState; 3] =
        [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen];

    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}

/// Why requests are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerReason {
    /// Too large a share of the requests failed.
    Ratio,
    /// No endpoint is left.
    Endpoints,
    /// One that was let through failed, too.
    Probe,
}

impl BreakerReason {
    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            BreakerReason::Ratio => "ratio",
            BreakerReason::Endpoints => "endpoints",
            BreakerReason::Probe => "probe",
        }
    }

    /// As people read it.
    pub const fn sentence(self) -> &'static str {
        match self {
            BreakerReason::Ratio => "too large a share of the requests failed",
            BreakerReason::Endpoints => "all endpoints are unwell or ejected",
            BreakerReason::Probe => "a request that was let through failed, too",
        }
    }
}

/// What became of the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerChange {
    /// Requests are refused for so long.
    Opened(BreakerReason, Duration),
    /// All requests are let through again.
    Closed,
}

/// On which terms a request was let through. Its end is reported with it.
#[derive(Debug)]
pub(super) enum Permit {
    /// Like every other.
    Plain,
    /// As a probe, since it was opened for the so manieth time.
    Probe(u64),
}

/// The breaker of one upstream.
#[derive(Debug)]
pub(super) struct Breaker {
    config: Config,
    /// The rest is looked at only when it is not.
    is_closed: AtomicBool,
    /// Probes have succeeded although no endpoint is left: what takes them out is what is broken.
    is_overruled: AtomicBool,
    /// Requests that are over.
    over: AtomicU64,
    rare: Mutex<Rare>,
    changes: Notices<BreakerChange>,
}

/// What is looked at only when something failed.
#[derive(Debug, Default)]
struct Rare {
    window: Window,
    /// How often it was opened.
    times: u64,
    open: Option<Open>,
}

/// It is open, or half open when its time is over.
#[derive(Clone, Copy, Debug)]
struct Open {
    why: BreakerReason,
    until: Instant,
    /// Probes under way, and those that succeeded.
    probing: u32,
    passed: u32,
}

impl Breaker {
    pub(super) fn new(config: Config) -> Self {
        Breaker {
            config,
            is_closed: AtomicBool::new(true),
            is_overruled: AtomicBool::new(false),
            over: AtomicU64::new(0),
            rare: Mutex::default(),
            changes: Notices::default(),
        }
    }

    /// Whether a request is let through. `Err`: in so long it may be asked again. `has_endpoint`
    /// says whether any endpoint is left.
    pub(super) fn admit(&self, has_endpoint: impl FnOnce() -> bool) -> Result<Permit, Duration> {
        if self.is_closed.load(Ordering::Relaxed) {
            if has_endpoint() {
                self.is_overruled.store(false, Ordering::Relaxed);
                return Ok(Permit::Plain);
            }
            if self.is_overruled.load(Ordering::Relaxed) {
                return Ok(Permit::Plain);
            }
            self.open(&mut self.rare.lock(), BreakerReason::Endpoints);
        }
        let mut rare = self.rare.lock();
        let (times, time) = (rare.times, self.config.r#for.0);
        // It may have been closed a moment ago.
        let Some(open) = &mut rare.open else { return Ok(Permit::Plain) };
        let left = open.until.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Err(left);
        }
        if self.config.probes.0 <= open.probing + open.passed {
            return Err(time);
        }
        open.probing += 1;
        Ok(Permit::Probe(times))
    }

    /// Enters what came of a request that was let through.
    pub(super) fn enter(&self, permit: &Permit, outcome: Outcome) {
        match permit {
            Permit::Probe(times) => self.probed(*times, outcome),
            Permit::Plain if outcome == Outcome::Abandoned => {}
            Permit::Plain => {
                let over = self.over.fetch_add(1, Ordering::Relaxed) + 1;
                if outcome.is_failure() {
                    self.failed(over);
                }
            }
        }
    }

    /// A request has failed after all, whose answer had begun well.
    pub(super) fn broke_off(&self) {
        self.failed(self.over.load(Ordering::Relaxed));
    }

    fn failed(&self, over: u64) {
        let mut rare = self.rare.lock();
        let (requests, failed) = rare.window.failed(over);
        let is_share = self.config.ratio.of(requests) <= failed;
        if is_share && u64::from(self.config.requests.0) <= requests {
            self.open(&mut rare, BreakerReason::Ratio);
        }
    }

    fn probed(&self, times: u64, outcome: Outcome) {
        let mut rare = self.rare.lock();
        if rare.times != times {
            // It was opened again meanwhile, or closed.
            return;
        }
        let Some(open) = &mut rare.open else { return };
        open.probing = open.probing.saturating_sub(1);
        if outcome == Outcome::Abandoned {
            return;
        }
        if outcome.is_failure() {
            rare.open = None;
            self.open(&mut rare, BreakerReason::Probe);
            return;
        }
        open.passed += 1;
        if self.config.probes.0 <= open.passed {
            rare.open = None;
            rare.window.clear(self.over.load(Ordering::Relaxed));
            self.is_overruled.store(true, Ordering::Relaxed);
            self.is_closed.store(true, Ordering::Relaxed);
            self.changes.enter(|| Some(BreakerChange::Closed));
        }
    }

    /// Opens it, if it is not open. Requests that were let through before tell nothing new.
    fn open(&self, rare: &mut Rare, why: BreakerReason) {
        if rare.open.is_some() {
            return;
        }
        let time = self.config.r#for.0;
        rare.times += 1;
        rare.open = Some(Open { why, until: Instant::now() + time, probing: 0, passed: 0 });
        self.is_closed.store(false, Ordering::Relaxed);
        self.changes.enter(|| Some(BreakerChange::Opened(why, time)));
    }

    /// Goes on where `before` was; its probes count no more.
    pub(super) fn take_over(&self, before: &Breaker) {
        let (mut rare, known) = (self.rare.lock(), before.rare.lock());
        let probed = |open: Open| Open { probing: 0, passed: 0, ..open };
        rare.open = known.open.map(probed);
        self.is_closed.store(rare.open.is_none(), Ordering::Relaxed);
        let is_overruled = before.is_overruled.load(Ordering::Relaxed);
        self.is_overruled.store(is_overruled, Ordering::Relaxed);
    }

    /// Its state; why it is not closed, and for how long none is let through.
    pub(super) fn state(&self) -> (BreakerState, Option<(BreakerReason, Duration)>) {
        let Some(open) = self.rare.lock().open else { return (BreakerState::Closed, None) };
        let left = open.until.saturating_duration_since(Instant::now());
        let state = if left.is_zero() { BreakerState::HalfOpen } else { BreakerState::Open };
        (state, Some((open.why, left)))
    }

    /// Its changes, for one who tells them.
    pub(super) fn take_changes(&self) -> Option<mpsc::Receiver<BreakerChange>> {
        self.changes.take()
    }
}

#[cfg(test)]
mod tests;
