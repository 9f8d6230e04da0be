//! How each event is counted.

use super::event::{Ended, Event, Http2Event};
use crate::denial::Code;
use crate::exchange::Exchange;
use crate::metrics::{Http2Metrics, Metrics};

/// Counts `event`.
pub(super) fn count(metrics: &Metrics, event: &Event<'_>) {
    match event {
        Event::ExchangeEnded(ended) => exchange(metrics, ended),
        Event::RequestDecided { route, took } => route.overhead.observe(took.as_secs_f64()),
        Event::UpstreamAnswered { route, status, took } => route.count_answer(*status, *took),
        Event::UpstreamRetried { upstream } => {
            metrics.upstream.retries.with_label_values(&[upstream]).inc();
        }
        Event::EndpointEjected { upstream, ejection } => {
            let labels: [&str; 2] = [upstream, ejection.why.name()];
            metrics.upstream.ejections.with_label_values(&labels).inc();
        }
        Event::BreakerChanged { upstream, change } => metrics.upstream.breaker(upstream, *change),
        Event::UpstreamFailed { upstream, .. } => {
            metrics.upstream.requests.with_label_values(&[upstream, "error"]).inc();
        }
        Event::ConnectionOpened { listener } => {
            metrics.connections.with_label_values(&[listener]).inc();
        }
        Event::ConnectionClosed { listener } => {
            metrics.connections.with_label_values(&[listener]).dec();
        }
        Event::ConnectionRefused { listener, reason, .. } => {
            metrics.connections_refused.with_label_values(&[*listener, *reason]).inc();
        }
        Event::ConnectionRecycled { listener, reason } => {
            metrics.connections_recycled.with_label_values(&[*listener, *reason]).inc();
        }
        Event::MemoryChanged { level, .. } => metrics.memory_level.set(*level),
        Event::FieldsDropped { listener, number } => {
            metrics.header_fields_dropped.with_label_values(&[listener]).inc_by(*number);
        }
        Event::HandshakeDone { listener, version, is_resumed } => {
            metrics.tls.shook_hands(listener, version, *is_resumed);
        }
        Event::CertificatesShown { listener, before, now } => {
            metrics.tls.shows(listener, *before, now);
        }
        Event::CertificatesKept { listener, .. } => metrics.tls.keeps(listener),
        Event::CertificateOrdered { listener, failure } => {
            metrics.tls.ordered(listener, failure.is_some());
        }
        Event::HeadRefused { listener, code } => head_refused(metrics, listener, code.name()),
        Event::HeadTimedOut { listener } => head_timed_out(metrics, listener),
        Event::ClientTimedOut { listener, bound } => timed_out(metrics, listener, bound),
        Event::Http2 { listener, what } => http2(&metrics.http2, listener, *what),
        Event::ConfigApplied { generation, .. } => metrics.config.was_applied(*generation),
        Event::ConfigRejected { .. } => metrics.config.was_rejected(),
        // The log says what would be right.
        Event::StoreTooFar { .. } | Event::CertificateDoubtful { .. } => {}
        Event::StoreChanged { store, failure } => {
            metrics.store_up.with_label_values(&[store]).set(i64::from(failure.is_none()));
        }
        Event::NameLookedUp { name, lookup, .. } => {
            let result = lookup.error.as_ref().map_or("answered", |error| error.as_str());
            metrics.upstream.name_lookups.with_label_values(&[*name, result]).inc();
        }
        Event::SessionsRevoked { store, whose, is_done } => {
            let result = if *is_done { "done" } else { "failed" };
            metrics.session_revocations.with_label_values(&[store, whose, result]).inc();
        }
        // Leases, limits, health and key sets count by themselves (`metrics/collected.rs`).
        Event::Stream { .. }
        | Event::LimitClaimUnusable { .. }
        | Event::EndpointChanged { .. }
        | Event::KeySetRefreshed { .. } => {}
    }
}

fn head_refused(metrics: &Metrics, listener: &str, reason: &str) {
    metrics.heads_refused.with_label_values(&[listener, reason]).inc();
}

fn head_timed_out(metrics: &Metrics, listener: &str) {
    head_refused(metrics, listener, "timeout");
    timed_out(metrics, listener, "head_timeout");
}

fn timed_out(metrics: &Metrics, listener: &str, bound: &str) {
    metrics.clients_timed_out.with_label_values(&[listener, bound]).inc();
}

fn http2(metrics: &Http2Metrics, listener: &str, what: Http2Event) {
    match what {
        Http2Event::Request => metrics.requests.with_label_values(&[listener]).inc(),
        Http2Event::StreamsReset { by, reason, number } => {
            let resets = metrics.streams_reset.with_label_values(&[listener, by, reason]);
            resets.inc_by(u64::from(number));
        }
        Http2Event::ConnectionEnded { how } => {
            metrics.connections_ended.with_label_values(&[listener, how]).inc();
        }
    }
}

fn exchange(metrics: &Metrics, ended: &Ended<'_>) {
    let (route, exchange) = (ended.route, ended.exchange);
    route.count_request(ended.listener, &ended.head.method, ended.status);
    route.duration.observe(ended.took.as_secs_f64());
    route.request_bytes.inc_by(ended.request_bytes);
    route.response_bytes.inc_by(ended.response_bytes);
    match (ended.upstream.is_some(), exchange.denied()) {
        (true, None) => route.from_upstream.inc(),
        _ => route.from_gateway.inc(),
    }
    if let Some(code) = exchange.denied() {
        metrics.denials.with_label_values(&[route.name(), code.name()]).inc();
    }
    if let Some(limit) = exchange.reached() {
        metrics.overloaded.with_label_values(&[route.name(), limit.name()]).inc();
    }
    // Where the body is read for the gateway itself, its code tells.
    let is_late = exchange.denied() == Some(Code::RequestTimeout);
    if let Some(bound) = ended.bound.or(is_late.then_some("body_timeout")) {
        timed_out(metrics, ended.listener.1, bound);
    }
    if exchange.session().is_some() {
        route.auth_passed.inc();
    }
    if exchange.is_session_unasked {
        metrics.sessions_unasked.inc();
    }
    if let Some(reason) = auth_refusal(exchange) {
        let labels = [route.name(), "refused", reason];
        metrics.auth_decisions.with_label_values(&labels).inc();
    }
    if let Some(outcome) = exchange.stream_outcome() {
        route.count_stream(outcome);
    }
    if let Some(rung) = exchange.rung() {
        route.count_rung(rung);
    }
    for (filter, code) in exchange.shadows() {
        let labels = [route.name(), *filter, code.name()];
        metrics.shadow_denials.with_label_values(&labels).inc();
    }
}

/// Why a session was refused: the token's own reason, else the refusal's code.
fn auth_refusal(exchange: &Exchange) -> Option<&'static str> {
    let code = match exchange.denied()? {
        code @ (Code::SessionMissing | Code::SessionEnded | Code::SessionAmbiguous) => {
            Some(code.name())
        }
        _ => None,
    };
    exchange.session_reason().map(|reason| reason.reason()).or(code)
}
