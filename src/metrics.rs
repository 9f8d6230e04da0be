//! Every metric family, its labels and its help, in one struct.
//!
//! Labels come from closed sets and from names in the file, never from a request: no account, no
//! lease, no path, no address. `observe` decides when something is counted.

mod route;
mod collected;
mod config;
mod http2;
mod upstream;
mod starts;
mod tls;
mod family;

pub use family::{Family, as_json, as_markdown};
pub(crate) use http2::Http2Metrics;
pub use route::RouteMetrics;

use crate::concurrency::{IdentitySource, Outcome};
use config::ConfigMetrics;
use family::{Families, Labelled};
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use starts::StartMetrics;
use std::sync::Arc;
use tls::TlsMetrics;
use upstream::UpstreamMetrics;

/// All metrics of one gateway.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<All>);

impl std::ops::Deref for Metrics {
    type Target = All;

    fn deref(&self) -> &All {
        &self.0
    }
}

/// The families. Each field is named like its metric, without prefix and unit; what it means is in
/// its help text. Figures that others count are shown by the methods in `metrics/collected.rs`.
#[derive(Debug)]
pub struct All {
    pub(crate) registry: Registry,
    /// The list of families, for documentation.
    pub families: Vec<Family>,
    labelled: Vec<Box<dyn Labelled>>,

    pub(crate) requests: IntCounterVec,
    pub(crate) request_duration: HistogramVec,
    pub(crate) gateway_overhead: HistogramVec,
    pub(crate) request_body_bytes: IntCounterVec,
    pub(crate) response_body_bytes: IntCounterVec,
    pub(crate) requests_in_flight: IntGauge,
    pub(crate) responses_by_source: IntCounterVec,
    pub(crate) denials: IntCounterVec,
    pub(crate) shadow_denials: IntCounterVec,
    pub(crate) rate_limit_evictions: IntCounterVec,
    pub(crate) rate_limit_store_failures: IntCounterVec,
    pub(crate) connections: IntGaugeVec,
    pub(crate) connections_refused: IntCounterVec,
    pub(crate) connections_recycled: IntCounterVec,
    pub(crate) memory_level: IntGauge,
    pub(crate) heads_refused: IntCounterVec,
    pub(crate) clients_timed_out: IntCounterVec,
    pub(crate) header_fields_dropped: IntCounterVec,
    pub(crate) http2: Http2Metrics,
    pub(crate) overloaded: IntCounterVec,
    pub(crate) tls: TlsMetrics,

    pub(crate) auth_decisions: IntCounterVec,
    pub(crate) jwks_fetches: IntCounterVec,
    pub(crate) jwks_unknown_kid: IntCounterVec,
    pub(crate) jwks_last_success: IntGaugeVec,
    pub(crate) sessions_unasked: IntCounter,
    pub(crate) session_extensions: IntCounterVec,
    pub(crate) session_reissues: IntCounterVec,
    pub(crate) session_revocations: IntCounterVec,

    pub(crate) stream_decisions: IntCounterVec,
    pub(crate) stream_identity: IntCounterVec,
    pub(crate) limit_claims_unusable: IntCounterVec,
    pub(crate) stream_leases: IntGaugeVec,
    pub(crate) stream_leases_provisional: IntGaugeVec,
    pub(crate) lease_over_limit: IntGaugeVec,
    pub(crate) lease_adopted_over_limit: IntCounterVec,
    pub(crate) lease_provisional_starts: IntCounterVec,
    pub(crate) lease_starts_refused: IntCounterVec,
    pub(crate) lease_degraded_for: prometheus::GaugeVec,
    pub(crate) lease_degraded: prometheus::GaugeVec,
    pub(crate) stream_renewals: IntCounterVec,
    pub(crate) stream_renewals_skipped: IntCounterVec,
    pub(crate) stream_lease_end: IntCounterVec,
    pub(crate) stream_superseded: IntCounterVec,
    pub(crate) starts: StartMetrics,
    pub(crate) stream_roster_evicted: IntCounterVec,
    pub(crate) stream_events_dropped: IntCounterVec,
    pub(crate) stream_beat_duration: prometheus::GaugeVec,
    pub(crate) store_errors: IntCounterVec,
    pub(crate) store_up: IntGaugeVec,

    pub(crate) upstream: UpstreamMetrics,

    pub(crate) access_log_dropped: IntCounter,
    pub(crate) log_dropped: IntCounter,
    pub(crate) config: ConfigMetrics,
    pub(crate) build_info: IntGaugeVec,
}

