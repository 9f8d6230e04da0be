//! The text of a key set (RFC 7517) → keys.
//!
//! The text comes from the network. Keys that are not fit are skipped and reported; no text can
//! stop the process. How the text gets here is the knowledge of `key_set`.

use super::key::Key;
use crate::session::token::algorithm::{Algorithm, Family};
use crate::session::token::{is_kid, json};
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

/// The most keys that a set may hold.
const KEYS_MAX: usize = 64;

/// The longest text of a number that is decoded, in characters: 8192 bits with what is written
/// around them needlessly.
const NUMBER_CHARS_MAX: usize = 1400;

/// The largest numbers of RSA keys, in bytes: 8192 bits, and an exponent of 64 bits. Zeros before
/// the first digit do not count.
const MODULUS_BYTES_MAX: usize = 1024;
const EXPONENT_BYTES_MAX: usize = 8;

/// How many reasons are told of a set in which no key can be used.
const REASONS_MAX: usize = 8;

/// Some issuers pad, and some use the alphabet of plain base64; neither leaves a doubt about the
/// number that is meant.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);

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
) -> Result<(Vec<Key>, Vec<Skipped>), String> {
    let set = json::object(unmarked(document)?).ok_or("it is no JSON object with unique names")?;
    let Some(Value::Array(all)) = set.get("keys") else {
        return Err("it has no list `keys`".into());
    };
    if KEYS_MAX < all.len() {
        return Err(format!("it holds more than {KEYS_MAX} keys"));
    }
    let (mut keys, mut skipped) = (Vec::new(), Vec::new());
    for (index, jwk) in all.iter().enumerate() {
        match key(jwk, allowed) {
            Ok(key) => keys.push(key),
            Err(why) => skipped.push(Skipped { position: index + 1, why }),
        }
    }
    match keys.is_empty() {
        true => Err(no_key(&skipped)),
        false => Ok((keys, skipped)),
    }
}

/// The text behind a byte order mark, which some editors and servers put before it.
fn unmarked(document: &[u8]) -> Result<&[u8], &'static str> {
    match document {
        [0xEF, 0xBB, 0xBF, text @ ..] => Ok(text),
        [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] => Err("it is UTF-16, and JSON is UTF-8 (RFC 8259)"),
        text => Ok(text),
    }
}

/// What is wrong with a set that holds no key of use: the reason of each key.
fn no_key(skipped: &[Skipped]) -> String {
    let mut text = "it holds no key that can be used".to_owned();
    for (n, Skipped { position, why }) in skipped.iter().take(REASONS_MAX).enumerate() {
        let mark = if n == 0 { ": " } else { "; " };
        text += &format!("{mark}key {position}: {why}");
    }
    if let Some(more @ 1..) = skipped.len().checked_sub(REASONS_MAX) {
        text += &format!("; and {more} more");
    }
    text
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
    let read = match (kind, algorithm.family()) {
        ("RSA", Family::Rsa) => {
            let number = |name, bytes_max| fitting(trimmed(bytes(jwk, name)?), 1..=bytes_max);
            let (n, e) = (number("n", MODULUS_BYTES_MAX)?, number("e", EXPONENT_BYTES_MAX)?);
            DecodingKey::from_rsa_components(&n, &e)
        }
        ("EC", Family::Curve) => {
            let (curve, size) = match algorithm {
                Algorithm::Es256 => ("P-256", 32),
                _ => ("P-384", 48),
            };
            check_curve(jwk, curve)?;
            // Each half is brought to its full length: a short and a long one would add up to a
            // whole.
            let half = |name| fitting(padded(trimmed(bytes(jwk, name)?), size), size..=size);
            DecodingKey::from_ec_components(&half("x")?, &half("y")?)
        }
        ("OKP", Family::Edwards) => {
            check_curve(jwk, "Ed25519")?;
            DecodingKey::from_ed_components(&fitting(bytes(jwk, "x")?, 32..=32)?)
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

/// The bytes of a number, as they were written.
fn bytes(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, &'static str> {
    let written = text(jwk, name).ok_or("it lacks one of its numbers")?;
    if NUMBER_CHARS_MAX < written.len() {
        return Err("its numbers have no fit size");
    }
    let read = BASE64URL.decode(written).or_else(|_| BASE64.decode(written));
    read.map_err(|_| "its numbers are not base64url")
}

/// Without the zeros before the first digit. RFC 7518 §6.3.1.1 asks issuers to leave them out, and
/// big integers of Java come with one.
fn trimmed(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}

/// With zeros before the first digit, up to `size` bytes (RFC 7518 §6.2.1.2).
fn padded(number: Vec<u8>, size: usize) -> Vec<u8> {
    let mut padded = vec![0; size.saturating_sub(number.len())];
    padded.extend(number);
    padded
}

/// The number as the library reads it, if its size is one of these.
fn fitting(
    number: Vec<u8>,
    bytes: std::ops::RangeInclusive<usize>,
) -> Result<String, &'static str> {
    match bytes.contains(&number.len()) {
        true => Ok(URL_SAFE_NO_PAD.encode(number)),
        false => Err("its numbers have no fit size"),
    }
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    jwk.get(name).and_then(Value::as_str)
}
