//! One key and the one algorithm it is used with. Keys are checked when they are read, so that a
//! weak or broken one is told to the operator instead of refusing viewers.

use super::Algorithm;
use super::algorithm::Family;
use super::key_set;
use crate::fetch;
use crate::problem::Problem;
use crate::units::{FilePath, Secret, Text};
use crate::yaml::At;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};
use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// The largest PEM file that is read, in bytes.
const PEM_BYTES_MAX: u64 = 64 * 1024;

/// The sizes of RSA keys that are used, in bits (RFC 7518 §3.3; above, checking costs too much).
const RSA_BITS_MIN: usize = 2048;
const RSA_BITS_MAX: usize = 8192;

/// Where a key comes from. A secret's algorithm is the name it is written under.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Config {
    /// A secret of 32 bytes or more, shared with the issuer.
    Hs256(At<Secret>),
    /// A secret of 48 bytes or more, shared with the issuer.
    Hs384(At<Secret>),
    /// A secret of 64 bytes or more, shared with the issuer.
    Hs512(At<Secret>),
    /// A public key in a PEM file.
    Pem(Pem),
    /// The issuer's key set (RFC 7517), fetched and kept up to date.
    Jwks(key_set::Config),
}

/// A public key in a file, as `openssl … -pubout` writes it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pem {
    /// The one algorithm that the issuer signs with.
    pub alg: Algorithm,
    /// Relative to the configuration file.
    pub file: At<FilePath>,
    /// Only tokens that name this key are checked with it; left out, all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<At<Text>>,
}

/// A key that is fit for its algorithm.
#[derive(Clone)]
pub(super) struct Key {
    kid: Option<Box<str>>,
    pub(super) algorithm: Algorithm,
    material: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("alg", &self.algorithm).finish()
    }
}

impl Key {
    /// A key for `algorithm`, or why it is not fit for it.
    pub(super) fn new(
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
    pub(super) fn answers_to(&self, kid: Option<&str>) -> bool {
        match (&self.kid, kid) {
            (Some(own), Some(asked)) => **own == *asked,
            _ => true,
        }
    }

    /// Whether it is called exactly so.
    pub(super) fn is_called(&self, kid: &str) -> bool {
        self.kid.as_deref() == Some(kid)
    }

    /// Whether `signature` (base64url) was made over `signed` with this key's other half.
    pub(super) fn verifies(&self, signed: &str, signature: &str) -> bool {
        let algorithm = self.algorithm.jose();
        let verified =
            jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.material, algorithm);
        verified.unwrap_or(false)
    }
}

/// A shared secret, if it is long enough for its hash (RFC 7518 §3.2).
pub(super) fn secret(algorithm: Algorithm, secret: &At<Secret>) -> Result<Key, Problem> {
    let bytes = secret.reveal().as_bytes();
    let bytes_min = secret_bytes_min(algorithm);
    let name = algorithm.name();
    if secret.reveal().contains("-----BEGIN") {
        let text = format!("a public key is no secret: whoever has it could sign with {name}");
        return Err(secret.problem(text).help("write `pem: { alg: …, file: … }` instead"));
    }
    if bytes.len() < bytes_min {
        let text = format!(
            "the secret has {} bytes; {name} needs {bytes_min} or more (RFC 7518, 3.2)",
            bytes.len()
        );
        let help = format!("make one with `openssl rand -base64 {bytes_min}`");
        return Err(secret.problem(text).help(help));
    }
    let key = Key::new(algorithm, None, DecodingKey::from_secret(bytes));
    key.map_err(|why| secret.problem(why))
}

fn secret_bytes_min(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Hs384 => 48,
        Algorithm::Hs512 => 64,
        _ => 32,
    }
}

/// Reads a public key from its file.
pub(super) fn pem(config: &Pem, base_dir: &Path) -> Result<Key, Problem> {
    let path = base_dir.join(&config.file.0);
    let text = fetch::file(&path, PEM_BYTES_MAX).map_err(|error| {
        let text = format!("the key file {} cannot be read: {error}", path.display());
        config.file.problem(text).help("paths are relative to the configuration file")
    })?;
    let kid = config.kid.as_ref().map(|kid| kid.0.as_str());
    if let Some(named) = config.kid.as_ref().filter(|kid| !super::token::is_kid(&kid.0)) {
        return Err(named.problem("no token can name such a key").help("write 1 to 128 bytes"));
    }
    public(config.alg, kid, &text).map_err(|why| {
        let text = format!("{}: {why}", config.file.value);
        config.file.problem(text).help("write the public half: `openssl pkey -in … -pubout`")
    })
}

fn public(algorithm: Algorithm, kid: Option<&str>, pem: &[u8]) -> Result<Key, &'static str> {
    let begins = |what: &str| String::from_utf8_lossy(pem).matches(what).count();
    if begins("PRIVATE KEY-----") > 0 {
        return Err("it holds a private key, which a gateway must not have");
    }
    if begins("-----BEGIN CERTIFICATE") > 0 {
        return Err("it holds a certificate, not a public key");
    }
    if begins("-----BEGIN ") != 1 {
        return Err("it must hold exactly one public key in PEM form");
    }
    let material = match algorithm.family() {
        Family::Secret => return Err("this algorithm uses a secret, not a public key"),
        Family::Rsa => DecodingKey::from_rsa_pem(pem),
        Family::Curve => DecodingKey::from_ec_pem(pem),
        Family::Edwards => DecodingKey::from_ed_pem(pem),
    };
    let material = material.map_err(|_| "it holds no public key for this algorithm")?;
    Key::new(algorithm, kid, material)
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

/// How many bits the number has, which is written with its most significant byte first.
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
