//! On whose behalf a request is sent: that of a page of ours, of another site, or of no page.
//!
//! A browser adds the session's cookie to whatever a page makes it ask for, so another site can
//! have it change things (CSRF). Browsers say where a request comes from, and that is read here.
//! Programs say nothing and pass: nobody can have them send somebody else's cookie.

use super::Request;
use http::{HeaderName, HeaderValue, Method, header};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl Request<'_> {
    /// The method of the request that a browser announces by this one (a preflight).
    pub fn announced_method(&self) -> Option<Method> {
        if *self.method != Method::OPTIONS || !self.headers.contains_key(header::ORIGIN) {
            return None;
        }
        let mut announced = self.headers.get_all(header::ACCESS_CONTROL_REQUEST_METHOD).into_iter();
        match (announced.next(), announced.next()) {
            (Some(one), None) => Method::from_bytes(one.as_bytes()).ok(),
            _ => None,
        }
    }

    /// Whether no other site had a browser send it. `allowed` are further origins of ours, such as
    /// `https://www.example.com`.
    pub fn is_our_own(&self, allowed: &[String]) -> bool {
        let mut origins = self.headers.get_all(header::ORIGIN).into_iter();
        let origin = origins.next();
        if origins.next().is_some() {
            return false;
        }
        let is = |one: &String| origin.is_some_and(|origin| origin.as_bytes() == one.as_bytes());
        if allowed.iter().any(is) {
            return true;
        }
        let mut sites = self.headers.get_all(FETCH_SITE).into_iter().peekable();
        match (sites.peek().is_some(), origin) {
            (true, _) => sites.all(is_own_site),
            (false, None) => true,
            (false, Some(origin)) => self.is_origin(origin),
        }
    }

    /// Whether this is the origin that the browser asked. The scheme is not compared: where TLS
    /// ends in front of the gateway, nobody may have told it.
    fn is_origin(&self, origin: &HeaderValue) -> bool {
        let authority = origin.to_str().ok().and_then(|text| text.split_once("://"));
        authority.is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(self.authority))
    }
}

/// What browsers say of a request of our own page, and of one that a person typed.
fn is_own_site(site: &HeaderValue) -> bool {
    matches!(site.as_bytes(), b"same-origin" | b"none")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(&str, &str)], expected: bool) {
        let mut head = http::Request::get("/a").header("host", "tv.example.com:8443");
        for (name, value) in fields {
            head = head.header(*name, *value);
        }
        let head = head.body(()).expect("a request").into_parts().0;
        let request = Request::read(&head).expect("a good request");
        let allowed = ["https://www.example.com".to_owned()];
        assert_eq!(request.is_our_own(&allowed), expected, "{fields:?}");
    }

    #[test]
    fn our_pages_and_programs_pass_and_other_sites_do_not() {
        check(&[], true);
        check(&[("sec-fetch-site", "same-origin")], true);
        check(&[("sec-fetch-site", "none")], true);
        for site in ["cross-site", "same-site", "", "None", "\u{e9}"] {
            check(&[("sec-fetch-site", site)], false);
            check(&[("sec-fetch-site", site), ("origin", "https://tv.example.com:8443")], false);
            check(&[("sec-fetch-site", site), ("origin", "https://www.example.com")], true);
            check(&[("sec-fetch-site", "none"), ("sec-fetch-site", site)], false);
        }
        check(&[("origin", "https://tv.example.com:8443")], true);
        check(&[("origin", "http://TV.example.com:8443")], true);
        for origin in
            ["https://tv.example.com", "https://evil.example", "null", "", "tv.example.com:8443"]
        {
            check(&[("origin", origin)], false);
        }
        let (ours, evil) = ("https://www.example.com", "https://evil.example");
        check(&[("origin", ours), ("origin", evil)], false);
    }
}
