//! A table of tokens that prove nothing, each with the reason. All carry a good signature unless
//! the row is about the signature: nothing but the named flaw can refuse them.

use super::fixture::*;
use crate::session::{Algorithm, TokenError};
use serde_json::json;

const GOOD: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Rows that differ in the header.
const HEADERS: [(&str, &str, &str); 32] = [
    ("none", r#"{"alg":"none"}"#, "algorithm"),
    ("None", r#"{"alg":"None"}"#, "algorithm"),
    ("lower case", r#"{"alg":"hs256"}"#, "algorithm"),
    ("sibling", r#"{"alg":"HS512"}"#, "algorithm"),
    ("asymmetric", r#"{"alg":"RS256"}"#, "algorithm"),
    ("unknown", r#"{"alg":"ES256K"}"#, "algorithm"),
    ("encryption", r#"{"alg":"dir","enc":"A256GCM"}"#, "malformed"),
    ("no alg", r#"{"typ":"JWT"}"#, "malformed"),
    ("alg null", r#"{"alg":null}"#, "malformed"),
    ("alg list", r#"{"alg":["HS256"]}"#, "malformed"),
    ("alg twice", r#"{"alg":"HS256","alg":"HS256"}"#, "malformed"),
    ("alg escaped twice", r#"{"alg":"HS256","\u0061lg":"none"}"#, "malformed"),
    ("crit", r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, "malformed"),
    ("crit empty", r#"{"alg":"HS256","crit":[]}"#, "malformed"),
    ("crit null", r#"{"alg":"HS256","crit":null}"#, "malformed"),
    ("b64", r#"{"alg":"HS256","b64":false}"#, "malformed"),
    ("jku", r#"{"alg":"HS256","jku":"https://evil.example/"}"#, "malformed"),
    ("jwk", r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AA"}}"#, "malformed"),
    ("x5u", r#"{"alg":"HS256","x5u":"https://evil.example/"}"#, "malformed"),
    ("x5c", r#"{"alg":"HS256","x5c":["AA"]}"#, "malformed"),
    ("zip", r#"{"alg":"HS256","zip":"DEF"}"#, "malformed"),
    ("typ logout", r#"{"alg":"HS256","typ":"logout+jwt"}"#, "malformed"),
    ("typ number", r#"{"alg":"HS256","typ":1}"#, "malformed"),
    ("typ JWE", r#"{"alg":"HS256","typ":"JWE"}"#, "malformed"),
    ("kid number", r#"{"alg":"HS256","kid":1}"#, "malformed"),
    ("kid empty", r#"{"alg":"HS256","kid":""}"#, "malformed"),
    ("kid with a line break", r#"{"alg":"HS256","kid":"a\nb"}"#, "malformed"),
    ("array", r#"["HS256"]"#, "malformed"),
    ("text", r#""HS256""#, "malformed"),
    ("two objects", r#"{"alg":"HS256"}{}"#, "malformed"),
    ("not JSON", "alg=HS256", "malformed"),
    ("empty", "", "malformed"),
];

#[tokio::test]
async fn headers_that_are_refused() {
    let verifier = verifier("{ hs256: \"${SECRET}\" }");
    for (name, header, reason) in HEADERS {
        let token = shared(Algorithm::Hs256).sign(header, &claims().to_string());
        let refused = verifier.verify(&token).await.expect_err(name);
        assert_eq!(refused.reason(), reason, "{name}: {refused}");
    }
    let deep = format!(r#"{{"alg":"HS256","x":{}1{}}}"#, "[".repeat(32), "]".repeat(32));
    let long = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(129));
    for header in [deep, long] {
        let token = shared(Algorithm::Hs256).sign(&header, &claims().to_string());
        assert_eq!(verifier.verify(&token).await.unwrap_err().reason(), "malformed", "{header}");
    }
}

#[tokio::test]
async fn claims_that_are_refused() {
    let verifier = verifier("{ hs256: \"${SECRET}\" }");
    let rows = [
        (json!({ "exp": null }), "claims"),
        (json!({ "exp": "4102444800" }), "claims"),
        (json!({ "exp": -1 }), "claims"),
        (json!({ "exp": 1e300 }), "claims"),
        (json!({ "exp": u64::MAX }), "claims"),
        (json!({ "exp": true }), "claims"),
        (json!({ "exp": 0 }), "expired"),
        (json!({ "nbf": "0" }), "claims"),
        (json!({ "nbf": 4_102_444_800_u64 }), "not_yet"),
        (json!({ "iat": "now" }), "claims"),
        (json!({ "iss": null }), "issuer"),
        (json!({ "iss": "streamgate-auth/" }), "issuer"),
        (json!({ "iss": ["streamgate-auth"] }), "issuer"),
        (json!({ "aud": null }), "audience"),
        (json!({ "aud": "Streamgate" }), "audience"),
        (json!({ "aud": [] }), "audience"),
        (json!({ "aud": ["other"] }), "audience"),
        (json!({ "aud": ["streamgate", 1] }), "audience"),
        (json!({ "aud": { "streamgate": 1 } }), "audience"),
        (json!({ "sub": null }), "claims"),
        (json!({ "sub": "" }), "claims"),
        (json!({ "sub": 7 }), "claims"),
        (json!({ "sub": "a\u{0}b" }), "claims"),
        (json!({ "sub": "a\r\nX: y" }), "claims"),
        (json!({ "sub": "x".repeat(257) }), "claims"),
        (json!({ "sid": "" }), "claims"),
        (json!({ "sid": 1 }), "claims"),
        (json!({ "sid": "\u{85}" }), "claims"),
        (json!({ "sid": "x".repeat(129) }), "claims"),
        (json!({ "sid": null, "jti": ["j"] }), "claims"),
    ];
    for (changes, reason) in rows {
        let token = shared(Algorithm::Hs256).token(None, &claims_with(changes.clone()));
        let refused = verifier.verify(&token).await.expect_err(&changes.to_string());
        assert_eq!(refused.reason(), reason, "{changes}: {refused}");
    }
    let texts = [
        r#"{"sub":"a","sub":"b","exp":4102444800}"#.to_owned(),
        r#"{"exp":4102444800"#.to_owned(),
        r#"[{"sub":"a"}]"#.to_owned(),
        "null".to_owned(),
        String::new(),
        format!(r#"{{"exp":4102444800,"x":{}1{}}}"#, "[".repeat(32), "]".repeat(32)),
    ];
    for text in texts {
        let token = shared(Algorithm::Hs256).sign(GOOD, &text);
        assert_eq!(verifier.verify(&token).await.unwrap_err().reason(), "malformed", "{text}");
    }
}

#[tokio::test]
async fn texts_that_are_no_tokens() {
    let verifier = verifier("{ hs256: \"${SECRET}\" }");
    let good = shared(Algorithm::Hs256).token(None, &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let texts = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        signed.to_owned(),
        format!("{good}.{signature}"),
        format!("{good}.a.b"),
        format!("{header}=.{payload}.{signature}"),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{header}.{payload}.{signature}!"),
        format!("{header}.{payload}.+/{}", &signature[2..]),
        format!("{header}..{signature}."),
        format!("{good}{}", "A".repeat(8192)),
        format!("{}.{payload}.{signature}", encode([0xff, 0xfe])),
        r#"{"payload":"e30","signatures":[]}"#.to_owned(),
        "ä.ö.ü".to_owned(),
    ];
    for text in texts {
        let refused = verifier.verify(&text).await.expect_err(&text);
        assert_eq!(refused.reason(), "malformed", "{text}: {refused}");
    }
    // The last character of 32 bytes has two bits to spare: another text of the same signature.
    let last = signature.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
    let loose = format!("{}{next}", &good[..good.len() - 1]);
    assert_eq!(verifier.verify(&loose).await.unwrap_err().reason(), "malformed");
    assert!(verifier.verify(&good).await.is_ok());
}

#[test]
fn every_reason_is_in_the_list() {
    let all = [
        TokenError::Malformed(""),
        TokenError::Algorithm,
        TokenError::UnknownKey,
        TokenError::BadSignature,
        TokenError::Expired,
        TokenError::NotYet,
        TokenError::Issuer,
        TokenError::Audience,
        TokenError::Claims(""),
        TokenError::KeysUnavailable,
    ];
    assert_eq!(all.map(|refused| refused.reason()), TokenError::REASONS);
}
