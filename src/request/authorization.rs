//! The one reader of `Authorization`, for the token that is verified and for what is withheld.
//!
//! There should be one such field, with the credentials of one scheme (RFC 9110 §11.6.2). But some
//! clients send several, and proxies and servers join several fields by commas. So the credentials
//! are told from each other as they would stand in a list: by a comma behind which another scheme
//! begins. Commas between the parameters of a scheme, and within quotes, part nothing.

use http::{HeaderMap, HeaderValue, header};

const BEARER: &[u8] = b"bearer";

/// The bearer tokens of a request, in their order. What is no text is left out.
pub fn bearer_tokens(fields: &HeaderMap) -> impl Iterator<Item = &str> {
    let fields = fields.get_all(header::AUTHORIZATION).into_iter();
    let all = fields.flat_map(|field| credentials(field.as_bytes()));
    let tokens = all.filter_map(token).filter(|token| !token.is_empty());
    tokens.filter_map(|token| str::from_utf8(token).ok())
}

/// The fields without bearer tokens; `None` where there is none to take out.
pub fn without_bearer(fields: &HeaderMap) -> Option<Vec<HeaderValue>> {
    let all = || fields.get_all(header::AUTHORIZATION).into_iter();
    all().any(|field| holds_bearer(field.as_bytes())).then(|| all().filter_map(kept).collect())
}

/// What is left of a field. Where another reader could still find a bearer token in it, nothing is.
fn kept(field: &HeaderValue) -> Option<HeaderValue> {
    if !holds_bearer(field.as_bytes()) {
        return Some(field.clone());
    }
    let others = credentials(field.as_bytes()).filter(|one| token(one).is_none());
    let others = others.collect::<Vec<_>>().join(&b", "[..]);
    let is_kept = !others.is_empty() && !holds_bearer(&others);
    HeaderValue::from_bytes(&others).ok().filter(|_| is_kept)
}

/// The token of bearer credentials: what stands behind the scheme, without parameters.
fn token(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = credentials.split_at_checked(BEARER.len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(BEARER) && rest.first().is_none_or(is_space);
    let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
    is_bearer.then(|| rest[..end].trim_ascii())
}

/// The credentials of each scheme in a field.
fn credentials(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    let parts = std::iter::from_fn(move || {
        let bytes = rest?;
        let end = end_of_first(bytes);
        rest = end.map(|end| &bytes[end + 1..]);
        Some(&bytes[..end.unwrap_or(bytes.len())])
    });
    parts.map(<[u8]>::trim_ascii).filter(|part| !part.is_empty())
}

/// Where the comma is behind which the next credentials begin.
fn end_of_first(bytes: &[u8]) -> Option<usize> {
    // Nearly all fields hold one scheme and one word.
    memchr::memchr(b',', bytes)?;
    let (mut is_quoted, mut is_escaped) = (false, false);
    bytes.iter().enumerate().position(|(at, byte)| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => return begins_scheme(&bytes[at + 1..]),
            _ => {}
        }
        false
    })
}

/// Whether a scheme begins here, and not a parameter of the one before: `name=value`.
fn begins_scheme(bytes: &[u8]) -> bool {
    let bytes = bytes.trim_ascii_start();
    let word = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    let behind = &bytes[word.count()..];
    let is_word = behind.len() < bytes.len();
    let is_parameter = behind.trim_ascii_start().first() == Some(&b'=');
    is_word && !is_parameter && behind.first().is_none_or(|byte| is_space(byte) || *byte == b',')
}

/// Whether a bearer token may stand anywhere in this, however it is read.
fn holds_bearer(bytes: &[u8]) -> bool {
    bytes.windows(BEARER.len()).enumerate().any(|(at, word)| {
        word.eq_ignore_ascii_case(BEARER)
            && (at == 0 || bytes[at - 1] == b',' || is_space(&bytes[at - 1]))
            && bytes.get(at + BEARER.len()).is_none_or(|byte| is_space(byte) || *byte == b',')
    })
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(written: &[&'static str]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for value in written {
            fields.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        fields
    }

    /// The tokens, and what is left of the fields.
    fn check(written: &[&'static str], tokens: &[&str], left: &[&str]) {
        let fields = fields(written);
        assert_eq!(bearer_tokens(&fields).collect::<Vec<_>>(), tokens, "{written:?}");
        let kept = without_bearer(&fields);
        let kept =
            kept.unwrap_or_else(|| fields.get_all("authorization").iter().cloned().collect());
        assert_eq!(kept, left, "{written:?}");
    }

    #[test]
    fn a_token_is_found_wherever_credentials_may_stand() {
        check(&["Bearer t"], &["t"], &[]);
        check(&["BEARER  t\t"], &["t"], &[]);
        check(&["bearer\tt"], &["t"], &[]);
        check(&["Basic dTpw", "bearer t"], &["t"], &["Basic dTpw"]);
        check(&["Basic dTpw, Bearer t"], &["t"], &["Basic dTpw"]);
        check(&["Basic dTpw,Bearer t"], &["t"], &["Basic dTpw"]);
        check(&["Bearer t, Basic dTpw"], &["t"], &["Basic dTpw"]);
        check(&["Bearer t , , Basic dTpw ,"], &["t"], &["Basic dTpw ,"]);
        check(&["Bearer a, Bearer b", "Bearer c"], &["a", "b", "c"], &[]);
        check(&["Negotiate, Bearer t"], &["t"], &["Negotiate"]);
        check(&["Bearer, Basic dTpw"], &[], &["Basic dTpw"]);
        check(&["Bearer t, realm=\"x\", Basic dTpw"], &["t"], &["Basic dTpw"]);
        check(
            &["Digest a=\"x\", b = 1, Bearer t, Basic dTpw"],
            &["t"],
            &["Digest a=\"x\", b = 1, Basic dTpw"],
        );
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        for written in [
            "Basic dTpw",
            "Basic bearert",
            "Bearers t",
            "Digest a=\"x-bearer \"",
            "Digest bearer=\"t\", realm=bearer",
        ] {
            check(&[written], &[], &[written]);
        }
        check(&["", ","], &[], &["", ","]);
    }

    #[test]
    fn what_another_reader_could_find_is_not_passed_on() {
        // In quotes, open quotes and parameters we find none.
        check(&["Digest a=\"x, Bearer t\", b=1", "Basic dTpw"], &[], &["Basic dTpw"]);
        check(&["Digest a=\"x, Bearer t"], &[], &[]);
        check(&["Digest a=\"\\\", Bearer t"], &[], &[]);
        check(&["Basic bearer t"], &[], &[]);
    }
}
