//! What Pingora carries for us from phase to phase: the snapshot, the exchange, the attempt, and
//! what was counted. It decides nothing.

use crate::edge::Listener;
use crate::exchange::{Exchange, Target};
use crate::filter::Flow;
use crate::gateway::{Gateway, Route};
use crate::metrics::RouteMetrics;
use crate::observe::Ended;
use crate::upstream::Attempt;
use bytes::Bytes;
use http::header;
use pingora::proxy::Session as Downstream;
use std::sync::Arc;

/// What the log shows of a path that was not read, where paths hold tokens.
const UNREAD: &str = "(unread)";

/// One exchange as the proxy carries it.
pub struct Ctx {
    /// The configuration that this request began with, to its end.
    pub gateway: Arc<Gateway>,
    /// What is known of the exchange.
    pub exchange: Exchange,
    /// What the upstream is asked, if the request goes to one.
    pub attempt: Option<Attempt>,
    /// The answer while it flows to the client.
    pub flow: Flow,
    /// Whether the upstream has made a tunnel (WebSocket) of it.
    pub is_tunnel: bool,
    /// What broke, in words of ours.
    pub fault: Option<&'static str>,
    /// Bytes of the request's body so far.
    pub request_bytes: u64,
    /// Bytes of the answer's body so far.
    pub response_bytes: u64,
}

impl Ctx {
    pub(super) fn new(gateway: Arc<Gateway>) -> Self {
        Ctx {
            gateway,
            exchange: Exchange::new(None),
            attempt: None,
            flow: Flow::default(),
            is_tunnel: false,
            fault: None,
            request_bytes: 0,
            response_bytes: 0,
        }
    }

    pub(super) fn route(&self) -> Option<&Arc<Route>> {
        self.gateway.route_of(&self.exchange)
    }

    pub(super) fn route_metrics(&self) -> &RouteMetrics {
        self.gateway.metrics_of(&self.exchange)
    }

    /// Counts a piece of the request's body.
    pub(super) fn count_received(&mut self, chunk: &Bytes) {
        self.request_bytes += chunk.len() as u64;
    }

    /// Counts a piece of the answer.
    pub(super) fn count_sent(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
    }

    /// What is reported when the exchange is over.
    pub(super) fn ended<'a>(
        &'a self,
        downstream: &'a Downstream,
        listener: &'a Listener,
    ) -> Ended<'a> {
        let head = downstream.req_header();
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let sent = downstream.response_written();
        let path = match &self.exchange.target {
            Target::Rewritten(target) => target.split('?').next().unwrap_or(target),
            // What was not read may hold a stream's token anywhere.
            Target::Unread if self.gateway.takes_path_tokens => UNREAD,
            Target::Unread | Target::AsWritten => head.uri.path(),
        };
        Ended {
            listener: (listener.number, &listener.name),
            route: self.route_metrics(),
            exchange: &self.exchange,
            took: self.exchange.began.elapsed(),
            method: &head.method,
            host: head.uri.host().or(host).unwrap_or_default(),
            path,
            status: sent.map_or(0, |sent| sent.status.as_u16()),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            upstream: self.attempt.as_ref().and_then(Attempt::endpoint),
            fault: self.fault,
        }
    }
}
