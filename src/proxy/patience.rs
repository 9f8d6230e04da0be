//! How long Pingora waits for one client: told anew for every request, because Pingora forgets it.

use crate::edge::Listener;
use http::header;
use pingora::proxy::Session as Downstream;
use std::time::Duration;

/// How long the rest of a body is waited for that its upstream did not want.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a tunnel (WebSocket) may be silent.
pub(super) const TUNNEL_IDLE: Duration = Duration::from_secs(300);

/// A request began.
pub(super) fn begin(downstream: &mut Downstream, listener: &Listener) {
    // Off already: the client wants to close, the gateway stops, or the framing is doubtful.
    if downstream.get_keepalive().is_some() {
        downstream.set_keepalive(Some(listener.idle_timeout.as_secs().max(1)));
    }
    downstream.set_read_timeout(Some(listener.body_timeout));
    downstream.set_write_timeout(Some(listener.write_timeout));
    if downstream.req_header().headers.contains_key(header::EXPECT) {
        // Pingora takes an interim answer for one that came before the body, and would close.
        let downstream = downstream.as_downstream_mut();
        downstream.set_close_on_response_before_downstream_finish(false);
        downstream.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
    }
}

/// An answer begins: while the gateway stops, it is the last on its connection.
pub(super) fn end_if_stopping(downstream: &mut Downstream) {
    if downstream.is_process_shutting_down() {
        downstream.set_keepalive(None);
    }
}

/// The upstream made a tunnel of it.
pub(super) fn begin_tunnel(downstream: &mut Downstream) {
    downstream.set_read_timeout(Some(TUNNEL_IDLE));
}
