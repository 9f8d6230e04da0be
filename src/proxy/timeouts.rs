//! The timeouts towards one client. They are set anew for each request, because Pingora forgets
//! them when a connection is used again.

use super::tunnel;
use crate::edge::{self, AnswerClock, ClientEnd, DownstreamStream, Listener};
use crate::gateway::Route;
use crate::upstream::Attempt;
use http::{Version, header};
use pingora::protocols::ALPN;
use pingora::proxy::Session as Downstream;
use pingora::upstreams::peer::HttpPeer;
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
    if downstream.req_header().headers.contains_key(header::EXPECT) {
        if downstream.req_header().version < Version::HTTP_11 {
            // It is not meant for HTTP/1.0, which knows no interim answers (RFC 9110 §10.1.1).
            downstream.req_header_mut().remove_header(&header::EXPECT);
            return;
        }
        // Pingora takes an interim answer for one that came before the body, and would close.
        let downstream = downstream.as_downstream_mut();
        downstream.set_close_on_response_before_downstream_finish(false);
        downstream.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
    }
}

/// Says what it means that the client closes its side. Who does so in the middle of a request is
/// gone.
pub(super) fn at_end(downstream: &mut Downstream, meaning: ClientEnd) {
    let is_whole = downstream.as_downstream_mut().is_body_done();
    if let Some(stream) = DownstreamStream::of(downstream) {
        stream.at_end(if is_whole { meaning } else { ClientEnd::Gone });
    }
}

/// No connection and no answer is waited for less.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// The clock of a connection ends the whole exchange, so it rings so much later than the timeout
/// after which another endpoint may be asked. It is for heads that come byte by byte.
const CLOCK_LATER: Duration = Duration::from_secs(1);

/// How long an upstream may keep a client waiting.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    /// For each pause of the answer, and of the request.
    read: Duration,
    /// Until the head of the answer is whole.
    until_head: Duration,
    /// For a tunnel in which nobody says anything.
    pub(super) tunnel: Duration,
    /// Pingora was told to wait for longer: the pauses, too, are the clock's matter.
    is_left_to_clock: bool,
}

/// Sets what `peer` may take for one request. Pingora has one timeout for an answer and for the
/// tunnel that it may open; and over HTTP/2 it counts from the beginning of a request, whose body
/// may take longer to come. There the clock of the client's connection takes its place.
pub(super) fn prepare(
    downstream: &Downstream,
    route: &Route,
    attempt: &Attempt,
    peer: &mut HttpPeer,
) -> Patience {
    tunnel::prepare(downstream, route, peer);
    let (left, tunnel) = (attempt.time_left(), attempt.tunnel_idle());
    let options = &mut peer.options;
    let read = route.read_timeout.or(options.read_timeout);
    let read = read.expect("the template of a peer sets every timeout");
    let until_head = left.map_or(read, |left| left.clamp(TIMEOUT_MIN, read));
    if let Some(left) = left {
        let connect = options.total_connection_timeout.unwrap_or(left);
        let connect = Some(left.clamp(TIMEOUT_MIN, connect));
        (options.connection_timeout, options.total_connection_timeout) = (connect, connect);
    }
    let is_tunnel = tunnel::is_asked(downstream, route);
    // With ALPN nobody knows yet.
    let is_h2 = options.alpn != ALPN::H1;
    let is_left_to_clock = (is_tunnel || is_h2) && clock(downstream).is_some();
    options.read_timeout = match is_left_to_clock {
        true if is_tunnel => Some(tunnel),
        true => None,
        // Pingora's own comes first: after that, another endpoint may be asked.
        false => Some(until_head),
    };
    let until_head = if is_left_to_clock { until_head } else { until_head + CLOCK_LATER };
    Patience { read, until_head, tunnel, is_left_to_clock }
}

/// The request begins to be sent, and the head of its answer is waited for.
pub(super) fn await_head(downstream: &Downstream, patience: Patience) {
    if let Some(clock) = clock(downstream) {
        clock.wait_for_head(patience.until_head);
    }
}

/// A part of the request is sent: the head of the answer has this time again.
pub(super) fn request_goes_on(downstream: &Downstream, patience: Patience) {
    if let Some(clock) = clock(downstream) {
        clock.request_goes_on(patience.until_head);
    }
}

/// The head of the answer is here. The pauses behind it are Pingora's matter, or the clock's.
pub(super) fn answer_begins(downstream: &Downstream, patience: Patience) {
    match clock(downstream) {
        Some(clock) if patience.is_left_to_clock => clock.wait_for_more(patience.read),
        Some(clock) => clock.stop(),
        None => {}
    }
}

/// Whether the upstream has let the client wait for too long. It is not asked again: what is read
/// from the client afterwards is not the upstream's matter.
pub(super) fn has_run_out(downstream: &Downstream) -> bool {
    let Some(clock) = clock(downstream) else { return false };
    let has_run_out = clock.has_run_out();
    clock.stop();
    has_run_out
}

/// Whether the clock has ended the exchange.
pub(super) fn ran_out(downstream: &Downstream) -> bool {
    clock(downstream).is_some_and(AnswerClock::has_run_out)
}

/// The exchange is over.
pub(super) fn end(downstream: &Downstream) {
    if let Some(clock) = clock(downstream) {
        clock.stop();
    }
}

fn clock(downstream: &Downstream) -> Option<&AnswerClock> {
    edge::answer_clock(downstream)
}

/// Called when an answer begins. It is the last on its connection if it ends with it, and while the
/// gateway stops.
pub(super) fn end_if_last(downstream: &mut Downstream, is_last: bool) {
    if is_last || downstream.is_process_shutting_down() {
        downstream.set_keepalive(None);
    }
}
