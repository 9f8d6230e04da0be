//! Who is let in: tokens of every kind, where they are found, and sessions that have ended.

use crate::harness::{Gateway, Login, Redis, environment, outcome, until, with_sessions};
use reqwest::header::{AUTHORIZATION, COOKIE};

const PATH: &str = "/live/final/master.m3u8";

/// `STANDARD`, with sessions that must be active in the store.
fn active() -> String {
    with_sessions(&["active_in: shared"])
}

#[tokio::test]
async fn a_token_is_taken_from_the_cookie_or_the_header() {
    let gateway = Gateway::standard(None).await;
    let login = Login::of("ann", "s1");
    let bearer = format!("Bearer {}", login.token());
    for (field, value) in [(COOKIE, login.cookie()), (AUTHORIZATION, bearer)] {
        let request = gateway.get(PATH).header(field, value);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn broken_tokens_are_told_by_their_code() {
    let gateway = Gateway::standard(None).await;
    let good = Login::of("ann", "s1");
    let (head, rest) =
        good.token().split_once('.').map(|(h, r)| (h.to_owned(), r.to_owned())).unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let none = "eyJhbGciOiJub25lIn0";
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let spoiled = format!("{other}{}", &signature[1..]);
    let cases = [
        (String::new(), "session_missing"),
        ("session=".to_owned(), "session_missing"),
        ("other=x".to_owned(), "session_missing"),
        ("session=garbage".to_owned(), "session_invalid"),
        (format!("session={head}.{claims}."), "session_invalid"),
        (format!("session={none}.{claims}."), "session_invalid"),
        (format!("session={head}.{claims}.{}", spoiled), "session_invalid"),
        (format!("session={}", good.token_for(-31)), "session_expired"),
        (format!("session={}", Login::of("", "s").token()), "session_invalid"),
        (
            format!("{}; session={}", good.cookie(), Login::of("bob", "s2").token()),
            "session_invalid",
        ),
    ];
    for (cookie, code) in cases {
        let request = gateway.get(PATH).header(COOKIE, &cookie);
        let response = request.try_clone().unwrap().send().await.unwrap();
        assert!(response.headers().contains_key("www-authenticate"), "{cookie}");
        assert_eq!(outcome(request).await, (401, code.to_owned()), "{cookie}");
    }
    let reasons =
        "streamgate_auth_decisions_total{decision=\"refused\",reason=\"expired\",route=\"live\"}";
    assert_eq!(gateway.metric(reasons).await, 2.0);
}

#[tokio::test]
async fn a_token_just_past_its_time_is_within_the_leeway() {
    let gateway = Gateway::standard(None).await;
    let cookie = format!("session={}", Login::of("ann", "s1").token_for(-5));
    assert_eq!(gateway.get(PATH).header(COOKIE, cookie).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_session_must_be_active_in_the_store() {
    let redis = Redis::start().await;
    let gateway = Gateway::start(&active(), &environment(Some(&redis)).await);
    let login = Login::of("ann", "s1");
    let play = || gateway.get(PATH).header(COOKIE, login.cookie());
    assert_eq!(outcome(play()).await, (401, "session_ended".to_owned()));

    // A new login has a new id; nothing that was remembered of the other one stands in its way.
    let login = Login::of("ann", "s2");
    let play = || gateway.get(PATH).header(COOKIE, login.cookie());
    let _: () = redis.ask(&["SET", "sg:session:s2", "1", "EX", "60"]).await.unwrap();
    assert_eq!(play().send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_logout_takes_effect_at_once_where_it_is_published() {
    let redis = Redis::start().await;
    let gateway = Gateway::start(&active(), &environment(Some(&redis)).await);
    let login = Login::of("ann", "s1");
    let _: () = redis.ask(&["SET", "sg:session:s1", "1", "EX", "60"]).await.unwrap();
    let play = || gateway.get(PATH).header(COOKIE, login.cookie());
    assert_eq!(play().send().await.unwrap().status(), 200);
    until("the gateway listens", || async {
        redis.ask::<u64>(&["PUBLISH", "sg:revoked", "nobody"]).await.unwrap() == 1
    })
    .await;
    let _: () = redis.ask(&["DEL", "sg:session:s1"]).await.unwrap();
    // What was remembered still holds, for at most five seconds …
    let _: () = redis.ask(&["PUBLISH", "sg:revoked", "s1"]).await.unwrap();
    // … but for the message, which clears it.
    until("the logout is seen", || async { outcome(play()).await.0 == 401 }).await;
    assert_eq!(outcome(play()).await, (401, "session_ended".to_owned()));
}

#[tokio::test]
async fn a_remembered_session_costs_no_question() {
    let redis = Redis::start().await;
    let gateway = Gateway::start(&active(), &environment(Some(&redis)).await);
    let login = Login::of("ann", "s1");
    let _: () = redis.ask(&["SET", "sg:session:s1", "1", "EX", "60"]).await.unwrap();
    let play = || gateway.get(PATH).header(COOKIE, login.cookie());
    assert_eq!(play().send().await.unwrap().status(), 200);
    let before = redis.commands().await;
    for _ in 0..50 {
        assert_eq!(play().send().await.unwrap().status(), 200);
    }
    // Each question about the number of commands is itself a few; fifty requests would be more.
    assert!(redis.commands().await - before < 25);
}
