//! The judgement of one request: the route that it takes, what the route's filters say, and so
//! where it goes.
//!
//! It knows a head and what the exchange has learnt so far; it knows no connection, no body and no
//! proxy. So the same code judges a client's request, one that an operator asks about, and one that
//! is replayed from a log. The filters are really asked, each time: a stream that they let in takes
//! its slot.

use crate::denial::{Code, Reply};
use crate::exchange::{Exchange, Target};
use crate::filter::{FilterVerdict, Halt};
use crate::gateway::{End, Gateway, Route};
use crate::request::{Request, head};
use crate::route::Considered;
use crate::streams::Call;
use crate::upstream::{HashKey, Upstream};
use http::Method;
use http::request::Parts;
use http::uri::Scheme;
use pingora::http::ResponseHeader;
use std::borrow::Cow;
use std::sync::Arc;

/// Where a request goes that may pass.
#[derive(Debug)]
pub enum Verdict<'g> {
    /// To an upstream, with the target that the exchange holds.
    Proxy {
        /// The route that takes the request.
        route: &'g Arc<Route>,
        /// Where the route leads.
        upstream: &'g Arc<Upstream>,
    },
    /// To the streams API, which still needs the body.
    Streams(Call),
    /// Back to the client, who is sent elsewhere or answered by the route itself.
    Answer(Reply),
}

/// How a judgement came about, for people who ask.
#[derive(Debug, Default)]
pub struct Trace {
    /// Each route with the reason why it lost, the more specific first. Empty when the head was
    /// refused.
    pub routes: Vec<Considered>,
    /// Each filter that was asked, by its name in the file, and what it says.
    pub filters: Vec<(&'static str, FilterVerdict)>,
}

/// Judges the request with this `head`. What is found out stands in the `exchange` afterwards, also
/// when the request is refused; how it came about stands in the `trace`, if one is asked for.
pub async fn judge<'g>(
    gateway: &'g Gateway,
    head: &Parts,
    exchange: &mut Exchange,
    mut trace: Option<&mut Trace>,
) -> Result<Verdict<'g>, Halt> {
    let announced_bytes = head::check(head, exchange.head_sizes)?;
    let mut request = Request::read(head)?;
    request.is_https = exchange.scheme == Scheme::HTTPS;
    if gateway.takes_path_tokens {
        request.split_path_token();
        request.check_other_tickets()?;
    }
    let announced = preflight(gateway, &request);
    let found = match &announced {
        Some(method) => gateway.table.find_for(&request, method),
        None => gateway.table.find(&request),
    };
    let may_pass = found.as_ref().is_ok_and(|found| found.route.passes_encoded_slash);
    // Before the target is told: behind an encoded slash a stream's token may hide.
    request.check_encoded_slash(may_pass)?;
    exchange.target = target(&request);
    if let Some(trace) = &mut trace {
        let method = announced.as_ref().unwrap_or(request.method);
        trace.routes = gateway.table.considered(&request, method);
    }
    let found = found.inspect_err(|miss| exchange.missed(miss))?;
    exchange.enter(found.index);
    let route = found.route;
    if let Some(part) = route.capture {
        let text = found.captures.text(part, &request.path);
        exchange.capture = text.map(|text| HashKey::of(text.as_bytes()));
    }
    request.starts = &route.starts;
    let ticket = request.ticket_text().map(|text| gateway.open_ticket(text)).transpose()?;
    if ticket.is_some() && !route.takes_tickets {
        return Err(Code::TicketRefused.into());
    }
    request.ticket = ticket.as_ref();
    route.check_body(announced_bytes)?;
    let filters = trace.map(|trace| &mut trace.filters);
    route.chain.decide(&request, exchange, filters).await?;
    assert!(exchange.denied().is_none(), "who is refused does not pass");
    match &route.end {
        End::Upstream(upstream) => {
            let rewriting = route.rewriting.as_ref();
            exchange.asked = rewriting.and_then(|way| way.target(&request, &found.captures));
            Ok(Verdict::Proxy { route, upstream })
        }
        End::Redirect(target) => Ok(Verdict::Answer(target.reply(&request, &found.captures)?)),
        End::Respond(reply) => Ok(Verdict::Answer(reply.clone())),
        End::Streams(policy) => {
            let session = exchange.session().expect("compiled behind `session`");
            let token = || gateway.token_of(&request, session);
            Ok(Verdict::Streams(Call::read(&request, &found.captures, policy, session, token)?))
        }
    }
}

/// The method of the request that this one announces, if a route answers preflights of it.
fn preflight(gateway: &Gateway, request: &Request<'_>) -> Option<Method> {
    if !gateway.takes_preflights {
        return None;
    }
    let method = request.announced_method()?;
    let found = gateway.table.find_for(request, &method).ok()?;
    found.route.chain.takes_preflights().then_some(method)
}

/// Judges the head of the upstream's answer, where the request left open what it begins: a playlist
/// tells by its media type that it is one.
pub async fn judge_answer(
    gateway: &Gateway,
    head: &Parts,
    answer: &ResponseHeader,
    exchange: &mut Exchange,
) -> Result<(), Halt> {
    let Some(route) = gateway.route_of(exchange) else { return Ok(()) };
    // It was read before, without a token in front of it.
    let mut request = Request::read(head)?;
    request.starts = &route.starts;
    route.chain.decide_by_answer(&request, answer, exchange).await
}

/// The target as it was read, where that is not what the client wrote.
fn target(request: &Request<'_>) -> Target {
    let is_as_written = matches!(request.path, Cow::Borrowed(_)) && request.path_token.is_none();
    match request.query {
        _ if is_as_written => Target::AsWritten,
        None => Target::Rewritten(request.path.clone().into_owned()),
        Some(query) => Target::Rewritten(format!("{}?{query}", request.path)),
    }
}
