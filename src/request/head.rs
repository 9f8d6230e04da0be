//! What a sound request head is. Everything that a second reader could take differently is refused
//! before any route is asked (RFC 9110, RFC 9112; smuggling, cache poisoning, header spoofing).

use crate::denial::{Code, Denial};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};

/// The request's method, in bytes; the longest that is registered has 17.
const METHOD_BYTES_MAX: usize = 32;

/// How large a head may be, as its listener says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadSizes {
    /// The request line's target, in bytes.
    pub target_bytes: u32,
    /// One header field, name and value, in bytes.
    pub field_bytes: u32,
    /// All header fields together, in bytes.
    pub fields_bytes: u32,
    /// How many header fields.
    pub fields: u32,
}

impl Default for HeadSizes {
    fn default() -> Self {
        HeadSizes {
            target_bytes: 8 << 10,
            field_bytes: 16 << 10,
            fields_bytes: 32 << 10,
            fields: 100,
        }
    }
}

/// The name of a host, in bytes (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 255;

/// What decides whether a head is sound, found in one look at all its fields.
#[derive(Default)]
struct Found<'a> {
    fields_bytes: usize,
    largest_field_bytes: usize,
    has_underscore: bool,
    host: Only<'a>,
    length: Only<'a>,
    coding: Only<'a>,
}

/// The value of a field that may be there once.
#[derive(Clone, Copy, Default)]
enum Only<'a> {
    #[default]
    None,
    One(&'a [u8]),
    Several,
}

/// Refuses what only the bytes of a connection can show; `check` sees everything else. `target` and
/// `raw` are the target and the whole head as they came: Pingora keeps the path alone of a target
/// that is a whole URL, takes other targets to be the root's, and drops a `Content-Length` that
/// stands beside `Transfer-Encoding`.
pub fn check_raw(
    head: &Parts,
    sizes: HeadSizes,
    target: &[u8],
    raw: impl FnOnce() -> Bytes,
) -> Result<(), Denial> {
    if (sizes.target_bytes as usize) < target.len() {
        return Err(Code::HeaderTooLarge.into());
    }
    if method(head).is_err() {
        // Its target may have another form; that the method is refused is for `check` to say.
        return Ok(());
    }
    form(target)?;
    if head.headers.contains_key(header::TRANSFER_ENCODING) && has_content_length(&raw()) {
        return Err(malformed("both Content-Length and Transfer-Encoding"));
    }
    Ok(())
}

/// Refuses a head that is not sound; returns how many bytes of body a sound one announces, 0 for a
/// chunked one. It needs no connection, so it also judges a head that was never sent.
pub fn check(head: &Parts, allowed: HeadSizes) -> Result<u64, Denial> {
    let found = Found::among(&head.headers);
    sizes(head, allowed, &found)?;
    method(head)?;
    uri(&head.uri)?;
    host(head, found.host)?;
    names(&found)?;
    framing(head.version, &found)
}

impl<'a> Found<'a> {
    fn among(fields: &'a HeaderMap) -> Self {
        let mut found = Found::default();
        for (name, value) in fields {
            let text = name.as_str();
            let bytes = text.len() + value.len();
            found.fields_bytes += bytes;
            found.largest_field_bytes = found.largest_field_bytes.max(bytes);
            match text {
                "host" => found.host.add(value),
                "content-length" => found.length.add(value),
                "transfer-encoding" => found.coding.add(value),
                _ => found.has_underscore |= text.as_bytes().contains(&b'_'),
            }
        }
        found
    }
}

impl<'a> Only<'a> {
    fn add(&mut self, value: &'a HeaderValue) {
        *self = match self {
            Only::None => Only::One(value.as_bytes()),
            Only::One(_) | Only::Several => Only::Several,
        };
    }
}

fn malformed(why: &'static str) -> Denial {
    Denial::from(Code::RequestMalformed).because(why)
}

fn sizes(head: &Parts, allowed: HeadSizes, found: &Found<'_>) -> Result<(), Denial> {
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let is_small = head.method.as_str().len() <= METHOD_BYTES_MAX
        && target.len() <= allowed.target_bytes as usize
        && found.largest_field_bytes <= allowed.field_bytes as usize
        && found.fields_bytes <= allowed.fields_bytes as usize
        && head.headers.len() <= allowed.fields as usize;
    match is_small {
        true => Ok(()),
        false => Err(Code::HeaderTooLarge.into()),
    }
}

fn method(head: &Parts) -> Result<(), Denial> {
    match head.method {
        // TRACE would show the client what the gateway adds; CONNECT would make it a tunnel.
        Method::TRACE | Method::CONNECT => Err(Code::MethodNotAllowed.into()),
        _ => Ok(()),
    }
}

