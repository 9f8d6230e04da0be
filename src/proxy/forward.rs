//! Header fields on their way to an upstream. It gets the client's address and scheme and the
//! request's id from the gateway, and nothing that a client could have made up. The way back is in
//! `answer.rs`.

use crate::exchange::{Exchange, Target};
use crate::gateway::{Gateway, Route};
use crate::request::{PATH_TOKEN_PREFIX, authorization, cookie, reserved, without_dot};
use crate::session::ClaimHeaders;
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use pingora::http::RequestHeader;
use pingora::{ErrorType, OrErr, Result};
use std::borrow::Cow;
use std::net::IpAddr;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Room for the fields that the gateway adds, with a claim or none. More make the map grow.
const FIELDS_ADDED: usize = 8;

/// Makes the `head` of a client's request, which `asked` so, into the one that the upstream gets.
pub(super) fn request(
    head: &mut RequestHeader,
    gateway: &Gateway,
    route: &Route,
    exchange: &Exchange,
    asked: &RequestHeader,
) -> Result<()> {
    match &exchange.asked {
        Some(target) => head.set_raw_path(target.as_bytes())?,
        None => retarget(head, &exchange.target)?,
    }
    if head.version == Version::HTTP_2 && takes_trailers(asked) {
        head.insert_header(header::TE, HeaderValue::from_static("trailers"))?;
    }
    edit(head, |fields| {
        prepare(fields, exchange, &gateway.claim_headers);
        match route.forward_token {
            true => strip_token(fields, &gateway.own_cookies, false),
            false => strip_token(fields, &gateway.token_cookies, exchange.session().is_some()),
        }
        if gateway.takes_path_tokens {
            strip_referer(fields);
        }
        if let Some(host) = route.rewriting.as_ref().and_then(|way| way.host.as_ref()) {
            fields.insert(header::HOST, host.clone());
        }
        route.chain.upstream_request(fields, exchange);
    });
    Ok(())
}

/// Whether a client of HTTP/2 takes trailers; it can't ask for anything else in `TE`. gRPC insists
/// on it, and Pingora takes it out.
fn takes_trailers(asked: &RequestHeader) -> bool {
    asked.version == Version::HTTP_2 && asked.headers.contains_key(header::TE)
}

/// Puts the `host` that a trusted peer tells in the place of the one that it asked for itself.
/// Where it asked for several, nothing is put over them: the request is refused.
pub(super) fn rehost(head: &mut RequestHeader, host: Option<HeaderValue>) -> Result<()> {
    let Some(host) = host.filter(|_| head.headers.get_all(header::HOST).iter().count() < 2) else {
        return Ok(());
    };
    if head.uri.authority().is_some() {
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let target = target.parse().or_err(ErrorType::InvalidHTTPHeader, "the target")?;
        head.set_uri(target);
    }
    head.insert_header(header::HOST, host)
}

/// Sets the target as the gateway reads it: no upstream gets one that it could read differently.
fn retarget(head: &mut RequestHeader, target: &Target) -> Result<()> {
    if let Target::Rewritten(target) = target {
        return head.set_raw_path(target.as_bytes());
    }
    // A whole URL, and bytes that are no UTF-8, Pingora would send on as they came.
    if head.raw_path().starts_with(b"/") && head.raw_path_is_utf8() {
        return Ok(());
    }
    let read = head.uri.path_and_query().map_or("/", |read| read.as_str()).to_owned();
    head.set_raw_path(read.as_bytes())
}

/// Edits the fields of what goes upstream, as one map.
///
/// Pingora keeps the spelling of every name in a second map, and each change then costs a thousand
/// instructions or more. Names mean the same in any case (RFC 9110 §5.1): the spelling is let go.
/// The target must be one that the URI holds as it is, which a normalised path is.
fn edit(head: &mut RequestHeader, edit: impl FnOnce(&mut HeaderMap)) {
    let blank = RequestHeader::from(http::Request::new(()).into_parts().0);
    let mut parts = Parts::from(std::mem::replace(head, blank));
    parts.headers.reserve(FIELDS_ADDED);
    edit(&mut parts.headers);
    *head = parts.into();
}

