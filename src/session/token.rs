//! The text of a token, taken apart. Nothing in it is trusted yet.
//!
//! Only the header is read here, because it says which key to try. The claims are not read before
//! the signature is found to be good; then `claims` makes a session of them.

pub(super) mod claims;
pub(super) mod algorithm;
pub(super) mod error;
pub(super) mod json;

use algorithm::Algorithm;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use error::TokenError;
use serde_json::{Map, Value};

/// The longest token that is read, in bytes. A cookie of a browser holds 4 KiB.
pub(super) const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The longest name of a key, in bytes.
pub(super) const KID_BYTES_MAX: usize = 128;

/// Header fields that change what the signature covers, or bring a key along. `crit` is refused
/// too, because we know no extension that it could name (RFC 7515 §4.1.11, RFC 8725 §3.10).
const HEADERS_REFUSED: [&str; 8] = ["crit", "b64", "jku", "jwk", "x5u", "x5c", "enc", "zip"];

/// A token in three parts with a good header.
#[derive(Debug)]
pub(super) struct Token<'a> {
    /// What the signature covers: header, dot, claims, as they were sent.
    pub(super) signed: &'a str,
    /// In base64url.
    pub(super) signature: &'a str,
    /// What the header says that it is signed with.
    pub(super) algorithm: Algorithm,
    /// The name of the key, if the header has one.
    pub(super) kid: Option<String>,
    payload: &'a str,
}

impl<'a> Token<'a> {
    /// Takes the text apart and checks the header.
    pub(super) fn parse(text: &'a str) -> Result<Self, TokenError> {
        if TOKEN_BYTES_MAX < text.len() {
            return Err(TokenError::Malformed("it is too long"));
        }
        let parts = TokenError::Malformed("it has not three parts");
        let (signed, signature) = text.rsplit_once('.').ok_or(parts)?;
        let (header, payload) = signed.split_once('.').ok_or(parts)?;
        if payload.contains('.') {
            return Err(parts);
        }
        let header = decoded(header, "its header is not base64url")?;
        let header =
            json::object(&header).ok_or(TokenError::Malformed("its header is no object"))?;
        let algorithm = algorithm(&header)?;
        let kid = kid(&header)?;
        decoded(signature, "its signature is not base64url")?;
        Ok(Token { signed, signature, algorithm, kid, payload })
    }

    /// The claims. Ask only once the signature is known to be good.
    pub(super) fn claims(&self) -> Result<Map<String, Value>, TokenError> {
        let bytes = decoded(self.payload, "its claims are not base64url")?;
        json::object(&bytes).ok_or(TokenError::Malformed("its claims are no object"))
    }
}

/// Strict base64url: no padding, no white space, no bits to spare, so that one token has one text.
fn decoded(part: &str, why: &'static str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed(why))
}

fn algorithm(header: &Map<String, Value>) -> Result<Algorithm, TokenError> {
    if HEADERS_REFUSED.iter().any(|name| header.contains_key(*name)) {
        return Err(TokenError::Malformed("its header has a field that is not accepted"));
    }
    let is_kind_ok = match header.get("typ") {
        None => true,
        Some(Value::String(kind)) => is_token(kind),
        Some(_) => false,
    };
    if !is_kind_ok {
        return Err(TokenError::Malformed("it is of another type"));
    }
    match header.get("alg") {
        Some(Value::String(name)) => Algorithm::named(name).ok_or(TokenError::Algorithm),
        _ => Err(TokenError::Malformed("its header names no algorithm")),
    }
}

/// Whether `typ` says that it is a session token and not, for example, a logout token: media types
/// are compared without case, and `application/` may be left out (RFC 7515 §4.1.9).
fn is_token(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt")
}

fn kid(header: &Map<String, Value>) -> Result<Option<String>, TokenError> {
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) if is_kid(kid) => Ok(Some(kid.clone())),
        Some(_) => Err(TokenError::Malformed("its key has an unusable name")),
    }
}

/// Whether a key may have this name, in a token or in a set.
pub(super) fn is_kid(kid: &str) -> bool {
    (1..=KID_BYTES_MAX).contains(&kid.len()) && !kid.chars().any(char::is_control)
}
