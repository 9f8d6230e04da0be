//! Key sets and texts from people who wish us ill.

use super::fixture::*;
use crate::session::Algorithm;
use crate::session::keys::jwk;
use base64::Engine;
use proptest::prelude::*;
use serde_json::{Value, json};

fn skipped(key: Value) -> &'static str {
    let good = Pair::edwards().jwk("good");
    let document = json!({ "keys": [good, key] }).to_string();
    let (keys, skipped) = jwk::parse(document.as_bytes(), &[]).unwrap();
    assert_eq!((keys.len(), skipped.len()), (1, 1), "{key}");
    assert_eq!(skipped[0].position, 2);
    skipped[0].why
}

fn changed(mut jwk: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => jwk.as_object_mut().unwrap().remove(name),
            value => jwk.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    jwk
}

#[test]
fn keys_that_are_not_used() {
    let (rsa, curve, edwards) =
        (RSA.jwk("k"), Pair::curve(Algorithm::Es256).jwk("k"), Pair::edwards().jwk("k"));
    let rows = [
        (&rsa, json!({ "kty": "oct", "k": "AAAA", "alg": "HS256" }), "private"),
        (&rsa, json!({ "kty": "oct", "alg": "HS256" }), "not supported"),
        (&rsa, json!({ "d": "AQAB" }), "private"),
        (&rsa, json!({ "alg": "HS256" }), "contradict"),
        (&rsa, json!({ "alg": "ES256" }), "contradict"),
        (&rsa, json!({ "alg": "RSA-OAEP" }), "not known"),
        (&rsa, json!({ "alg": 7 }), "no text"),
        (&rsa, json!({ "use": "enc" }), "use"),
        (&rsa, json!({ "key_ops": ["encrypt"] }), "key_ops"),
        (&rsa, json!({ "key_ops": "verify" }), "key_ops"),
        (&rsa, json!({ "kty": null }), "kty"),
        (&rsa, json!({ "kid": 7 }), "kid"),
        (&rsa, json!({ "kid": "k".repeat(129) }), "kid"),
        (&rsa, json!({ "n": null }), "lacks"),
        (&rsa, json!({ "n": "" }), "size"),
        (&rsa, json!({ "n": "AAAA".repeat(400) }), "size"),
        (&rsa, json!({ "n": "_".repeat(170) + "w" }), "2048"),
        (&rsa, json!({ "n": "!".repeat(342) }), "base64url"),
        (&rsa, json!({ "e": "AQ" }), "exponent"),
        (&rsa, json!({ "e": "AA" }), "size"),
        (&rsa, json!({ "e": "Ag" }), "exponent"),
        (&rsa, json!({ "e": "BAAAAAE" }), "exponent"),
        (&curve, json!({ "crv": "P-384" }), "contradict"),
        (&curve, json!({ "crv": "secp256k1", "alg": null }), "not supported"),
        (&curve, json!({ "y": "A".repeat(43) }), "point"),
        (&curve, json!({ "x": "B".repeat(40), "y": "B".repeat(45) + "A" }), "size"),
        (&edwards, json!({ "crv": "Ed448", "alg": null }), "not supported"),
        (&edwards, json!({ "crv": "X25519" }), "contradict"),
        (&edwards, json!({ "x": "A".repeat(42) }), "size"),
        (&edwards, json!({ "x": "AA".repeat(22) }), "size"),
    ];
    for (jwk, changes, expected) in rows {
        let why = skipped(changed(jwk.clone(), changes.clone()));
        assert!(why.contains(expected), "{changes}: {why}");
    }
    for key in [json!(null), json!("key"), json!([]), json!({})] {
        skipped(key);
    }
}

/// As other issuers write the numbers of a key: the same number, and the same signatures.
#[tokio::test]
async fn needless_zeros_and_padding_are_the_same_number() {
    let b64 = base64::engine::general_purpose::STANDARD;
    let zeroed = |text: &Value, zeros: usize| {
        let number = decode(text.as_str().unwrap());
        encode([vec![0; zeros], number].concat())
    };
    let check = async |pair: &Pair, change: &dyn Fn(&mut Value)| {
        let mut jwk = pair.jwk("k");
        change(&mut jwk);
        let folder = Folder::new();
        folder.write("set.json", &format!("\u{feff}{}", json!({ "keys": [jwk] })));
        let verifier = verifier_in("{ jwks: { file: set.json } }", &folder.0);
        let token = pair.token(Some("k"), &claims());
        assert!(verifier.verify(&token).await.is_ok(), "{jwk}");
    };
    let curves = [Pair::curve(Algorithm::Es256), Pair::curve(Algorithm::Es384)];
    for pair in [&*RSA, &RSA.with(Algorithm::Ps256), &curves[0], &curves[1]] {
        for name in ["n", "e", "x", "y"] {
            if pair.jwk("k").get(name).is_none() {
                continue;
            }
            check(pair, &|jwk| jwk[name] = zeroed(&jwk[name], 1).into()).await;
            check(pair, &|jwk| jwk[name] = zeroed(&jwk[name], 3).into()).await;
            check(pair, &|jwk| {
                jwk[name] = b64.encode(decode(jwk[name].as_str().unwrap())).into();
            })
            .await;
        }
    }
    check(&Pair::edwards(), &|jwk| jwk["x"] = format!("{}=", jwk["x"].as_str().unwrap()).into())
        .await;
}

