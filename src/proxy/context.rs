//! What Pingora carries for us from phase to phase: the snapshot, the exchange, the attempt, and
//! what was counted. It decides nothing.

use super::answer;
use super::fault::{self, Fault};
use super::timeouts::Patience;
use super::verdict;
use crate::chain::Flow;
use crate::denial::{Code, Reply};
use crate::edge::{self, Client, ClientEnd, Handshake, Listener, Opened};
use crate::exchange::{Cause, Exchange, InFlightLimit, Target};
use crate::filter::{Answer, Halt, set_cookie};
use crate::gateway::{Gateway, Route};
use crate::judge::judge_answer;
use crate::metrics::RouteMetrics;
use crate::observe::{Ended, Tls};
use crate::upstream::Attempt;
use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session as Downstream;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::Lease;

/// What the log shows of a path that was not read, where paths hold tokens.
const UNREAD: &str = "(unread)";

/// How long a client that begins a playback and has closed its side may wait for its answer. Then
/// it is taken for gone, and its slot is given back.
const START_CLOSED_MAX: Duration = Duration::from_millis(500);

/// One exchange as the proxy carries it.
pub struct Ctx {
    /// The configuration that this request began with, to its end.
    pub gateway: Arc<Gateway>,
    /// What is known of the exchange.
    pub exchange: Exchange,
    /// What the peer says of the request is believed.
    pub is_peer_trusted: bool,
    /// What the upstream is asked, if the request goes to one.
    pub attempt: Option<Attempt>,
    /// The answer while it flows to the client.
    pub flow: Flow,
    /// How long the upstream may keep the client waiting; set when it is asked.
    pub(super) patience: Patience,
    /// Whether the upstream has made a tunnel (WebSocket) of it.
    pub is_tunnel: bool,
    /// What is sent in the place of the upstream's answer.
    pub(super) instead: Option<Halt>,
    /// What broke, in words of ours.
    pub fault: Option<&'static str>,
    /// The bound on the client's time that has ended the exchange, if one has.
    pub(super) bound: Option<&'static str>,
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
            is_peer_trusted: false,
            attempt: None,
            flow: Flow::default(),
            patience: Patience::default(),
            is_tunnel: false,
            instead: None,
            fault: None,
            bound: None,
            request_bytes: 0,
            response_bytes: 0,
        }
    }

    /// Enters whose request it is, whose head has these `fields`. Returns the host that a trusted
    /// peer names in place of `Host`.
    pub(super) fn open(
        &mut self,
        opened: &Opened,
        fields: &HeaderMap,
        listener: &Listener,
    ) -> Option<HeaderValue> {
        let client = Client::of(&opened.peer, fields, listener);
        self.exchange.room = opened.room;
        self.exchange.head_sizes = listener.head_sizes;
        self.is_peer_trusted = client.is_peer_trusted;
        (self.exchange.client, self.exchange.scheme) = (client.address, client.scheme);
        client.host
    }

    /// The endpoint to ask next, after a pause if one has failed.
    pub(super) async fn next_peer(&mut self) -> Option<Box<HttpPeer>> {
        let attempt = self.attempt.as_mut()?;
        attempt.back_off().await;
        attempt.next_peer()
    }

    /// No endpoint can be asked: none has an address, or they have as much to do as they may have.
    pub(super) fn no_peer(&mut self) -> Box<Error> {
        if self.attempt.as_ref().is_some_and(Attempt::is_full) {
            self.instead = Some(verdict::overloaded(InFlightLimit::Endpoints));
        }
        Error::explain(fault::UNRESOLVED, "no endpoint can be asked")
    }

    pub(super) fn route(&self) -> Option<&Arc<Route>> {
        self.gateway.route_of(&self.exchange)
    }

    pub(super) fn route_metrics(&self) -> &RouteMetrics {
        self.gateway.metrics_of(&self.exchange)
    }

    /// The status of the answer is known, 0 if the client is gone. Before it is sent, filters take
    /// back what a request holds that failed.
    pub(super) async fn answered(&mut self, status: u16) {
        if self.exchange.fails_with(status)
            && let Some(route) = self.route().map(Arc::clone)
        {
            route.chain.failed(&self.exchange).await;
        }
    }

    /// The answer in place of the upstream's, to a client that `asked` with these fields.
    pub(super) async fn halted(&mut self, halt: Halt, asked: &HeaderMap) -> Reply {
        let reply = match halt {
            Halt::Reply(reply) => reply,
            Halt::Answered(reply, found) => {
                self.exchange.learn(*found);
                reply
            }
            Halt::Deny(denial, cause) => {
                self.exchange.note(denial.code(), cause);
                let id = self.exchange.id.as_str();
                let mut reply = denial.reply(id);
                self.gateway.pages.dress(&denial, id, asked, &mut reply);
                reply
            }
        };
        self.answered(reply.status.as_u16()).await;
        reply
    }

    /// Whether a slot is reserved by this exchange, whose answer tells the client of it.
    pub(super) fn holds_reservation(&self) -> bool {
        self.exchange.lease().is_some_and(Lease::is_reserved)
    }

    /// The answer has reached nobody: filters take back what it told of.
    pub(super) async fn went_unheard(&self) {
        if let Some(route) = self.route() {
            route.chain.failed(&self.exchange).await;
        }
    }

    /// Edits the head of an answer of the gateway's own to a client that `asked` with these fields,
    /// as far as a route is known whose filters say how.
    pub(super) fn finish(&self, asked: &HeaderMap, head: &mut ResponseHeader) {
        if let Some(route) = self.gateway.answering(&self.exchange) {
            route.chain.finish(Answer { asked, head, is_own: true }, &self.exchange);
        }
    }

    /// Has the answer bring the cookie of a sticky upstream, where the client has not got it.
    pub(super) fn stick(&self, head: &mut ResponseHeader) {
        let is_https = self.exchange.scheme == Scheme::HTTPS;
        let attempt = self.attempt.as_ref();
        if let Some(cookie) = attempt.and_then(|attempt| attempt.cookie(is_https)) {
            set_cookie(head, cookie);
        }
    }

    /// What broke is noted; the upstream and its endpoint, if it is theirs.
    pub(super) fn failed(&mut self, fault: &Fault) -> Option<(&str, Option<SocketAddr>)> {
        self.fault = Some(fault.message);
        self.bound = fault.bound;
        let attempt = self.attempt.as_mut().filter(|_| fault.is_upstreams)?;
        let endpoint = attempt.failed(fault.message);
        Some((attempt.upstream(), endpoint))
    }

    /// What it means that the client closes its side once its request is whole. One that begins a
    /// playback and is gone must give its slot back soon.
    pub(super) fn client_end(&self) -> ClientEnd {
        let holds_new_slot = self.exchange.lease().is_some_and(Lease::is_first);
        match () {
            () if self.is_tunnel => ClientEnd::Gone,
            () if holds_new_slot && !self.exchange.is_answered() => {
                ClientEnd::WaitsFor(START_CLOSED_MAX)
            }
            () => ClientEnd::Waits,
        }
    }

    /// Checks the head of an answer, and has it judged if that is awaited. An error: another answer
    /// takes its place.
    pub(super) async fn judge_answer(
        &mut self,
        asked: &RequestHeader,
        head: &ResponseHeader,
    ) -> pingora::Result<()> {
        answer::check(head)?;
        if !self.exchange.awaits_answer || head.status.is_informational() {
            return Ok(());
        }
        let exchange = &mut self.exchange;
        let judged = Box::pin(judge_answer(&self.gateway, asked.as_ref(), head, exchange)).await;
        exchange.awaits_answer = false;
        judged.or_else(|halt| {
            self.instead = Some(halt);
            Error::e_explain(ErrorType::Custom("replaced"), "another answer takes its place")
        })
    }

    /// Counts a piece of the request's body; refuses it if the body is too large or too slow.
    pub(super) fn received(&mut self, chunk: &Bytes, listener: &Listener) -> Result<(), Code> {
        self.request_bytes += chunk.len() as u64;
        let Some(route) = self.route().filter(|_| !self.is_tunnel) else { return Ok(()) };
        route.check_body(self.request_bytes)?;
        listener.check_body(self.request_bytes, self.exchange.began.elapsed())
    }

    /// Counts a piece of the answer.
    pub(super) fn count_sent(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
    }

    /// Whether the filters let the answer flow on.
    pub(super) fn may_go_on(&mut self) -> bool {
        let Some(route) = self.gateway.route_of(&self.exchange) else { return true };
        let said = route.chain.during(&self.exchange, &mut self.flow);
        if let Err(denial) = &said {
            self.exchange.note(denial.code(), Cause::Plain);
        }
        said.is_ok()
    }

    /// What is reported when the exchange is over.
    pub(super) fn ended<'a>(
        &'a self,
        downstream: &'a Downstream,
        listener: &'a Listener,
    ) -> Ended<'a> {
        let head = downstream.req_header();
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
            tls: edge::handshake(downstream).map(
                |Handshake { version, sni, credentials, .. }| Tls {
                    version,
                    sni,
                    client: credentials.identity.as_deref(),
                },
            ),
            head: head.as_ref(),
            is_peer_trusted: self.is_peer_trusted,
            path,
            status: sent.map_or(0, |sent| sent.status.as_u16()),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            upstream: self.attempt.as_ref().and_then(Attempt::endpoint),
            fault: self.fault,
            bound: self.bound,
        }
    }
}
