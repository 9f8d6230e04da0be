//! The series of one route, looked up once: counting a request is then an increment, not a look-up
//! by label texts.

use super::All;
use crate::concurrency::{IdentitySource, Outcome};
use foldhash::HashMap;
use http::Method;
use parking_lot::RwLock;
use prometheus::{Histogram, IntCounter, IntCounterVec};
use std::time::Duration;

/// What is counted for one route.
#[derive(Debug)]
pub struct RouteMetrics {
    name: String,
    pub(crate) duration: Histogram,
    pub(crate) overhead: Histogram,
    pub(crate) request_bytes: IntCounter,
    pub(crate) response_bytes: IntCounter,
    pub(crate) from_upstream: IntCounter,
    pub(crate) from_gateway: IntCounter,
    pub(crate) auth_passed: IntCounter,
    streams: Vec<(Outcome, IntCounter)>,
    rungs: Vec<(IdentitySource, IntCounter)>,
    /// The upstream that the route leads to, if it leads to one.
    upstream: Option<UpstreamSeries>,
    requests: IntCounterVec,
    /// Series by listener, method and status, looked up at their first use. Bounded: listeners are
    /// few, methods that are not usual share one label, and a status has three digits.
    met: RwLock<HashMap<(usize, &'static str, u16), IntCounter>>,
}

/// What is counted for the upstream of a route.
#[derive(Debug)]
struct UpstreamSeries {
    name: String,
    duration: Histogram,
    answers: IntCounterVec,
    /// Series by status, looked up at their first use.
    met: RwLock<HashMap<u16, IntCounter>>,
}

impl RouteMetrics {
    pub(super) fn new(
        all: &All,
        name: &str,
        (outcomes, rungs): (&[Outcome], &[IdentitySource]),
        upstream: Option<&str>,
    ) -> Self {
        let route: &[&str] = &[name];
        let source = |source| all.responses_by_source.with_label_values(&[name, source]);
        let stream = |outcome: &Outcome| {
            (*outcome, all.stream_decisions.with_label_values(&[name, outcome.name()]))
        };
        let rung = |rung: &IdentitySource| {
            (*rung, all.stream_identity.with_label_values(&[name, rung.name()]))
        };
        RouteMetrics {
            name: name.to_owned(),
            duration: all.request_duration.with_label_values(route),
            overhead: all.gateway_overhead.with_label_values(route),
            request_bytes: all.request_body_bytes.with_label_values(route),
            response_bytes: all.response_body_bytes.with_label_values(route),
            from_upstream: source("upstream"),
            from_gateway: source("gateway"),
            auth_passed: all.auth_decisions.with_label_values(&[name, "passed", ""]),
            streams: outcomes.iter().map(stream).collect(),
            rungs: rungs.iter().map(rung).collect(),
            upstream: upstream.map(|upstream| UpstreamSeries {
                name: upstream.to_owned(),
                duration: all.upstream.request_duration.with_label_values(&[upstream]),
                answers: all.upstream.requests.clone(),
                met: RwLock::default(),
            }),
            requests: all.requests.clone(),
            met: RwLock::default(),
        }
    }

    /// The route's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts an answered request.
    pub fn count_request(&self, listener: (usize, &str), method: &Method, status: u16) {
        let method = folded(method);
        let key = (listener.0, method, status);
        if let Some(counter) = self.met.read().get(&key) {
            return counter.inc();
        }
        let code = status.to_string();
        let labels: [&str; 4] = [listener.1, &self.name, method, &code];
        let counter = self.requests.with_label_values(&labels);
        counter.inc();
        self.met.write().insert(key, counter);
    }

    /// Counts an upstream's answer.
    pub fn count_answer(&self, status: u16, took: Duration) {
        let Some(upstream) = &self.upstream else { return };
        upstream.duration.observe(took.as_secs_f64());
        if let Some(counter) = upstream.met.read().get(&status) {
            return counter.inc();
        }
        let labels: [&str; 2] = [&upstream.name, &status.to_string()];
        let counter = upstream.answers.with_label_values(&labels);
        counter.inc();
        upstream.met.write().insert(status, counter);
    }

    /// Counts how a stream was identified.
    pub fn count_rung(&self, rung: IdentitySource) {
        if let Some((_, counter)) = self.rungs.iter().find(|(known, _)| *known == rung) {
            counter.inc();
        }
    }

    /// Counts a decision about a stream.
    pub fn count_stream(&self, outcome: Outcome) {
        if let Some((_, counter)) = self.streams.iter().find(|(known, _)| *known == outcome) {
            counter.inc();
        }
    }
}

/// The label of a method. A client may invent methods without end, so all others share one label.
fn folded(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "OTHER",
    }
}
