//! Every algorithm, with its good and its bad signatures; and what good tokens become.

use super::fixture::*;
use crate::session::{Algorithm, TokenError, mint};
use serde_json::{Map, Value, json};

/// Verifies with a PEM file, and with a key set, what `pair` signed.
async fn check(pair: &Pair) {
    let folder = Folder::new();
    let name = pair.algorithm.name();
    folder.write("key.pem", &pair.public_pem);
    folder.write("set.json", &json!({ "keys": [pair.jwk("k1")] }).to_string());
    let pem = format!("{{ pem: {{ alg: {name}, file: key.pem }} }}");
    for keys in [pem.as_str(), "{ jwks: { file: set.json } }"] {
        let verifier = verifier_in(keys, &folder.0);
        let good = pair.token(Some("k1"), &claims());
        let session = verifier.verify(&good).await.unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!((session.account(), session.id()), ("alice", "s-1"), "{name}");
        assert_eq!(session.claim("max_streams"), Some(&json!(2)));
        assert_eq!(session.claim("sub"), None, "only what was asked for is kept");
        for bad in spoiled(&good) {
            assert_eq!(verifier.verify(&bad).await, Err(TokenError::BadSignature), "{name}");
        }
    }
}

/// The token with another claim, with a flipped signature, and with a shorter one.
fn spoiled(token: &str) -> [String; 4] {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let other = encode(claims_with(json!({ "sub": "mallory" })).to_string());
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    [
        format!("{header}.{other}.{signature}"),
        format!("{signed}.{first}{}", &signature[1..]),
        format!("{signed}.{}", &signature[..signature.len() / 4 * 4 - 4]),
        format!("{signed}."),
    ]
}

#[tokio::test]
async fn rsa_signatures() {
    use Algorithm::*;
    for algorithm in [Rs256, Rs384, Rs512, Ps256, Ps384, Ps512] {
        check(&RSA.with(algorithm)).await;
    }
}

#[tokio::test]
async fn curve_signatures() {
    check(&Pair::curve(Algorithm::Es256)).await;
    check(&Pair::curve(Algorithm::Es384)).await;
    check(&Pair::edwards()).await;
}

#[tokio::test]
async fn shared_secrets() {
    for (key, algorithm) in
        [("hs256", Algorithm::Hs256), ("hs384", Algorithm::Hs384), ("hs512", Algorithm::Hs512)]
    {
        let verifier = verifier(&format!("{{ {key}: \"${{SECRET}}\" }}"));
        let good = shared(algorithm).token(None, &claims());
        assert_eq!(verifier.verify(&good).await.unwrap().account(), "alice");
        for bad in spoiled(&good) {
            assert_eq!(verifier.verify(&bad).await, Err(TokenError::BadSignature), "{key}");
        }
    }
}

#[tokio::test]
async fn the_key_decides_the_algorithm() {
    let folder = Folder::new();
    folder.write("key.pem", &RSA.public_pem);
    let verifier = verifier_in("{ pem: { alg: RS256, file: key.pem } }", &folder.0);
    // The public key as an HMAC secret: the classic confusion.
    let mut forger = shared(Algorithm::Hs256);
    forger.signing = jsonwebtoken::EncodingKey::from_secret(RSA.public_pem.as_bytes());
    let forged = forger.token(None, &claims());
    assert_eq!(verifier.verify(&forged).await, Err(TokenError::Algorithm));
    // The right key with a sibling of its algorithm.
    for other in [Algorithm::Rs512, Algorithm::Ps256] {
        let token = RSA.with(other).token(None, &claims());
        assert_eq!(verifier.verify(&token).await, Err(TokenError::Algorithm), "{other:?}");
    }
}

