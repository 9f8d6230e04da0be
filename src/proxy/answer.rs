//! The head of an answer on its way to the client. What two readers could take differently is no
//! answer; what was meant for the gateway stays here; and what is said of the connection is true.

use http::{HeaderName, Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session as Downstream;
use pingora::{Error, ErrorType, Result};

/// Refuses an answer whose body could end in two places (RFC 9112 §6.3): `chunked`, once, is the
/// one transfer coding that is understood here.
pub(super) fn check(head: &ResponseHeader) -> Result<()> {
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).into_iter();
    let is_sound = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(one), None) => one.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    match is_sound {
        true => Ok(()),
        false => {
            let why = "a Transfer-Encoding other than one `chunked`";
            Err(Error::explain(ErrorType::InvalidHTTPHeader, why).into_up())
        }
    }
}

/// Whether an answer with this `head` has begun, and not only been announced (1xx).
pub(super) fn is_final(head: &ResponseHeader) -> bool {
    !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS
}

/// An interim answer came. HTTP/1.0 knows none, so such a client waits for the answer itself
/// (RFC 9110 §15.2).
pub(super) fn announce(downstream: &mut Downstream) {
    let is_old = downstream.req_header().version < Version::HTTP_11;
    downstream.as_downstream_mut().set_ignore_info_resp(is_old);
}

/// Whether the body of the answer with this `head` ends only with the client's connection. So it
/// does in HTTP/1.0 where its length is not known, and the connection must not be called kept.
pub(super) fn ends_with_connection(head: &ResponseHeader, asked: &RequestHeader) -> bool {
    asked.version < Version::HTTP_11
        && asked.method != Method::HEAD
        && !is_without_body(head.status)
        && !head.headers.contains_key(header::CONTENT_LENGTH)
}

/// Whether an answer with this status never has a body, and so no framing (RFC 9112 §6.3). A 304
/// may tell the length of what it stands for; whoever takes that for a body waits in vain.
fn is_without_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Makes the head of an upstream's answer into the one that the client gets: without what was meant
/// for the gateway (RFC 9110 §7.6.1), and with the framing that its status and the client allow.
pub(super) fn back(head: &mut ResponseHeader, client: Version) {
    // The version is the gateway's own (RFC 9110 §2.5), whatever the upstream speaks.
    head.set_version(Version::HTTP_11);
    if is_without_body(head.status) {
        head.remove_header(&header::TRANSFER_ENCODING);
        head.remove_header(&header::CONTENT_LENGTH);
    }
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    // Looked at once: most answers have nothing to take out.
    if head.headers.keys().any(is_of_connection) {
        for name in nominated(head) {
            head.remove_header(&name);
        }
        for name in ["keep-alive", "proxy-connection", "upgrade"] {
            head.remove_header(name);
        }
    }
    if client < Version::HTTP_11 {
        head.remove_header(&header::TRANSFER_ENCODING);
    }
}

/// Whether a field of an answer speaks of the connection it came on.
fn is_of_connection(name: &HeaderName) -> bool {
    matches!(name.as_str(), "connection" | "keep-alive" | "proxy-connection" | "upgrade")
}

/// The fields that `Connection` names, but for those that the framing of the answer needs.
fn nominated(head: &ResponseHeader) -> Vec<HeaderName> {
    let fields = head.headers.get_all(header::CONNECTION).into_iter();
    let names = fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b','));
    // Nearly all answers that have it say one of these two.
    let usual =
        |name: &&[u8]| [&b"keep-alive"[..], b"close"].iter().any(|n| name.eq_ignore_ascii_case(n));
    let names = names.map(<[u8]>::trim_ascii).filter(|name| !usual(name));
    let names = names.filter_map(|name| HeaderName::from_bytes(name).ok());
    names
        .filter(|name| !matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_hops_end_at_the_gateway() {
        let answer = |status: u16| {
            let mut head = ResponseHeader::build(status, None).expect("a response");
            for (name, value) in [
                ("connection", "close, X-Hop ,content-length"),
                ("x-hop", "1"),
                ("keep-alive", "5"),
                ("upgrade", "h2c"),
                ("content-length", "3"),
                ("transfer-encoding", "chunked"),
            ] {
                head.append_header(name, value).expect("a field");
            }
            head
        };
        let left = |status, client| {
            let mut head = answer(status);
            back(&mut head, client);
            let mut names: Vec<String> = head.headers.keys().map(|n| n.to_string()).collect();
            names.sort();
            names
        };
        assert_eq!(
            left(200, Version::HTTP_11),
            ["connection", "content-length", "transfer-encoding"]
        );
        assert_eq!(left(200, Version::HTTP_10), ["connection", "content-length"]);
        for status in [204, 304] {
            assert_eq!(left(status, Version::HTTP_11), ["connection"], "{status}");
        }
        let tunnel = ["connection", "keep-alive", "upgrade", "x-hop"];
        assert_eq!(left(101, Version::HTTP_11), tunnel, "a tunnel is made of them");
    }

    #[test]
    fn one_chunked_is_the_only_coding() {
        for (fields, is_sound) in [
            (&[][..], true),
            (&["chunked"], true),
            (&["Chunked"], true),
            (&["chunked", "chunked"], false),
            (&["gzip", "chunked"], false),
            (&["gzip, chunked"], false),
            (&["chunked, chunked"], false),
            (&["identity"], false),
            (&["chunked;q=1"], false),
            (&[""], false),
        ] {
            let mut head = ResponseHeader::build(200, None).expect("a response");
            for field in fields {
                head.append_header("transfer-encoding", *field).expect("a field");
            }
            assert_eq!(check(&head).is_ok(), is_sound, "{fields:?}");
        }
    }
}
