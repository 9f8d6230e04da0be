//! What an upstream is told of the client: the address, the scheme, the request's id, and nothing
//! that a client could have made up.

use crate::exchange::Exchange;
use http::{HeaderName, HeaderValue, header};
use pingora::http::RequestHeader;

/// Fields that only a gateway may set; whatever a client wrote there is removed.
const RESERVED: [&str; 10] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-real-ip",
    "x-request-id",
    "x-original-url",
    "x-rewrite-url",
    "proxy",
];

/// The prefix of identity fields.
const IDENTITY_PREFIX: &str = "x-streamgate-";

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Removes what a client may not claim, and sets what the gateway knows. This runs after Pingora
/// has removed the fields that `Connection` names, so a client can't have ours removed.
pub fn prepare(head: &mut RequestHeader, exchange: &Exchange) {
    let forged: Vec<HeaderName> =
        head.headers.keys().filter(|name| is_reserved(name.as_str())).cloned().collect();
    for name in forged {
        head.remove_header(&name);
    }
    // Inserting fails only for names that are none.
    if let Some(client) = exchange.client {
        let _ = head.insert_header(FORWARDED_FOR, client.ip().to_string());
    }
    if let Some(host) = head.headers.get(header::HOST).cloned() {
        let _ = head.insert_header(FORWARDED_HOST, host);
    }
    let _ = head.insert_header(FORWARDED_PROTO, HeaderValue::from_static("http"));
    let _ = head.insert_header(REQUEST_ID, exchange.id.as_str());
}

fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || name.starts_with(IDENTITY_PREFIX)
}

/// Takes the session's token out of what goes upstream: the cookies of these names, and a bearer
/// token if one was verified.
pub fn strip_token(head: &mut RequestHeader, cookies: &[String], is_verified: bool) {
    let bearer = |value: &HeaderValue| {
        value.as_bytes().get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"bearer "))
    };
    if is_verified && head.headers.get(header::AUTHORIZATION).is_some_and(bearer) {
        head.remove_header(&header::AUTHORIZATION);
    }
    let Some(kept) = without(head, cookies) else { return };
    head.remove_header(&header::COOKIE);
    if !kept.is_empty() {
        let _ = head.insert_header(header::COOKIE, kept);
    }
}

/// The request's cookies but for those named; `None` when there is nothing to take out.
fn without(head: &RequestHeader, cookies: &[String]) -> Option<Vec<u8>> {
    let is_token = |pair: &[u8]| {
        let name = pair.split(|&byte| byte == b'=').next().unwrap_or(pair).trim_ascii();
        cookies.iter().any(|cookie| cookie.as_bytes() == name)
    };
    let fields = head.headers.get_all(header::COOKIE).into_iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b';'));
    let pairs: Vec<&[u8]> = pairs.map(<[u8]>::trim_ascii).filter(|p| !p.is_empty()).collect();
    if !pairs.iter().any(|pair| is_token(pair)) {
        return None;
    }
    let kept: Vec<&[u8]> = pairs.into_iter().filter(|pair| !is_token(pair)).collect();
    Some(kept.join(&b"; "[..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut head = RequestHeader::build("GET", b"/", None).expect("a request");
        for (name, value) in fields {
            head.append_header(*name, *value).expect("a field");
        }
        head
    }

    #[test]
    fn what_a_client_claims_of_itself_never_passes() {
        let mut head = head(&[
            ("host", "tv.example"),
            ("x-forwarded-for", "1.2.3.4"),
            ("X-Streamgate-Account", "mine"),
            ("x-request-id", "1"),
            ("forwarded", "for=1.2.3.4"),
            ("x-kept", "yes"),
        ]);
        let client = Some(([192, 0, 2, 1], 5).into());
        prepare(&mut head, &Exchange::new(client));
        let value = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok());
        assert_eq!(value("x-forwarded-for"), Some("192.0.2.1"));
        assert_eq!(value("x-forwarded-host"), Some("tv.example"));
        assert_eq!(value("x-forwarded-proto"), Some("http"));
        assert_eq!(value("x-streamgate-account"), None);
        assert_eq!(value("forwarded"), None);
        assert_eq!(value("x-request-id").map(str::len), Some(32));
        assert_eq!(value("x-kept"), Some("yes"));
    }

    #[test]
    fn the_token_is_taken_out_and_other_cookies_stay() {
        let names = ["session".to_owned()];
        for (cookie, kept) in [
            ("session=a.b.c", None),
            ("a=1; session=x; b=2", Some("a=1; b=2")),
            ("sessions=x", Some("sessions=x")),
            (" session =x;c=3", Some("c=3")),
        ] {
            let mut head = head(&[("cookie", cookie), ("authorization", "Bearer t")]);
            strip_token(&mut head, &names, true);
            let left = head.headers.get("cookie").and_then(|v| v.to_str().ok());
            assert_eq!(left, kept, "{cookie}");
            assert!(head.headers.get("authorization").is_none());
        }
    }

    #[test]
    fn an_authorization_that_is_not_ours_passes() {
        let mut kept = head(&[("authorization", "Basic dTpw")]);
        strip_token(&mut kept, &[], true);
        assert!(kept.headers.contains_key("authorization"));
    }
}
