//! What Pingora carries for us from phase to phase: the snapshot, the route, the exchange, and
//! where the request has got to.

use crate::denial::{Code, Denial};
use crate::edge::Listener;
use crate::exchange::Exchange;
use crate::gateway::{End, Gateway, Route};
use crate::metrics::RouteMetrics;
use crate::observe::Ended;
use crate::request::Request;
use crate::upstream::Upstream;
use bytes::Bytes;
use http::header;
use pingora::http::RequestHeader;
use pingora::proxy::Session as Downstream;
use pingora::upstreams::peer::HttpPeer;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How many endpoints are tried for one request.
const TRIES_MAX: usize = 2;

/// What the log shows of a path that was not understood, where paths hold tokens.
const UNREAD: &str = "(unread)";

/// How often a long answer is asked whether it may go on.
const DURING_EVERY: Duration = Duration::from_secs(5);

/// One exchange as the proxy carries it.
pub struct Ctx {
    /// The configuration that this request began with, to its end.
    pub gateway: Arc<Gateway>,
    pub route: Option<Arc<Route>>,
    pub exchange: Exchange,
    /// Whether the upstream has made a tunnel (WebSocket) of it.
    pub is_tunnel: bool,
    /// What broke, in words of ours.
    pub fault: Option<&'static str>,
    /// The path was read: from then on no log shows what the client wrote.
    is_read: bool,
    /// The normalised path with the query, where it is not what the client wrote.
    target: Option<String>,
    /// Endpoints tried, the current one last.
    tried: SmallVec<[usize; TRIES_MAX]>,
    asked_upstream: Option<Instant>,
    asked_during: Option<Instant>,
    request_bytes: u64,
    response_bytes: u64,
}

impl Ctx {
    pub(super) fn new(gateway: Arc<Gateway>) -> Self {
        Ctx {
            gateway,
            route: None,
            exchange: Exchange::new(None),
            is_tunnel: false,
            fault: None,
            is_read: false,
            target: None,
            tried: SmallVec::new(),
            asked_upstream: None,
            asked_during: None,
            request_bytes: 0,
            response_bytes: 0,
        }
    }

    /// The route was found.
    pub(super) fn enter(&mut self, route: &Arc<Route>) {
        self.route = Some(Arc::clone(route));
    }

    /// The request was read: its path is told and sent as it was understood.
    pub(super) fn understood(&mut self, request: &Request<'_>, head: &RequestHeader) {
        self.is_read = true;
        // A whole URL, and bytes that are no UTF-8, Pingora would send on as they came.
        let is_plain = head.raw_path().starts_with(b"/") && head.raw_path_is_utf8();
        let is_as_written =
            matches!(request.path, Cow::Borrowed(_)) && request.path_token.is_none();
        if !is_plain || !is_as_written {
            let query = request.query.map(|query| format!("?{query}"));
            self.target = Some(format!("{}{}", request.path, query.unwrap_or_default()));
        }
    }

    /// What goes upstream in place of the client's target.
    pub(super) fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    pub(super) fn route_metrics(&self) -> &RouteMetrics {
        self.route.as_ref().map_or(&self.gateway.unmatched, |route| &route.metrics)
    }

    fn upstream(&self) -> Option<&Arc<Upstream>> {
        match &self.route.as_ref()?.end {
            End::Upstream(upstream) => Some(upstream),
            End::Streams(_) | End::Redirect(_) => None,
        }
    }

    pub(super) fn upstream_name(&self) -> &str {
        self.upstream().map_or("", |upstream| &upstream.name)
    }

    /// The next endpoint in turn that was not tried for this request. When all were, the last one
    /// again: that is asked for only when a kept connection turned out to be gone.
    pub(super) fn next_peer(&mut self) -> Option<Box<HttpPeer>> {
        let upstream = self.upstream()?;
        let index = upstream.pick(&self.tried).or(self.tried.last().copied())?;
        let peer = upstream.peer(index);
        self.tried.push(index);
        self.asked_upstream = Some(Instant::now());
        Some(peer)
    }

    /// The endpoint that was asked last did not take a connection.
    pub(super) fn endpoint_refused(&self) {
        if let (Some(upstream), Some(&index)) = (self.upstream(), self.tried.last()) {
            upstream.endpoints[index].health.avoid();
        }
    }

    pub(super) fn may_try_another(&self) -> bool {
        let endpoints = self.upstream().map_or(0, |upstream| upstream.endpoints.len());
        self.tried.len() < TRIES_MAX.min(endpoints)
    }

    /// The endpoint that was asked last.
    pub(super) fn endpoint(&self) -> Option<(&str, SocketAddr)> {
        let upstream = self.upstream()?;
        let index = *self.tried.last()?;
        Some((&upstream.name, upstream.endpoints[index].address))
    }

    /// The upstream's answer began; once per request, interim answers (1xx) apart.
    pub(super) fn upstream_began(&mut self, status: u16) -> Option<Duration> {
        if (100..200).contains(&status) && status != 101 {
            return None;
        }
        Some(self.asked_upstream.take()?.elapsed())
    }

    /// Counts a piece of the request's body and refuses one that is too large or too slow. A tunnel
    /// has no body and no end.
    pub(super) fn receive(
        &mut self,
        chunk: Option<&Bytes>,
        listener: &Listener,
    ) -> Result<(), Code> {
        let Some(chunk) = chunk else { return Ok(()) };
        self.request_bytes += chunk.len() as u64;
        let max = self.route.as_ref().map_or(0, |route| route.body_bytes_max);
        match self.is_tunnel {
            true => Ok(()),
            false if self.request_bytes > max => Err(Code::BodyTooLarge),
            false if listener.is_late(self.request_bytes, self.exchange.began.elapsed()) => {
                Err(Code::RequestTimeout)
            }
            false => Ok(()),
        }
    }

    /// Counts an answer of our own.
    pub(super) fn count_sent(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
    }

    /// Counts a piece of the answer; now and then asks the filters whether it may go on.
    pub(super) fn send(&mut self, chunk: Option<&Bytes>, is_last: bool) -> Result<(), Denial> {
        self.response_bytes += chunk.map_or(0, |chunk| chunk.len() as u64);
        if is_last {
            return Ok(());
        }
        let now = Instant::now();
        let since = *self.asked_during.get_or_insert(now);
        let Some(route) = self.route.as_ref().filter(|_| now - since >= DURING_EVERY) else {
            return Ok(());
        };
        self.asked_during = Some(now);
        route.chain.during(&self.exchange)
    }

    /// What is told when the exchange is over.
    pub(super) fn ended<'a>(
        &'a self,
        downstream: &'a Downstream,
        listener: (usize, &'a str),
    ) -> Ended<'a> {
        let head = downstream.req_header();
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let sent = downstream.response_written();
        let path = self.target.as_deref().and_then(|target| target.split('?').next());
        // What could not be read may hold a stream token anywhere.
        let written = match self.is_read || !self.gateway.takes_path_tokens {
            true => head.uri.path(),
            false => UNREAD,
        };
        Ended {
            listener,
            route: self.route_metrics(),
            exchange: &self.exchange,
            took: self.exchange.began.elapsed(),
            method: &head.method,
            host: head.uri.host().or(host).unwrap_or_default(),
            path: path.unwrap_or(written),
            status: sent.map_or(0, |sent| sent.status.as_u16()),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            upstream: self.endpoint(),
            fault: self.fault,
        }
    }
}