#[tokio::test]
async fn named_keys_are_tried_only_for_their_name() {
    let folder = Folder::new();
    folder.write("key.pem", &RSA.public_pem);
    let verifier = verifier_in("{ pem: { alg: RS256, file: key.pem, kid: a } }", &folder.0);
    assert!(verifier.verify(&RSA.token(Some("a"), &claims())).await.is_ok());
    assert!(verifier.verify(&RSA.token(None, &claims())).await.is_ok());
    let other = RSA.token(Some("b"), &claims());
    assert_eq!(verifier.verify(&other).await, Err(TokenError::UnknownKey));
}

#[tokio::test]
async fn a_secret_can_be_changed_without_logging_anybody_out() {
    let verifier =
        verifier("{ hs256: \"a new secret of 32 bytes or more!\" }, { hs256: \"${SECRET}\" }");
    let old = shared(Algorithm::Hs256).token(None, &claims());
    assert!(verifier.verify(&old).await.is_ok());
}

#[tokio::test]
async fn times_have_a_leeway_of_thirty_seconds() {
    let verifier = verifier("{ hs256: \"${SECRET}\" }");
    let now = 1_800_000_000_u64;
    let check = async |claim: &str, offset: i64, expected: Result<(), TokenError>| {
        let time = now.checked_add_signed(offset).unwrap();
        let base = json!({ "exp": now + 3600, "nbf": null, "iat": null });
        let mut claims = claims_with(base);
        claims[claim] = time.into();
        let token = shared(Algorithm::Hs256).token(None, &claims);
        let verified = verifier.verify_at(&token, now).await;
        assert_eq!(verified.map(|_| ()), expected, "{claim} {offset}");
    };
    check("exp", 1, Ok(())).await;
    check("exp", -29, Ok(())).await;
    check("exp", -30, Err(TokenError::Expired)).await;
    check("exp", -3600, Err(TokenError::Expired)).await;
    check("nbf", 30, Ok(())).await;
    check("nbf", 31, Err(TokenError::NotYet)).await;
    // When it was issued is told, not judged.
    check("iat", 3600, Ok(())).await;
}

#[tokio::test]
async fn good_tokens_of_other_shapes() {
    let verifier = verifier("{ hs256: \"${SECRET}\" }");
    let signer = shared(Algorithm::Hs256);
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
        let header = json!({ "alg": "HS256", "typ": typ }).to_string();
        let token = signer.sign(&header, &claims().to_string());
        assert!(verifier.verify(&token).await.is_ok(), "{typ}");
    }
    for changes in [
        json!({ "aud": ["other", "streamgate"] }),
        json!({ "exp": 4_102_444_800.5 }),
        json!({ "sub": "ä".repeat(128), "sid": "x".repeat(128) }),
        json!({ "nbf": null, "iat": null }),
    ] {
        let token = signer.token(None, &claims_with(changes.clone()));
        assert!(verifier.verify(&token).await.is_ok(), "{changes}");
    }
}

#[tokio::test]
async fn every_session_has_an_id() {
    let verifier = verifier("{ hs256: \"${SECRET}\" }");
    let signer = shared(Algorithm::Hs256);
    let id = async |changes| {
        let token = signer.token(None, &claims_with(changes));
        verifier.verify(&token).await.unwrap().id().to_owned()
    };
    assert_eq!(id(json!({ "jti": "j" })).await, "s-1");
    assert_eq!(id(json!({ "sid": null, "jti": "j" })).await, "j");
    let digest = id(json!({ "sid": null, "exp": 4_102_444_800_u64 })).await;
    assert_eq!(digest.len(), 43);
    assert_ne!(digest, id(json!({ "sid": null, "exp": 4_102_444_801_u64 })).await);
}

#[tokio::test]
async fn a_second_signature_of_the_same_claims_is_the_same_session() {
    // ECDSA signatures can be made anew by anybody; a viewer must not get more slots by it.
    let pair = Pair::curve(Algorithm::Es256);
    let folder = Folder::new();
    folder.write("key.pem", &pair.public_pem);
    let verifier = verifier_in("{ pem: { alg: ES256, file: key.pem } }", &folder.0);
    let claims = claims_with(json!({ "sid": null }));
    let (one, two) = (pair.token(None, &claims), pair.token(None, &claims));
    assert_ne!(one, two);
    let (one, two) = (verifier.verify(&one).await.unwrap(), verifier.verify(&two).await.unwrap());
    assert_eq!(one.id(), two.id());
}

