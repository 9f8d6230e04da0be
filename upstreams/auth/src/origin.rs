//! Whether a browser sends a request on behalf of our own page. Requests that change something
//! carry a cookie by themselves, so another site could make a browser send one (CSRF); browsers
//! say where they come from, and that is read here. Programs say nothing and are let through:
//! nobody can make them send somebody else's cookie.

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};

use crate::refusal::Refusal;

/// Refuses what a browser sends for another site. `allowed` are further origins of ours.
pub(crate) fn check(fields: &HeaderMap, allowed: &[String]) -> Result<(), Refusal> {
    let origin = text(fields, ORIGIN.as_str());
    if origin.is_some_and(|origin| allowed.iter().any(|one| one == origin)) {
        return Ok(());
    }
    let is_ours = match (text(fields, "sec-fetch-site"), origin) {
        (Some("same-origin" | "none"), _) | (None, None) => true,
        (Some(_), _) => false,
        (None, Some(origin)) => is_same(fields, origin),
    };
    if is_ours { Ok(()) } else { Err(Refusal::OriginRefused) }
}

/// Whether an origin is the one that the browser asked: its host, and its scheme where a gateway
/// says which it was.
fn is_same(fields: &HeaderMap, origin: &str) -> bool {
    let host = text(fields, "x-forwarded-host").or_else(|| text(fields, HOST.as_str()));
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let same_scheme =
        text(fields, "x-forwarded-proto").is_none_or(|proto| proto.eq_ignore_ascii_case(scheme));
    same_scheme && host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
}

fn text<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    fields.get(name).map(|value| value.to_str().unwrap_or("unreadable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(fields: &[(&'static str, &'static str)], passes: bool) {
        let mut map = HeaderMap::new();
        map.insert("host", axum::http::HeaderValue::from_static("127.0.0.1:4001"));
        for (name, value) in fields {
            map.insert(*name, axum::http::HeaderValue::from_static(value));
        }
        let allowed = ["https://www.example.com".to_owned()];
        assert_eq!(check(&map, &allowed).is_ok(), passes, "{fields:?}");
    }

    #[test]
    fn our_pages_and_programs_pass_and_other_sites_do_not() {
        let behind = ("x-forwarded-host", "tv.example.com");
        let tls = ("x-forwarded-proto", "https");
        check_one(&[], true);
        check_one(&[("sec-fetch-site", "same-origin"), ("origin", "https://tv.example.com")], true);
        check_one(&[("sec-fetch-site", "none")], true);
        check_one(&[("sec-fetch-site", "cross-site")], false);
        check_one(&[("sec-fetch-site", "same-site")], false);
        check_one(&[("sec-fetch-site", "same-site"), ("origin", "https://www.example.com")], true);
        check_one(&[("origin", "http://127.0.0.1:4001")], true);
        check_one(&[("origin", "https://tv.example.com"), behind, tls], true);
        check_one(&[("origin", "http://tv.example.com"), behind, tls], false);
        check_one(&[("origin", "https://evil.example"), behind, tls], false);
        check_one(&[("origin", "null"), behind], false);
    }
}
