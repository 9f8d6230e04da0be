//! Key sets over real HTTP: new keys, issuers that are down, and clients that invent names.

use super::fixture::*;
use super::issuer::{Issuer, pass};
use crate::session::key_set::KeySetError;
use crate::session::keys::refresh_gate::{COOL_DOWN, UNKNOWN_KEPT};
use crate::session::{Algorithm, Refresh, TokenError};
use axum::http::StatusCode;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn pair() -> Pair {
    Pair::curve(Algorithm::Es256)
}

#[tokio::test]
async fn a_new_key_is_fetched_when_its_first_token_comes() {
    let (a, b) = (pair(), pair());
    let mut issuer = Issuer::start(&[a.jwk("a")]).await;
    let verifier = verifier(&issuer.keys());
    issuer.run(&verifier).await;
    let (old, new) = (a.token(Some("a"), &claims()), b.token(Some("b"), &claims()));
    assert!(verifier.verify(&old).await.is_ok());
    assert!(verifier.remembered(&old).is_some());
    issuer.publish(&[b.jwk("b")]);
    pass(COOL_DOWN + SECOND).await;
    assert!(verifier.verify(&new).await.is_ok());
    assert_eq!(issuer.hits(), 2);
    // The old key was withdrawn: what it had proven counts no more.
    assert!(verifier.remembered(&old).is_none());
    assert_eq!(verifier.verify(&old).await, Err(TokenError::UnknownKey));
}

#[tokio::test]
async fn fifty_waiters_cause_one_fetch() {
    let (a, b) = (pair(), pair());
    let mut issuer = Issuer::start(&[a.jwk("a")]).await;
    let verifier = Arc::new(verifier(&issuer.keys()));
    issuer.run(&verifier).await;
    issuer.publish(&[a.jwk("a"), b.jwk("b")]);
    pass(COOL_DOWN + SECOND).await;
    issuer.close();
    let mut waiters = JoinSet::new();
    for number in 0..50 {
        let token = b.token(Some("b"), &claims_with(json!({ "sid": format!("s-{number}") })));
        let verifier = verifier.clone();
        waiters.spawn(async move { verifier.verify(&token).await.map(|_| ()) });
    }
    issuer.asked(2).await;
    issuer.open();
    assert_eq!(waiters.join_all().await, vec![Ok(()); 50]);
    assert_eq!(issuer.hits(), 2);
    assert_eq!(verifier.key_sets()[0].figures().unknown_waited, 50);
}

#[tokio::test]
async fn invented_names_cause_one_fetch_per_cool_down() {
    let a = pair();
    let mut issuer = Issuer::start(&[a.jwk("a")]).await;
    let verifier = verifier(&issuer.keys());
    issuer.run(&verifier).await;
    let invented = async |from: u32| {
        for number in from..from + 20 {
            let token = a.token(Some(&format!("invented-{number}")), &claims());
            assert_eq!(verifier.verify(&token).await, Err(TokenError::UnknownKey));
        }
    };
    invented(0).await;
    assert_eq!(issuer.hits(), 1, "the first fetch itself began a cool-down");
    pass(COOL_DOWN + SECOND).await;
    invented(100).await;
    assert_eq!(issuer.hits(), 2);
    assert_eq!(verifier.key_sets()[0].figures().unknown_cooling, 39);
    // The cool-down counts from the last attempt, also from one that failed.
    issuer.answer(StatusCode::INTERNAL_SERVER_ERROR, String::new());
    pass(COOL_DOWN + SECOND).await;
    invented(200).await;
    assert_eq!(issuer.hits(), 3);
    // Whatever was invented, good tokens are still good.
    assert!(verifier.verify(&a.token(Some("a"), &claims())).await.is_ok());
}

