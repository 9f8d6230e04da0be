//! Younger tokens for logins that play on: who gets one, what it says, and what it does not change.

use crate::harness::{Gateway, Login, Redis, environment, outcome, until, with_sessions};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Response;
use reqwest::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, SET_COOKIE};
use serde_json::Value;

const PATH: &str = "/live/final/master.m3u8";
const MADE: &str = "streamgate_session_reissues_total{provider=\"viewers\"}";
const HOUR: u64 = 3_600;

async fn start(settings: &[&str]) -> Gateway {
    Gateway::start(&with_sessions(settings), &environment(None).await)
}

async fn play(gateway: &Gateway, token: &str) -> Response {
    let answer = gateway.get(PATH).header(COOKIE, format!("session={token}")).send().await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 200);
    answer
}

/// The younger token that an answer brings, and what stands behind it.
fn younger(answer: &Response) -> Option<(String, String)> {
    let field = answer.headers().get(SET_COOKIE)?.to_str().unwrap();
    let (token, attributes) = field.strip_prefix("session=").unwrap().split_once("; ").unwrap();
    Some((token.to_owned(), attributes.to_owned()))
}

/// Which stream it is.
fn stream(answer: &Response) -> &str {
    answer.headers()["streamgate-lease"].to_str().unwrap().split(',').next().unwrap()
}

fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[tokio::test]
async fn past_half_its_life_a_login_gets_a_younger_token_and_plays_the_same_stream() {
    let gateway =
        start(&["reissue: { same_site: strict, domain: example.com }", "absolute: 24h"]).await;
    let old = Login::of("ann", "s").with("plan", "gold").token_from(-2_000, 1_600);
    let answer = play(&gateway, &old).await;
    assert_eq!(answer.headers()[CACHE_CONTROL], "no-store", "no cache keeps a login");
    let (token, attributes) = younger(&answer).expect("a younger token");
    let expected = "Max-Age=3600; Path=/; HttpOnly; SameSite=Strict; Secure; Domain=example.com";
    assert_eq!(attributes, expected);
    let (before, now) = (claims(&old), claims(&token));
    for claim in ["sub", "sid", "iss", "aud", "plan"] {
        assert_eq!(now[claim], before[claim], "{claim}");
    }
    assert_eq!(now["auth_time"], before["iat"], "when the login was");
    let date = |claims: &Value, name: &str| claims[name].as_u64().unwrap();
    assert_eq!(date(&now, "exp") - date(&now, "iat"), HOUR, "as long a life as before");
    assert!(date(&before, "iat") + 2_000 <= date(&now, "iat"));
    let again = play(&gateway, &token).await;
    assert_eq!(stream(&again), stream(&answer));
    assert!(younger(&again).is_none(), "it is young");
    assert!(younger(&play(&gateway, &old).await).is_none(), "one of many that come at once");
    gateway.counts(MADE, 1.0).await;
}

#[tokio::test]
async fn nobody_else_gets_one() {
    let gateway = start(&["reissue: {}", "absolute: 24h"]).await;
    let login = Login::of("ann", "s");
    let past = login.token_from(-2_000, 1_600);
    let app = gateway.get(PATH).header(AUTHORIZATION, format!("Bearer {past}")).send().await;
    assert!(younger(&app.unwrap()).is_none(), "an app keeps its token itself");
    assert!(younger(&play(&gateway, &login.token_from(-1_000, 2_600)).await).is_none(), "young");
    let refused = gateway.get(PATH).header(COOKIE, format!("session={past}x")).send().await;
    let told = younger(&refused.unwrap());
    assert!(told.is_none_or(|(token, _)| token.is_empty()), "refused: at most forgotten");
    gateway.counts(MADE, 0.0).await;
    let without = Gateway::standard(None).await;
    assert!(younger(&play(&without, &past).await).is_none(), "nobody said so");
}

#[tokio::test]
async fn a_login_counts_no_longer_than_it_may() {
    let gateway = start(&["reissue: {}", "absolute: 2h"]).await;
    let now = streamgate::clock::unix_seconds();
    let login = |ago: u64| Login::of("ann", "s").with("auth_time", now - ago);
    let (token, _) = younger(&play(&gateway, &login(5_000).token_from(-2_000, 1_600)).await)
        .expect("a younger token");
    assert_eq!(claims(&token)["exp"], now - 5_000 + 2 * HOUR);
    let last = login(6_000).token_from(-2_000, 1_600);
    assert!(younger(&play(&gateway, &last).await).is_none(), "it could not live longer");
}

#[tokio::test]
async fn one_whose_logout_may_be_unseen_gets_none() {
    let redis = Redis::start().await;
    let yaml = with_sessions(&["reissue: {}", "absolute: 24h", "idle: 1h", "active_in: shared"]);
    let gateway = Gateway::start(&yaml, &environment(Some(&redis)).await);
    let _: () = redis.ask(&["SET", "sg:session:s", "1", "EX", "1600"]).await.unwrap();
    let known = Login::of("ann", "s").token_from(-2_000, 1_600);
    let (token, _) = younger(&play(&gateway, &known).await).expect("a younger token");
    redis.kill();
    // What was remembered of it holds for five seconds; of the other session nothing is known.
    assert!(younger(&play(&gateway, &token).await).is_none());
    let unknown = Login::of("bob", "t").token_from(-2_000, 1_600);
    let request = gateway.get(PATH).header(COOKIE, format!("session={unknown}"));
    until("the store is given up", || async {
        outcome(request.try_clone().unwrap()).await.0 == 200
    })
    .await;
    assert!(younger(&request.send().await.unwrap()).is_none(), "the store was not asked");
    gateway.counts(MADE, 1.0).await;
}
