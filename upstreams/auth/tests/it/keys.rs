//! Key pairs: what is published is enough to check a token, and is never more than public.

use std::sync::Arc;

use auth::Signing;
use auth::session::TokensOnly;
use auth::signing::{Claims, KeyPair};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use crate::harness::{Auth, BEGIN, settings};

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
}

fn fresh(pair: KeyPair) -> String {
    match pair {
        KeyPair::Es256 => {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            pem(key.to_pkcs8v1().unwrap().as_ref())
        }
        KeyPair::Rs256 => {
            let key = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
            pem(AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key).unwrap().as_ref())
        }
        KeyPair::EdDsa => pem(Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref()),
    }
}

#[tokio::test]
async fn the_published_keys_check_a_token() {
    let pairs = [
        (KeyPair::Es256, Algorithm::ES256),
        (KeyPair::Rs256, Algorithm::RS256),
        (KeyPair::EdDsa, Algorithm::EdDSA),
    ];
    for (pair, algorithm) in pairs {
        let mut settings = settings(Arc::new(TokensOnly));
        settings.signing = Signing::pem(pair, fresh(pair).as_bytes()).unwrap();
        let auth = Auth::start(settings).await;
        let (token, _) = auth.login("alice", "wonderland").await.cookie();

        let answer = auth.get("/auth/.well-known/jwks.json", &[]).await;
        assert_eq!(answer.text, auth.get("/.well-known/jwks.json", &[]).await.text);
        assert!(answer.field("cache-control").contains("max-age"));
        let private = ["\"d\"", "\"p\"", "\"q\"", "\"k\""];
        assert!(!private.iter().any(|part| answer.text.contains(part)), "{}", answer.text);

        let set: JwkSet = serde_json::from_str(&answer.text).unwrap();
        let head = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(head.alg, algorithm);
        let key = set.find(&head.kid.unwrap()).unwrap();
        let mut asked = Validation::new(algorithm);
        asked.set_audience(&["streamgate"]);
        asked.set_issuer(&["streamgate-auth"]);
        asked.validate_exp = false;
        let key = DecodingKey::from_jwk(key).unwrap();
        let claims = jsonwebtoken::decode::<Claims>(&token, &key, &asked).unwrap().claims;
        assert_eq!((claims.sub.as_str(), claims.iat), ("alice", BEGIN), "{pair}");

        let cookie = format!("session={token}");
        assert_eq!(auth.get("/auth/me", &[("cookie", &cookie)]).await.status, 200, "{pair}");
    }
}

#[tokio::test]
async fn a_secret_is_published_nowhere() {
    let auth = Auth::start(settings(Arc::new(TokensOnly))).await;
    for path in ["/.well-known/jwks.json", "/auth/.well-known/jwks.json"] {
        assert_eq!(auth.get(path, &[]).await.refused(), (404, "route_not_found".to_owned()));
    }
}

#[test]
fn a_key_is_taken_for_its_own_algorithm_only() {
    let es256 = fresh(KeyPair::Es256);
    assert!(Signing::pem(KeyPair::Es256, es256.as_bytes()).is_ok());
    for pair in [KeyPair::Rs256, KeyPair::EdDsa] {
        assert!(Signing::pem(pair, es256.as_bytes()).is_err(), "{pair}");
    }
    assert!(Signing::pem(KeyPair::Es256, b"no key").is_err());
    assert!(Signing::hs256(&[b'x'; 31]).is_err());
    let debug = format!("{:?}", Signing::hs256(&[b'x'; 32]).unwrap());
    assert!(!debug.contains("xxx") && debug.contains("***"), "{debug}");
}
