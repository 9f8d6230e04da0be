//! The conductor: each of Pingora's phases asks a part of the house and acts on the answer.
//!
//! It decides nothing. What is refused and why, which upstream, which header fields: all that is
//! asked for here and known elsewhere.

mod again;
mod answer;
mod belonging;
mod context;
mod fault;
mod forward;
mod respond;
mod timeouts;
mod tunnel;
mod verdict;

pub use context::Ctx;

use crate::edge::{self, InFlight, Listener};
use crate::filter::Halt;
use crate::gateway::Gateway;
use crate::judge::Verdict;
use crate::observe::{Event, Observe};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session as Downstream};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use std::sync::Arc;
use std::time::Duration;

/// One listener's proxy.
pub struct Proxy {
    /// The configuration that new requests begin with.
    pub live: Arc<ArcSwap<Gateway>>,
    /// Where it is reported what happened.
    pub observe: Observe,
    /// Whose connections they are.
    pub listener: Arc<Listener>,
    /// All requests under way.
    pub in_flight: InFlight,
}

#[async_trait]
impl ProxyHttp for Proxy {
    // Boxed, because Pingora moves it from one large future into the next.
    type CTX = Box<Ctx>;

    fn new_ctx(&self) -> Box<Ctx> {
        Box::new(Ctx::new(self.live.load_full()))
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {
        // None: Pingora's default is a compression that is off, and asked four times per request.
    }

    async fn early_request_filter(
        &self,
        downstream: &mut Downstream,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        let opened = edge::head_was_read(&self.in_flight);
        let number = self.listener.underscores.apply(downstream.req_header_mut());
        if number != 0 {
            self.observe.emit(&Event::FieldsDropped { listener: &self.listener.name, number });
        }
        let host = ctx.open(&opened, &downstream.req_header().headers, &self.listener);
        forward::rehost(downstream.req_header_mut(), host)?;
        timeouts::begin(downstream, &self.listener);
        Ok(())
    }

    async fn request_filter(
        &self,
        downstream: &mut Downstream,
        ctx: &mut Box<Ctx>,
    ) -> Result<bool> {
        let ctx = &mut **ctx;
        let (listener, exchange) = (&self.listener, &mut ctx.exchange);
        let judged = verdict::of(downstream, listener, &ctx.gateway, exchange).await;
        let (route, took) = (ctx.route_metrics(), ctx.exchange.began.elapsed());
        self.observe.emit(&Event::RequestDecided { route, took });
        let halt = match judged {
            Ok(Verdict::Proxy { upstream, .. }) => {
                match verdict::attempt(upstream, &ctx.exchange, downstream.req_header()) {
                    Ok(attempt) => {
                        ctx.attempt = Some(attempt);
                        return Ok(false);
                    }
                    Err(halt) => halt,
                }
            }
            Ok(Verdict::Answer(reply)) => Halt::Reply(reply),
            // Boxed: rare, and too large to lie in every request's future.
            Ok(Verdict::Streams(call)) => {
                let answered = respond::to_call(downstream, call, self.listener.body_timeout);
                Box::pin(answered).await.map_or_else(|halt| halt, Halt::Reply)
            }
            Err(halt) => halt,
        };
        respond::with(downstream, ctx, halt).await?;
        Ok(true)
    }

    async fn upstream_peer(
        &self,
        downstream: &mut Downstream,
        ctx: &mut Box<Ctx>,
    ) -> Result<Box<HttpPeer>> {
        let Some(mut peer) = ctx.next_peer().await else {
            return Err(ctx.no_peer());
        };
        if let (Some(route), Some(attempt)) = (ctx.route(), &ctx.attempt) {
            ctx.patience = timeouts::prepare(downstream, route, attempt, &mut peer);
        }
        Ok(peer)
    }

    fn fail_to_connect(
        &self,
        _downstream: &mut Downstream,
        _peer: &HttpPeer,
        ctx: &mut Box<Ctx>,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if let Some(attempt) = &mut ctx.attempt
            && attempt.refused()
        {
            self.observe.emit(&Event::UpstreamRetried { upstream: attempt.upstream() });
            error.set_retry(true);
        }
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        downstream: &mut Downstream,
        mut error: Box<Error>,
        ctx: &mut Box<Ctx>,
        is_kept: bool,
    ) -> Box<Error> {
        again::decide(downstream, &mut error, ctx, (is_kept, &self.observe));
        error
    }

    async fn upstream_request_filter(
        &self,
        downstream: &mut Downstream,
        head: &mut RequestHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        timeouts::await_head(downstream, ctx.patience);
        timeouts::at_end(downstream, ctx.client_end());
        match ctx.route() {
            Some(route) => {
                let asked = downstream.req_header();
                forward::request(head, &ctx.gateway, route, &ctx.exchange, asked)
            }
            None => Ok(()),
        }
    }

    async fn request_body_filter(
        &self,
        downstream: &mut Downstream,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        timeouts::request_goes_on(downstream, ctx.patience);
        if end {
            timeouts::at_end(downstream, ctx.client_end());
        }
        let checked = body.as_ref().map_or(Ok(()), |chunk| ctx.received(chunk, &self.listener));
        checked.or_else(|code| Error::e_explain(ErrorType::HTTPStatus(code.status()), "the body"))
    }

    async fn upstream_response_filter(
        &self,
        downstream: &mut Downstream,
        head: &mut ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        let status = head.status.as_u16();
        if let Some(took) = ctx.attempt.as_mut().and_then(|attempt| attempt.answered(status)) {
            let route = ctx.route_metrics();
            self.observe.emit(&Event::UpstreamAnswered { route, status, took });
        }
        let ctx = &mut **ctx;
        ctx.judge_answer(downstream.req_header(), head).await?;
        let route = ctx.gateway.route_of(&ctx.exchange);
        let (route, idle) = (route.map(|route| &**route), ctx.patience.tunnel);
        ctx.is_tunnel = tunnel::begin(downstream, route, head, idle)?;
        if ctx.is_tunnel {
            timeouts::end(downstream);
        } else if head.status.is_informational() {
            answer::announce(downstream);
        } else {
            timeouts::answer_begins(downstream, ctx.patience);
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        downstream: &mut Downstream,
        head: &mut ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        ctx.answered(head.status.as_u16()).await;
        let asked = downstream.req_header();
        answer::back(head, asked.version);
        ctx.stick(head);
        if let Some(route) = ctx.route() {
            route.chain.response(&asked.headers, head, &ctx.exchange);
        }
        let is_last = answer::ends_with_connection(head, asked);
        timeouts::end_if_last(downstream, is_last);
        timeouts::at_end(downstream, ctx.client_end());
        Ok(())
    }

    fn response_body_filter(
        &self,
        _downstream: &mut Downstream,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Box<Ctx>,
    ) -> Result<Option<Duration>> {
        ctx.count_sent(body.as_ref().map_or(0, Bytes::len));
        match end || ctx.may_go_on() {
            true => Ok(None),
            false => Error::e_explain(ErrorType::Custom("stopped"), "the stream was ended"),
        }
    }

    async fn fail_to_proxy(
        &self,
        downstream: &mut Downstream,
        error: &Error,
        ctx: &mut Box<Ctx>,
    ) -> FailToProxy {
        if ctx.instead.is_none() {
            let fault = fault::of(error, downstream, ctx.is_tunnel);
            if let Some((upstream, endpoint)) = ctx.failed(&fault) {
                let why = fault.message;
                self.observe.emit(&Event::UpstreamFailed { upstream, endpoint, why });
            }
            let has_begun = downstream.response_written().is_some_and(answer::is_final);
            ctx.instead = fault.code.filter(|_| !has_begun).map(Halt::from);
        }
        let mut status = 0;
        if let Some(halt) = ctx.instead.take() {
            downstream.set_keepalive(None);
            status = respond::with(downstream, ctx, halt).await.unwrap_or_default();
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _: &Downstream, _: &Box<Ctx>, _: &Error) -> bool {
        // `observe` tells it, without what a client sent.
        true
    }

    fn request_summary(&self, _: &Downstream, ctx: &Box<Ctx>) -> String {
        // Pingora's own holds the path as it came, and with it a stream's token.
        ctx.exchange.id.as_str().to_owned()
    }

    async fn logging(&self, downstream: &mut Downstream, _: Option<&Error>, ctx: &mut Box<Ctx>) {
        ctx.answered(0).await;
        timeouts::end(downstream);
        self.observe.emit(&Event::ExchangeEnded(&ctx.ended(downstream, &self.listener)));
    }
}
