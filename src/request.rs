//! The request of a client, read once: host, normalised path, query, header fields.
//!
//! It borrows from the request's head and changes nothing, so the same routes and filters can judge
//! a request that was never sent. What is matched here is what goes upstream: no second reading.

pub mod head;
pub mod cookie;
pub mod authorization;
mod path;
mod origin;
pub mod reserved;
pub mod written_field;
mod second_reading;
mod starts;
mod glob;
mod ticket;

pub use glob::Glob;
pub use path::normalise;
pub use starts::{Starts, is_playlist};
pub use ticket::{TICKET_MARK, Ticket};

use crate::denial::{Code, Denial};
use http::request::Parts;
use http::{HeaderMap, Method, header};
use std::borrow::Cow;

/// One request as routes and filters see it.
#[derive(Debug)]
pub struct Request<'a> {
    /// As the client wrote it.
    pub method: &'a Method,
    /// In lower case, without the port.
    pub host: Cow<'a, str>,
    /// Host and port as the client wrote them.
    pub authority: &'a str,
    /// Whether it was asked by HTTPS. The head does not tell, the connection does.
    pub is_https: bool,
    /// Normalised; always begins with `/`.
    pub path: Cow<'a, str>,
    /// Whether the path holds `%2F`, which only some routes take.
    pub has_encoded_slash: bool,
    /// Without the `?`.
    pub query: Option<&'a str>,
    /// All header fields.
    pub headers: &'a HeaderMap,
    /// The stream token that stood before the path, if the gateway looks for one there.
    pub path_token: Option<PathToken<'a>>,
    /// The ticket that stood there in its place, opened.
    pub ticket: Option<&'a Ticket>,
    /// What begins a playback on the route that takes the request.
    pub starts: &'a Starts,
}

/// Before the path of a request that carries its stream's token there: `/s/<token>/live/…`.
pub const PATH_TOKEN_PREFIX: &str = "/s/";

/// The text of a stream token, valid or not. It does not print.
pub struct PathToken<'a>(Cow<'a, str>);

impl PathToken<'_> {
    /// The token as it was written.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PathToken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl<'a> Request<'a> {
    /// Reads a head whose framing and host were already found to be sound ([`head`]).
    pub fn read(head: &'a Parts) -> Result<Self, Denial> {
        let path = path::normalise_but_slashes(head.uri.path())
            .map_err(|why| Denial::from(Code::RequestMalformed).because(why))?;
        let authority = head.uri.authority().map(|authority| authority.as_str());
        let field = || head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = authority.or_else(field).unwrap_or_default();
        let host = without_port(authority);
        // One dot at the end is the root of all names: the same host (RFC 3986 §3.2.2).
        let host = host.strip_suffix('.').unwrap_or(host);
        Ok(Request {
            method: &head.method,
            host: lower_case(host),
            authority,
            is_https: false,
            has_encoded_slash: path::has_encoded_slash(&path),
            path,
            query: head.uri.query(),
            headers: &head.headers,
            path_token: None,
            ticket: None,
            starts: &starts::USUAL,
        })
    }

    /// Refuses an encoded slash, unless it `may_pass`.
    pub fn check_encoded_slash(&self, may_pass: bool) -> Result<(), Denial> {
        match self.has_encoded_slash && !may_pass {
            true => Err(Denial::from(Code::RequestMalformed).because(path::ENCODED_SLASH)),
            false => Ok(()),
        }
    }

    /// Takes a stream token off the path, if it begins with one: routes, filters, upstreams and
    /// logs then see the path behind it. Whether it is valid is checked elsewhere.
    pub fn split_path_token(&mut self) {
        let Some(behind) = self.path.strip_prefix(PATH_TOKEN_PREFIX) else { return };
        let token_len = behind.find('/').unwrap_or(behind.len());
        let end = PATH_TOKEN_PREFIX.len() + token_len;
        let (token, path) = match &self.path {
            Cow::Borrowed(path) => {
                let (before, path) = path.split_at(end);
                (Cow::Borrowed(&before[PATH_TOKEN_PREFIX.len()..]), Cow::Borrowed(path))
            }
            Cow::Owned(path) => {
                let (before, path) = path.split_at(end);
                let token = before[PATH_TOKEN_PREFIX.len()..].to_owned();
                (Cow::Owned(token), Cow::Owned(path.to_owned()))
            }
        };
        self.path_token = Some(PathToken(token));
        self.path = if path.is_empty() { Cow::Borrowed("/") } else { path };
    }

    /// Refuses a ticket that stands anywhere else in the path, where nobody takes it off: it would
    /// be logged and passed on.
    pub fn check_other_tickets(&self) -> Result<(), Denial> {
        match self.path.split('/').any(|segment| segment.starts_with(TICKET_MARK)) {
            true => {
                let why = "a ticket stands before the whole path, and once";
                Err(Denial::from(Code::RequestMalformed).because(why))
            }
            false => Ok(()),
        }
    }

    /// The text of a ticket in the place of the stream token, good or not.
    pub fn ticket_text(&self) -> Option<&str> {
        let text = self.path_token.as_ref()?.text();
        text.starts_with(TICKET_MARK).then_some(text)
    }

    /// Whether a playback begins with this request, by what it asks for.
    pub fn is_start(&self) -> bool {
        matches!(*self.method, Method::GET | Method::HEAD) && self.starts.take(&self.path)
    }

    /// Whether only the answer can tell that: its media type may be that of a playlist.
    pub fn may_be_start(&self) -> bool {
        *self.method == Method::GET
            && self.path_token.is_none()
            && !self.starts.take(&self.path)
            && self.starts.leave_to_answer(&self.path)
    }

    /// The first value of a query parameter, as it was written (not decoded).
    pub fn query_value(&self, name: &str) -> Option<&'a str> {
        let pairs = self.query?.split('&');
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The values of the cookies called `name`, as they were written.
    pub fn cookies(&self, name: &str) -> impl Iterator<Item = &'a str> {
        cookie::values(self.headers, name)
    }

    /// Whether a browser says that a page of another site asks (`Sec-Fetch-Site`).
    pub fn is_cross_site(&self) -> bool {
        self.header("sec-fetch-site").is_some_and(|site| site.eq_ignore_ascii_case("cross-site"))
    }

    /// A header field as text; `None` also when it is not visible ASCII.
    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The host of `authority` (RFC 3986 §3.2) without its port; an IPv6 address keeps its brackets.
