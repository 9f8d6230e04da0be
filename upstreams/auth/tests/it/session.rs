//! A session from login to logout, as the gateway and the browser see it.

use std::sync::Arc;
use std::time::Duration;

use auth::session::TokensOnly;
use auth::{Lifetime, Secure};

use crate::harness::{Auth, BEGIN, Redis, claims, settings};

const HOUR: u64 = 3600;

#[tokio::test]
async fn a_login_gives_a_cookie_and_a_live_session() {
    let redis = Redis::start().await;
    let auth = Auth::with_redis(&redis).await;
    let answer = auth.login("Alice", "wonderland").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("cache-control"), "no-store");
    assert_eq!(answer.json()["account"], "alice");
    assert!(answer.json().get("token").is_none(), "a page's script must not see the token");

    let (token, attributes) = answer.cookie();
    assert_eq!(attributes["path"], "/");
    assert_eq!(attributes["samesite"], "Lax");
    assert_eq!(attributes["max-age"], (12 * HOUR).to_string());
    assert!(attributes.contains_key("httponly") && attributes.contains_key("secure"));

    let claims = claims(&token);
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["iss"], "streamgate-auth");
    assert_eq!(claims["aud"], "streamgate");
    assert_eq!(claims["tier"], "gold");
    assert_eq!(claims["max_streams"], 5);
    assert_eq!(
        (claims["iat"].as_u64(), claims["exp"].as_u64()),
        (Some(BEGIN), Some(BEGIN + 12 * HOUR))
    );

    let key = format!("sg:session:{}", claims["sid"].as_str().unwrap());
    let ttl: u64 = redis.ask(&["TTL", &key]).await;
    assert!((12 * HOUR - 60..=12 * HOUR).contains(&ttl), "{ttl}");

    let me = auth.get("/auth/me", &[("cookie", &answer.cookie_sent())]).await;
    assert_eq!((me.status.as_u16(), me.json()["tier"].as_str()), (200, Some("gold")));
}

#[tokio::test]
async fn an_account_without_a_limit_leaves_it_to_the_gateway() {
    let auth = Auth::start(settings(Arc::new(TokensOnly))).await;
    let (token, _) = auth.login("bob", "builder").await.cookie();
    assert!(claims(&token).get("max_streams").is_none());
    assert_eq!(claims(&token)["tier"], "standard");
}

#[tokio::test]
async fn two_logins_are_two_sessions() {
    let auth = Auth::start(settings(Arc::new(TokensOnly))).await;
    let (one, _) = auth.login("alice", "wonderland").await.cookie();
    let (other, _) = auth.login("alice", "wonderland").await.cookie();
    assert_ne!(claims(&one)["sid"], claims(&other)["sid"]);
}

#[tokio::test]
async fn a_browser_that_logs_in_anew_leaves_no_session_behind() {
    let redis = Redis::start().await;
    let auth = Auth::with_redis(&redis).await;
    let former = auth.login("alice", "wonderland").await.cookie_sent();
    let fields = [("content-type", "application/json"), ("cookie", former.as_str())];
    let body = r#"{"account":"bob","password":"builder"}"#;
    let anew = auth.post("/auth/login", &fields, body).await;
    let sid = claims(&anew.cookie().0)["sid"].as_str().unwrap().to_owned();
    let live: Vec<String> = redis.ask(&["KEYS", "sg:session:*"]).await;
    assert_eq!(live, [format!("sg:session:{sid}")]);
}

#[tokio::test]
async fn a_refresh_slides_until_the_absolute_end() {
    let redis = Redis::start().await;
    let mut settings =
        settings(Arc::new(auth::session::redis::RedisSessions::new(&redis.url()).unwrap()));
    settings.lifetime = Lifetime {
        idle: Duration::from_secs(HOUR),
        absolute: Duration::from_secs(2 * HOUR),
        sliding: None,
    };
    let auth = Auth::start(settings).await;
    let first = auth.login("alice", "wonderland").await;

    auth.turn_clock(HOUR - 1);
    let second = auth.post("/auth/refresh", &[("cookie", &first.cookie_sent())], "").await;
    let (token, attributes) = second.cookie();
    assert_eq!(attributes["max-age"], HOUR.to_string());
    assert_eq!(claims(&token)["sid"], claims(&first.cookie().0)["sid"], "the session stays");

    auth.turn_clock(HOUR - 600);
    let third = auth.post("/auth/refresh", &[("cookie", &second.cookie_sent())], "").await;
    let (token, attributes) = third.cookie();
    assert_eq!(attributes["max-age"], "601", "two hours after the login, and no longer");
    let key = format!("sg:session:{}", claims(&token)["sid"].as_str().unwrap());
    let ttl: i64 = redis.ask(&["PTTL", &key]).await;
    assert!(ttl <= 601_000, "{ttl}");

    let late = auth.post("/auth/refresh", &[("cookie", &second.cookie_sent())], "").await;
    assert_eq!(late.status, 200, "an older token of a live session still refreshes");
    auth.turn_clock(601);
    let end = auth.post("/auth/refresh", &[("cookie", &third.cookie_sent())], "").await;
    assert_eq!(end.refused(), (401, "session_expired".to_owned()));
    assert_eq!(end.field("www-authenticate"), "Bearer realm=\"streamgate\"");
}

