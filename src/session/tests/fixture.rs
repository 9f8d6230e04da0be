//! Keys made on the spot, tokens of any shape, verifiers from YAML.

use super::super::*;
use crate::clock::unix_seconds;
use crate::problem::Problem;
use crate::yaml::{self, Environment};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::Jwk;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

pub(super) const SECRET: &str = "a secret of sixty-four bytes, as HS512 needs it; no less will do";

/// Both halves of a key, in every form that is needed.
pub(super) struct Pair {
    pub(super) algorithm: Algorithm,
    pub(super) signing: EncodingKey,
    pub(super) private_pem: String,
    pub(super) public_pem: String,
}

/// RSA keys take a while to make.
pub(super) static RSA: LazyLock<Pair> = LazyLock::new(|| Pair::rsa(KeySize::Rsa2048));

impl Pair {
    pub(super) fn rsa(size: KeySize) -> Self {
        let pair = RsaKeyPair::generate(size).unwrap();
        let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let private_pem = pem("PRIVATE KEY", private.as_ref());
        let signing = EncodingKey::from_rsa_pem(private_pem.as_bytes()).unwrap();
        let public_pem = pem("PUBLIC KEY", public.as_ref());
        Pair { algorithm: Algorithm::Rs256, signing, private_pem, public_pem }
    }

    pub(super) fn curve(algorithm: Algorithm) -> Self {
        let signing = match algorithm {
            Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            _ => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        };
        let private = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(signing, private.as_ref()).unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        Pair {
            algorithm,
            signing: EncodingKey::from_ec_der(private.as_ref()),
            private_pem: pem("PRIVATE KEY", private.as_ref()),
            public_pem: pem("PUBLIC KEY", public.as_ref()),
        }
    }

    pub(super) fn edwards() -> Self {
        let private = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(private.as_ref()).unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        Pair {
            algorithm: Algorithm::EdDsa,
            signing: EncodingKey::from_ed_der(private.as_ref()),
            private_pem: pem("PRIVATE KEY", private.as_ref()),
            public_pem: pem("PUBLIC KEY", public.as_ref()),
        }
    }

    pub(super) fn with(&self, algorithm: Algorithm) -> Pair {
        let (private_pem, public_pem) = (self.private_pem.clone(), self.public_pem.clone());
        Pair { algorithm, signing: self.signing.clone(), private_pem, public_pem }
    }

    /// Its public half, as an issuer publishes it.
    pub(super) fn jwk(&self, kid: &str) -> Value {
        let jwk = Jwk::from_encoding_key(&self.signing, self.algorithm.jose()).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        jwk
    }

    pub(super) fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = json!({ "alg": self.algorithm.name(), "typ": "JWT" });
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        self.sign(&header.to_string(), &claims.to_string())
    }

    /// A token of exactly these texts, with a good signature of this key's algorithm.
    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let algorithm = self.algorithm.jose();
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.signing, algorithm);
        format!("{signed}.{}", signature.unwrap())
    }
}

/// The shared secret as a signer.
pub(super) fn shared(algorithm: Algorithm) -> Pair {
    let signing = EncodingKey::from_secret(SECRET.as_bytes());
    Pair { algorithm, signing, private_pem: String::new(), public_pem: String::new() }
}

pub(super) fn encode(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

pub(super) fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap());
    let lines = lines.collect::<Vec<_>>().join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}

/// Good claims of an account, for an hour.
pub(super) fn claims() -> Value {
    let now = unix_seconds();
    json!({
        "iss": "streamgate-auth", "aud": "streamgate", "sub": "alice", "sid": "s-1",
        "iat": now, "nbf": now, "exp": now + 3600, "max_streams": 2,
    })
}

/// The same with some of them replaced, or removed where the other is null.
pub(super) fn claims_with(changes: Value) -> Value {
    let mut all = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => all.as_object_mut().unwrap().remove(name),
            value => all.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    all
}

pub(super) fn parse(yaml: &str) -> Config {
    let env = Environment::default().with("SECRET", SECRET);
    yaml::parse(yaml, &env).unwrap_or_else(|problems| panic!("{problems:?}"))
}

pub(super) fn compile(yaml: &str, base_dir: &Path) -> Result<Verifier, Vec<Problem>> {
    Verifier::compile("viewers", &parse(yaml), &["max_streams"], base_dir)
}

/// A verifier of streamgate-auth's tokens with these keys (one line of YAML).
pub(super) fn verifier(keys: &str) -> Verifier {
    verifier_in(keys, Path::new("."))
}

pub(super) fn verifier_in(keys: &str, base_dir: &Path) -> Verifier {
    let yaml = format!("issuer: streamgate-auth\naudience: streamgate\nkeys: [ {keys} ]\n");
    compile(&yaml, base_dir).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// A folder that goes away with its owner.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("streamgate-session-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
