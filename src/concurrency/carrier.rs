//! How a stream token travels: before the path, or in a cookie. What is in it is not known here.

use super::identity::{Carry, Cookie, Settings};
use crate::denial::Reply;
use crate::request::{PATH_TOKEN_PREFIX, Request};
use http::{HeaderValue, StatusCode, header};

/// The query parameter that takes over on a media request: `oldest`, or the code of a stream.
pub const REPLACE_PARAM: &str = "streamgate-replace";

/// What a player asks for first, by the end of its path. Requests behind it inherit the token.
const FIRST_ASKED: [&str; 2] = [".m3u8", ".mpd"];

/// One way for a token to come back with the next request.
#[derive(Debug)]
pub(super) enum Carrier {
    Path,
    Cookie {
        name: String,
        /// All that stands behind the value.
        attributes: String,
    },
}

impl Carrier {
    pub(super) fn new(settings: &Settings) -> Self {
        match settings.carry {
            Carry::Path => Carrier::Path,
            Carry::Cookie => {
                let default = Cookie::default();
                let cookie = settings.cookie.as_ref().map_or(&default, |cookie| &cookie.value);
                let mut attributes = cookie.same_site.attributes("/", cookie.secure);
                if cookie.partitioned {
                    attributes += "; Partitioned";
                }
                Carrier::Cookie { name: cookie.name.0.clone(), attributes }
            }
        }
    }

    /// The token that a request carries, be it good or not.
    pub(super) fn find<'r>(&self, request: &'r Request<'_>) -> Option<&'r str> {
        match self {
            Carrier::Path => request.path_token.as_ref().map(|token| token.text()),
            Carrier::Cookie { name, .. } => request.cookies(name).next(),
        }
    }

    /// What makes a browser keep `token`; `None`: it is not told by a field.
    pub(super) fn keep(&self, token: &str, lifetime_secs: u64) -> Option<HeaderValue> {
        let Carrier::Cookie { name, attributes } = self else { return None };
        let field = format!("{name}={token}; Max-Age={lifetime_secs}{attributes}");
        Some(HeaderValue::try_from(field).expect("a name, base64url and our own words"))
    }

    /// What makes a browser forget the token.
    pub(super) fn forget(&self) -> Option<HeaderValue> {
        self.keep("", 0)
    }
}

/// Whether playback begins with this request.
pub(super) fn is_first(request: &Request<'_>) -> bool {
    let path = request.path.as_bytes();
    let ends = |ending: &&str| {
        let start = path.len().checked_sub(ending.len());
        start.is_some_and(|start| path[start..].eq_ignore_ascii_case(ending.as_bytes()))
    };
    matches!(*request.method, http::Method::GET | http::Method::HEAD)
        && FIRST_ASKED.iter().any(ends)
}

/// The redirect that puts `token` before the path of `request`. Nobody may store it: the next
/// viewer gets a token of their own. The wish to take over was granted and is not repeated.
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
    fn playlists_are_known_by_their_ending() {
        for (path, expected) in [
            ("/live/a.m3u8", true),
            ("/live/a.M3U8", true),
            ("/vod/b.mpd", true),
            ("/vod/b.mpd?x=.ts", true),
            ("/.mpd", true),
            ("/live/a.ts?b=c.m3u8", false),
            ("/live/m3u8", false),
            ("/mpd", false),
            ("/", false),
        ] {
            assert_eq!(request(path, &[], is_first), expected, "{path}");
        }
    }

    #[test]
    fn the_redirect_keeps_path_and_query_but_for_the_wish() {
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
            assert_eq!(field(header::CACHE_CONTROL).expect("told"), "no-store");
        }
    }

    #[test]
    fn a_cookie_comes_back_as_it_was_set() {
        let cookie = Cookie { same_site: SameSite::None, partitioned: true, ..Cookie::default() };
        let carrier = Carrier::new(&Settings {
            cookie: Some(crate::yaml::At::unwritten(cookie)),
            ..settings(Carry::Cookie)
        });
        let kept = carrier.keep("T-_0", 60).expect("a cookie");
        let attributes = "Max-Age=60; Path=/; HttpOnly; SameSite=None; Secure; Partitioned";
        assert_eq!(kept, format!("streamgate-stream=T-_0; {attributes}"));
        assert!(carrier.forget().is_some_and(|v| v.to_str().unwrap().contains("=; Max-Age=0;")));
        for (cookies, expected) in [
            (&["a=1; streamgate-stream=T; b=2"][..], Some("T")),
            (&["a=1", "streamgate-stream=T"], Some("T")),
            (&["streamgate-streams=T"], None),
            (&["streamgate-stream"], None),
            (&[], None),
        ] {
            let found = request("/", cookies, |request| carrier.find(request).map(str::to_owned));
            assert_eq!(found.as_deref(), expected, "{cookies:?}");
        }
        assert!(Carrier::new(&settings(Carry::Path)).keep("T", 60).is_none());
    }

    fn settings(carry: Carry) -> Settings {
        use crate::units::{Secret, Time};
        use crate::yaml::{At, Scalar};
        let secret = At::unwritten(Secret::read("x").expect("any text"));
        let lifetime = At::unwritten(Time::secs(60));
        Settings { secret, also: None, carry, lifetime, cookie: None }
    }
}
