//! The timeouts towards one client. They are set anew for each request, because Pingora forgets
//! them when a connection is used again.

use crate::edge::Listener;
use http::header;
use pingora::proxy::Session as Downstream;
use std::time::Duration;

/// How long the gateway reads on when an upstream has answered and the body has not ended.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Sets them when a request begins.
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

/// Called when an answer begins: while the gateway stops, it is the last on its connection.
pub(super) fn end_if_stopping(downstream: &mut Downstream) {
    if downstream.is_process_shutting_down() {
        downstream.set_keepalive(None);
    }
}
