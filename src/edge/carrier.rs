//! What carries a request: over HTTP/1 its connection, over HTTP/2 its stream. The proxy asks here,
//! whichever it is.

use super::answer_clock::AnswerClock;
use super::downstream::DownstreamStream;
use super::h2::ExchangeState;
use super::reader_pace::SlowClient;
use super::transport::Handshake;
use pingora::proxy::Session as Downstream;

/// The clock of the request that Pingora has read, however it came.
pub fn answer_clock(downstream: &Downstream) -> Option<&AnswerClock> {
    match DownstreamStream::of(downstream) {
        Some(stream) => Some(&stream.answer_clock),
        None => ExchangeState::of(downstream).map(|state| &state.answer_clock),
    }
}

/// How the client was too slow to take its answer, if it was.
pub fn slow_reader(downstream: &Downstream) -> Option<SlowClient> {
    match DownstreamStream::of(downstream) {
        Some(stream) => stream.slow_reader(),
        None => ExchangeState::of(downstream).and_then(ExchangeState::slow_reader),
    }
}

/// What client and gateway agreed on, where the request that Pingora has read came by TLS.
pub fn handshake(downstream: &Downstream) -> Option<Handshake<'_>> {
    match DownstreamStream::of(downstream) {
        Some(stream) => stream.handshake(),
        None => ExchangeState::of(downstream).and_then(ExchangeState::handshake),
    }
}
