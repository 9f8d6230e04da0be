//! What is counted of connections that speak HTTP/2.

use super::family::Families;
use prometheus::IntCounterVec;

/// The families of HTTP/2.
#[derive(Debug)]
pub(crate) struct Http2Metrics {
    pub(crate) requests: IntCounterVec,
    pub(crate) streams_reset: IntCounterVec,
    pub(crate) connections_ended: IntCounterVec,
}

impl Http2Metrics {
    pub(super) fn new(f: &mut Families) -> Self {
        Http2Metrics {
            requests: f.counters(
                "http2_requests_total",
                "Requests that came by HTTP/2, answered or not.",
                &["listener"],
            ),
            streams_reset: f.counters(
                "http2_streams_reset_total",
                "Requests by HTTP/2 that were broken off, by whom and why.",
                &["listener", "by", "reason"],
            ),
            connections_ended: f.counters(
                "http2_connections_ended_total",
                "Connections of HTTP/2 that are over, by the bound that ended them, if one did.",
                &["listener", "how"],
            ),
        }
    }
}
