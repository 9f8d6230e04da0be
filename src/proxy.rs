//! The conductor: each of Pingora's phases asks a part of the house and acts on the answer.
//!
//! It decides nothing. What is refused and why, which upstream, which header fields: all that is
//! asked for here and known elsewhere.

mod context;
mod fault;
mod forward;
mod respond;
mod timeouts;

pub use context::Ctx;

use crate::denial::{Code, Denial, Reply};
use crate::edge::{self, Client, Listener};
use crate::filter::Halt;
use crate::gateway::{End, Gateway};
use crate::observe::{Event, Observe};
use crate::request::{Request, head};
use crate::streams::Call;
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
    live: Arc<ArcSwap<Gateway>>,
    observe: Observe,
    listener: Arc<Listener>,
}

/// Where a request goes that was let pass.
enum Onward {
    Upstream,
    Streams(Call),
}

impl Proxy {
    pub fn new(live: Arc<ArcSwap<Gateway>>, observe: Observe, listener: Arc<Listener>) -> Self {
        Proxy { live, observe, listener }
    }

    /// Route and filters: the whole judgement of one request.
    async fn judge(
        &self,
        written: &RequestHeader,
        raw: impl FnOnce() -> Bytes,
        ctx: &mut Ctx,
    ) -> Result<Onward, Halt> {
        let parts = written.as_ref();
        let announced_bytes = head::check(parts, written.raw_path(), raw)?;
        let mut request = Request::read(parts)?;
        let gateway = Arc::clone(&ctx.gateway);
        if gateway.takes_path_tokens {
            request.split_path_token();
        }
        ctx.understood(&request, written);
        let (route, captures) = gateway.table.find(&request)?;
        ctx.enter(route);
        if announced_bytes > route.body_bytes_max {
            return Err(Code::BodyTooLarge.into());
        }
        route.chain.decide(&request, &mut ctx.exchange).await?;
        match &route.end {
            End::Upstream(_) => Ok(Onward::Upstream),
            End::Redirect(target) => Err(Halt::Reply(target.reply(&request, &captures))),
            End::Streams(policy) => {
                let session = ctx.exchange.session().expect("compiled behind `session`");
                let call = Call::read(&request, &captures, policy, session)?;
                Ok(Onward::Streams(call))
            }
        }
    }

    async fn answer_call(&self, call: Call, downstream: &mut Downstream) -> Result<Reply, Halt> {
        let within = self.listener.body_timeout;
        let body = respond::read_body(downstream, Call::BODY_BYTES_MAX, within).await?;
        call.answer(&body).await
    }

