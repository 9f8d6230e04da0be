//! Who is let in: tokens of every kind, where they are found, and sessions that have ended.

use crate::harness::{Gateway, Login, Redis, environment, outcome, until, with_sessions};
use crate::raw_client::RawClient;
use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, COOKIE};
use serde_json::{Value, json};

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

/// What the upstream got in the fields called `name` in lower case; `None`: it got no request.
async fn upstream_got(request: RequestBuilder, name: &str) -> Option<Value> {
    let response = request.send().await.unwrap();
    if response.status() != 200 {
        assert_eq!(response.status(), 400);
        return None;
    }
    let seen: Value = response.json().await.unwrap();
    Some(seen["headers"][name].clone())
}

#[tokio::test]
async fn no_client_writes_what_a_claim_can_say() {
    let yaml = with_sessions(&["claims_to_headers: { plan: X-Plan, level: X-Level }"]);
    let gateway = Gateway::start(&yaml, &environment(None).await);
    let (open, held) = ("/faults/echo/x", "/faults/echo/held/x");
    let claims = [
        None,
        Some(Value::Null),
        Some(json!(["gold"])),
        Some(json!({ "name": "gold" })),
        Some(json!("gold\r\nx-plan: platinum")),
        Some(json!("gold\u{0}")),
    ];
    for claim in claims {
        let login = match &claim {
            Some(plan) => Login::of("ann", "s1").with("plan", plan.clone()),
            None => Login::of("ann", "s1"),
        };
        for (path, name) in [
            (held, "x-plan"),
            (held, "X-PLAN"),
            (held, "x-level"),
            (open, "X-Plan"),
            (open, "x-level"),
        ] {
            let request = gateway.get(path).header(COOKIE, login.cookie());
            let got = upstream_got(request.header(name, "platinum"), &name.to_lowercase()).await;
            assert_eq!(got, Some(Value::Null), "{claim:?} {path} {name}");
        }
        for name in ["x_plan", "X_Plan"] {
            let request = gateway.get(held).header(COOKIE, login.cookie());
            let got = upstream_got(request.header(name, "platinum"), "x_plan").await;
            assert!(matches!(got, None | Some(Value::Null)), "{claim:?} {name}");
        }
    }
    let login = Login::of("ann", "s1").with("plan", "gold").with("level", 3);
    for twice in ["platinum", "gold"] {
        let request = gateway.get(held).header(COOKIE, login.cookie());
        let request = request.header("x-plan", twice).header("X-Plan", "silver");
        assert_eq!(upstream_got(request, "x-plan").await, Some(json!(["gold"])));
    }
}

#[tokio::test]
async fn connection_takes_no_claim_away() {
    let yaml = with_sessions(&["claims_to_headers: { plan: X-Plan }"]);
    let gateway = Gateway::start(&yaml, &environment(None).await);
    let cookie = Login::of("ann", "s1").with("plan", "gold").cookie();
    for named in ["X-Plan", "close, x-plan", "x-plan, X-Streamgate-Session, upgrade"] {
        let mut raw = RawClient::open(gateway.edge).await;
        let head = format!(
            "GET /faults/echo/held/x HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\
             X-Plan: platinum\r\nConnection: {named}\r\n\r\n"
        );
        let answer = raw.ask(head).await;
        assert_eq!(answer.status, 200, "{named}");
        let seen: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(seen["headers"]["x-plan"], json!(["gold"]), "{named}: {seen}");
        assert_eq!(seen["headers"]["x-streamgate-session"], json!(["s1"]), "{named}");
        // An upstream that is a proxy itself would drop what `Connection` names.
        let connection = seen["headers"]["connection"].to_string().to_lowercase();
        assert!(!connection.contains("x-"), "{named}: {connection}");
    }
}

#[tokio::test]
async fn the_token_is_found_and_taken_out_in_every_authorization() {
    let gateway = Gateway::standard(None).await;
    let token = Login::of("ann", "s1").token();
    let (bearer, small) = (format!("Bearer {token}"), format!("bearer {token}"));
    for fields in [
        vec!["Basic dTpw", &bearer],
        vec![&bearer, "Basic dTpw"],
        vec!["Basic dTpw", &small, &bearer],
    ] {
        let mut request = gateway.get("/faults/echo/held/x");
        for field in &fields {
            request = request.header(AUTHORIZATION, *field);
        }
        let got = upstream_got(request, "authorization").await;
        assert_eq!(got, Some(json!(["Basic dTpw"])), "{fields:?}");
    }
    let joined = format!("Basic dTpw, Bearer {token}");
    let request = gateway.get("/faults/echo/held/x").header(AUTHORIZATION, joined);
    let request = request.header(COOKIE, format!("session={token}"));
    assert_eq!(upstream_got(request, "authorization").await, Some(Value::Null));
}
