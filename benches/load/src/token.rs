//! Session tokens as the auth service would mint them, and some that it never would.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use crate::clock::epoch_seconds;

/// What the gateway under test verifies with. Guards nothing but this bench.
pub const SECRET: &str = "a-secret-for-the-bench-0123456789abcdef0123456789abcdef";
/// Who issues.
pub const ISSUER: &str = "streamgate-auth";
/// For whom.
pub const AUDIENCE: &str = "streamgate";
const LIFE_S: u64 = 24 * 3600;

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    sid: &'a str,
    iat: u64,
    exp: u64,
}

/// A token of `account` for the login `session`.
#[must_use]
pub fn good(account: &str, session: &str) -> String {
    mint(account, session, epoch_seconds() + LIFE_S, SECRET)
}

/// One that was good an hour ago.
#[must_use]
pub fn expired(account: &str, session: &str) -> String {
    mint(account, session, epoch_seconds() - 3600, SECRET)
}

/// One signed by somebody else.
#[must_use]
pub fn forged(account: &str, session: &str) -> String {
    let theirs = "another-secret-0123456789abcdef0123456789abcdef0123456789";
    mint(account, session, epoch_seconds() + LIFE_S, theirs)
}

/// A good one's signature under another's claims.
#[must_use]
pub fn swapped(account: &str, session: &str) -> String {
    let (honest, other) = (good("somebody", "else"), good(account, session));
    let signature = honest.rsplit('.').next().unwrap_or_default();
    let claims = other.rsplit_once('.').map_or("", |(claims, _)| claims);
    format!("{claims}.{signature}")
}

/// The header lines that carry a token.
#[must_use]
pub fn cookie(token: &str) -> String {
    format!("Cookie: session={token}\r\n")
}

fn mint(account: &str, session: &str, exp: u64, secret: &str) -> String {
    let claims =
        Claims { iss: ISSUER, aud: AUDIENCE, sub: account, sid: session, iat: exp - 7200, exp };
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims, &key).expect("these claims are JSON")
}
