//! The claims of a token → a session. It is called only after the signature was found to be good.

use super::error::TokenError;
use crate::session::{Dates, Session};
use serde_json::{Map, Value};

/// How far the clocks of the issuer and of this host may be apart, in seconds.
pub(in crate::session) const LEEWAY_SECS: u64 = 30;

/// The longest account, in bytes.
const ACCOUNT_BYTES_MAX: usize = 256;

/// The longest id of a session, in bytes. It becomes part of a key in the store.
const ID_BYTES_MAX: usize = 128;

/// The end of the year 9999. Later dates are refused, so arithmetic with dates can't overflow.
const DATE_MAX: u64 = 253_402_300_799;

/// What claims must say, and which of them are kept.
#[derive(Clone, Debug)]
pub(in crate::session) struct Rules {
    /// What `iss` must be.
    pub(in crate::session) issuer: Option<Box<str>>,
    /// What `aud` must be, or have among its members.
    pub(in crate::session) audience: Option<Box<str>>,
    /// How long a login counts at most, in seconds.
    pub(in crate::session) absolute_secs: Option<u64>,
    /// `sub` may be a number.
    pub(in crate::session) numeric_sub: bool,
    /// The claims that the session keeps, sorted.
    pub(in crate::session) kept: Box<[Box<str>]>,
}

impl Rules {
    /// The session that these claims make at `now` (Unix seconds). `fallback` names it when the
    /// claims do not.
    pub(in crate::session) fn session(
        &self,
        mut claims: Map<String, Value>,
        now: u64,
        fallback: impl FnOnce() -> String,
    ) -> Result<Session, TokenError> {
        let expires_at = date(&claims, "exp")?.ok_or(TokenError::Claims("`exp` is missing"))?;
        let not_before = date(&claims, "nbf")?.unwrap_or(0);
        let issued = date(&claims, "iat")?;
        let began_at = began_at(&claims, issued);
        let half_life_at = issued.map(|issued| issued.midpoint(expires_at));
        let expires_at = match self.absolute_secs.zip(began_at) {
            Some((absolute, began)) => expires_at.min(began.saturating_add(absolute)),
            None => expires_at,
        };
        if expires_at + LEEWAY_SECS <= now {
            return Err(TokenError::Expired);
        }
        if now + LEEWAY_SECS < not_before {
            return Err(TokenError::NotYet);
        }
        self.check_origin(&claims)?;
        let account = self.account(&claims)?;
        let account = account.ok_or(TokenError::Claims("`sub` is missing"))?;
        let id = match name(&claims, "sid", ID_BYTES_MAX)? {
            Some(id) => id,
            None => name(&claims, "jti", ID_BYTES_MAX)?.unwrap_or_else(|| fallback().into()),
        };
        let kept = self
            .kept
            .iter()
            .filter_map(|name| claims.remove(&**name).map(|value| (name.clone(), value)));
        let dates = Dates { began_at, expires_at, half_life_at };
        Ok(Session::new(account, &id, kept.collect(), dates))
    }

    /// A number is the same account as its digits, so it must be a whole one that is written out.
    fn account(&self, claims: &Map<String, Value>) -> Result<Option<Box<str>>, TokenError> {
        match claims.get("sub") {
            Some(Value::Number(number)) if self.numeric_sub && !number.is_f64() => {
                Ok(Some(number.to_string().into()))
            }
            _ => name(claims, "sub", ACCOUNT_BYTES_MAX),
        }
    }

    /// Whether the token is of the issuer and for the audience that the configuration names.
    pub(in crate::session) fn check_origin(
        &self,
        claims: &Map<String, Value>,
    ) -> Result<(), TokenError> {
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(TokenError::Issuer);
        }
        let Some(audience) = &self.audience else { return Ok(()) };
        let is_ours = |value: &Value| value.as_str() == Some(audience);
        match claims.get("aud") {
            // A member that is no text makes the whole claim malformed.
            Some(Value::Array(all)) if all.iter().all(Value::is_string) => {
                all.iter().any(is_ours).then_some(()).ok_or(TokenError::Audience)
            }
            Some(one) if is_ours(one) => Ok(()),
            _ => Err(TokenError::Audience),
        }
    }
}

/// When the login was. A token that is refreshed gets a new `iat` and keeps its `auth_time` (OpenID
/// Connect Core, 2), so the earlier of both counts. If `auth_time` is not a date, nothing is known
/// of the login.
fn began_at(claims: &Map<String, Value>, issued: Option<u64>) -> Option<u64> {
    match date(claims, "auth_time") {
        Ok(Some(login)) => Some(issued.map_or(login, |issued| issued.min(login))),
        Ok(None) => issued,
        Err(_) => None,
    }
}

/// A NumericDate (RFC 7519 §2): seconds since 1970, a fraction cut off. `null` is no date at all.
pub(in crate::session) fn date(
    claims: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<u64>, TokenError> {
    let seconds = match claims.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => match number.as_u64() {
            Some(whole) => Some(whole),
            None => {
                number.as_f64().filter(|n| (0.0..=DATE_MAX as f64).contains(n)).map(|n| n as u64)
            }
        },
        Some(_) => None,
    };
    match seconds {
        Some(seconds) if seconds <= DATE_MAX => Ok(Some(seconds)),
        _ => Err(TokenError::Claims(match name {
            "exp" => "`exp` is no date",
            "nbf" => "`nbf` is no date",
            _ => "`iat` is no date",
        })),
    }
}

/// A claim that names something: a text that is not empty, bounded, without control characters.
/// `null` names nothing.
fn name(
    claims: &Map<String, Value>,
    claim: &'static str,
    bytes_max: usize,
) -> Result<Option<Box<str>>, TokenError> {
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text))
            if (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control) =>
        {
            Ok(Some(text.as_str().into()))
        }
        Some(_) => Err(TokenError::Claims(match claim {
            "sub" => "`sub` is not usable",
            "sid" => "`sid` is not usable",
            _ => "`jti` is not usable",
        })),
    }
}