/// A path, or a whole URL as proxies are asked for it (RFC 9112 §3.2). Pingora takes any other
/// target to be the root's, and would send it on as it came.
fn form(target: &[u8]) -> Result<(), Denial> {
    let begins = |scheme: &[u8]| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    match begins(b"/") || begins(b"http://") || begins(b"https://") {
        true => Ok(()),
        false => Err(malformed("the target must be a path or an http URL")),
    }
}

/// The same of a target that was read already.
fn uri(uri: &Uri) -> Result<(), Denial> {
    match uri.scheme_str() {
        None => form(uri.path().as_bytes()),
        Some("http" | "https") => Ok(()),
        Some(_) => form(&[]),
    }
}

/// Exactly one host, valid, and none beside it (RFC 9112 §3.2).
fn host(head: &Parts, field: Only<'_>) -> Result<(), Denial> {
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    match (authority, field) {
        (_, Only::Several) => Err(malformed("more than one Host")),
        (Some(authority), _) if !is_host(authority) => Err(malformed("an invalid authority")),
        (Some(_), _) => Ok(()),
        (None, Only::One(host)) if is_host(host) => Ok(()),
        (None, Only::One(_)) => Err(malformed("an invalid Host")),
        // HTTP/1.0 knew no Host; a gateway that routes by it can't do without.
        (None, Only::None) => Err(malformed("no Host")),
    }
}

fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host.iter().rposition(|&byte| byte == b':') {
        Some(at) if !host[at..].contains(&b']') => (&host[..at], &host[at + 1..]),
        _ => (host, &b""[..]),
    };
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let is_v6 = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
    let is_valid = match name {
        [b'[', inner @ .., b']'] => !inner.is_empty() && inner.iter().all(is_v6),
        name => has_labels(name) && name.iter().all(is_name),
    };
    is_valid
        && host.len() <= HOST_BYTES_MAX
        && port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
        && number(port) <= u64::from(u16::MAX)
}

/// Whether no label of a name is empty, but for the one behind a dot at its end.
fn has_labels(name: &[u8]) -> bool {
    let bare = name.strip_suffix(b".").unwrap_or(name);
    bare.split(|&byte| byte == b'.').all(|label| !label.is_empty())
}

/// A name with `_` reads like one with `-` to many upstreams, so a client could spell a field that
/// only the gateway may set.
fn names(found: &Found<'_>) -> Result<(), Denial> {
    match found.has_underscore {
        true => Err(malformed("a header field's name contains `_`")),
        false => Ok(()),
    }
}

/// How many bytes of body a head announces, if it is clear where that ends.
pub fn announced(head: &Parts) -> Option<u64> {
    framing(head.version, &Found::among(&head.headers)).ok()
}

/// One way to tell where the body ends (RFC 9112 §6).
fn framing(version: Version, found: &Found<'_>) -> Result<u64, Denial> {
    let announced = match found.length {
        Only::None => 0,
        Only::One(length) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            number(length)
        }
        Only::One(_) | Only::Several => {
            return Err(malformed("more than one Content-Length, or one that is not a number"));
        }
    };
    match found.coding {
        Only::None => Ok(announced),
        Only::One(coding) if coding.eq_ignore_ascii_case(b"chunked") => {
            if version < Version::HTTP_11 {
                return Err(malformed("Transfer-Encoding in HTTP/1.0"));
            }
            match found.length {
                Only::None => Ok(announced),
                _ => Err(malformed("both Content-Length and Transfer-Encoding")),
            }
        }
        Only::One(_) | Only::Several => {
            Err(malformed("a Transfer-Encoding other than one `chunked`"))
        }
    }
}

/// A number of digits only; one that no `u64` holds is as large as any.
fn number(digits: &[u8]) -> u64 {
    let digits = digits.iter().map(|digit| u64::from(digit - b'0'));
    digits.fold(0, |number: u64, digit| number.saturating_mul(10).saturating_add(digit))
}

