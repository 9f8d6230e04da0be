//! Bytes as an HTTP answer: validators, one range, caching (RFC 9110 §13, §14). Knows nothing of
//! playlists or segments.

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;

/// A whole representation, of which an answer may show a part.
pub(crate) struct Media {
    pub(crate) bytes: Bytes,
    /// A strong entity tag, quotes included.
    pub(crate) etag: String,
    pub(crate) content_type: &'static str,
    pub(crate) cache_control: &'static str,
}

/// Answers GET and HEAD: 304 when the client has it, 206 or 416 to a range, else 200.
pub(crate) fn answer(media: Media, method: &Method, request: &HeaderMap) -> Response {
    let total = media.bytes.len();
    if is_known(request, &media.etag) {
        return response(&media, StatusCode::NOT_MODIFIED, Body::empty());
    }
    // A range is defined for GET alone; HEAD tells of the whole (RFC 9110 §14.2).
    let asked = (method == Method::GET && is_range_current(request, &media.etag))
        .then(|| Range::parse(request, total))
        .flatten();
    match asked {
        None => {
            let body = Body::from(media.bytes.clone());
            response(&media, StatusCode::OK, body)
        }
        Some(Range::Unsatisfiable) => {
            let mut answer = response(&media, StatusCode::RANGE_NOT_SATISFIABLE, Body::empty());
            put(&mut answer, CONTENT_RANGE, format!("bytes */{total}"));
            answer
        }
        Some(Range::Part { first, last }) => {
            let body = Body::from(media.bytes.slice(first..=last));
            let mut answer = response(&media, StatusCode::PARTIAL_CONTENT, body);
            put(&mut answer, CONTENT_RANGE, format!("bytes {first}-{last}/{total}"));
            answer
        }
    }
}

fn response(media: &Media, status: StatusCode, body: Body) -> Response {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    put(&mut answer, ETAG, media.etag.clone());
    let fields = answer.headers_mut();
    fields.insert(CACHE_CONTROL, HeaderValue::from_static(media.cache_control));
    fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::OK || status == StatusCode::PARTIAL_CONTENT {
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(media.content_type));
    }
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        fields.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    answer
}

fn put(answer: &mut Response, name: axum::http::HeaderName, value: String) {
    let value = HeaderValue::from_str(&value).expect("we write visible ASCII only");
    answer.headers_mut().insert(name, value);
}

/// `If-None-Match` names this representation, or any (weak comparison, RFC 9110 §13.1.2).
fn is_known(request: &HeaderMap, etag: &str) -> bool {
    let listed = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    listed
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag)
}

/// Without `If-Range` every range is current; with it only the very same representation's is
/// (strong comparison). A date never is: no answer here carries `Last-Modified`.
fn is_range_current(request: &HeaderMap, etag: &str) -> bool {
    request.get(IF_RANGE).is_none_or(|value| value.as_bytes() == etag.as_bytes())
}

/// One range, resolved against a length.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    Part { first: usize, last: usize },
    Unsatisfiable,
}

impl Range {
    /// The range that a request asks for. None when it asks for the whole: no `Range`, several
    /// (a server may ignore those, and no player sends them), or one that is not well formed.
    fn parse(request: &HeaderMap, total: usize) -> Option<Self> {
        let mut fields = request.get_all(RANGE).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return None;
        };
        let (unit, spec) = field.to_str().ok()?.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = spec.trim().split_once('-')?;
        if first.is_empty() {
            return Some(Self::suffix(number(last)?, total));
        }
        let first = number(first)?;
        let last = if last.is_empty() { usize::MAX } else { number(last)? };
        if last < first {
            return None;
        }
        if first >= total {
            return Some(Self::Unsatisfiable);
        }
        Some(Self::Part { first, last: last.min(total - 1) })
    }

    fn suffix(wanted: usize, total: usize) -> Self {
        if wanted == 0 || total == 0 {
            return Self::Unsatisfiable;
        }
        Self::Part { first: total.saturating_sub(wanted), last: total - 1 }
    }
}

/// Digits only: `str::parse` alone would take a plus sign. Beyond what fits is beyond the end.
fn number(text: &str) -> Option<usize> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: &str, expected: Option<Range>) {
        let mut request = HeaderMap::new();
        request.insert(RANGE, HeaderValue::from_str(range).expect("a test's own text"));
        assert_eq!(Range::parse(&request, 100), expected, "{range}");
    }

    #[test]
    fn one_range_is_read_as_rfc_9110_says() {
        let part = |first, last| Some(Range::Part { first, last });
        check("bytes=0-0", part(0, 0));
        check("bytes=10-19", part(10, 19));
        check("Bytes=10-", part(10, 99));
        check("bytes=-5", part(95, 99));
        check("bytes=-500", part(0, 99));
        check("bytes=90-500", part(90, 99));
        check("bytes=0-99999999999999999999999", part(0, 99));
        check("bytes=100-", Some(Range::Unsatisfiable));
        check("bytes=99999999999999999999999-", Some(Range::Unsatisfiable));
        check("bytes=-0", Some(Range::Unsatisfiable));
        for whole in [
            "bytes=5-4",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "bytes=-",
            "lines=1-2",
            "bytes",
            "bytes=+1-2",
            "bytes=1--2",
        ] {
            check(whole, None);
        }
    }
}
