//! Tokens made and read, keys published. One key, one algorithm, as RFC 8725 asks; the token's
//! own header never chooses.

use std::fmt;
use std::str::FromStr;

use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// Fewest bytes of an HS256 secret (RFC 7518 §3.2).
pub const SECRET_BYTES_MIN: usize = 32;

/// What a session token asserts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The account's name.
    pub sub: String,
    /// The session; the same through every refresh.
    pub sid: String,
    /// Issued at, in seconds since the Unix epoch.
    pub iat: u64,
    /// Expires at, in seconds since the Unix epoch.
    pub exp: u64,
    /// When the password was given, in seconds since the Unix epoch.
    pub auth_time: u64,
    /// Who issued it.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// The account's tier.
    pub tier: String,
    /// How many streams may play at once; left out, the gateway's policy decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_streams: Option<u32>,
}

/// Why a key cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The secret could be guessed.
    #[error("the session secret has {0} bytes; HS256 needs {SECRET_BYTES_MIN} or more")]
    SecretTooShort(usize),
    /// Not a private key of that algorithm.
    #[error("the signing key is not a PEM private key for {0}: {1}")]
    Key(KeyPair, #[source] jsonwebtoken::errors::Error),
    /// Not an algorithm that this service signs with.
    #[error("`{0}` is not a signing algorithm: ES256, RS256 and EdDSA are")]
    Algorithm(String),
    /// More keys than anybody rotates through.
    #[error("no more than {OTHERS_MAX} keys are accepted beside the one that signs")]
    TooManyKeys,
}

/// The algorithms of a key pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPair {
    /// ECDSA on P-256.
    Es256,
    /// RSA PKCS#1 v1.5, SHA-256.
    Rs256,
    /// Ed25519.
    EdDsa,
}

impl FromStr for KeyPair {
    type Err = SigningError;

    fn from_str(text: &str) -> Result<Self, SigningError> {
        match text {
            "ES256" => Ok(Self::Es256),
            "RS256" => Ok(Self::Rs256),
            "EdDSA" => Ok(Self::EdDsa),
            other => Err(SigningError::Algorithm(other.chars().take(16).collect())),
        }
    }
}

impl fmt::Display for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        })
    }
}

/// Keys that are accepted beside the one that signs, at most.
pub const OTHERS_MAX: usize = 4;

/// The key that signs, and others that are accepted and published but do not sign: the last one
/// and the next one, while keys rotate.
#[derive(Clone)]
pub struct Signing {
    current: Key,
    others: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    header: Header,
    private: EncodingKey,
    public: DecodingKey,
    /// What may be shown to everybody; none where the key is a secret.
    jwk: Option<Jwk>,
}

impl Signing {
    /// A secret that the gateway knows too.
    pub fn hs256(secret: &[u8]) -> Result<Self, SigningError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(SigningError::SecretTooShort(secret.len()));
        }
        Ok(Self::alone(Key {
            header: Header::new(Algorithm::HS256),
            private: EncodingKey::from_secret(secret),
            public: DecodingKey::from_secret(secret),
            jwk: None,
        }))
    }

    /// A private key in PEM (PKCS#8; RSA also PKCS#1), for exactly one algorithm. Its `kid` is
    /// its RFC 7638 thumbprint, so two replicas with one key agree on it.
    pub fn pem(pair: KeyPair, pem: &[u8]) -> Result<Self, SigningError> {
        let refuse = |problem| SigningError::Key(pair, problem);
        let (algorithm, private) = match pair {
            KeyPair::Es256 => (Algorithm::ES256, EncodingKey::from_ec_pem(pem)),
            KeyPair::Rs256 => (Algorithm::RS256, EncodingKey::from_rsa_pem(pem)),
            KeyPair::EdDsa => (Algorithm::EdDSA, EncodingKey::from_ed_pem(pem)),
        };
        let private = private.map_err(refuse)?;
        let mut jwk = Jwk::from_encoding_key(&private, algorithm).map_err(refuse)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(refuse)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let public = DecodingKey::from_jwk(&jwk).map_err(refuse)?;
        let header = Header { kid: Some(kid), ..Header::new(algorithm) };
        Ok(Self::alone(Key { header, private, public, jwk: Some(jwk) }))
    }

    fn alone(current: Key) -> Self {
        Self { current, others: Vec::new() }
    }

    /// Accepts and publishes another's keys too; signs as before.
    pub fn accepting(mut self, other: Self) -> Result<Self, SigningError> {
        self.others.push(other.current);
        self.others.extend(other.others);
        let fits = self.others.len() <= OTHERS_MAX;
        fits.then_some(self).ok_or(SigningError::TooManyKeys)
    }

    /// The public keys, when there are any.
    pub fn published(&self) -> Option<JwkSet> {
        let keys: Vec<Jwk> = self.keys().filter_map(|key| key.jwk.clone()).collect();
        (!keys.is_empty()).then_some(JwkSet { keys })
    }

    /// The claims as a signed token.
    pub fn sign(&self, claims: &Claims) -> Result<String, jsonwebtoken::errors::Error> {
        jsonwebtoken::encode(&self.current.header, claims, &self.current.private)
    }

    /// A token of ours as claims: signature, issuer and audience hold. Whether it has expired is
    /// the caller's question, because the caller has the clock.
    pub(crate) fn read(&self, token: &str, issuer: &str, audience: &str) -> Option<Claims> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        // The header picks among our keys and never brings one; each key keeps its algorithm.
        let keys = self.keys().filter(|key| key.header.kid == header.kid);
        keys.filter(|key| key.header.alg == header.alg).find_map(|key| {
            let mut asked = Validation::new(key.header.alg);
            asked.set_issuer(&[issuer]);
            asked.set_audience(&[audience]);
            asked.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
            asked.validate_exp = false;
            jsonwebtoken::decode::<Claims>(token, &key.public, &asked).ok().map(|data| data.claims)
        })
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(&self.others)
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = &self.current.header.alg;
        f.debug_struct("Signing").field("alg", algorithm).field("key", &"***").finish()
    }
}