/// From half a millisecond, a look-up on the same host, to half a minute, a stalled origin.
const DURATION_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0, 10.0, 30.0];

/// What the gateway itself takes: from ten microseconds to a store's deadline and beyond.
const OVERHEAD_SECONDS: [f64; 10] =
    [0.00001, 0.00002, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.02, 0.05, 0.5];

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// Registers every family. It starts nothing.
    pub fn new() -> Self {
        let mut f = Families::default();
        let all = All {
            requests: f.counters(
                "requests_total",
                "Requests that were answered.",
                &["listener", "route", "method", "code"],
            ),
            request_duration: f.histograms(
                "request_duration_seconds",
                "From the request's head to the end of the answer.",
                &["route"],
                &DURATION_SECONDS,
            ),
            gateway_overhead: f.histograms(
                "gateway_overhead_seconds",
                "From the request's head to the decision: routing and filters, stores included.",
                &["route"],
                &OVERHEAD_SECONDS,
            ),
            request_body_bytes: f.counters(
                "request_body_bytes_total",
                "Body bytes received from clients.",
                &["route"],
            ),
            response_body_bytes: f.counters(
                "response_body_bytes_total",
                "Body bytes sent to clients.",
                &["route"],
            ),
            requests_in_flight: f
                .gauge("requests_in_flight", "Requests that are being answered now."),
            responses_by_source: f.counters(
                "responses_by_source_total",
                "Answers by who gave them: upstream or gateway.",
                &["route", "source"],
            ),
            denials: f.counters("denials_total", "Refusals by code.", &["route", "code"]),
            connections: f.gauges(
                "connections",
                "Connections of clients that are open now.",
                &["listener"],
            ),
            connections_refused: f.counters(
                "connections_refused_total",
                "Connections closed before a request: no room, the PROXY protocol, no handshake.",
                &["listener", "reason"],
            ),
            connections_recycled: f.counters(
                "connections_recycled_total",
                "Connections whose next answer is the last: too many requests, age, or memory.",
                &["listener", "reason"],
            ),
            memory_level: f.gauge(
                "memory_level",
                "How short memory is: 1 no keep-alive, 2 no requests, 3 no connections, 0 enough.",
            ),
            heads_refused: f.counters(
                "heads_refused_total",
                "Connections closed before a request was read: a head too slow, or no HTTP.",
                &["listener", "reason"],
            ),
            clients_timed_out: f.counters(
                "clients_timed_out_total",
                "Clients that were too slow or silent for too long, by the bound that has acted.",
                &["listener", "bound"],
            ),
            header_fields_dropped: f.counters(
                "header_fields_dropped_total",
                "Header fields taken out of requests for a `_` in their name.",
                &["listener"],
            ),
            http2: Http2Metrics::new(&mut f),
            overloaded: f.counters(
                "overloaded_total",
                "Requests that found no room, by the limit: `in_flight…`, `upstream_in_flight` or \
                 `endpoints_in_flight`.",
                &["route", "reason"],
            ),
            tls: TlsMetrics::new(&mut f),
            shadow_denials: f.counters(
                "shadow_denials_total",
                "What filters in shadow would have refused, and did not.",
                &["route", "filter", "code"],
            ),
            rate_limit_evictions: f.counters(
                "rate_limit_evictions_total",
                "Keys of a rate limit that were forgotten for want of room.",
                &["route"],
            ),
            rate_limit_store_failures: f.counters(
                "rate_limit_store_failures_total",
                "Questions about rate limits that their store did not answer.",
                &["route"],
            ),
            auth_decisions: f.counters(
                "auth_decisions_total",
                "Tokens judged, with the reason of a refusal.",
                &["route", "decision", "reason"],
            ),
            jwks_fetches: f.counters(
                "jwks_fetches_total",
                "Fetches of key sets.",
                &["provider", "result"],
            ),
            jwks_unknown_kid: f.counters(
                "jwks_unknown_kid_total",
                "Tokens with a key id that was not in the set, by what was done.",
                &["provider", "outcome"],
            ),
            jwks_last_success: f.gauges(
                "jwks_last_success_timestamp_seconds",
                "When the key set was last fetched.",
                &["provider"],
            ),
            sessions_unasked: f.counter(
                "sessions_unasked_total",
                "Sessions that passed by their signature alone: the store did not answer.",
            ),
            session_extensions: f.counters(
                "session_extensions_total",
                "Uses of sessions to tell a store: `written`, `failed` or `dropped`, without room.",
                &["store", "result"],
            ),
            session_reissues: f.counters(
                "session_reissues_total",
                "Younger tokens that were given to browsers for theirs.",
                &["provider"],
            ),
            session_revocations: f.counters(
                "session_revocations_total",
                "Wishes through the admin port to end a session, or all of an account.",
                &["store", "whose", "result"],
            ),
            stream_decisions: f.counters(
                "stream_decisions_total",
                "Requests judged on routes with `concurrency`, and refusals of the streams API.",
                &["route", "decision"],
            ),
            stream_identity: f.counters(
                "stream_identity_total",
                "Requests whose stream was judged, by how it was identified.",
                &["route", "rung"],
            ),
            limit_claims_unusable: f.counters(
                "limit_claims_unusable_total",
                "Limits that a token states in a form that can't be used: the default applied.",
                &["policy"],
            ),
            stream_leases: f.gauges(
                "stream_leases",
                "Streams this gateway keeps alive; the sum over all gateways is the platform.",
                &["policy"],
            ),
            stream_leases_provisional: f.gauges(
                "stream_leases_provisional",
                "Streams admitted by this gateway alone while the store was gone.",
                &["policy"],
            ),
            lease_over_limit: f.gauges(
                "lease_over_limit",
                "Streams beyond their account's limit that play on after the store was gone.",
                &["policy"],
            ),
            lease_adopted_over_limit: f.counters(
                "lease_adopted_over_limit_total",
                "Streams that the store adopted beyond the limit when it was back.",
                &["policy"],
            ),
            lease_provisional_starts: f.counters(
                "lease_provisional_starts_total",
                "Streams that this gateway started alone while the store was gone.",
                &["policy"],
            ),
            lease_starts_refused: f.counters(
                "lease_starts_refused_total",
                "Starts refused because the gateway had started as many alone as it may.",
                &["policy"],
            ),
            lease_degraded_for: f.float_gauges(
                "lease_degraded_for_seconds",
                "For how long the store has not answered this policy; 0 while it does.",
                &["policy"],
            ),
            lease_degraded: f.float_gauges(
                "lease_degraded_seconds",
                "How long the store has not answered this policy since start, in all.",
                &["policy"],
            ),
            stream_renewals: f.counters(
                "stream_renewals_total",
                "Leases renewed in the store by the renewer.",
                &["policy"],
            ),
            stream_renewals_skipped: f.counters(
                "stream_renewals_skipped_total",
                "Renewals that were due and that the store did not take; they are tried again.",
                &["policy"],
            ),
            stream_lease_end: f.counters(
                "stream_lease_end_total",
                "Streams that this gateway lost, by reason.",
                &["policy", "reason"],
            ),
            stream_superseded: f.counters(
                "stream_superseded_total",
                "Streams that ended so that another could play, as a later playback of their \
                 session had begun.",
                &["policy"],
            ),
            starts: StartMetrics::new(&mut f),
            stream_roster_evicted: f.counters(
                "stream_roster_evicted_total",
                "Streams forgotten for want of room; the store is asked again.",
                &["policy"],
            ),
            stream_events_dropped: f.counters(
                "stream_events_dropped_total",
                "Starts and ends of streams that were not reported, because too many waited.",
                &["policy"],
            ),
            stream_beat_duration: f.float_gauges(
                "stream_beat_duration_seconds",
                "How long the renewer's last tick took.",
                &["policy"],
            ),
            store_errors: f.counters(
                "store_errors_total",
                "Questions to a policy's store that failed or were not asked for fear of it.",
                &["policy"],
            ),
            store_up: f.gauges("store_up", "1 while the store answers.", &["store"]),
            upstream: UpstreamMetrics::new(&mut f),
            access_log_dropped: f.counter(
                "access_log_dropped_total",
                "Lines that were lost: the log could not be written, or its reader was too slow.",
            ),
            log_dropped: f.counter(
                "log_dropped_total",
                "Lines of the gateway's own log that were lost for the same reasons.",
            ),
            config: ConfigMetrics::new(&mut f),
            build_info: f.gauges("build_info", "1, with the version that runs.", &["version"]),
            registry: f.registry.clone(),
            families: f.families,
            labelled: f.labelled,
        };
        all.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Metrics(Arc::new(all))
    }

    /// The series of one route, and of the upstream that it leads to, looked up once.
    pub fn route(&self, name: &str, upstream: Option<&str>) -> RouteMetrics {
        RouteMetrics::new(&self.0, name, (&Outcome::ALL, &IdentitySource::ALL), upstream)
    }

    /// Everything in the text format that Prometheus scrapes.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
