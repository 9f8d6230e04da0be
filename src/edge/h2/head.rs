//! The head of a request as the rooms behind the edge know it: the target is a path, and the host
//! is a field. What HTTP/2 alone can spell ends here, and what two readers could take differently.
//!
//! The library refuses by itself, with a reset of the stream or with the end of the connection,
//! what HTTP/2 forbids: fields of a connection, `te` other than `trailers`, bytes that no name and
//! no value may hold, pseudo-fields that are missing, doubled, unknown or behind others (RFC 9113
//! §8.2, §8.3). `tests/it/h2_strict.rs` has each of them.

use crate::denial::{Code, Denial};
use crate::edge::request_line;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use pingora::http::RequestHeader;

/// Reads the head of a request.
pub(super) fn read(mut parts: Parts) -> Result<RequestHeader, Denial> {
    if parts.method == Method::CONNECT {
        return Err(Code::MethodNotAllowed.into());
    }
    if !matches!(parts.uri.scheme_str(), None | Some("http" | "https")) {
        return Err(malformed("the scheme must be http or https"));
    }
    if parts.headers.values().any(is_padded) {
        return Err(malformed("a field's value begins or ends with a space or a tab"));
    }
    if let Some(authority) = parts.uri.authority() {
        host(&mut parts.headers, authority)?;
    }
    parts.uri = target(&parts.uri)?;
    join_cookies(&mut parts.headers);
    Ok(parts.into())
}

fn malformed(why: &'static str) -> Denial {
    Denial::from(Code::RequestMalformed).because(why)
}

/// HTTP/1 cuts such bytes off, so two readers would read two values (RFC 9113 §8.2.1).
fn is_padded(value: &HeaderValue) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_space(value.as_bytes().first()) || is_space(value.as_bytes().last())
}

/// Puts the authority in the place of `Host`; one that is there says the same (RFC 9113 §8.3.1).
fn host(fields: &mut HeaderMap, authority: &Authority) -> Result<(), Denial> {
    let said = authority.as_str().as_bytes();
    if fields.get_all(header::HOST).iter().any(|host| !host.as_bytes().eq_ignore_ascii_case(said)) {
        return Err(malformed("`:authority` and `Host` differ"));
    }
    let host = HeaderValue::from_bytes(said).map_err(|_| malformed("an invalid authority"))?;
    fields.insert(header::HOST, host);
    Ok(())
}

/// The path and the query alone, with what no URL may hold encoded, as over HTTP/1.
fn target(uri: &Uri) -> Result<Uri, Denial> {
    let Some(target) = uri.path_and_query() else {
        return Err(malformed("the target must be a path or an http URL"));
    };
    let target = match request_line::encoded(target.as_str()) {
        None => target.clone(),
        Some(encoded) => {
            PathAndQuery::try_from(encoded).map_err(|_| malformed("the target is no path"))?
        }
    };
    Ok(target.into())
}

/// A client may send each cookie in a field of its own, for better compression (RFC 9113 §8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    let mut all = fields.get_all(header::COOKIE).iter();
    if all.next().is_none() || all.next().is_none() {
        return;
    }
    let all: Vec<&[u8]> =
        fields.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_maybe_shared(bytes::Bytes::from(all.join(&b"; "[..])));
    fields.insert(header::COOKIE, joined.expect("what joins values is part of a value"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_of(uri: &str, fields: &[(&'static str, &str)]) -> Result<(String, HeaderMap), Code> {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let head = read(request.body(()).expect("a request").into_parts().0);
        head.map(|head| (head.uri.to_string(), head.headers.clone())).map_err(|no| no.code())
    }

    #[test]
    fn a_head_is_read_as_if_it_had_come_by_http_1() {
        let (target, fields) = read_of("https://a.example/x?y", &[]).expect("a head");
        assert_eq!((target.as_str(), &fields["host"]), ("/x?y", &"a.example".parse().unwrap()));
        let (target, fields) = read_of("/x", &[("host", "b")]).expect("a head");
        assert_eq!((target.as_str(), fields.len()), ("/x", 1));
        let (_, fields) = read_of("http://A.example/", &[("host", "a.Example")]).expect("a head");
        assert_eq!(fields["host"], "A.example");
        let (target, _) = read_of("http://a/\u{e9}?x=\u{e9}", &[]).expect("a head");
        assert_eq!(target, "/%C3%A9?x=%C3%A9");
    }

    #[test]
    fn crumbs_are_one_cookie() {
        let crumbs = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "a=3")];
        let (_, fields) = read_of("http://a/", &crumbs).expect("a head");
        let cookies: Vec<&HeaderValue> = fields.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2; a=3"]);
    }

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        for (uri, fields) in [
            ("http://a/", &[("host", "b")][..]),
            ("http://a/", &[("host", "a"), ("host", "b")]),
            ("http://a:80/", &[("host", "a")]),
            ("ftp://a/", &[]),
            ("http://a/", &[("x", " y")]),
            ("http://a/", &[("x", "y\t")]),
        ] {
            assert_eq!(
                read_of(uri, fields).err(),
                Some(Code::RequestMalformed),
                "{uri} {fields:?}"
            );
        }
        let (_, fields) = read_of("http://a/", &[("x", ""), ("y", "a b")]).expect("a head");
        assert_eq!(fields.len(), 3);
    }
}
