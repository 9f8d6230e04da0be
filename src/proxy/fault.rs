//! The world broke: which refusal the client gets, and what the operator reads of it.

use super::timeouts;
use crate::denial::Code;
use crate::edge::{self, SlowClient};
use pingora::proxy::Session as Downstream;
use pingora::{Error, ErrorSource, ErrorType};

/// A failure in words of ours.
pub(super) struct Fault {
    /// `None`: the client is gone.
    pub code: Option<Code>,
    pub message: &'static str,
    /// Whether the upstream is what broke.
    pub is_upstreams: bool,
    /// The bound on the client's time that has acted, by its name in the file.
    pub bound: Option<&'static str>,
}

/// No name of the upstream has led to an address so far.
pub(super) const UNRESOLVED: ErrorType = ErrorType::Custom("unresolved");

/// What has ended the exchange with this client.
pub(super) fn of(error: &Error, downstream: &Downstream, is_tunnel: bool) -> Fault {
    // The clock of the connection has ended it, whatever broke in the end.
    if timeouts::has_run_out(downstream) {
        return of_upstream(&ErrorType::ReadTimedout);
    }
    match edge::slow_reader(downstream) {
        Some(slow) => of_reader(slow),
        None => of_error(error, is_tunnel),
    }
}

/// A fault that is not the upstream's.
const fn fault(code: Option<Code>, message: &'static str) -> Fault {
    Fault { code, message, is_upstreams: false, bound: None }
}

fn of_reader(slow: SlowClient) -> Fault {
    let (message, bound) = match slow {
        SlowClient::Stalled => ("the client took no bytes", "write_timeout"),
        SlowClient::Slow => ("the client took its answer too slowly", "write_rate"),
    };
    Fault { bound: Some(bound), ..fault(None, message) }
}

/// A body that is not here in time.
fn of_body(message: &'static str, bound: &'static str) -> Fault {
    Fault { bound: Some(bound), ..fault(Some(Code::RequestTimeout), message) }
}

/// Reads Pingora's error. Its own text is not repeated: it may hold what a client sent. Silence in
/// a tunnel is nobody's fault.
pub(super) fn of_error(error: &Error, is_tunnel: bool) -> Fault {
    use ErrorType as T;
    match error.etype() {
        T::ReadTimedout if is_tunnel => return fault(None, "the tunnel was silent for too long"),
        T::HTTPStatus(413) => {
            return fault(Some(Code::BodyTooLarge), "the request's body is too large");
        }
        T::HTTPStatus(408) => return of_body("the request's body came too slowly", "body_rate"),
        _ => {}
    }
    match error.esource() {
        ErrorSource::Upstream if *error.etype() == T::TLSHandshakeFailure => of_handshake(error),
        ErrorSource::Upstream => of_upstream(error.etype()),
        ErrorSource::Downstream => match error.etype() {
            T::ReadTimedout => of_body("the request's body stalled", "body_timeout"),
            T::WriteTimedout => of_reader(SlowClient::Stalled),
            T::ReadError | T::WriteError | T::ConnectionClosed | T::H2Error => {
                fault(None, "the client went away")
            }
            _ => fault(Some(Code::RequestMalformed), "the request is malformed"),
        },
        ErrorSource::Internal | ErrorSource::Unset => match error.etype() {
            T::ConnectError => of_upstream(error.etype()),
            kind if *kind == UNRESOLVED => Fault {
                code: Some(Code::UpstreamUnreachable),
                message: "none of the upstream's names has an address yet",
                is_upstreams: true,
                bound: None,
            },
            T::Custom("stopped") => fault(None, "the stream was ended while it was answered"),
            _ => fault(Some(Code::GatewayFault), "the gateway failed"),
        },
    }
}

/// Why there is no TLS with an upstream. Pingora keeps no more of it than the library's words; a
/// test has each of them.
fn of_handshake(error: &Error) -> Fault {
    const WORDS: [(&str, &str); 5] = [
        ("certificate expired", "its certificate has expired"),
        ("certificate not valid yet", "its certificate is not valid yet"),
        ("certificate not valid for name", "its certificate is for another name"),
        ("UnknownIssuer", "its certificate is signed by an unknown authority"),
        ("", "its certificate is not good"),
    ];
    let said = error.to_string();
    let about = said.split_once("invalid peer certificate: ").map(|(_, about)| about);
    let message = about.and_then(|about| {
        let mut all = WORDS.iter();
        all.find(|(begins, _)| about.starts_with(begins)).map(|(_, message)| *message)
    });
    let message = message.unwrap_or("no TLS with it");
    Fault { is_upstreams: true, ..fault(Some(Code::UpstreamUnreachable), message) }
}

fn of_upstream(kind: &ErrorType) -> Fault {
    use ErrorType as T;
    let (code, message) = match kind {
        T::ConnectTimedout => (Code::UpstreamUnreachable, "no connection in time"),
        T::ConnectRefused => (Code::UpstreamUnreachable, "connection refused"),
        T::ConnectNoRoute | T::ConnectError | T::ConnectProxyFailure | T::SocketError => {
            (Code::UpstreamUnreachable, "no connection")
        }
        T::ReadTimedout => (Code::UpstreamTimeout, "no bytes in time"),
        T::WriteTimedout => (Code::UpstreamTimeout, "took no bytes in time"),
        T::ConnectionClosed | T::ReadError | T::WriteError => {
            (Code::UpstreamInvalid, "closed the connection early")
        }
        _ => (Code::UpstreamInvalid, "no valid answer"),
    };
    Fault { is_upstreams: true, ..fault(Some(code), message) }
}