fn has_content_length(raw: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length:";
    let mut lines = raw.split(|&byte| byte == b'\n');
    lines.any(|line| line.len() >= NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> &'static str {
        let head = build(http::Request::builder().uri("/a")).body(()).expect("a request");
        match check(&head.into_parts().0, HeadSizes::default()) {
            Ok(_) => "ok",
            Err(denial) => denial.code().name(),
        }
    }

    #[test]
    fn hosts() {
        for (host, expected) in [
            ("a.example", "ok"),
            ("a.example:80", "ok"),
            ("[::1]:80", "ok"),
            ("a.example.", "ok"),
            ("a.example.:80", "ok"),
            ("a.example..", "request_malformed"),
            ("a..example", "request_malformed"),
            (".example", "request_malformed"),
            (".", "request_malformed"),
            ("..", "request_malformed"),
            ("", "request_malformed"),
            ("a b", "request_malformed"),
            ("a,b", "request_malformed"),
            ("a/b", "request_malformed"),
            ("a?b", "request_malformed"),
            ("u@a", "request_malformed"),
            ("a:x", "request_malformed"),
            ("a:123456", "request_malformed"),
            ("a:65535", "ok"),
            ("a:65536", "request_malformed"),
            ("[", "request_malformed"),
        ] {
            assert_eq!(code(|b| b.header("host", host)), expected, "{host}");
        }
        assert_eq!(code(|b| b), "request_malformed");
        assert_eq!(code(|b| b.header("host", "a").header("host", "a")), "request_malformed");
    }

    #[test]
    fn framings() {
        let with = |name: &'static str, value: &'static str| {
            code(move |b| b.header("host", "a").header(name, value))
        };
        assert_eq!(with("content-length", "60"), "ok");
        assert_eq!(with("content-length", "60, 60"), "request_malformed");
        assert_eq!(with("content-length", "+6"), "request_malformed");
        assert_eq!(with("transfer-encoding", "chunked"), "ok");
        assert_eq!(with("transfer-encoding", "chunked, chunked"), "request_malformed");
        assert_eq!(with("transfer-encoding", "gzip, chunked"), "request_malformed");
        let twice = |b: http::request::Builder| {
            b.header("host", "a").header("content-length", "6").header("content-length", "6")
        };
        assert_eq!(code(twice), "request_malformed");
        let old = |b: http::request::Builder| {
            b.version(Version::HTTP_10).header("host", "a").header("transfer-encoding", "chunked")
        };
        assert_eq!(code(old), "request_malformed");
        let both = |b: http::request::Builder| {
            let sized = b.header("host", "a").header("content-length", "6");
            sized.header("transfer-encoding", "chunked")
        };
        assert_eq!(code(both), "request_malformed");
        assert!(has_content_length(b"GET / HTTP/1.1\r\nContent-Length: 3\r\n"));
        assert!(!has_content_length(b"GET / HTTP/1.1\r\nX: content-length\r\n"));
    }

    #[test]
    fn what_only_the_bytes_show() {
        let code = |target: &str, raw: &'static str| {
            let head = http::Request::builder().header("transfer-encoding", "chunked").body(());
            let head = head.expect("a request").into_parts().0;
            let raw = || Bytes::from_static(raw.as_bytes());
            let sizes = HeadSizes::default();
            let checked = check_raw(&head, sizes, target.as_bytes(), raw);
            checked.map_or_else(|no| no.code().name(), |()| "ok")
        };
        let long = format!("http://a/?{}", "y".repeat(8 << 10));
        for (target, raw, expected) in [
            ("/a", "", "ok"),
            ("HTTP://b/a", "", "ok"),
            ("*", "", "request_malformed"),
            ("ftp://b/a", "", "request_malformed"),
            (long.as_str(), "", "header_too_large"),
            ("/a", "POST /a HTTP/1.1\r\ncontent-length: 3\r\n", "request_malformed"),
        ] {
            assert_eq!(code(target, raw), expected, "{target}");
        }
    }

    #[test]
    fn the_announced_body() {
        let announced = |name: &'static str, value: &'static str| {
            let head = http::Request::builder().header("host", "a").header(name, value).body(());
            super::announced(&head.expect("a request").into_parts().0)
        };
        assert_eq!(announced("accept", "*/*"), Some(0));
        assert_eq!(announced("content-length", "0060"), Some(60));
        assert_eq!(announced("content-length", "99999999999999999999999"), Some(u64::MAX));
        assert_eq!(announced("transfer-encoding", "chunked"), Some(0));
        assert_eq!(announced("content-length", "6a"), None);
    }

    #[test]
    fn sizes_and_names() {
        let host = |b: http::request::Builder| b.header("host", "a");
        assert_eq!(code(|b| host(b).header("x", "y".repeat(17_000))), "header_too_large");
        assert_eq!(code(|b| host(b).uri(format!("/{}", "y".repeat(9_000)))), "header_too_large");
        let many = (0..101)
            .fold(http::Request::builder().uri("/"), |b, i| b.header(format!("x-{i}"), "y"));
        assert_eq!(code(|_| host(many)), "header_too_large");
        assert_eq!(code(|b| host(b).header("x_user", "1")), "request_malformed");
        assert_eq!(code(|b| host(b).method("TRACE")), "method_not_allowed");
        assert_eq!(code(|b| host(b).method("OPTIONS").uri("*")), "request_malformed");
        assert_eq!(code(|b| b.uri("http://a/b")), "ok");
        assert_eq!(code(|b| b.uri("ftp://a/b")), "request_malformed");
    }
}
