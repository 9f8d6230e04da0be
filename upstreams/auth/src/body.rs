//! A login's body, read within bounds: JSON or a form. Says nothing about who is logging in.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde::Deserialize;
use tokio::time::timeout;

use crate::account::AccountName;
use crate::password::Password;
use crate::refusal::Refusal;

/// Largest body, in bytes.
const BODY_BYTES_MAX: usize = 8 * 1024;
/// Longest wait for the whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What somebody who wants to come in says.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) account: AccountName,
    pub(crate) password: Password,
    /// Whether the token goes into the answer's body and not into a cookie: for mobile apps.
    pub(crate) wants_token: bool,
    /// Where a form's browser goes next, on this site.
    pub(crate) next: Option<String>,
}

#[derive(Deserialize)]
struct Written {
    account: String,
    password: String,
    #[serde(default)]
    delivery: Delivery,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Delivery {
    #[default]
    Cookie,
    Body,
}

/// Reads and parses; what cannot be an account's name is refused as malformed.
pub(crate) async fn read(fields: &HeaderMap, body: Body) -> Result<Login, Refusal> {
    let form = Form::of(fields)?;
    let bytes = timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await;
    let bytes = bytes.map_err(|_| Refusal::BodyTooSlow)?.map_err(|problem| refused(&problem))?;
    let malformed = Refusal::RequestMalformed("it needs the texts `account` and `password`");
    let written: Written = match form {
        Form::Json => serde_json::from_slice(&bytes).map_err(|_| malformed)?,
        Form::Urlencoded => serde_urlencoded::from_bytes(&bytes).map_err(|_| malformed)?,
    };
    let name = Refusal::RequestMalformed("an account's name has 1 to 128 bytes, without spaces");
    Ok(Login {
        account: written.account.parse().map_err(|_| name)?,
        password: Password::parse(written.password)?,
        wants_token: written.delivery == Delivery::Body,
        next: (form == Form::Urlencoded).then_some(written.next).flatten(),
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Urlencoded,
}

impl Form {
    fn of(fields: &HeaderMap) -> Result<Self, Refusal> {
        let value = fields.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let essence = value.split(';').next().unwrap_or("").trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-www-form-urlencoded" => Ok(Self::Urlencoded),
            _ => Err(Refusal::MediaTypeUnsupported),
        }
    }
}

/// `to_bytes` fails for two reasons: the limit, or a client that broke off.
fn refused(problem: &axum::Error) -> Refusal {
    let mut cause: Option<&dyn std::error::Error> = Some(problem);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return Refusal::BodyTooLarge;
        }
        cause = error.source();
    }
    Refusal::RequestMalformed("the body broke off")
}

/// A path on this site: begins with one slash, and nothing in it can be read as another host.
pub(crate) fn is_local(path: &str) -> bool {
    let mut bytes = path.bytes();
    let begins = bytes.next() == Some(b'/') && !matches!(bytes.next(), Some(b'/' | b'\\'));
    begins && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn the_next_page_is_one_of_ours() {
        for ours in ["/", "/watch/final?t=1#x", "/a//b"] {
            assert!(is_local(ours), "{ours}");
        }
        for other in ["", "a", "//evil.example", "/\\evil.example", "/\tx", "https://x", "/é"] {
            assert!(!is_local(other), "{other}");
        }
    }
}