#[tokio::test]
async fn a_session_that_slides_is_kept_as_long_as_it_may_be_idle() {
    let redis = Redis::start().await;
    let mut settings =
        settings(Arc::new(auth::session::redis::RedisSessions::new(&redis.url()).unwrap()));
    settings.lifetime = Lifetime {
        idle: Duration::from_secs(2 * HOUR),
        absolute: Duration::from_secs(3 * HOUR),
        sliding: Some(Duration::from_secs(1_800)),
    };
    let auth = Auth::start(settings).await;
    let first = auth.login("alice", "wonderland").await;
    assert_eq!(first.json()["idle_seconds"], 1_800);
    assert_eq!(first.json()["expires_at"], BEGIN + 2 * HOUR, "the token lives as before");
    let (token, attributes) = first.cookie();
    assert_eq!(attributes["max-age"], (2 * HOUR).to_string());
    let key = format!("sg:session:{}", claims(&token)["sid"].as_str().unwrap());
    let ttl: u64 = redis.ask(&["TTL", &key]).await;
    assert!((1_790..=1_800).contains(&ttl), "{ttl}");

    let _: u64 = redis.ask(&["EXPIRE", &key, "5"]).await;
    auth.turn_clock(HOUR);
    let second = auth.post("/auth/refresh", &[("cookie", &first.cookie_sent())], "").await;
    assert_eq!(second.json()["idle_seconds"], 1_800);
    let ttl: u64 = redis.ask(&["TTL", &key]).await;
    assert!((1_790..=1_800).contains(&ttl), "a refresh is a use: {ttl}");
    assert_eq!(claims(&second.cookie().0)["auth_time"], BEGIN, "the login stays what it was");

    // Ten minutes before the absolute end no key lives longer than the token.
    auth.turn_clock(2 * HOUR - 600);
    let _ = auth.post("/auth/refresh", &[("cookie", &second.cookie_sent())], "").await;
    let ttl: u64 = redis.ask(&["TTL", &key]).await;
    assert!((590..=600).contains(&ttl), "{ttl}");
    let me = auth.get("/auth/me", &[("cookie", &second.cookie_sent())]).await;
    assert_eq!(me.json()["idle_seconds"], 1_800);

    // Nobody used it, or a gateway ended it: then it cannot be refreshed.
    let _: u64 = redis.ask(&["DEL", &key]).await;
    let ended = auth.post("/auth/refresh", &[("cookie", &second.cookie_sent())], "").await;
    assert_eq!(ended.refused(), (401, "session_ended".to_owned()));
}

#[tokio::test]
async fn a_logout_ends_the_session_and_tells_the_gateways() {
    let redis = Redis::start().await;
    let auth = Auth::with_redis(&redis).await;
    let answer = auth.login("alice", "wonderland").await;
    let sid = claims(&answer.cookie().0)["sid"].as_str().unwrap().to_owned();
    let cookie = [("cookie", answer.cookie_sent())];
    let cookie = [(cookie[0].0, cookie[0].1.as_str())];

    let client = redis::Client::open(redis.url()).unwrap();
    let (mut sink, mut heard) = client.get_async_pubsub().await.unwrap().split();
    sink.subscribe("sg:revoked").await.unwrap();

    let gone = auth.post("/auth/logout", &cookie, "").await;
    assert_eq!(gone.status, 204);
    let (token, attributes) = gone.cookie();
    assert_eq!((token.as_str(), attributes["max-age"].as_str()), ("", "0"));

    let message = next_message(&mut heard).await;
    assert_eq!(message, sid);
    let left: u64 = redis.ask(&["EXISTS", &format!("sg:session:{sid}")]).await;
    assert_eq!(left, 0);

    let ended = (401, "session_ended".to_owned());
    assert_eq!(auth.post("/auth/refresh", &cookie, "").await.refused(), ended);
    assert_eq!(auth.get("/auth/me", &cookie).await.refused(), ended);
    assert_eq!(auth.post("/auth/logout", &cookie, "").await.status, 204, "twice is no error");
    assert_eq!(auth.post("/auth/logout", &[], "").await.status, 204);
}

async fn next_message(heard: &mut redis::aio::PubSubStream) -> String {
    let next = futures_util::StreamExt::next(heard);
    let message = tokio::time::timeout(Duration::from_secs(20), next).await.unwrap().unwrap();
    message.get_payload().unwrap()
}

#[tokio::test]
async fn an_app_gets_its_token_in_the_body_and_refreshes_as_a_bearer() {
    let redis = Redis::start().await;
    let auth = Auth::with_redis(&redis).await;
    let body = r#"{"account":"alice","password":"wonderland","delivery":"body"}"#;
    let answer = auth.post("/auth/login", &[("content-type", "application/json")], body).await;
    assert_eq!(answer.field("set-cookie"), "");
    assert_eq!(answer.json()["token_type"], "Bearer");
    let bearer = format!("Bearer {}", answer.json()["token"].as_str().unwrap());

    auth.turn_clock(60);
    let answer = auth.post("/auth/refresh", &[("authorization", &bearer)], "").await;
    assert_eq!((answer.status.as_u16(), answer.field("set-cookie")), (200, ""));
    assert_eq!(answer.json()["expires_at"], BEGIN + 60 + 12 * HOUR);
}

#[tokio::test]
async fn the_cookie_is_secure_when_the_viewer_came_over_tls() {
    let mut settings = settings(Arc::new(TokensOnly));
    settings.cookie_secure = Secure::Auto;
    let auth = Auth::start(settings).await;
    let body = "account=alice&password=wonderland";
    let form = ("content-type", "application/x-www-form-urlencoded");
    let plain = auth.post("/auth/login", &[form], body).await;
    assert!(!plain.cookie().1.contains_key("secure"));
    let tls = auth.post("/auth/login", &[form, ("x-forwarded-proto", "https")], body).await;
    assert!(tls.cookie().1.contains_key("secure"));
}
