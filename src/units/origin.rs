//! Whose pages may ask from elsewhere: an origin as browsers write it (RFC 6454 §6.2), one with any
//! subdomain, or any origin.
//!
//! Browsers send an origin in one spelling: lower case, and no port where it is the usual one. What
//! an operator writes is brought to that spelling, and then bytes are compared: there is no second
//! reading by which `https://app.example.evil.com` or `https://app.example@evil.com` could pass.

use crate::yaml::Scalar;
use std::fmt;

/// An origin that is allowed, or many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Written `"*"`.
    Any,
    /// This very one.
    Exactly(String),
    /// Every host below the suffix, which begins with a dot and ends with the port, if any.
    Below {
        /// With the `://`.
        scheme: String,
        /// As `.example.com:8443`.
        suffix: String,
    },
}

impl Origin {
    /// Whether a page of this origin is meant.
    pub fn covers(&self, origin: &[u8]) -> bool {
        match self {
            Origin::Any => true,
            Origin::Exactly(one) => one.as_bytes() == origin,
            Origin::Below { scheme, suffix } => {
                let behind = origin.strip_prefix(scheme.as_bytes());
                let name = behind.and_then(|host| host.strip_suffix(suffix.as_bytes()));
                name.is_some_and(is_name)
            }
        }
    }
}

/// Whether these are labels of a host, with dots between: nothing else may stand before a suffix.
fn is_name(name: &[u8]) -> bool {
    let is_letter = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
    };
    let mut labels = name.split(|&byte| byte == b'.');
    labels.all(|label| !label.is_empty() && label.iter().all(is_letter))
}

/// The port that browsers leave out.
fn usual_port(scheme: &str) -> &'static str {
    match scheme {
        "http" => "80",
        "https" => "443",
        _ => "",
    }
}

impl Scalar for Origin {
    const KIND: &'static str = "an origin";
    const EXAMPLE: &'static str = "https://app.example";
    const EXPECTED: &'static str = "an origin such as `https://app.example`, \
        `https://*.app.example` or `http://localhost:3000`, or `\"*\"` for any";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "*" => return Ok(Origin::Any),
            "null" | "" => {
                let why = "`null` is the origin of every sandboxed page, whoever wrote it";
                return Err(why.to_owned());
            }
            _ => {}
        }
        let lower = text.to_ascii_lowercase();
        let Some((scheme, authority)) = lower.split_once("://") else {
            return Err("an origin begins with its scheme, as in `https://`".to_owned());
        };
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.chars().all(is_scheme) {
            return Err(String::new());
        }
        if authority.contains(['/', '?', '#']) {
            return Err("an origin ends with its host and port, without a path".to_owned());
        }
        let at = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
        let (host, port) =
            at.map_or((authority, ""), |at| (&authority[..at], &authority[at + 1..]));
        let is_port = at.is_none() || port.parse::<u16>().is_ok_and(|number| number != 0);
        let (name, is_wild) = host.strip_prefix("*.").map_or((host, false), |name| (name, true));
        let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_v6 = inner.is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
        if !is_port || !(is_name(name.as_bytes()) || (is_v6 && !is_wild)) {
            return Err(String::new());
        }
        let port = match port {
            "" => String::new(),
            usual if usual == usual_port(scheme) => String::new(),
            other => format!(":{other}"),
        };
        Ok(match is_wild {
            true => {
                Origin::Below { scheme: format!("{scheme}://"), suffix: format!(".{name}{port}") }
            }
            false => Origin::Exactly(format!("{scheme}://{name}{port}")),
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Any => f.write_str("*"),
            Origin::Exactly(one) => f.write_str(one),
            Origin::Below { scheme, suffix } => write!(f, "{scheme}*{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(written: &str, origin: &str, expected: bool) {
        let read = Origin::read(written).expect(written);
        assert_eq!(read.covers(origin.as_bytes()), expected, "{written} {origin:?}");
    }

    #[test]
    fn an_origin_is_itself_and_nothing_that_looks_like_it() {
        for written in ["https://app.example", "HTTPS://App.Example", "https://app.example:443"] {
            check(written, "https://app.example", true);
        }
        for origin in [
            "http://app.example",
            "https://app.example:8443",
            "https://app.example:443",
            "https://evilapp.example",
            "https://app.example.evil.com",
            "https://app.example@evil.com",
            "https://evil.com/https://app.example",
            "https://app.example/",
            "https://app.example ",
            " https://app.example",
            "https://APP.example",
            "https://app.example.",
            "https://app.exampl\u{e9}",
            "null",
            "",
            "*",
        ] {
            check("https://app.example", origin, false);
        }
        check("http://localhost:3000", "http://localhost:3000", true);
        check("http://localhost:80", "http://localhost", true);
        check("http://localhost", "http://localhost:3000", false);
        check("http://[::1]:3000", "http://[::1]:3000", true);
        check("capacitor://localhost", "capacitor://localhost", true);
    }

    #[test]
    fn a_star_stands_for_subdomains_and_for_nothing_else() {
        let written = "https://*.app.example";
        for origin in ["https://a.app.example", "https://a.b-c.app.example"] {
            check(written, origin, true);
        }
        for origin in [
            "https://app.example",
            "https://.app.example",
            "https://evilapp.example",
            "https://evil.com/.app.example",
            "https://evil.com#.app.example",
            "https://evil.com?.app.example",
            "https://evil.com\\.app.example",
            "https://evil.com:80.app.example",
            "https://user@a.app.example",
            "https://a..app.example",
            "https://a.app.example:8443",
            "https://a.app.example.evil.com",
            "http://a.app.example",
            "https://%61.app.example",
            "null",
        ] {
            check(written, origin, false);
        }
        check("https://*.app.example:8443", "https://a.app.example:8443", true);
        check("https://*.app.example:8443", "https://a.app.example", false);
        check("*", "null", true);
    }

    #[test]
    fn what_no_browser_sends_is_told() {
        for wrong in [
            "null",
            "",
            "app.example",
            "//app.example",
            "https://",
            "https://app.example/",
            "https://app.example/a",
            "https://app.example?",
            "https://user@app.example",
            "https://app.example:",
            "https://app.example:0",
            "https://app.example:99999",
            "https://*",
            "https://*app.example",
            "https://a.*.example",
            "https://*.*.example",
            "https://*.[::1]",
            "https://a..example",
            "https://app.example.",
            "https://caf\u{e9}.example",
            "https://a b",
            "://a",
            "1a://a",
            "**",
        ] {
            assert!(Origin::read(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_suffix_is_met_by_subdomains_alone(before in "[a-z0-9.@:/#?\\\\_-]{0,12}") {
            let read = Origin::read("https://*.app.example").expect("an origin");
            let origin = format!("https://{before}.app.example");
            // The host of a URL ends at the first of these; it must be one below ours.
            let is_host = !before.contains(['@', ':', '/', '#', '?', '\\']);
            prop_assert!(!read.covers(origin.as_bytes()) || (is_host && !before.is_empty()));
        }
    }
}
