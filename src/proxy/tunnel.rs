//! Tunnels, as WebSockets are: the client asks for an upgrade, and the upstream answers with 101.

use pingora::http::ResponseHeader;
use pingora::proxy::Session as Downstream;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use std::time::Duration;

/// How long a tunnel may be silent.
const IDLE: Duration = Duration::from_secs(300);

/// Lets the upstream be silent for longer where the client asks for a tunnel.
pub(super) fn prepare(downstream: &Downstream, peer: &mut HttpPeer) {
    if downstream.is_upgrade_req() {
        peer.options.read_timeout = Some(IDLE);
    }
}

/// Returns whether the answer with this `head` opens a tunnel, and then lets the client be silent
/// for longer, too.
pub(super) fn begin(downstream: &mut Downstream, head: &ResponseHeader) -> Result<bool> {
    if head.status != http::StatusCode::SWITCHING_PROTOCOLS {
        return Ok(false);
    }
    if !downstream.is_upgrade_req() {
        let why = "101 that nobody asked for";
        return Err(Error::explain(ErrorType::InvalidHTTPHeader, why).into_up());
    }
    downstream.set_read_timeout(Some(IDLE));
    Ok(true)
}
