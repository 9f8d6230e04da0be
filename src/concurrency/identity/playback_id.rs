//! A playback's own id, as players send it: a hint *within* a verified session, never more.
//!
//! `X-Playback-Session-Id` is what Apple's players send; `sid` is CMCD's (CTA-5004), in the header
//! `CMCD-Session` or in the query parameter `CMCD`.

use crate::request::Request;
use http::HeaderName;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The longest id that is used (CTA-5004 allows 64 characters; UUIDs have 36).
const ID_CHARS_MAX: usize = 128;

const PLAYBACK_FIELD: HeaderName = HeaderName::from_static("x-playback-session-id");
const CMCD_FIELD: HeaderName = HeaderName::from_static("cmcd-session");
const CMCD_PARAM: &str = "CMCD";

/// The id that this request carries. An id that is empty or too long is ignored. The session is
/// then the stream, which can only be stricter.
pub(super) fn playback_id<'r>(request: &Request<'r>) -> Option<Cow<'r, str>> {
    let found = request
        .header(PLAYBACK_FIELD)
        .map(Cow::Borrowed)
        .or_else(|| request.header(CMCD_FIELD).and_then(sid).map(Cow::Borrowed))
        .or_else(|| cmcd_in_query(request));
    found.filter(|id| !id.is_empty() && id.len() <= ID_CHARS_MAX)
}

fn cmcd_in_query<'r>(request: &Request<'r>) -> Option<Cow<'r, str>> {
    let value = request.query_value(CMCD_PARAM)?;
    let decoded = percent_decode_str(value).decode_utf8().ok()?;
    sid(&decoded).map(|id| Cow::Owned(id.to_owned()))
}

/// The value of `sid` in a list such as `br=3200,sid="6e2fb550-…",su`.
fn sid(list: &str) -> Option<&str> {
    let value = list.split(',').find_map(|pair| pair.trim().strip_prefix("sid="))?;
    value.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, fields: &[(&str, &str)], expected: Option<&str>) {
        let mut head = http::Request::builder().uri(uri);
        for (name, value) in fields {
            head = head.header(*name, *value);
        }
        let head = head.body(()).expect("a request").into_parts().0;
        let request = Request::read(&head).expect("a good request");
        assert_eq!(playback_id(&request).as_deref(), expected, "{uri} {fields:?}");
    }

    #[test]
    fn the_id_is_found_where_players_put_it() {
        check("/a", &[("x-playback-session-id", "P1")], Some("P1"));
        check("/a", &[("cmcd-session", "cid=\"c\",sid=\"S-1\",v=1")], Some("S-1"));
        check("/a?CMCD=br%3D3200%2Csid%3D%22S-2%22%2Csu", &[], Some("S-2"));
        check("/a?CMCD=br%3D3200", &[], None);
        check("/a?CMCD=%ff%fesid%3D%22x%22", &[], None);
        check("/a", &[], None);
    }

    #[test]
    fn an_id_that_is_none_is_not_taken() {
        check("/a", &[("x-playback-session-id", "")], None);
        check("/a", &[("x-playback-session-id", &"x".repeat(129))], None);
        check("/a?CMCD=sid%3D%22%22", &[], None);
    }
}
