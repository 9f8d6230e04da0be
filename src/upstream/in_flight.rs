//! How many requests may be under way to an upstream and to each of its endpoints.
//!
//! None waits here for another one to end: a request for which there is no room is told so at
//! once. What may still be under way when the file changes counts on.

use super::adaptive::{self, Adaptive};
use crate::problem::Problem;
use crate::units::Count;
use crate::yaml::{At, ScalarOr};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// `in_flight: 1024`, or `in_flight: { max: 1024, per_endpoint: 256 }`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Config(ScalarOr<Count, Bounds>);

/// How many requests may be under way.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpstreamInFlight")]
struct Bounds {
    /// To all servers together. Left out: as many as the gateway may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<At<Count>>,
    /// To each server; one that has so many is passed over. Left out: as many as to all together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    per_endpoint: Option<At<Count>>,
    /// Fewer than `max` when its answers get slow. Left out: always `max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adaptive: Option<At<adaptive::Config>>,
}

/// What a request is to those who share an upstream. When room gets narrow, the first of these is
/// refused first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestClass {
    /// A playback begins.
    Start,
    /// It belongs to no stream.
    Other,
    /// A stream plays.
    Playing,
}

impl Config {
    /// What bounds all endpoints together.
    pub(super) fn compile(&self) -> Result<InFlight, Problem> {
        let bounds = match &self.0 {
            ScalarOr::Value(max) => return Ok(InFlight::new(Some(max.0), None)),
            ScalarOr::Full(bounds) => bounds,
        };
        let adaptive = match (&bounds.max, &bounds.adaptive) {
            (_, None) => None,
            (None, Some(adaptive)) => {
                let text = "`adaptive` moves below a bound, and there is none";
                return Err(adaptive.problem(text).help("write beside it: `max: 1024`"));
            }
            (Some(max), Some(adaptive)) => match adaptive.problems(max) {
                Some(problem) => return Err(problem),
                None => Some(Adaptive::new(adaptive, max.0)),
            },
        };
        Ok(InFlight::new(bounds.max.as_ref().map(|max| max.0), adaptive))
    }

    /// The bound of each endpoint.
    pub(super) fn per_endpoint(&self) -> Option<u32> {
        match &self.0 {
            ScalarOr::Value(_) => None,
            ScalarOr::Full(bounds) => bounds.per_endpoint.as_ref().map(|max| max.0),
        }
    }

    /// A bound that can't be reached, because the other one is smaller.
    pub(super) fn warning(&self) -> Option<Problem> {
        let ScalarOr::Full(bounds) = &self.0 else { return None };
        let (max, each) = (bounds.max.as_ref()?, bounds.per_endpoint.as_ref()?);
        (max.0 < each.0).then(|| {
            let text = format!("no endpoint can have {}, as all have {} together", each.0, max.0);
            each.problem(text).help("make `per_endpoint` smaller than `max`").warning()
        })
    }
}

/// Requests under way to one upstream, counted only where there is a bound.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    now: Arc<AtomicU32>,
    max: Option<u32>,
    adaptive: Option<Adaptive>,
    /// A stream has played through it, so some room is kept for those that do.
    has_streams: AtomicBool,
}

/// So much of the room is kept for streams that play: as at the gateway, playbacks begin in four
/// fifths of it, and all that belongs to no stream has nine tenths.
const KEPT_FROM_STARTS: u32 = 5;
const KEPT_FROM_OTHERS: u32 = 10;

impl InFlight {
    fn new(max: Option<u32>, adaptive: Option<Adaptive>) -> Self {
        InFlight { max, adaptive, ..InFlight::default() }
    }

    /// Counts one more, if there is room for one of its class.
    pub(super) fn enter(&self, class: impl FnOnce() -> RequestClass) -> bool {
        let Some(limit) = self.limit() else { return true };
        let class = class();
        if class != RequestClass::Other && !self.has_streams.load(Ordering::Relaxed) {
            self.has_streams.store(true, Ordering::Relaxed);
        }
        let max = match class {
            RequestClass::Start => limit - limit / KEPT_FROM_STARTS,
            RequestClass::Other if self.has_streams.load(Ordering::Relaxed) => {
                limit - limit / KEPT_FROM_OTHERS
            }
            RequestClass::Other | RequestClass::Playing => limit,
        };
        let one_more = |now: u32| (now < max).then_some(now + 1);
        self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// One that was counted is over.
    pub(super) fn leave(&self) {
        if self.max.is_some() {
            self.now.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many there may be at this moment; `None`: as many as come.
    pub(super) fn limit(&self) -> Option<u32> {
        self.adaptive.as_ref().map(Adaptive::limit).or(self.max)
    }

    /// Learns from how long an answer took to begin; `None`: it failed, or none came.
    pub(super) fn learn(&self, took: Option<Duration>) {
        if let Some(adaptive) = &self.adaptive {
            adaptive.enter(took, self.now.load(Ordering::Relaxed));
        }
    }

    /// What is under way by `before` counts here, too, and what it has learned holds.
    pub(super) fn take_over(&mut self, before: &InFlight) {
        if let (Some(adaptive), Some(before)) = (&self.adaptive, &before.adaptive) {
            adaptive.take_over(before);
        }
        let has_streams = before.has_streams.load(Ordering::Relaxed);
        self.has_streams.store(has_streams, Ordering::Relaxed);
        if before.max.is_some() {
            self.now = Arc::clone(&before.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RequestClass::{Other, Playing, Start};
    use super::*;

    fn bounded(max: u32) -> InFlight {
        InFlight::new(Some(max), None)
    }

    #[test]
    fn what_is_under_way_counts_on_with_another_bound() {
        let before = bounded(2);
        let enters = |it: &InFlight| it.enter(|| Other);
        assert!(enters(&before) && enters(&before) && !enters(&before));
        let mut after = bounded(3);
        after.take_over(&before);
        assert!(enters(&after) && !enters(&after));
        before.leave();
        assert!(enters(&after) && !enters(&after), "a place of the other's is free");
        let free = InFlight::default();
        assert!((0..100).all(|_| free.enter(|| unreachable!("nobody asks what it is"))));
    }

    #[test]
    fn those_who_play_are_refused_last() {
        let entered = |it: &InFlight, class| (0..100).filter(|_| it.enter(|| class)).count();
        let all = bounded(20);
        assert_eq!(entered(&all, Start), 16);
        assert_eq!(entered(&all, Other), 2);
        assert_eq!(entered(&all, Playing), 2);
        // Where no stream plays, nothing is kept for any.
        assert_eq!(entered(&bounded(20), Other), 20);
    }
}
