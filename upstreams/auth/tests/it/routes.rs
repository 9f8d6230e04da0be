//! Logins that are accepted and refused, and refusals that reveal nothing.

use std::sync::Arc;
use std::time::Duration;

use auth::Allowance;
use auth::session::TokensOnly;
use http::Method;

use crate::harness::{Ask, Auth, settings};

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const ALICE: &str = r#"{"account":"alice","password":"wonderland"}"#;

async fn plain() -> Auth {
    Auth::start(settings(Arc::new(TokensOnly))).await
}

fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_are_told_alike() {
    let auth = plain().await;
    let wrong = auth.login("alice", "looking-glass").await;
    let unknown = auth.login("nobody", "looking-glass").await;
    assert_eq!(wrong.refused(), refusal(401, "credentials_invalid"));
    assert_eq!(wrong.text, unknown.text);
    let names = |answer: &crate::harness::Answer| {
        answer.fields.keys().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names(&wrong), names(&unknown));
}

#[tokio::test]
async fn failed_logins_of_one_account_are_counted_and_successes_are_not() {
    let mut settings = settings(Arc::new(TokensOnly));
    settings.per_account = Allowance { burst: 3, one_back_after: Duration::from_secs(600) };
    let auth = Auth::start(settings).await;
    for _ in 0..5 {
        assert_eq!(auth.login("alice", "wonderland").await.status, 200);
    }
    for _ in 0..3 {
        assert_eq!(
            auth.login("alice", "wrong").await.refused(),
            refusal(401, "credentials_invalid")
        );
    }
    let refused = auth.login("ALICE", "wonderland").await;
    assert_eq!(
        refused.refused(),
        refusal(429, "too_many_requests"),
        "even with the right password"
    );
    let wait: u64 = refused.field("retry-after").parse().unwrap();
    assert!((1..=601).contains(&wait), "{wait}");
    assert_eq!(refused.json()["retry_after"], wait);
    assert_eq!(auth.login("bob", "builder").await.status, 200, "another account is not touched");

    for _ in 0..3 {
        auth.login("nobody", "wrong").await;
    }
    let unknown = auth.login("nobody", "wrong").await;
    assert_eq!(unknown.refused(), refusal(429, "too_many_requests"), "the same for one unknown");
}

#[tokio::test]
async fn failed_logins_from_one_address_are_counted() {
    let mut settings = settings(Arc::new(TokensOnly));
    settings.per_address = Allowance { burst: 3, one_back_after: Duration::from_secs(600) };
    let auth = Auth::start(settings).await;
    let from = |address: &'static str| [JSON, ("x-forwarded-for", address)];
    for name in ["a", "b", "c"] {
        let body = format!(r#"{{"account":"{name}","password":"guess"}}"#);
        let answer = auth.post("/auth/login", &from("203.0.113.7"), &body).await;
        assert_eq!(answer.refused(), refusal(401, "credentials_invalid"));
    }
    let same = auth.post("/auth/login", &from("198.51.100.1, 203.0.113.7"), ALICE).await;
    assert_eq!(
        same.refused(),
        refusal(429, "too_many_requests"),
        "what the client adds is not read"
    );
    let other = auth.post("/auth/login", &from("203.0.113.8"), ALICE).await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn another_site_cannot_make_a_browser_log_in_or_out() {
    let auth = plain().await;
    for path in ["/auth/login", "/auth/logout", "/auth/refresh"] {
        let cross = auth.post(path, &[JSON, ("sec-fetch-site", "cross-site")], ALICE).await;
        assert_eq!(cross.refused(), refusal(403, "origin_refused"), "{path}");
        let origin = [JSON, ("origin", "https://evil.example"), ("x-forwarded-host", "tv.example")];
        let cross = auth.post(path, &origin, ALICE).await;
        assert_eq!(cross.refused(), refusal(403, "origin_refused"), "{path}");
    }
    let ours = [JSON, ("origin", "https://tv.example"), ("x-forwarded-host", "tv.example")];
    assert_eq!(auth.post("/auth/login", &ours, ALICE).await.status, 200);
}

#[tokio::test]
async fn a_form_logs_in_and_goes_on_to_a_page_of_ours_only() {
    let auth = plain().await;
    let body = "account=alice&password=wonderland&next=%2Fwatch%3Fevent%3Dfinal";
    let answer = auth.post("/auth/login", &[FORM], body).await;
    assert_eq!((answer.status.as_u16(), answer.field("location")), (303, "/watch?event=final"));
    assert!(!answer.cookie().0.is_empty());
    for elsewhere in ["%2F%2Fevil.example", "https%3A%2F%2Fevil.example", "%2F%5Cevil.example"] {
        let body = format!("account=alice&password=wonderland&next={elsewhere}");
        let answer = auth.post("/auth/login", &[FORM], &body).await;
        assert_eq!((answer.status.as_u16(), answer.field("location")), (200, ""), "{elsewhere}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_a_code() {
    let auth = plain().await;
    let long = format!(r#"{{"account":"a","password":"{}"}}"#, "x".repeat(2000));
    let huge = format!(r#"{{"account":"a","password":"{}"}}"#, "x".repeat(20_000));
    let cases = [
        (JSON, "", 400, "request_malformed"),
        (JSON, "{}", 400, "request_malformed"),
        (JSON, r#"{"account":"a b","password":"x"}"#, 400, "request_malformed"),
        (JSON, r#"{"account":"","password":"x"}"#, 400, "request_malformed"),
        (JSON, r#"{"account":"a","password":""}"#, 400, "request_malformed"),
        (JSON, r#"{"account":["a"],"password":"x"}"#, 400, "request_malformed"),
        (JSON, long.as_str(), 400, "request_malformed"),
        (JSON, huge.as_str(), 413, "body_too_large"),
        (FORM, "account=a", 400, "request_malformed"),
        (("content-type", "text/plain"), ALICE, 415, "media_type_unsupported"),
    ];
    for (kind, body, status, code) in cases {
        let refused = auth.post("/auth/login", &[kind], body).await.refused();
        assert_eq!(refused, refusal(status, code), "{kind:?} {:.60}", body);
    }
}

#[tokio::test]
async fn a_session_must_be_ours_and_only_one() {
    let auth = plain().await;
    let mine = auth.login("alice", "wonderland").await.cookie_sent();
    let other = auth.login("bob", "builder").await.cookie_sent();
    let mut forged = mine.clone();
    forged.pop();
    let none = "session=eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.";
    let both = format!("{mine}; {other}");
    for cookie in [&forged, none, &both, "session=x"] {
        let refused = auth.get("/auth/me", &[("cookie", cookie)]).await.refused();
        assert_eq!(refused, refusal(401, "session_invalid"), "{cookie}");
    }
    assert_eq!(auth.get("/auth/me", &[]).await.refused(), refusal(401, "session_missing"));
    auth.turn_clock(12 * 3600);
    let old = auth.get("/auth/me", &[("cookie", &mine)]).await;
    assert_eq!(old.refused(), refusal(401, "session_expired"));
}

#[tokio::test]
async fn what_is_not_served_is_told_as_a_problem() {
    let auth = plain().await;
    assert_eq!(auth.get("/auth/nothing", &[]).await.refused(), refusal(404, "route_not_found"));
    let get = auth.send(Method::GET, "/auth/login", Ask::default()).await;
    assert_eq!(get.refused(), refusal(405, "method_not_allowed"));
    assert_eq!(get.field("allow"), "POST");
    assert_eq!(auth.get("/healthz", &[]).await.status, 200);
}
