//! One key and the one algorithm that it is used with. Keys are checked when they are read, so that
//! the operator hears of a weak or broken one before it refuses viewers.

use crate::session::token::algorithm::{Algorithm, Family};
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};
use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use std::fmt;

/// The sizes of RSA keys that are used, in bits (RFC 7518 §3.3; above, checking costs too much).
const RSA_BITS_MIN: usize = 2048;
const RSA_BITS_MAX: usize = 8192;

/// A key that is fit for its algorithm.
#[derive(Clone)]
pub(in crate::session) struct Key {
    kid: Option<Box<str>>,
    /// What its signatures are made with.
    pub(in crate::session) algorithm: Algorithm,
    material: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("alg", &self.algorithm).finish()
    }
}

impl Key {
    /// A key for `algorithm`, or why it is not fit for it.
    pub(in crate::session) fn new(
        algorithm: Algorithm,
        kid: Option<&str>,
        material: DecodingKey,
    ) -> Result<Self, &'static str> {
        match algorithm.family() {
            Family::Secret => {}
            Family::Rsa => check_rsa(&material)?,
            Family::Curve | Family::Edwards => check_point(algorithm, &material)?,
        }
        Ok(Key { kid: kid.map(Into::into), algorithm, material })
    }

    /// Whether a token that names `kid` may have been signed with it.
    pub(in crate::session) fn answers_to(&self, kid: Option<&str>) -> bool {
        match (&self.kid, kid) {
            (Some(own), Some(asked)) => **own == *asked,
            _ => true,
        }
    }

    /// Whether it has exactly this name.
    pub(in crate::session) fn is_called(&self, kid: &str) -> bool {
        self.kid.as_deref() == Some(kid)
    }

    /// Whether `signature` (base64url) was made over `signed` with this key's other half.
    pub(in crate::session) fn verifies(&self, signed: &str, signature: &str) -> bool {
        let algorithm = self.algorithm.jose();
        let verified =
            jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.material, algorithm);
        verified.unwrap_or(false)
    }
}

fn check_rsa(material: &DecodingKey) -> Result<(), &'static str> {
    let (n, e) = match material.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => (n.clone(), e.clone()),
        DecodingKeyKind::SecretOrDer(der) => {
            let components = aws_lc::DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key;
            components(der).map_err(|_| "it holds no RSA public key")?
        }
    };
    match bits(&n) {
        ..RSA_BITS_MIN => return Err("the RSA key has fewer than 2048 bits"),
        RSA_BITS_MIN..=RSA_BITS_MAX => {}
        _ => return Err("the RSA key has more than 8192 bits"),
    }
    // With the exponent 1 everybody can sign. The library does not look, so it is done here; the
    // upper bound is its own.
    let is_odd = e.last().is_some_and(|last| last % 2 == 1);
    if !is_odd || !(2..=33).contains(&bits(&e)) {
        return Err("the RSA key's exponent is none that is safe");
    }
    RsaPublicKeyComponents { n: n.as_slice(), e: e.as_slice() }
        .to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256)
        .map(drop)
        .map_err(|_| "the RSA key's numbers do not fit each other")
}

/// The number of bits of a number that is written with its most significant byte first.
fn bits(number: &[u8]) -> usize {
    let leading = number.iter().take_while(|byte| **byte == 0).count();
    match number.get(leading) {
        Some(first) => (number.len() - leading) * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}

/// Whether the point lies on its curve (RFC 8725 §3.4).
fn check_point(algorithm: Algorithm, material: &DecodingKey) -> Result<(), &'static str> {
    let curve: &'static dyn signature::VerificationAlgorithm = match algorithm {
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        _ => &signature::ED25519,
    };
    let bytes = material.try_get_as_bytes().map_err(|_| "it is no point on a curve")?;
    ParsedPublicKey::new(curve, bytes).map(drop).map_err(|_| "it is no point on its curve")
}
