//! Tokens that were verified not long ago.

use super::fixture::*;
use crate::session::token_cache::TokenCache;
use crate::session::{Algorithm, Dates, Session, TokenError};
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn a_verified_token_is_remembered_by_its_whole_text() {
    let verifier = verifier("{ hs256: \"${SECRET}\" }");
    let token = shared(Algorithm::Hs256).token(None, &claims());
    assert!(verifier.remembered(&token).is_none());
    let session = verifier.verify(&token).await.unwrap();
    let again = verifier.remembered(&token).unwrap();
    assert!(Arc::ptr_eq(&session, &again));
    assert_eq!(verifier.remembered_count(), 1);
    for other in [format!("{token}A"), token[..token.len() - 1].to_owned(), String::new()] {
        assert!(verifier.remembered(&other).is_none());
    }
}

#[tokio::test]
async fn nothing_is_remembered_beyond_its_expiry_and_the_leeway() {
    let verifier = verifier("{ hs256: \"${SECRET}\" }");
    let now = crate::clock::unix_seconds();
    // Within the leeway it is good, and costs no second signature until it is refused.
    let token = shared(Algorithm::Hs256).token(None, &claims_with(json!({ "exp": now - 10 })));
    let session = verifier.verify(&token).await.unwrap();
    let again = verifier.remembered(&token).unwrap();
    assert!(Arc::ptr_eq(&session, &again));
    assert!(verifier.remembered_at(&token, now + 19).is_some());
    assert!(verifier.remembered_at(&token, now + 20).is_none());
    assert_eq!(verifier.verify_at(&token, now + 60).await, Err(TokenError::Expired));
}

#[tokio::test]
async fn what_was_refused_is_not_remembered() {
    let verifier = verifier("{ hs256: \"${SECRET}\" }");
    let token = shared(Algorithm::Hs512).token(None, &claims());
    assert!(verifier.verify(&token).await.is_err());
    assert_eq!(verifier.remembered_count(), 0);
}

fn session(expires_at: u64) -> Arc<Session> {
    let dates = Dates { began_at: None, expires_at, half_life_at: None };
    Arc::new(Session::new("a".into(), "s", Box::default(), dates))
}

#[test]
fn memory_is_bounded_and_keeps_what_is_in_use() {
    let cache = TokenCache::new(1_000);
    cache.insert("in use", 0, session(10));
    for number in 0..20_000 {
        cache.insert(&format!("token {number}"), 0, session(10));
        assert!(cache.find("in use", 0, 0).is_some(), "{number}");
    }
    assert!(cache.len() <= 1_000, "{}", cache.len());
    assert!(cache.len() >= 400, "{}", cache.len());
    assert!(cache.find("token 0", 0, 0).is_none());
    assert!(cache.find("token 19999", 0, 0).is_some());
}

#[test]
fn entries_of_other_keys_and_old_ones_are_not_found() {
    let cache = TokenCache::new(100);
    cache.insert("t", 1, session(10));
    assert!(cache.find("t", 1, 39).is_some());
    assert!(cache.find("t", 1, 40).is_none());
    assert!(cache.find("t", 2, 0).is_none());
    cache.insert("t", 2, session(10));
    assert!(cache.find("t", 2, 0).is_some());
    assert_eq!(cache.len(), 1);
}
