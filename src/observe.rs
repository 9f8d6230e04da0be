//! What is told when something happens: the only place where a metric and a log line are written
//! together, so that they cannot disagree.

pub mod access;

pub use access::{AccessLog, Stopper, Writer};

use crate::denial::Code;
use crate::exchange::Exchange;
use crate::metrics::{Metrics, RouteMetrics};
use crate::session::KeySet;
use crate::session::key_set::Refresh;
use crate::upstream::{Change, Upstream};
use http::Method;
use std::net::SocketAddr;
use std::time::Duration;
use tracing::{info, warn};

/// The gateway's voice.
#[derive(Clone, Debug)]
pub struct Observe {
    pub metrics: Metrics,
    access: AccessLog,
}

/// A request that was answered, or whose client went away.
#[derive(Debug)]
pub struct Ended<'a> {
    pub listener: (usize, &'a str),
    pub route: &'a RouteMetrics,
    pub exchange: &'a Exchange,
    pub method: &'a Method,
    pub host: &'a str,
    pub path: &'a str,
    /// 0 when nothing was sent.
    pub status: u16,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub upstream: Option<(&'a str, SocketAddr)>,
    /// What broke, in a few words of ours; never anything a client sent.
    pub fault: Option<&'a str>,
}

impl Observe {
    pub fn new(metrics: Metrics, access: AccessLog) -> Self {
        Observe { metrics, access }
    }

    /// A request is over.
    pub fn exchange_ended(&self, ended: &Ended<'_>) {
        let (route, exchange) = (ended.route, ended.exchange);
        let duration = exchange.began.elapsed();
        route.count_request(ended.listener, ended.method, ended.status);
        route.duration.observe(duration.as_secs_f64());
        route.request_bytes.inc_by(ended.request_bytes);
        route.response_bytes.inc_by(ended.response_bytes);
        match (ended.upstream.is_some(), exchange.denied()) {
            (true, None) => route.from_upstream.inc(),
            _ => route.from_gateway.inc(),
        }
        if let Some(code) = exchange.denied() {
            self.metrics.denials.with_label_values(&[route.name(), code.name()]).inc();
        }
        if exchange.session().is_some() {
            route.auth_passed.inc();
        }
        if exchange.is_session_unasked {
            self.metrics.sessions_unasked.inc();
        }
        if let Some(reason) = auth_refusal(exchange) {
            let labels = [route.name(), "refused", reason];
            self.metrics.auth_decisions.with_label_values(&labels).inc();
        }
        if let Some(outcome) = exchange.stream_outcome() {
            route.count_stream(outcome);
        }
        if let Some(rung) = exchange.rung() {
            route.count_rung(rung);
        }
        for (filter, code) in exchange.shadows() {
            let labels = [route.name(), *filter, code.name()];
            self.metrics.shadow_denials.with_label_values(&labels).inc();
        }
        self.access.write(ended, duration, &self.metrics);
    }

    /// The routes and filters have decided.
    pub fn decided(&self, route: &RouteMetrics, took: Duration) {
        route.overhead.observe(took.as_secs_f64());
    }

    /// An upstream's answer began.
    pub fn upstream_answered(&self, route: &RouteMetrics, status: u16, took: Duration) {
        route.count_answer(status, took);
    }

    /// An upstream gave no answer.
    pub fn upstream_failed(&self, upstream: &str, endpoint: SocketAddr, why: &str) {
        self.metrics.upstream_requests.with_label_values(&[upstream, "error"]).inc();
        warn!(upstream, %endpoint, why, "an upstream gave no answer");
    }

    /// Another endpoint is tried.
    pub fn upstream_retried(&self, upstream: &str) {
        self.metrics.upstream_retries.with_label_values(&[upstream]).inc();
    }

    /// The verdict on an endpoint changed.
    pub fn endpoint_changed(&self, upstream: &Upstream, change: &Change) {
        let endpoint = change.endpoint;
        match change.is_well {
            true => info!(upstream = %upstream.name, %endpoint, "an endpoint is well again"),
            false => warn!(upstream = %upstream.name, %endpoint, "an endpoint is unwell"),
        }
    }

    /// A store came within reach or was lost.
    pub fn store_changed(&self, store: &str, is_up: bool) {
        self.metrics.store_up.with_label_values(&[store]).set(i64::from(is_up));
        match is_up {
            true => info!(store, "the store answers"),
            false => warn!(store, "the store does not answer; policies say what holds now"),
        }
    }

    /// Somebody asked through the admin port to end a session, or all of an account. Whose is not
    /// told.
    pub fn sessions_revoked(&self, store: &str, whose: &'static str, is_done: bool) {
        let result = if is_done { "done" } else { "failed" };
        self.metrics.session_revocations.with_label_values(&[store, whose, result]).inc();
        match is_done {
            true => info!(store, whose, "sessions were revoked"),
            false => warn!(store, whose, "sessions could not be revoked: the store failed"),
        }
    }

    /// A key set was fetched, or not.
    pub fn key_set_refreshed(&self, key_set: &KeySet, refresh: &Refresh) {
        let provider = key_set.name();
        match refresh {
            Refresh::Changed { keys, skipped } => {
                info!(provider, keys, skipped = skipped.len(), "the key set changed");
            }
            Refresh::Same => {}
            Refresh::Failed(error) => {
                warn!(provider, %error, "the key set can't be read; the last good one stays");
            }
        }
    }

    /// The head of a request could not be read; there is no exchange to tell of.
    pub fn head_refused(&self, listener: &str, code: Code) {
        self.metrics.heads_refused.with_label_values(&[listener, code.name()]).inc();
    }

    /// A client took too long to send the head of a request.
    pub fn head_timed_out(&self, listener: &str) {
        self.metrics.heads_refused.with_label_values(&[listener, "timeout"]).inc();
    }
}

/// Why a session was refused: the token's own reason, else the refusal's code.
fn auth_refusal(exchange: &Exchange) -> Option<&'static str> {
    let code = match exchange.denied()? {
        code @ (Code::SessionMissing | Code::SessionEnded) => Some(code.name()),
        _ => None,
    };
    exchange.session_reason().map(|reason| reason.reason()).or(code)
}