/// Removes what a client may not claim, and sets what the gateway knows. This runs after Pingora
/// has removed the fields that `Connection` names, so a client can't have ours removed.
fn prepare(fields: &mut HeaderMap, exchange: &Exchange, claims: &ClaimHeaders) {
    let forged = fields.keys().filter(|name| is_forged(name.as_str(), claims)).cloned();
    for name in forged.collect::<Vec<HeaderName>>() {
        fields.remove(&name);
    }
    if let Some(client) = exchange.client {
        fields.insert(FORWARDED_FOR, address(client));
    }
    if let Some(host) = fields.get(header::HOST) {
        let (host, is_changed) = as_read(host);
        if is_changed {
            fields.insert(header::HOST, host.clone());
        }
        fields.insert(FORWARDED_HOST, host);
    }
    fields.insert(FORWARDED_PROTO, scheme(&exchange.scheme));
    fields.insert(REQUEST_ID, exchange.id.field());
    for (name, value) in exchange.client_identity.iter().flat_map(|client| &client.headers) {
        fields.insert(name, value.clone());
    }
}

/// A host as the gateway reads it, and whether that differs from how it came: the one that was
/// matched is the one that is sent.
fn as_read(host: &HeaderValue) -> (HeaderValue, bool) {
    match host.to_str().map(without_dot) {
        Ok(Cow::Owned(bare)) => {
            (HeaderValue::try_from(bare).expect("a part of a value is one"), true)
        }
        _ => (host.clone(), false),
    }
}

/// A scheme as a field's value, for which nothing is allocated.
fn scheme(scheme: &Scheme) -> HeaderValue {
    let text = if *scheme == Scheme::HTTPS { "https" } else { "http" };
    HeaderValue::from_static(text)
}

/// An address as a field's value. IPv4's own formatter takes a thousand instructions.
fn address(ip: IpAddr) -> HeaderValue {
    let text = match ip {
        IpAddr::V6(ip) => ip.to_string(),
        IpAddr::V4(ip) => {
            let mut text = String::with_capacity("255.255.255.255".len());
            for octet in ip.octets() {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(itoa::Buffer::new().format(octet));
            }
            text
        }
    };
    HeaderValue::try_from(text).expect("an address is visible ASCII")
}

/// Whether only the gateway may write a field called `name`. To some servers `_` is another way to
/// write `-`.
fn is_forged(name: &str, claims: &ClaimHeaders) -> bool {
    // Most names begin with a byte that no such name begins with: one look is enough for them.
    let first = name.bytes().next().map(|byte| if byte == b'_' { b'-' } else { byte });
    match first.filter(u8::is_ascii) {
        Some(first) if (reserved::FIRST_BYTES | claims.first_bytes()) >> first & 1 == 1 => {}
        _ => return false,
    }
    match name.contains('_') {
        true => is_forged(&name.replace('_', "-"), claims),
        false => reserved::is_reserved(name) || claims.contains(name),
    }
}

/// Takes the session's token out of what goes upstream: the cookies of these names, and every
/// bearer token if one was verified. Credentials of another kind stay.
fn strip_token(fields: &mut HeaderMap, cookies: &[String], is_verified: bool) {
    if is_verified && let Some(others) = authorization::without_bearer(fields) {
        fields.remove(header::AUTHORIZATION);
        for other in others {
            fields.append(header::AUTHORIZATION, other);
        }
    }
    let Some(kept) = cookie::without(fields, cookies) else { return };
    fields.remove(header::COOKIE);
    if let Some(kept) = HeaderValue::from_maybe_shared(kept).ok().filter(|kept| !kept.is_empty()) {
        fields.insert(header::COOKIE, kept);
    }
}

