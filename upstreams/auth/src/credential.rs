//! The token that a request carries: the cookie, else a bearer. Finding it is not believing it.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};

use crate::refusal::Refusal;

/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// A token and the way it came, which is the way its successor goes back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) token: String,
    pub(crate) way: Way,
}

/// How a token travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Cookie,
    Bearer,
}

/// The request's one token. Two different ones are refused: whoever could plant a second cookie
/// could otherwise choose whose session this is.
pub(crate) fn find(fields: &HeaderMap, cookie_name: &str) -> Result<Credential, Refusal> {
    let cookies = cookies(fields, cookie_name).map(|token| (Way::Cookie, token));
    let mut found = cookies.chain(bearers(fields).map(|token| (Way::Bearer, token)));
    let (way, token) = found.next().ok_or(Refusal::SessionMissing)?;
    if token.len() > TOKEN_BYTES_MAX || found.any(|(_, other)| other != token) {
        return Err(Refusal::SessionInvalid);
    }
    Ok(Credential { token: token.to_owned(), way })
}

fn cookies<'a>(fields: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = fields.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs
        .filter(move |(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
        .filter(|value| !value.is_empty())
}

fn bearers(fields: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = fields.get_all(AUTHORIZATION).iter().filter_map(|line| line.to_str().ok());
    lines.filter_map(|line| {
        let (scheme, token) = line.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(&'static str, &'static str)], expected: Result<(&str, Way), Refusal>) {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, axum::http::HeaderValue::from_static(value));
        }
        let expected = expected.map(|(token, way)| Credential { token: token.to_owned(), way });
        assert_eq!(find(&map, "session"), expected, "{fields:?}");
    }

    #[test]
    fn one_token_is_found_and_two_are_refused() {
        check(&[], Err(Refusal::SessionMissing));
        check(&[("cookie", "session=")], Err(Refusal::SessionMissing));
        check(&[("cookie", "xsession=t; a=b")], Err(Refusal::SessionMissing));
        check(&[("cookie", "a=b; session=t")], Ok(("t", Way::Cookie)));
        check(&[("authorization", "bearer t")], Ok(("t", Way::Bearer)));
        check(&[("authorization", "Basic t")], Err(Refusal::SessionMissing));
        check(&[("cookie", "session=t"), ("authorization", "Bearer t")], Ok(("t", Way::Cookie)));
        check(&[("cookie", "session=t; session=u")], Err(Refusal::SessionInvalid));
        check(&[("cookie", "session=t"), ("cookie", "session=u")], Err(Refusal::SessionInvalid));
        let mixed = [("cookie", "session=t"), ("authorization", "Bearer u")];
        check(&mixed, Err(Refusal::SessionInvalid));
    }
}
