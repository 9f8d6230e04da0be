//! What is to be done with a request whose head has come: `judge` says it, of a head that can be
//! trusted to be the one that others would read.

use crate::denial::Denial;
use crate::edge::DownstreamStream;
use crate::exchange::{Cause, Exchange, InFlightLimit};
use crate::filter::Halt;
use crate::gateway::Gateway;
use crate::judge::{Verdict, judge};
use crate::request::head;
use pingora::proxy::Session as Downstream;

/// The verdict on a request for which there may be room.
pub(super) async fn of<'c>(
    downstream: &Downstream,
    has_room: bool,
    gateway: &'c Gateway,
    exchange: &mut Exchange,
) -> Result<Verdict<'c>, Halt> {
    if !has_room {
        return Err(overloaded(InFlightLimit::Gateway));
    }
    let written = downstream.req_header();
    let parts = written.as_ref();
    DownstreamStream::of(downstream).map_or(Ok(()), DownstreamStream::check_query)?;
    head::check_raw(parts, written.raw_path(), || downstream.to_h1_raw())?;
    judge(gateway, parts, exchange, None).await
}

/// The verdict where there is no room for a request.
pub(super) fn overloaded(limit: InFlightLimit) -> Halt {
    Halt::Deny(Denial::overloaded(), Cause::Full(limit))
}
