//! How a stream token travels: in front of the path, or in a cookie. What is in the token is not
//! known here.

use super::config::{Carry, Cookie, Settings};
use crate::denial::Reply;
use crate::request::{PATH_TOKEN_PREFIX, Request};
use http::{HeaderValue, StatusCode, header};
use smallvec::SmallVec;

/// The query parameter that takes over on a media request: `oldest`, or the code of a stream.
pub const REPLACE_PARAM: &str = "streamgate-replace";

/// The most cookies of one name that are looked at: a browser may have a rest of a former setting
/// for another path or domain.
const COOKIES_MAX: usize = 4;

/// Tokens of one request.
pub(super) type Found<'r> = SmallVec<[&'r str; 1]>;

/// How a token comes back with the next request.
#[derive(Debug)]
pub(super) enum TokenTransport {
    /// In front of the path: `/s/<token>/…`.
    Path,
    /// In a cookie.
    Cookie {
        name: String,
        /// The cookie's attributes, as they stand behind its value.
        attributes: String,
    },
}

impl TokenTransport {
    pub(super) fn new(settings: &Settings) -> Self {
        match settings.carry {
            Carry::Path => TokenTransport::Path,
            Carry::Cookie => {
                let default = Cookie::default();
                let cookie = settings.cookie.as_ref().map_or(&default, |cookie| &cookie.value);
                let mut attributes = cookie.same_site.attributes("/", cookie.secure);
                if cookie.partitioned {
                    attributes += "; Partitioned";
                }
                TokenTransport::Cookie { name: cookie.name.0.clone(), attributes }
            }
        }
    }

    /// The tokens that a request carries: one in the path, or those of several cookies of one name.
    /// They are not verified yet, and an empty one is none.
    pub(super) fn found<'r>(&self, request: &'r Request<'_>) -> Found<'r> {
        match self {
            TokenTransport::Path => {
                request.path_token.as_ref().map(|token| token.text()).into_iter().collect()
            }
            TokenTransport::Cookie { name, .. } => {
                let values = request.cookies(name).filter(|value| !value.is_empty());
                values.take(COOKIES_MAX).collect()
            }
        }
    }

    /// The cookie that holds `token`; `None` where the token travels in the path.
    pub(super) fn set(&self, token: &str, lifetime_secs: u64) -> Option<HeaderValue> {
        let TokenTransport::Cookie { name, attributes } = self else { return None };
        let field = format!("{name}={token}; Max-Age={lifetime_secs}{attributes}");
        Some(HeaderValue::try_from(field).expect("a name, base64url and our own words"))
    }

    /// The cookie that makes a browser forget the token; `None` where it travels in the path.
    pub(super) fn clear(&self) -> Option<HeaderValue> {
        self.set("", 0)
    }
}

/// The redirect that puts `token` in front of the path of `request`. No cache may store it, because
/// the next viewer gets another token. `REPLACE_PARAM` is left out: the request was carried out.
pub(super) fn redirect(token: &str, request: &Request<'_>) -> Reply {
    let mut to = format!("{}{token}{}", PATH_TOKEN_PREFIX, request.path);
    let mut mark = '?';
    let pairs = request.query.into_iter().flat_map(|query| query.split('&'));
    for pair in pairs.filter(|pair| pair.split('=').next() != Some(REPLACE_PARAM)) {
        to.push(mark);
        to.push_str(pair);
        mark = '&';
    }
    let mut reply = Reply::new(StatusCode::TEMPORARY_REDIRECT);
    let location = HeaderValue::try_from(to);
    let location = location.expect("a path that was normalised, and a query that was parsed");
    reply.headers.push((header::LOCATION, location));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SameSite;

    fn request<R>(uri: &str, cookies: &[&str], ask: impl FnOnce(&Request<'_>) -> R) -> R {
        let mut head = http::Request::get(uri);
        for cookie in cookies {
            head = head.header("cookie", *cookie);
        }
        let head = head.body(()).expect("a request").into_parts().0;
        ask(&Request::read(&head).expect("a good request"))
    }

    #[test]
    fn the_redirect_keeps_path_and_query_but_for_the_takeover() {
        for (asked, expected) in [
            ("/live/a.m3u8", "/s/T/live/a.m3u8"),
            ("/live/x/../a%2Em3u8?q=1", "/s/T/live/a.m3u8?q=1"),
            ("/a.mpd?streamgate-replace=oldest", "/s/T/a.mpd"),
            ("/a.mpd?x&streamgate-replace=oldest&y=%20&&z=", "/s/T/a.mpd?x&y=%20&&z="),
            ("/a.mpd?streamgate-replaced=1", "/s/T/a.mpd?streamgate-replaced=1"),
        ] {
            let reply = request(asked, &[], |request| redirect("T", request));
            assert_eq!(reply.status, 307);
            let field = |name| reply.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v);
            assert_eq!(field(header::LOCATION).expect("a place"), expected, "{asked}");
            assert_eq!(field(header::CACHE_CONTROL).expect("a rule for caches"), "no-store");
        }
    }

    #[test]
    fn a_cookie_comes_back_as_it_was_set() {
        let cookie = Cookie { same_site: SameSite::None, partitioned: true, ..Cookie::default() };
        let transport = TokenTransport::new(&Settings {
            cookie: Some(crate::yaml::At::unwritten(cookie)),
            ..settings(Carry::Cookie)
        });
        let kept = transport.set("T-_0", 60).expect("a cookie");
        let attributes = "Max-Age=60; Path=/; HttpOnly; SameSite=None; Secure; Partitioned";
        assert_eq!(kept, format!("streamgate-stream=T-_0; {attributes}"));
        assert!(transport.clear().is_some_and(|v| v.to_str().unwrap().contains("=; Max-Age=0;")));
        for (cookies, expected) in [
            (&["a=1; streamgate-stream=T; b=2"][..], Some("T")),
            (&["a=1", "streamgate-stream=T"], Some("T")),
            (&["streamgate-streams=T"], None),
            (&["streamgate-stream"], None),
            (&["streamgate-stream=; streamgate-stream=T"], Some("T")),
            (&["streamgate-stream=T; streamgate-stream=U"], Some("T U")),
            (&[], None),
        ] {
            let found = request("/", cookies, |request| transport.found(request).join(" "));
            assert_eq!(found, expected.unwrap_or_default(), "{cookies:?}");
        }
        assert!(TokenTransport::new(&settings(Carry::Path)).set("T", 60).is_none());
    }

    fn settings(carry: Carry) -> Settings {
        use crate::units::{Secret, Time};
        use crate::yaml::{At, Scalar};
        let secret = At::unwritten(Secret::read("x").expect("any text"));
        let lifetime = At::unwritten(Time::secs(60));
        Settings { secret, also: None, carry, lifetime, cookie: None }
    }
}
