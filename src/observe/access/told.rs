//! What a line tells of a request's head, as far as it may be believed.

use http::request::Parts;
use http::{HeaderName, HeaderValue, Version, header};
use std::borrow::Cow;

/// A peer's name for the request; ours takes its place on the way upstream.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The version that we know, a trace, a span and flags, in hexadecimal.
const TRACEPARENT_BYTES: usize = "00-".len() + 32 + "-".len() + 16 + "-00".len();

/// The host that was asked for, as the client wrote it; empty if there is none.
pub(super) fn host(head: &Parts) -> &str {
    let field = || head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    head.uri.host().or_else(field).unwrap_or_default()
}

/// The id that a peer gave the request. Whether it is trusted, the caller knows.
pub(super) fn request_id(head: &Parts) -> Option<Cow<'_, str>> {
    head.headers.get(REQUEST_ID).map(|id| String::from_utf8_lossy(id.as_bytes()))
}

/// The trace that the request is part of, if the field is well-formed.
pub(super) fn trace(head: &Parts) -> Option<&str> {
    head.headers.get(TRACEPARENT).and_then(traceparent)
}

/// The trace that a request is part of, as far as every version writes it (W3C Trace Context §3.2);
/// `None` if it is not well-formed, and then it names no trace. Anybody may send it.
fn traceparent(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let (known, beyond) = text.split_at_checked(TRACEPARENT_BYTES)?;
    let parts: Vec<&str> = known.split('-').collect();
    let is_hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let [version, trace, span, flags] = parts[..] else { return None };
    let has_sizes = [version.len(), trace.len(), span.len(), flags.len()] == [2, 32, 16, 2];
    let is_none = |id: &str| id.bytes().all(|byte| byte == b'0');
    let may_go_on = beyond.is_empty() || version != "00" && beyond.starts_with('-');
    let is_sound = has_sizes && parts.iter().all(is_hex) && version != "ff" && may_go_on;
    (is_sound && !is_none(trace) && !is_none(span)).then_some(known)
}

/// What the client speaks.
pub(super) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_told_if_it_is_one() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read = |text: &str| {
            let value = HeaderValue::from_bytes(text.as_bytes()).expect("a value");
            traceparent(&value).map(str::to_owned)
        };
        assert_eq!(read(trace).as_deref(), Some(trace));
        let later = trace.replacen("00", "cc", 1);
        assert_eq!(read(&format!("{later}-what-comes")), Some(later.clone()));
        for wrong in [
            String::new(),
            trace.to_uppercase(),
            format!("{trace}-more"),
            format!("{later}more"),
            trace.replacen("00", "ff", 1),
            trace.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            trace.replace("00f067aa0ba902b7", &"0".repeat(16)),
            trace.replace('-', "_"),
            trace[1..].to_owned(),
            format!("{}\u{e9}", &trace[..53]),
            "x".repeat(60_000),
        ] {
            assert_eq!(read(&wrong), None, "{wrong}");
        }
    }
}