/// Removes the `Referer` if it may contain a stream token.
fn strip_referer(fields: &mut HeaderMap) {
    let holds_token = |value: &HeaderValue| {
        let prefix = PATH_TOKEN_PREFIX.as_bytes();
        value.as_bytes().windows(prefix.len()).any(|part| part == prefix)
    };
    if fields.get_all(header::REFERER).into_iter().any(holds_token) {
        fields.remove(header::REFERER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn a_head_is_edited_and_keeps_its_target() {
        let mut head = RequestHeader::build("GET", b"/a%20b?q=1", None).expect("a request");
        head.append_header("X-Kept", "1").expect("a field");
        edit(&mut head, |fields| {
            fields.insert("x-new", HeaderValue::from_static("2"));
        });
        assert_eq!(head.raw_path(), b"/a%20b?q=1");
        assert_eq!(head.headers["x-kept"], "1");
        assert_eq!(head.headers["x-new"], "2");
    }

    #[test]
    fn what_a_client_claims_of_itself_never_passes() {
        let mut fields = fields(&[
            ("host", "tv.example.:8080"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-streamgate-account", "mine"),
            ("x-request-id", "1"),
            ("forwarded", "for=1.2.3.4"),
            ("x-kept", "yes"),
        ]);
        let client = Some([192, 0, 2, 1].into());
        let mut exchange = Exchange::new(client);
        exchange.scheme = Scheme::HTTPS;
        prepare(&mut fields, &exchange, &ClaimHeaders::default());
        let value = |name: &str| fields.get(name).and_then(|v| v.to_str().ok());
        assert_eq!(value("x-forwarded-for"), Some("192.0.2.1"));
        assert_eq!(value("host"), Some("tv.example:8080"));
        assert_eq!(value("x-forwarded-host"), Some("tv.example:8080"));
        assert_eq!(value("x-forwarded-proto"), Some("https"));
        assert_eq!(value("x-streamgate-account"), None);
        assert_eq!(value("forwarded"), None);
        assert_eq!(value("x-request-id").map(str::len), Some(32));
        assert_eq!(value("x-kept"), Some("yes"));
    }

    #[test]
    fn what_a_claim_can_set_no_client_sets() {
        let names = ["x-plan", "plan-of-account"].map(HeaderName::from_static);
        let claims = ClaimHeaders::new(names.iter());
        let mut written = HeaderMap::new();
        for name in ["x-plan", "X-PLAN", "x_plan", "plan_of-account", "x-planet", "x_kept"] {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            written.append(name, HeaderValue::from_static("gold"));
        }
        prepare(&mut written, &Exchange::new(None), &claims);
        let mut left: Vec<&str> = written.keys().map(HeaderName::as_str).collect();
        left.sort();
        assert_eq!(left, ["x-forwarded-proto", "x-planet", "x-request-id", "x_kept"]);
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
            let mut fields = fields(&[("cookie", cookie), ("authorization", "Bearer t")]);
            strip_token(&mut fields, &names, true);
            let left = fields.get("cookie").and_then(|v| v.to_str().ok());
            assert_eq!(left, kept, "{cookie}");
            assert!(fields.get("authorization").is_none());
        }
    }

    #[test]
    fn an_address_with_a_token_in_it_is_not_sent() {
        for (referer, is_kept) in
            [("https://tv.example/s/T/live/a.m3u8", false), ("https://tv.example/watch", true)]
        {
            let mut fields = fields(&[("referer", referer)]);
            strip_referer(&mut fields);
            assert_eq!(fields.contains_key("referer"), is_kept, "{referer}");
        }
    }

    #[test]
    fn an_authorization_that_is_not_ours_passes() {
        let mut kept = fields(&[("authorization", "Basic dTpw")]);
        strip_token(&mut kept, &[], true);
        assert!(kept.contains_key("authorization"));
    }
}
