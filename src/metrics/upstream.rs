//! What is counted of upstreams and of their endpoints.

use super::DURATION_SECONDS;
use super::family::Families;
use crate::upstream::BreakerChange;
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

/// The families of upstreams, named like those of `All`.
#[derive(Debug)]
pub(crate) struct UpstreamMetrics {
    pub(crate) requests: IntCounterVec,
    pub(crate) request_duration: HistogramVec,
    pub(crate) endpoints: IntGaugeVec,
    pub(crate) ejections: IntCounterVec,
    pub(crate) in_flight_limit: IntGaugeVec,
    pub(crate) breaker_state: IntGaugeVec,
    pub(crate) breaker_opened: IntCounterVec,
    pub(crate) retries: IntCounterVec,
    pub(crate) retries_refused: IntCounterVec,
    pub(crate) name_lookups: IntCounterVec,
}

impl UpstreamMetrics {
    /// Counts that a breaker was opened.
    pub(crate) fn breaker(&self, upstream: &str, change: BreakerChange) {
        if let BreakerChange::Opened(why, _) = change {
            self.breaker_opened.with_label_values(&[upstream, why.name()]).inc();
        }
    }

    pub(super) fn new(f: &mut Families) -> Self {
        UpstreamMetrics {
            requests: f.counters(
                "upstream_requests_total",
                "Answers of upstreams by status; code `error`: none came.",
                &["upstream", "code"],
            ),
            request_duration: f.histograms(
                "upstream_request_duration_seconds",
                "From the choice of an endpoint to the head of its answer.",
                &["upstream"],
                &DURATION_SECONDS,
            ),
            endpoints: f.gauges(
                "upstream_endpoints",
                "Endpoints by state: well; warming, gets a part of its share; unwell, by the \
                 checks; ejected, by what came of requests; avoided, because it took no \
                 connection a moment ago; unresolved, a name that has no address yet.",
                &["upstream", "state"],
            ),
            ejections: f.counters(
                "upstream_ejections_total",
                "Endpoints not asked for a while, by reason: failures, ratio, slow.",
                &["upstream", "reason"],
            ),
            in_flight_limit: f.gauges(
                "upstream_in_flight_limit",
                "How many requests may be under way to it now, where there is such a bound.",
                &["upstream"],
            ),
            breaker_state: f.gauges(
                "upstream_breaker_state",
                "1 for the state of the breaker: closed, open or half_open; 0 for the others.",
                &["upstream", "state"],
            ),
            breaker_opened: f.counters(
                "upstream_breaker_opened_total",
                "How often requests began to be refused, by reason: ratio, endpoints, probe.",
                &["upstream", "reason"],
            ),
            retries: f.counters(
                "upstream_retries_total",
                "Requests sent to another endpoint because one took no connection or gave no \
                 answer.",
                &["upstream"],
            ),
            retries_refused: f.counters(
                "upstream_retries_refused_total",
                "Requests not sent to another endpoint because the budget of retries was spent.",
                &["upstream"],
            ),
            name_lookups: f.counters(
                "name_lookups_total",
                "Look-ups of a host name by result: answered, not_found, failed, timeout.",
                &["name", "result"],
            ),
        }
    }
}