pub fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(at) if !authority[at..].contains(']') => &authority[..at],
        _ => authority,
    }
}

/// `authority` without the dot that may end its name: `tv.example.:80` is `tv.example:80`.
pub fn without_dot(authority: &str) -> Cow<'_, str> {
    // Looked at first: nearly no host has one.
    let bytes = authority.as_bytes();
    if bytes.last() != Some(&b'.') && !bytes.windows(2).any(|pair| pair == b".:") {
        return Cow::Borrowed(authority);
    }
    let name = without_port(authority);
    match name.strip_suffix('.') {
        Some(bare) => Cow::Owned(format!("{bare}{}", &authority[name.len()..])),
        None => Cow::Borrowed(authority),
    }
}

fn lower_case(host: &str) -> Cow<'_, str> {
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, host: &str) -> Parts {
        let request = http::Request::builder().uri(uri).header("host", host).body(());
        request.expect("a valid request").into_parts().0
    }

    #[test]
    fn the_host_is_read_without_port_and_case() {
        for (uri, host, expected) in [
            ("/a", "TV.Example.com:8080", "tv.example.com"),
            ("/a", "TV.Example.com.", "tv.example.com"),
            ("/a", "tv.example.com.:8443", "tv.example.com"),
            ("http://b.example.:80/a", "c.example", "b.example"),
            ("/a", "[::1]:80", "[::1]"),
            ("/a", "[::1]", "[::1]"),
            ("http://b.example/a", "c.example", "b.example"),
        ] {
            let parts = head(uri, host);
            assert_eq!(Request::read(&parts).expect("a good request").host, expected, "{uri}");
        }
    }

    #[test]
    fn a_stream_token_is_taken_off_the_path() {
        for (uri, token, path) in [
            ("/s/T0K-_/live/a.ts?q=/s/x/", Some("T0K-_"), "/live/a.ts"),
            ("/s/T/s/U/a", Some("T"), "/s/U/a"),
            ("/./s//T/../T/a%7e", Some("T"), "/a~"),
            ("/s/T", Some("T"), "/"),
            ("/s/T/", Some("T"), "/"),
            ("/s/", Some(""), "/"),
            ("/s", None, "/s"),
            ("/sT/a", None, "/sT/a"),
            ("/a/s/T/b", None, "/a/s/T/b"),
        ] {
            let parts = head(uri, "h");
            let mut request = Request::read(&parts).expect("a good request");
            request.split_path_token();
            let found = request.path_token.as_ref().map(PathToken::text);
            assert_eq!((found, request.path.as_ref()), (token, path), "{uri}");
            assert!(!format!("{request:?}").contains("T0K-_"), "{request:?}");
        }
    }

    #[test]
    fn cookies_are_found_by_name() {
        let request = http::Request::builder()
            .uri("/")
            .header("cookie", " a=1; sid=x=y ;sid =z")
            .header("cookie", "sids=2;sid=;sid")
            .header("cookie", &b"sid=\xff"[..])
            .body(());
        let parts = request.expect("a valid request").into_parts().0;
        let request = Request::read(&parts).expect("a good request");
        assert_eq!(request.cookies("sid").collect::<Vec<_>>(), ["x=y", ""]);
        assert_eq!(request.cookies("a").collect::<Vec<_>>(), ["1"]);
    }

    #[test]
    fn query_values_are_found_by_name() {
        let parts = head("/a?x=1&streamgate-replace=oldest&y", "h");
        let request = Request::read(&parts).expect("a good request");
        assert_eq!(request.query_value("streamgate-replace"), Some("oldest"));
        assert_eq!(request.query_value("y"), Some(""));
        assert_eq!(request.query_value("z"), None);
    }
}