#[tokio::test]
async fn minted_tokens_are_good() {
    let folder = Folder::new();
    folder.write("key.pem", &RSA.public_pem);
    let keys = "{ hs256: \"${SECRET}\" }, { pem: { alg: PS256, file: key.pem, kid: dev } }";
    let verifier = verifier_in(keys, &folder.0);
    let config = parse("keys: [ { hs256: \"${SECRET}\" } ]");
    let now = crate::clock::unix_seconds();
    let claims = mint::Claims {
        sub: "alice".to_owned(),
        sid: Some("dev".to_owned()),
        iss: Some("streamgate-auth".to_owned()),
        aud: Some("streamgate".to_owned()),
        iat: now,
        exp: now + 60,
        extra: Map::from_iter([("max_streams".to_owned(), Value::from(5))]),
    };
    let pem = RSA.private_pem.as_bytes();
    let signers = [
        mint::Signer::of(&config).unwrap(),
        mint::Signer::pem(Algorithm::Ps256, pem, Some("dev")).unwrap(),
    ];
    for signer in signers {
        let session = verifier.verify(&signer.sign(&claims).unwrap()).await.unwrap();
        assert_eq!(session.claim("max_streams"), Some(&json!(5)));
    }
    assert!(mint::Signer::pem(Algorithm::Es256, pem, None).is_err());
    assert!(mint::Signer::pem(Algorithm::Hs256, pem, None).is_err());
}

#[tokio::test]
async fn nothing_that_prints_tells_who_it_is() {
    let verifier = verifier("{ hs256: \"${SECRET}\" }");
    let token = shared(Algorithm::Hs256).token(None, &claims());
    let session = verifier.verify(&token).await.unwrap();
    let printed =
        format!("{session:?} {verifier:?} {:?}", parse("keys: [ { hs256: \"${SECRET}\" } ]"));
    for secret in ["alice", "s-1", SECRET, token.as_str()] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[tokio::test]
async fn when_a_login_began_is_the_earlier_of_what_the_token_says() {
    let yaml = "issuer: streamgate-auth\nkeys: [ { hs512: \"${SECRET}\" } ]\nabsolute: 2h\n";
    let verifier = compile(yaml, std::path::Path::new(".")).unwrap();
    let now = crate::clock::unix_seconds();
    let cases = [
        (json!({}), Some(now), now + 3_600),
        (json!({ "auth_time": now - 60 }), Some(now - 60), now + 3_600),
        (json!({ "auth_time": now + 60 }), Some(now), now + 3_600),
        (json!({ "auth_time": now - 7_000 }), Some(now - 7_000), now + 200),
        (json!({ "exp": now + 90_000 }), Some(now), now + 7_200),
        (json!({ "iat": null, "exp": now + 90_000 }), None, now + 90_000),
        (json!({ "iat": null, "auth_time": now - 5 }), Some(now - 5), now + 3_600),
        (json!({ "auth_time": "yesterday" }), None, now + 3_600),
    ];
    for (changes, began_at, expires_at) in cases {
        let mut claims = claims_with(json!({ "iat": now, "exp": now + 3_600 }));
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        if changes.get("iat").is_some() {
            claims.as_object_mut().unwrap().remove("iat");
        }
        let token = shared(Algorithm::Hs512).token(None, &claims);
        let session = verifier.verify(&token).await.unwrap();
        assert_eq!((session.began_at(), session.expires_at()), (began_at, expires_at), "{changes}");
    }
    let old = claims_with(json!({ "auth_time": now - 7_300 }));
    let token = shared(Algorithm::Hs512).token(None, &old);
    assert_eq!(verifier.verify(&token).await, Err(TokenError::Expired));
}
