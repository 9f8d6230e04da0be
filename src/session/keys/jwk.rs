//! The text of a key set (RFC 7517) → keys.
//!
//! The text comes from the network. Keys that are not fit are skipped and reported; no text can
//! stop the process. How the text gets here is the knowledge of `key_set`.

use super::key::Key;
use crate::session::token::algorithm::{Algorithm, Family};
use crate::session::token::{is_kid, json};
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

/// The most keys that a set may hold.
const KEYS_MAX: usize = 64;

/// The longest numbers of RSA keys, in base64url characters: 8192 bits, and an exponent of 64 bits.
const MODULUS_CHARS_MAX: usize = 1400;
const EXPONENT_CHARS_MAX: usize = 12;

/// A key of the set that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its position in the set, counted from 1.
    pub position: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

/// The keys of `document` whose algorithm is in `allowed` (empty: every asymmetric one), or why
/// the document as a whole is of no use.
pub(in crate::session) fn parse(
    document: &[u8],
    allowed: &[Algorithm],
) -> Result<(Vec<Key>, Vec<Skipped>), &'static str> {
    let set = json::object(document).ok_or("it is no JSON object with unique names")?;
    let Some(Value::Array(all)) = set.get("keys") else { return Err("it has no list `keys`") };
    if KEYS_MAX < all.len() {
        return Err("it holds more than 64 keys");
    }
    let (mut keys, mut skipped) = (Vec::new(), Vec::new());
    for (index, jwk) in all.iter().enumerate() {
        match key(jwk, allowed) {
            Ok(key) => keys.push(key),
            Err(why) => skipped.push(Skipped { position: index + 1, why }),
        }
    }
    match keys.is_empty() {
        true => Err("it holds no key that can be used"),
        false => Ok((keys, skipped)),
    }
}

fn key(jwk: &Value, allowed: &[Algorithm]) -> Result<Key, &'static str> {
    let jwk = jwk.as_object().ok_or("it is no object")?;
    check_use(jwk)?;
    let kid = match jwk.get("kid") {
        None => None,
        Some(Value::String(kid)) if is_kid(kid) => Some(kid.as_str()),
        Some(_) => return Err("its `kid` is not usable"),
    };
    let (kind, algorithm) = (text(jwk, "kty").ok_or("it has no `kty`")?, algorithm(jwk, allowed)?);
    if !allowed.is_empty() && !allowed.contains(&algorithm) {
        return Err("its algorithm is not among those that are accepted");
    }
    Key::new(algorithm, kid, material(jwk, kind, algorithm)?)
}

/// Whether the set means it for checking signatures.
fn check_use(jwk: &Map<String, Value>) -> Result<(), &'static str> {
    if jwk.contains_key("d") || jwk.contains_key("k") {
        return Err("it is private, and now everybody has it");
    }
    if jwk.get("use").is_some_and(|value| value != "sig") {
        return Err("it is not for signatures (`use`)");
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(all)) if all.iter().any(|value| value == "verify") => Ok(()),
        Some(_) => Err("it is not for checking signatures (`key_ops`)"),
    }
}

/// The one algorithm of this key. Where the set leaves it open, only RSA keys have a choice: the
/// first RSA algorithm that is allowed, else RS256.
fn algorithm(jwk: &Map<String, Value>, allowed: &[Algorithm]) -> Result<Algorithm, &'static str> {
    match jwk.get("alg") {
        Some(Value::String(name)) => Algorithm::named(name).ok_or("its `alg` is not known"),
        Some(_) => Err("its `alg` is no text"),
        None => match (text(jwk, "kty"), text(jwk, "crv")) {
            (Some("RSA"), _) => {
                let is_rsa = |algorithm: &&Algorithm| algorithm.family() == Family::Rsa;
                Ok(allowed.iter().find(is_rsa).copied().unwrap_or(Algorithm::Rs256))
            }
            (Some("EC"), Some("P-256")) => Ok(Algorithm::Es256),
            (Some("EC"), Some("P-384")) => Ok(Algorithm::Es384),
            (Some("OKP"), Some("Ed25519")) => Ok(Algorithm::EdDsa),
            _ => Err("its kind of key is not supported"),
        },
    }
}

fn material(
    jwk: &Map<String, Value>,
    kind: &str,
    algorithm: Algorithm,
) -> Result<DecodingKey, &'static str> {
    let number = |name, chars_max| part(jwk, name, 1..=chars_max);
    let read = match (kind, algorithm.family()) {
        ("RSA", Family::Rsa) => DecodingKey::from_rsa_components(
            number("n", MODULUS_CHARS_MAX)?,
            number("e", EXPONENT_CHARS_MAX)?,
        ),
        ("EC", Family::Curve) => {
            let (curve, chars) = match algorithm {
                Algorithm::Es256 => ("P-256", 43),
                _ => ("P-384", 64),
            };
            check_curve(jwk, curve)?;
            // Each half at its full length: a short and a long one would add up to a whole.
            let half = |name| part(jwk, name, chars..=chars);
            DecodingKey::from_ec_components(half("x")?, half("y")?)
        }
        ("OKP", Family::Edwards) => {
            check_curve(jwk, "Ed25519")?;
            DecodingKey::from_ed_components(part(jwk, "x", 43..=43)?)
        }
        ("RSA" | "EC" | "OKP", _) => return Err("its `kty` and `alg` contradict each other"),
        _ => return Err("its kind of key is not supported"),
    };
    read.map_err(|_| "its numbers are not base64url")
}

fn check_curve(jwk: &Map<String, Value>, curve: &str) -> Result<(), &'static str> {
    match text(jwk, "crv") == Some(curve) {
        true => Ok(()),
        false => Err("its `crv` and `alg` contradict each other"),
    }
}

fn part<'a>(
    jwk: &'a Map<String, Value>,
    name: &str,
    chars: std::ops::RangeInclusive<usize>,
) -> Result<&'a str, &'static str> {
    text(jwk, name).filter(|text| chars.contains(&text.len())).ok_or("its numbers have no fit size")
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    jwk.get(name).and_then(Value::as_str)
}