/// A coordinate that begins with a zero byte, which some issuers leave out.
#[test]
fn a_coordinate_that_is_written_short_is_brought_to_its_length() {
    let is_short = |jwk: &Value| decode(jwk["x"].as_str().unwrap())[0] == 0;
    let mut keys = std::iter::repeat_with(|| Pair::curve(Algorithm::Es256).jwk("k"));
    let mut jwk = keys.find(is_short).expect("one key in 256");
    let short = encode(&decode(jwk["x"].as_str().unwrap())[1..]);
    jwk["x"] = short.into();
    assert!(jwk::parse(json!({ "keys": [jwk] }).to_string().as_bytes(), &[]).is_ok());
}

#[test]
fn a_set_without_a_key_of_use_says_why() {
    let told = |document: &[u8]| jwk::parse(document, &[]).expect_err("no key");
    let set = json!({ "keys": [{ "kty": "oct", "k": "AA" }, RSA.jwk("k")] });
    let mut set = set;
    set["keys"][1]["use"] = "enc".into();
    let why = told(set.to_string().as_bytes());
    assert!(why.contains("key 1: it is private") && why.contains("key 2: it is not for"), "{why}");
    let many = json!({ "keys": vec![json!({}); 64] }).to_string();
    let why = told(many.as_bytes());
    assert!(why.ends_with("; and 56 more") && why.len() < 500, "{why}");
    let utf16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(told(&utf16).contains("UTF-16"));
}

#[test]
fn sets_that_are_of_no_use() {
    let key = Pair::edwards().jwk("k");
    let texts = [
        String::new(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"keys":{}}"#.to_owned(),
        r#"{"keys":[]}"#.to_owned(),
        format!(r#"{{"keys":[{key}],"keys":[{key}]}}"#),
        json!({ "keys": vec![key.clone(); 65] }).to_string(),
        format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000)),
        json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }] }).to_string(),
    ];
    for text in texts {
        assert!(jwk::parse(text.as_bytes(), &[]).is_err(), "{}", &text[..text.len().min(80)]);
    }
    let usable = json!({ "keys": [RSA.jwk("r"), key] }).to_string();
    assert_eq!(jwk::parse(usable.as_bytes(), &[]).unwrap().0.len(), 2);
    let most = json!({ "keys": vec![key; 64] }).to_string();
    assert_eq!(jwk::parse(most.as_bytes(), &[]).unwrap().0.len(), 64);
}

#[test]
fn keys_without_an_algorithm_get_exactly_one() {
    let check = |jwk: Value, allowed: &[Algorithm], expected: Option<Algorithm>| {
        let document = json!({ "keys": [changed(jwk, json!({ "alg": null }))] }).to_string();
        let parsed = jwk::parse(document.as_bytes(), allowed);
        assert_eq!(parsed.ok().map(|(keys, _)| keys[0].algorithm), expected);
    };
    let (es256, es384) = (Pair::curve(Algorithm::Es256), Pair::curve(Algorithm::Es384));
    check(RSA.jwk("k"), &[], Some(Algorithm::Rs256));
    check(RSA.jwk("k"), &[Algorithm::Es256, Algorithm::Ps384], Some(Algorithm::Ps384));
    check(RSA.jwk("k"), &[Algorithm::Es256], None);
    check(es256.jwk("k"), &[], Some(Algorithm::Es256));
    check(es384.jwk("k"), &[], Some(Algorithm::Es384));
    check(es384.jwk("k"), &[Algorithm::Es256], None);
    check(Pair::edwards().jwk("k"), &[], Some(Algorithm::EdDsa));
}

/// Text that is often nearly a token.
fn tokenlike() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        ".{0,40}".prop_map(encode),
        "[A-Za-z0-9_=-]{0,40}",
        Just(encode(r#"{"alg":"HS256"}"#)),
        r#"\{"[a-z]{1,5}":["\[\]{}a-z0-9:,\\u]{0,20}\}"#.prop_map(encode),
    ];
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.join("."))
}

proptest! {
    #[test]
    fn no_text_makes_the_verifier_panic(text in prop_oneof![".{0,200}", tokenlike()]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let verifier = verifier("{ hs256: \"${SECRET}\" }");
        prop_assert!(runtime.block_on(verifier.verify(&text)).is_err());
        prop_assert!(verifier.remembered(&text).is_none());
    }

    #[test]
    fn no_signed_claims_make_the_verifier_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let verifier = verifier("{ hs256: \"${SECRET}\" }");
        let signed = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(&bytes));
        let signer = shared(Algorithm::Hs256);
        let algorithm = jsonwebtoken::Algorithm::HS256;
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &signer.signing, algorithm);
        let token = format!("{signed}.{}", signature.unwrap());
        prop_assert!(runtime.block_on(verifier.verify(&token)).is_err());
    }

    #[test]
    fn no_key_set_makes_the_reader_panic(
        kty in prop_oneof![Just("RSA"), Just("EC"), Just("OKP"), Just("oct"), Just("")],
        alg in prop_oneof![Just("RS256"), Just("ES256"), Just("ES384"), Just("EdDSA"), Just("x")],
        crv in prop_oneof![Just("P-256"), Just("P-384"), Just("Ed25519"), Just("")],
        numbers in prop::collection::vec("[A-Za-z0-9_-]{0,90}", 4),
    ) {
        let [n, e, x, y] = [&numbers[0], &numbers[1], &numbers[2], &numbers[3]];
        let jwk = json!({ "kty": kty, "alg": alg, "crv": crv, "n": n, "e": e, "x": x, "y": y });
        let _ = jwk::parse(json!({ "keys": [jwk] }).to_string().as_bytes(), &[]);
    }
}
