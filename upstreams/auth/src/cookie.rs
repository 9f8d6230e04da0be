//! The session cookie, written. Read in `credential.rs`.

use axum::http::{HeaderMap, HeaderValue};

/// When the cookie is marked `Secure`, so that browsers send it over TLS alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secure {
    /// Always.
    Always,
    /// When the request came over TLS, as `X-Forwarded-Proto` says.
    Auto,
    /// Never.
    Never,
}

impl Secure {
    fn holds(self, request: &HeaderMap) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let scheme = request.get("x-forwarded-proto");
                scheme.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"))
            }
        }
    }
}

/// `Set-Cookie` for a token that lives so many seconds; with an empty token and 0 it takes the
/// cookie away.
pub(crate) fn set(
    name: &str,
    token: &str,
    max_age_seconds: u64,
    secure: Secure,
    request: &HeaderMap,
) -> HeaderValue {
    let mark = if secure.holds(request) { "; Secure" } else { "" };
    let text =
        format!("{name}={token}; Path=/; Max-Age={max_age_seconds}; HttpOnly; SameSite=Lax{mark}");
    let mut value = HeaderValue::from_str(&text).expect("a name and a token are visible ASCII");
    value.set_sensitive(true);
    value
}
