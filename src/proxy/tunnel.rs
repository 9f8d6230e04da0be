//! Tunnels, as WebSockets are: the client asks for an upgrade on a route with `websocket: true`,
//! and the upstream answers with 101. On every other route an `Upgrade` ends at the gateway.

use crate::gateway::Route;
use http::header;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session as Downstream;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::{Error, ErrorType, Result};
use std::time::Duration;

/// Whether the client asks for a tunnel where it may have one.
pub(super) fn is_asked(downstream: &Downstream, route: &Route) -> bool {
    route.websocket && downstream.is_upgrade_req() && is_websocket(downstream.req_header())
}

fn is_websocket(head: &RequestHeader) -> bool {
    let upgrade = head.headers.get(header::UPGRADE);
    upgrade.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Lets an `Upgrade` end here that opens no tunnel.
pub(super) fn prepare(downstream: &Downstream, route: &Route, peer: &mut HttpPeer) {
    if !is_asked(downstream, route) {
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    }
}

/// Returns whether the answer with this `head` opens a tunnel, and then lets the client be silent
/// for so long, too.
pub(super) fn begin(
    downstream: &mut Downstream,
    route: Option<&Route>,
    head: &ResponseHeader,
    idle: Duration,
) -> Result<bool> {
    if head.status != http::StatusCode::SWITCHING_PROTOCOLS {
        return Ok(false);
    }
    if !route.is_some_and(|route| is_asked(downstream, route)) {
        let why = "101 that nobody asked for";
        return Err(Error::explain(ErrorType::InvalidHTTPHeader, why).into_up());
    }
    downstream.set_read_timeout(Some(idle));
    Ok(true)
}
