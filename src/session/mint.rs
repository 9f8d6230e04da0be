//! Signs tokens: those that `streamgate token` prints for development, and younger tokens for a
//! login (see `reissue`). The first token of a login is the auth service's to sign.

use super::config::Config;
use super::keys::key_source;
use super::token::algorithm::{Algorithm, Family};
use crate::units::Secret;
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use serde_json::{Map, Value};

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The key is not one for this algorithm.
    #[error("this is no private key for {0} in PEM form")]
    Key(&'static str),
    /// The library could not sign.
    #[error("the token cannot be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// What signs: a secret, or the private half of a key.
#[derive(Debug)]
pub struct Signer {
    algorithm: Algorithm,
    kid: Option<String>,
    key: EncodingKey,
}

/// The claims of a token that is to be signed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Claims {
    /// The account.
    pub sub: String,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// The issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// The audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// When it was issued, in seconds since 1970.
    pub iat: u64,
    /// When it expires, in seconds since 1970.
    pub exp: u64,
    /// Any other claims.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Signer {
    /// Signs with a shared secret.
    pub fn secret(algorithm: Algorithm, secret: &Secret) -> Result<Self, MintError> {
        let key = EncodingKey::from_secret(secret.reveal().as_bytes());
        match algorithm.family() {
            Family::Secret => Ok(Signer { algorithm, kid: None, key }),
            _ => Err(MintError::Key(algorithm.name())),
        }
    }

    /// Signs with a private key, which a verifier knows as `kid`.
    pub fn pem(algorithm: Algorithm, pem: &[u8], kid: Option<&str>) -> Result<Self, MintError> {
        let key = match algorithm.family() {
            Family::Secret => return Err(MintError::Key(algorithm.name())),
            Family::Rsa => EncodingKey::from_rsa_pem(pem),
            Family::Curve => EncodingKey::from_ec_pem(pem),
            Family::Edwards => EncodingKey::from_ed_pem(pem),
        };
        let key = key.map_err(|_| MintError::Key(algorithm.name()))?;
        Ok(Signer { algorithm, kid: kid.map(str::to_owned), key })
    }

    /// Signs with the first secret of a configuration, if it has one.
    pub fn of(config: &Config) -> Option<Self> {
        config.keys.iter().find_map(|key| {
            let (algorithm, secret) = match &key.value {
                key_source::Config::Hs256(secret) => (Algorithm::Hs256, secret),
                key_source::Config::Hs384(secret) => (Algorithm::Hs384, secret),
                key_source::Config::Hs512(secret) => (Algorithm::Hs512, secret),
                key_source::Config::Pem(_) | key_source::Config::Jwks(_) => return None,
            };
            Signer::secret(algorithm, secret).ok()
        })
    }

    /// The token that says `claims`.
    pub fn sign(&self, claims: &Claims) -> Result<String, MintError> {
        self.sign_as(self.kid.as_deref(), claims)
    }

    /// The token that says `claims`, signed with the key that verifiers know as `kid`.
    pub(super) fn sign_as(
        &self,
        kid: Option<&str>,
        claims: &impl Serialize,
    ) -> Result<String, MintError> {
        let mut header = Header::new(self.algorithm.jose());
        header.kid = kid.map(str::to_owned);
        Ok(jsonwebtoken::encode(&header, claims, &self.key)?)
    }

    /// Whether it signs with this algorithm.
    pub(super) fn signs_as(&self, algorithm: Algorithm) -> bool {
        self.algorithm == algorithm
    }
}
