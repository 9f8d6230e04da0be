//! The one reader of cookies, for requests and for answers.
//!
//! White space is treated in two ways, on purpose. A value is *taken* only if the name is written
//! exactly, directly before the `=`. A cookie is *withheld* from an upstream also when white space
//! stands around its name, or a comma before it, because some servers ignore that white space, or
//! take the comma for the end of a cookie (RFC 2965), and would read the token.
//! In an answer, white space around the name is ignored as browsers do (RFC 6265 §5.2).

use bytes::Bytes;
use http::{HeaderMap, header};

/// The values of the cookies called `name` among the fields of a request, in their order. The
/// quotes around a value are not part of it (RFC 6265 §4.1.1). A value that is no text is left out;
/// what stands in the cookies beside it does not matter.
pub fn values<'a>(fields: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let fields = fields.get_all(header::COOKIE).into_iter();
    fields.flat_map(|field| pairs(field.as_bytes())).filter_map(move |pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        str::from_utf8(unquoted(value)).ok()
    })
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        plain => plain,
    }
}

/// The cookies of a request without those called `names`; `None` when there is nothing to take out.
pub fn without(fields: &HeaderMap, names: &[String]) -> Option<Bytes> {
    let is_withheld = |part: &[u8]| {
        let name = name_of(part);
        names.iter().any(|withheld| withheld.as_bytes() == name)
    };
    let is_behind_comma = |pair: &[u8]| {
        memchr::memchr(b',', pair).is_some() && pair.split(|&byte| byte == b',').any(is_withheld)
    };
    let is_named = |pair: &[u8]| is_withheld(pair) || is_behind_comma(pair);
    // A player seldom has another cookie than its session's.
    let mut all = fields.get_all(header::COOKIE).into_iter();
    if let (Some(only), None) = (all.next(), all.next())
        && memchr::memchr(b';', only.as_bytes()).is_none()
    {
        return is_named(only.as_bytes()).then(Bytes::new);
    }
    let lists = fields.get_all(header::COOKIE).into_iter();
    let pairs = lists.flat_map(|field| field.as_bytes().split(|&byte| byte == b';'));
    let pairs: Vec<&[u8]> = pairs.map(<[u8]>::trim_ascii).filter(|p| !p.is_empty()).collect();
    if !pairs.iter().any(|pair| is_named(pair)) {
        return None;
    }
    let kept: Vec<&[u8]> = pairs.into_iter().filter(|pair| !is_named(pair)).collect();
    Some(kept.join(&b"; "[..]).into())
}

/// Whether an answer sets a cookie called `name`.
pub fn is_set(answer: &HeaderMap, name: &str) -> bool {
    let fields = answer.get_all(header::SET_COOKIE).into_iter();
    let mut pairs = fields.map(|field| field.as_bytes()).filter(|field| field.contains(&b'='));
    pairs.any(|pair| name_of(pair) == name.as_bytes())
}

/// What stands before the `=`, without the white space around it; all of it when there is no `=`.
fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|&byte| byte == b'=').next().unwrap_or(pair).trim_ascii()
}

/// What stands between the semicolons of a `Cookie` field (RFC 6265 §4.2).
fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let end = memchr::memchr(b';', bytes);
        rest = end.map(|end| &bytes[end + 1..]);
        Some(&bytes[..end.unwrap_or(bytes.len())])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn fields(name: &'static str, values: &[&'static [u8]]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append(name, HeaderValue::from_bytes(value).expect("a field's value"));
        }
        fields
    }

    #[test]
    fn a_value_is_taken_only_by_its_exact_name() {
        let fields = fields("cookie", &[b" a=1; sid=x=y ;sid =z", b"sids=2;sid=;sid", b"sid=\xff"]);
        assert_eq!(values(&fields, "sid").collect::<Vec<_>>(), ["x=y", ""]);
        assert_eq!(values(&fields, "a").collect::<Vec<_>>(), ["1"]);
    }

    #[test]
    fn bytes_and_quotes_beside_a_value_hide_nothing() {
        let check = |written: &'static [u8], expected: &[&str]| {
            let fields = fields("cookie", &[written]);
            assert_eq!(values(&fields, "sid").collect::<Vec<_>>(), expected, "{written:?}");
        };
        check(b"name=J\xf6rg; sid=x; a=\xff", &["x"]);
        check(b"sid=\xff; sid=x", &["x"]);
        check(b"sid=\"x\"; a=1", &["x"]);
        check(b"a=\"1; sid=x; b=2\"", &["x"]);
        check(b"sid=\"\"; sid=\"; sid=\"x; sid=x\"", &["", "\"", "\"x", "x\""]);
        check(b"sid=\"\"x\"\"", &["\"x\""]);
        check(b"sid= x", &[" x"]);
    }

    #[test]
    fn what_any_server_could_take_for_the_token_is_withheld() {
        let names = ["sid".to_owned()];
        let left = |values: &[&'static [u8]]| without(&fields("cookie", values), &names);
        assert_eq!(left(&[b"sid=x"]).as_deref(), Some(&b""[..]));
        assert_eq!(left(&[b" sid =x;c=3"]).as_deref(), Some(&b"c=3"[..]));
        assert_eq!(left(&[b"a=1", b"sid=\xff; b=2"]).as_deref(), Some(&b"a=1; b=2"[..]));
        assert_eq!(left(&[b"a=1, sid=x"]).as_deref(), Some(&b""[..]));
        assert_eq!(left(&[b"a=1,sid=x; b=2, c=3"]).as_deref(), Some(&b"b=2, c=3"[..]));
        assert_eq!(left(&[b"sids=1; a=sid"]), None);
        assert_eq!(left(&[b"a=1, sids=x"]), None);
    }

    #[test]
    fn an_answer_sets_a_cookie_as_browsers_read_it() {
        for (field, expected) in [
            (&b"sid=x; Path=/"[..], true),
            (b" sid = x", true),
            (b"sids=x", false),
            (b"sid", false),
            (b"a=1; sid=x", false),
        ] {
            assert_eq!(is_set(&fields("set-cookie", &[field]), "sid"), expected, "{field:?}");
        }
    }
}
