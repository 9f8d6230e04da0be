//! Where keys come from: what an operator writes as one entry of `keys` → a key, or a key set.

use super::key::Key;
use super::key_set::{self, KeySet};
use crate::fetch;
use crate::problem::Problem;
use crate::session::token::algorithm::{Algorithm, Family};
use crate::session::token::is_kid;
use crate::units::{FilePath, Secret, Text};
use crate::yaml::At;
use jsonwebtoken::DecodingKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// The largest PEM file that is read, in bytes.
const PEM_BYTES_MAX: u64 = 64 * 1024;

/// Where a key comes from. A secret's algorithm is the name it is written under.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "KeySource")]
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

impl Config {
    /// The secret that is shared with the issuer, if there is one.
    pub fn secret(&self) -> Option<&At<Secret>> {
        match self {
            Config::Hs256(secret) | Config::Hs384(secret) | Config::Hs512(secret) => Some(secret),
            Config::Pem(_) | Config::Jwks(_) => None,
        }
    }
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

/// What one entry of `keys` becomes.
pub(in crate::session) enum KeySource {
    /// One key.
    Key(Key),
    /// A key set, with the keys of its file that are not used, as warnings.
    Set(Arc<KeySet>, Vec<Problem>),
}

impl KeySource {
    /// Reads the file that the entry names, if it names one. No network.
    pub(in crate::session) fn compile(
        name: &str,
        written: &At<Config>,
        base_dir: &Path,
    ) -> Result<Self, Vec<Problem>> {
        use Algorithm::{Hs256, Hs384, Hs512};
        let key = match &written.value {
            Config::Hs256(text) => secret(Hs256, text),
            Config::Hs384(text) => secret(Hs384, text),
            Config::Hs512(text) => secret(Hs512, text),
            Config::Pem(file) => pem(file, base_dir),
            Config::Jwks(set) => {
                let (set, warnings) = KeySet::compile(name, written.place, set, base_dir)?;
                return Ok(KeySource::Set(Arc::new(set), warnings));
            }
        };
        key.map(KeySource::Key).map_err(|problem| vec![problem])
    }
}

/// A shared secret, which must be long enough for its hash (RFC 7518 §3.2).
fn secret(algorithm: Algorithm, secret: &At<Secret>) -> Result<Key, Problem> {
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
fn pem(config: &Pem, base_dir: &Path) -> Result<Key, Problem> {
    let path = base_dir.join(&config.file.0);
    let text = fetch::file(&path, PEM_BYTES_MAX).map_err(|error| {
        let text = format!("the key file {} cannot be read: {error}", path.display());
        config.file.problem(text).help("paths are relative to the configuration file")
    })?;
    let kid = config.kid.as_ref().map(|kid| kid.0.as_str());
    if let Some(named) = config.kid.as_ref().filter(|kid| !is_kid(&kid.0)) {
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
    let pem = pem.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(pem);
    let material = match algorithm.family() {
        Family::Secret => return Err("this algorithm uses a secret, not a public key"),
        Family::Rsa => DecodingKey::from_rsa_pem(pem),
        Family::Curve => DecodingKey::from_ec_pem(pem),
        Family::Edwards => DecodingKey::from_ed_pem(pem),
    };
    let material = material.map_err(|_| "it holds no public key for this algorithm")?;
    Key::new(algorithm, kid, material)
}
