//! Younger tokens: whose, and what they keep. What browsers get is tests/it/reissue.rs.

use super::fixture::*;
use crate::session::{Algorithm, Verifier};
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};
use std::path::Path;

fn reissuing() -> Verifier {
    let yaml = "keys: [ { hs256: \"${SECRET}\" }, { hs512: \"${SECRET}\" } ]\n\
                absolute: 24h\nreissue: {}";
    compile(yaml, Path::new(".")).unwrap()
}

/// Header and claims of the younger token that `token` is worth.
async fn younger(verifier: &Verifier, token: &str) -> Option<(Value, Value)> {
    let session = verifier.verify(token).await.unwrap();
    let now = crate::clock::unix_seconds();
    let field = verifier.reissue().unwrap().field(token, &session, now + 1_000)?;
    let field = field.to_str().unwrap().to_owned();
    let token = field.strip_prefix("session=").unwrap().split(';').next().unwrap();
    assert_eq!(verifier.verify(token).await.unwrap().id(), session.id(), "the same login");
    let part = |n: usize| {
        let part = token.split('.').nth(n).unwrap();
        serde_json::from_slice(&decode(part)).unwrap()
    };
    Some((part(0), part(1)))
}

#[tokio::test]
async fn a_younger_token_names_its_key_as_the_old_one_did() {
    let verifier = reissuing();
    let before = claims();
    let token = shared(Algorithm::Hs256).token(Some("2026-11"), &before);
    let (head, said) = younger(&verifier, &token).await.unwrap();
    assert_eq!((&head["kid"], &head["alg"]), (&json!("2026-11"), &json!("HS256")));
    assert_eq!((&said["max_streams"], &said["nbf"]), (&json!(2), &before["nbf"]));
}

#[tokio::test]
async fn a_login_without_a_name_keeps_the_one_it_was_given() {
    let token = shared(Algorithm::Hs256).token(None, &claims_with(json!({ "sid": null })));
    let (_, said) = younger(&reissuing(), &token).await.unwrap();
    assert_eq!(said["sid"].as_str().unwrap().len(), 43, "a digest of the first token");
    let named = claims_with(json!({ "sid": null, "jti": "j" }));
    let (_, said) =
        younger(&reissuing(), &shared(Algorithm::Hs256).token(None, &named)).await.unwrap();
    assert_eq!((&said["jti"], &said["sid"]), (&json!("j"), &Value::Null));
}

#[tokio::test]
async fn what_another_algorithm_signed_or_has_no_beginning_is_left_alone() {
    let verifier = reissuing();
    let other = shared(Algorithm::Hs512).token(None, &claims());
    assert!(younger(&verifier, &other).await.is_none());
    let timeless = shared(Algorithm::Hs256).token(None, &claims_with(json!({ "iat": null })));
    assert!(younger(&verifier, &timeless).await.is_none());
    let session = verifier.verify(&timeless).await.unwrap();
    assert!(!session.is_reissue_due(session.expires_at()));
}

#[test]
fn an_answer_that_speaks_of_the_cookie_has_settled_it() {
    let verifier = reissuing();
    for (field, is_settled) in [
        ("session=; Max-Age=0", true),
        (" session = x", true),
        ("sessions=x", false),
        ("other=session=x", false),
    ] {
        let mut answer = HeaderMap::new();
        answer.append(header::SET_COOKIE, HeaderValue::from_static("a=b"));
        answer.append(header::SET_COOKIE, HeaderValue::from_static(field));
        assert_eq!(verifier.reissue().unwrap().is_settled_in(&answer), is_settled, "{field}");
    }
}
