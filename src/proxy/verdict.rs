//! What is to be done with a request whose head has come: `judge` says it, of a head that can be
//! trusted to be the one that others would read.

use super::belonging;
use crate::acme;
use crate::denial::{Code, Denial, Reply};
use crate::edge::{self, DownstreamStream, Handshake, Listener};
use crate::exchange::{Cause, Exchange, InFlightLimit, Room};
use crate::filter::Halt;
use crate::gateway::Gateway;
use crate::judge::{Verdict, judge};
use crate::request::{Request, head};
use crate::upstream::{Attempt, Refusal, RequestClass, Upstream};
use http::StatusCode;
use http::request::Parts;
use pingora::http::RequestHeader;
use pingora::proxy::Session as Downstream;
use std::sync::Arc;

/// The verdict on a request for which there may be room.
pub(super) async fn of<'c>(
    downstream: &Downstream,
    listener: &Listener,
    gateway: &'c Gateway,
    exchange: &mut Exchange,
) -> Result<Verdict<'c>, Halt> {
    if exchange.room == Room::None {
        return Err(overloaded(InFlightLimit::Gateway));
    }
    let written = downstream.req_header();
    let parts = written.as_ref();
    DownstreamStream::of(downstream).map_or(Ok(()), DownstreamStream::check_query)?;
    let sizes = exchange.head_sizes;
    head::check_raw(parts, sizes, written.raw_path(), || downstream.to_h1_raw())?;
    if listener.tls.is_none()
        && acme::is_awaited(parts.uri.path())
        // In a box: no other request's future is larger for it.
        && let Some(proof) = Box::pin(acme::answer(parts.uri.path())).await
    {
        return Err(Halt::Reply(Reply::new(StatusCode::OK).text(proof)));
    }
    if listener.asks_clients() {
        enter_client(edge::handshake(downstream), listener, parts, exchange)?;
    }
    let verdict = judge(gateway, parts, exchange, None).await?;
    // Those who play are the last to be refused.
    if exchange.room == Room::HoldersOnly && exchange.lease().is_none() {
        return Err(overloaded(InFlightLimit::Others));
    }
    Ok(verdict)
}

/// Enters who the client is by its certificate, on a connection that may carry its request.
fn enter_client(
    handshake: Option<Handshake<'_>>,
    listener: &Listener,
    parts: &Parts,
    exchange: &mut Exchange,
) -> Result<(), Denial> {
    head::check(parts, exchange.head_sizes)?;
    let host = Request::read(parts)?.host;
    let handshake = handshake.filter(|handshake| listener.admits(handshake, &host));
    let handshake = handshake.ok_or(Code::Misdirected)?;
    exchange.client_identity.clone_from(&handshake.credentials.identity);
    Ok(())
}

/// Begins to ask an upstream, if it takes requests.
pub(super) fn attempt(
    upstream: &Arc<Upstream>,
    exchange: &Exchange,
    head: &RequestHeader,
) -> Result<Attempt, Halt> {
    let class = || class(exchange);
    let begun = upstream.attempt(class, |key| belonging::of(key, exchange, head));
    begun.map_err(|refusal| match refusal {
        Refusal::Full => overloaded(InFlightLimit::Upstream),
        Refusal::Open(left) => Denial::upstream_unavailable(left).into(),
    })
}

/// What the request is to others that are asked of the same upstream.
fn class(exchange: &Exchange) -> RequestClass {
    match exchange.lease() {
        Some(lease) if lease.is_first() => RequestClass::Start,
        Some(_) => RequestClass::Playing,
        None => RequestClass::Other,
    }
}

/// The verdict where there is no room for a request.
pub(super) fn overloaded(limit: InFlightLimit) -> Halt {
    Halt::Deny(Denial::overloaded(), Cause::Full(limit))
}