#[tokio::test]
async fn a_name_that_was_not_found_is_remembered_for_a_while() {
    let a = pair();
    let mut issuer = Issuer::start(&[a.jwk("a")]).await;
    let verifier = verifier(&issuer.keys());
    issuer.run(&verifier).await;
    let token = a.token(Some("gone"), &claims());
    pass(COOL_DOWN + SECOND).await;
    assert_eq!(verifier.verify(&token).await, Err(TokenError::UnknownKey));
    assert_eq!(issuer.hits(), 2);
    pass(COOL_DOWN + SECOND).await;
    assert_eq!(verifier.verify(&token).await, Err(TokenError::UnknownKey));
    assert_eq!((issuer.hits(), verifier.key_sets()[0].figures().unknown_remembered), (2, 1));
    pass(UNKNOWN_KEPT).await;
    assert_eq!(verifier.verify(&token).await, Err(TokenError::UnknownKey));
    assert_eq!(issuer.hits(), 3);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_nothing_with_it() {
    let (a, b) = (pair(), pair());
    let mut issuer = Issuer::start(&[a.jwk("a")]).await;
    let verifier = Arc::new(verifier(&issuer.keys()));
    issuer.run(&verifier).await;
    issuer.publish(&[b.jwk("b")]);
    pass(COOL_DOWN + SECOND).await;
    issuer.close();
    let token = b.token(Some("b"), &claims());
    let mut impatient = JoinSet::new();
    let (theirs, same) = (verifier.clone(), token.clone());
    impatient.spawn(async move { theirs.verify(&same).await.is_ok() });
    issuer.asked(2).await;
    impatient.shutdown().await;
    issuer.open();
    assert!(verifier.verify(&token).await.is_ok());
    assert_eq!(issuer.hits(), 2);
}

#[tokio::test]
async fn the_last_good_set_serves_while_the_issuer_is_down() {
    let a = pair();
    let mut issuer = Issuer::start(&[a.jwk("a")]).await;
    let verifier = verifier(&issuer.keys());
    issuer.run(&verifier).await;
    let token = a.token(Some("a"), &claims_with(json!({ "exp": 4_102_444_800_u64 })));
    let bad = [
        (StatusCode::SERVICE_UNAVAILABLE, String::new()),
        (StatusCode::OK, "<html>maintenance</html>".to_owned()),
        (StatusCode::OK, r#"{"keys":[]}"#.to_owned()),
        (StatusCode::OK, " ".repeat(300 * 1024)),
    ];
    for (index, (status, text)) in bad.into_iter().enumerate() {
        issuer.answer(status, text);
        pass(Duration::from_secs(700)).await;
        issuer.refreshed(index + 2).await;
        assert!(verifier.verify(&token).await.is_ok());
    }
    let failures = verifier.key_sets()[0].figures().failures;
    assert_eq!(failures as usize, issuer.told().len() - 1);
    assert!(matches!(issuer.told()[2], Refresh::Failed(KeySetError::Unusable(_))));
    // Not for ever: somebody may have stolen a key that we cannot hear is withdrawn.
    let before = issuer.told().len();
    pass(DAY).await;
    assert_eq!(verifier.verify(&token).await, Err(TokenError::KeysUnavailable));
    assert!(!verifier.key_sets()[0].figures().is_usable);
    issuer.refreshed(before + 1).await;
    // And back again with the first good answer, the very same document.
    issuer.publish(&[a.jwk("a")]);
    pass(COOL_DOWN + 4 * SECOND).await;
    assert!(verifier.verify(&token).await.is_ok());
    assert_eq!(issuer.told().last(), Some(&Refresh::Same));
}

#[tokio::test]
async fn without_a_first_set_nothing_can_be_said() {
    let a = pair();
    let mut issuer = Issuer::start(&[a.jwk("a")]).await;
    issuer.answer(StatusCode::BAD_GATEWAY, String::new());
    let verifier = verifier(&issuer.keys());
    issuer.run(&verifier).await;
    for kid in [Some("a"), None] {
        let token = a.token(kid, &claims());
        assert_eq!(verifier.verify(&token).await, Err(TokenError::KeysUnavailable));
    }
    issuer.publish(&[a.jwk("a")]);
    // The task tries again by itself, and soon: often both are started together.
    pass(3 * SECOND).await;
    issuer.refreshed(2).await;
    assert!(verifier.verify(&a.token(None, &claims())).await.is_ok());
}

#[tokio::test]
async fn a_request_that_comes_before_the_first_set_waits_for_it() {
    let a = pair();
    let mut issuer = Issuer::start(&[a.jwk("a")]).await;
    issuer.close();
    let verifier = Arc::new(verifier(&issuer.keys()));
    let token = a.token(Some("a"), &claims());
    let mut early = JoinSet::new();
    let theirs = verifier.clone();
    early.spawn(async move { theirs.verify(&token).await.map(|_| ()) });
    issuer.begin(&verifier);
    issuer.asked(1).await;
    issuer.open();
    assert_eq!(early.join_all().await, [Ok(())]);
    assert_eq!(issuer.hits(), 1);
}

#[tokio::test]
async fn keys_are_refreshed_without_any_request() {
    let (a, b) = (pair(), pair());
    let mut issuer = Issuer::start(&[a.jwk("a")]).await;
    let verifier = verifier(&issuer.keys());
    issuer.run(&verifier).await;
    issuer.publish(&[b.jwk("b")]);
    pass(Duration::from_secs(661)).await;
    issuer.refreshed(2).await;
    assert_eq!(issuer.told()[1], Refresh::Changed { keys: 1, skipped: Vec::new() });
    assert!(verifier.verify(&b.token(Some("b"), &claims())).await.is_ok());
}

#[tokio::test]
async fn a_reload_keeps_the_keys_that_are_there() {
    let a = pair();
    let mut issuer = Issuer::start(&[a.jwk("a")]).await;
    let older = verifier(&issuer.keys());
    issuer.run(&older).await;
    let newer = verifier(&issuer.keys()).adopt(&older);
    assert!(Arc::ptr_eq(&newer.key_sets()[0], &older.key_sets()[0]));
    drop(older);
    // Its task goes on; a second one has nothing to do.
    let (_goes_on, stop) = watch::channel(false);
    newer.key_sets()[0].run(stop, |_, _| ()).await;
    assert!(newer.verify(&a.token(Some("a"), &claims())).await.is_ok());
    assert_eq!(issuer.hits(), 1);
    let other = format!("{{ jwks: {{ url: \"{}\", refresh: 1h }} }}", issuer.address);
    let changed = verifier(&other).adopt(&newer);
    assert!(!Arc::ptr_eq(&newer.key_sets()[0], &changed.key_sets()[0]));
}

#[tokio::test]
async fn a_set_whose_task_has_ended_refuses_at_once() {
    let a = pair();
    let mut issuer = Issuer::start(&[a.jwk("a")]).await;
    issuer.close();
    let verifier = Arc::new(verifier(&issuer.keys()));
    issuer.begin(&verifier);
    issuer.asked(1).await;
    let token = a.token(Some("a"), &claims());
    let mut waiter = JoinSet::new();
    waiter.spawn(async move { verifier.verify(&token).await.map(|_| ()) });
    tokio::task::yield_now().await;
    issuer.stop();
    let refused = tokio::time::timeout(SECOND, waiter.join_all()).await.expect("at once");
    assert_eq!(refused, [Err(TokenError::KeysUnavailable)]);
}

#[tokio::test]
async fn two_issuers_do_not_wait_for_each_other_longer_than_needed() {
    let (a, b) = (pair(), pair());
    let mut one = Issuer::start(&[a.jwk("a")]).await;
    let two = Issuer::start(&[b.jwk("b")]).await;
    let verifier = verifier(&format!("{}, {}", one.keys(), two.keys()));
    one.run(&verifier).await;
    assert!(verifier.verify(&a.token(Some("a"), &claims())).await.is_ok());
    assert!(verifier.verify(&b.token(Some("b"), &claims())).await.is_ok());
    let token = a.token(Some("b"), &claims());
    assert_eq!(verifier.verify(&token).await, Err(TokenError::BadSignature));
}

#[tokio::test]
async fn a_file_is_read_again_when_a_new_key_is_asked_for() {
    let (a, b) = (pair(), pair());
    let folder = Folder::new();
    folder.write("set.json", &super::issuer::document(&[a.jwk("a")]));
    let verifier = verifier_in("{ jwks: { file: set.json } }", &folder.0);
    let set = verifier.key_sets()[0].clone();
    let (_goes_on, stop) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { set.run(stop, |_, _| ()).await });
    assert!(verifier.verify(&a.token(Some("a"), &claims())).await.is_ok());
    folder.write("set.json", &super::issuer::document(&[b.jwk("b")]));
    assert!(verifier.verify(&b.token(Some("b"), &claims())).await.is_ok());
    assert_eq!(verifier.key_sets()[0].figures().refreshes, 1);
}