    async fn halt(&self, halt: Halt, downstream: &mut Downstream, ctx: &mut Ctx) -> Result<bool> {
        let reply = match halt {
            Halt::Reply(reply) => reply,
            Halt::Settled(reply, found) => {
                ctx.exchange.learn(*found);
                reply
            }
            Halt::Deny(denial, cause) => {
                ctx.exchange.note(denial.code(), cause);
                denial.reply(ctx.exchange.id.as_str())
            }
        };
        ctx.count_sent(reply.body.len());
        respond::send(downstream, reply).await?;
        Ok(true)
    }
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
        edge::head_was_read();
        let client = Client::of(downstream);
        (ctx.exchange.client, ctx.exchange.scheme) = (client.address, client.scheme);
        timeouts::begin(downstream, &self.listener);
        Ok(())
    }

    async fn request_filter(
        &self,
        downstream: &mut Downstream,
        ctx: &mut Box<Ctx>,
    ) -> Result<bool> {
        let head = downstream.req_header();
        let judged = self.judge(head, || downstream.to_h1_raw(), ctx).await;
        let (route, took) = (ctx.route_metrics(), ctx.exchange.began.elapsed());
        self.observe.emit(&Event::RequestDecided { route, took });
        let halt = match judged {
            Ok(Onward::Upstream) => return Ok(false),
            // Boxed: rare, and too large to lie in every request's future.
            Ok(Onward::Streams(call)) => match Box::pin(self.answer_call(call, downstream)).await {
                Ok(reply) => Halt::Reply(reply),
                Err(halt) => halt,
            },
            Err(halt) => halt,
        };
        self.halt(halt, downstream, ctx).await
    }

    async fn upstream_peer(
        &self,
        downstream: &mut Downstream,
        ctx: &mut Box<Ctx>,
    ) -> Result<Box<HttpPeer>> {
        let Some(mut peer) = ctx.next_peer() else {
            return Error::e_explain(ErrorType::ConnectError, "no endpoint is left");
        };
        if downstream.is_upgrade_req() {
            peer.options.read_timeout = Some(timeouts::TUNNEL_IDLE);
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
        ctx.endpoint_refused();
        if ctx.may_try_another() {
            self.observe.emit(&Event::UpstreamRetried { upstream: ctx.upstream_name() });
            error.set_retry(true);
        }
        error
    }

    async fn upstream_request_filter(
        &self,
        _downstream: &mut Downstream,
        head: &mut RequestHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        let Some(route) = &ctx.route else { return Ok(()) };
        if let Some(target) = ctx.target() {
            head.set_raw_path(target.as_bytes())?;
        }
        forward::edit(head, |fields| {
            forward::prepare(fields, &ctx.exchange);
            let gateway = &ctx.gateway;
            match route.forward_token {
                true => forward::strip_token(fields, &gateway.stream_cookies, false),
                false => {
                    let is_verified = ctx.exchange.session().is_some();
                    forward::strip_token(fields, &gateway.token_cookies, is_verified);
                }
            }
            if gateway.takes_path_tokens {
                forward::strip_referer(fields);
            }
            route.chain.upstream_request(fields, &ctx.exchange);
        });
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _downstream: &mut Downstream,
        body: &mut Option<Bytes>,
        _end: bool,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        let received = ctx.receive(body.as_ref(), &self.listener);
        received.or_else(|code| Error::e_explain(ErrorType::HTTPStatus(code.status()), "the body"))
    }

    async fn upstream_response_filter(
        &self,
        downstream: &mut Downstream,
        head: &mut ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        if let Some(took) = ctx.upstream_began(head.status.as_u16()) {
            let (route, status) = (ctx.route_metrics(), head.status.as_u16());
            self.observe.emit(&Event::UpstreamAnswered { route, status, took });
        }
        if head.status != http::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        if !downstream.is_upgrade_req() {
            let why = "101 that nobody asked for";
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, why).into_up());
        }
        ctx.is_tunnel = true;
        timeouts::begin_tunnel(downstream);
        Ok(())
    }

    async fn response_filter(
        &self,
        downstream: &mut Downstream,
        head: &mut ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        let asked = downstream.req_header();
        forward::back(head, asked.version);
        if let Some(route) = &ctx.route {
            route.chain.response(&asked.headers, head, &ctx.exchange);
        }
        timeouts::end_if_stopping(downstream);
        Ok(())
    }

    fn response_body_filter(
        &self,
        _downstream: &mut Downstream,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Box<Ctx>,
    ) -> Result<Option<Duration>> {
        match ctx.send(body.as_ref(), end) {
            Ok(()) => Ok(None),
            Err(denial) => {
                ctx.exchange.note(denial.code(), crate::exchange::Cause::Plain);
                Error::e_explain(ErrorType::Custom("stopped"), "the stream was ended")
            }
        }
    }

    async fn fail_to_proxy(
        &self,
        downstream: &mut Downstream,
        error: &Error,
        ctx: &mut Box<Ctx>,
    ) -> FailToProxy {
        let fault = fault::of(error);
        ctx.fault = Some(fault.told);
        if fault.is_upstreams
            && let Some((upstream, endpoint)) = ctx.endpoint()
        {
            self.observe.emit(&Event::UpstreamFailed { upstream, endpoint, why: fault.told });
        }
        let mut status = 0;
        if let Some(code) = fault.code.filter(|_| downstream.response_written().is_none()) {
            ctx.exchange.note(code, crate::exchange::Cause::Plain);
            status = code.status();
            downstream.set_keepalive(None);
            let reply = Denial::from(code).reply(ctx.exchange.id.as_str());
            // The client may be gone; then nobody is left to be told.
            let _ = respond::send(downstream, reply).await;
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
        let listener = (self.listener.number, &*self.listener.name);
        self.observe.emit(&Event::ExchangeEnded(&ctx.ended(downstream, listener)));
    }
}
