//! The world broke: which refusal the client gets, and what the operator reads of it.

use crate::denial::Code;
use pingora::{Error, ErrorSource, ErrorType};

/// A failure in words of ours.
pub(super) struct Fault {
    /// `None`: the client is gone.
    pub code: Option<Code>,
    pub message: &'static str,
    /// Whether the upstream is what broke.
    pub is_upstreams: bool,
}

/// No name of the upstream has led to an address so far.
pub(super) const UNRESOLVED: ErrorType = ErrorType::Custom("unresolved");

/// Reads Pingora's error. Its own text is not repeated: it may hold what a client sent. With
/// `too_late` the clock of the upstream's connection ran out, whatever broke in the end. Silence in
/// a tunnel is nobody's fault.
pub(super) fn of(error: &Error, too_late: bool, is_tunnel: bool) -> Fault {
    use ErrorType as T;
    if too_late {
        return of_upstream(&T::ReadTimedout);
    }
    let fault = |code, message| Fault { code, message, is_upstreams: false };
    match error.etype() {
        T::ReadTimedout if is_tunnel => return fault(None, "the tunnel was silent for too long"),
        T::HTTPStatus(413) => {
            return fault(Some(Code::BodyTooLarge), "the request's body is too large");
        }
        T::HTTPStatus(408) => {
            return fault(Some(Code::RequestTimeout), "the request's body came too slowly");
        }
        _ => {}
    }
    match error.esource() {
        ErrorSource::Upstream if *error.etype() == T::TLSHandshakeFailure => of_handshake(error),
        ErrorSource::Upstream => of_upstream(error.etype()),
        ErrorSource::Downstream => match error.etype() {
            T::ReadTimedout => fault(Some(Code::RequestTimeout), "the request's body stalled"),
            T::WriteTimedout => fault(None, "the client took no bytes"),
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
    Fault { code: Some(Code::UpstreamUnreachable), message, is_upstreams: true }
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
    Fault { code: Some(code), message, is_upstreams: true }
}
