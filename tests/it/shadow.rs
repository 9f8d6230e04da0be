//! Filters in shadow: they decide, are counted and logged, and refuse nobody.

use crate::access::Logged;
use crate::harness::{Gateway, Login, Redis, STANDARD, environment, outcome, until, with_sessions};
use crate::origin::UnusedPort;
use reqwest::RequestBuilder;
use reqwest::header::COOKIE;
use serde_json::{Value, json};

const PLAYLIST: &str = "/live/final/master.m3u8";

/// `STANDARD` with one stream for each account, and its policy in shadow.
fn shadowed(policy: &str) -> String {
    STANDARD
        .replace("{ concurrency: standard }", "{ shadow: { concurrency: standard } }")
        .replace("claim: max_streams, default: 3 }\n", &format!("default: 1 }}\n{policy}"))
}

fn play(gateway: &Gateway, session: &str, path: &str) -> RequestBuilder {
    gateway.get(path).header(COOKIE, Login::of("ann", session).cookie())
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

fn denials(filter: &str, code: &str) -> String {
    format!("streamgate_shadow_denials_total{{code=\"{code}\",filter=\"{filter}\",route=\"live\"}}")
}

#[tokio::test]
async fn who_would_be_refused_plays_and_is_counted() {
    let logged = Logged::start_with(&shadowed(""), &environment(None).await);
    let gateway = &logged.gateway;
    assert_eq!(status(play(gateway, "a", PLAYLIST)).await, 200);
    for _ in 0..2 {
        let response = play(gateway, "b", PLAYLIST).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("streamgate-lease"));
    }
    assert_eq!(status(play(gateway, "a", PLAYLIST)).await, 200);
    let lines = logged.lines(4).await;
    let shadows: Vec<&Value> = lines.iter().map(|line| &line["shadow"]).collect();
    let full = json!("concurrency_limit");
    assert_eq!(shadows, [&Value::Null, &full, &full, &Value::Null]);
    assert!(lines.iter().all(|line| line["code"] == Value::Null), "{lines:?}");
    gateway.counts(&denials("concurrency", "concurrency_limit"), 2.0).await;
    let refused = "streamgate_denials_total{code=\"concurrency_limit\",route=\"live\"}";
    gateway.counts(refused, 0.0).await;
}

#[tokio::test]
async fn nobody_is_replaced_for_it() {
    for policy in ["", "    when_full: replace_oldest\n"] {
        let gateway = Gateway::start(&shadowed(policy), &environment(None).await);
        assert_eq!(status(play(&gateway, "a", PLAYLIST)).await, 200);
        let streams = || async {
            let list = play(&gateway, "a", "/streams").send().await.unwrap();
            list.json::<Value>().await.unwrap()["streams"].clone()
        };
        // What is only tried holds no slot.
        assert_eq!(streams().await, json!([]));
        let code = "u81FJqF5I8WNk8OFJkH4yw";
        for wish in ["", "oldest", "no-code", code] {
            let path = format!("{PLAYLIST}?streamgate-replace={wish}");
            assert_eq!(status(play(&gateway, "b", &path)).await, 200);
        }
        assert_eq!(status(play(&gateway, "a", PLAYLIST)).await, 200);
        assert_eq!(streams().await, json!([]));
        gateway.counts(&denials("concurrency", "concurrency_limit"), 4.0).await;
    }
}

#[tokio::test]
async fn a_store_that_is_gone_refuses_nobody() {
    let nobody = UnusedPort::reserve();
    let variables =
        environment(None).await.with("REDIS_URL", format!("redis://{}", nobody.address));
    let yaml = shadowed("    when_store_fails: closed\n");
    let gateway = Gateway::start(&yaml, &variables);
    assert_eq!(status(play(&gateway, "a", PLAYLIST)).await, 200);
    gateway.counts(&denials("concurrency", "enforcement_unavailable"), 1.0).await;
}

#[tokio::test]
async fn the_upstream_is_told_nothing_and_no_stream_is_begun() {
    let identity = "    identity: [ { stream_token: { secret: \"${SESSION_SECRET}\" } } ]\n";
    let gateway = Gateway::start(&shadowed(identity), &environment(None).await);
    let seen = play(&gateway, "a", "/faults/echo/held/a.m3u8").send().await.unwrap();
    assert_eq!(seen.status(), 200, "no redirect");
    let seen: Value = seen.json().await.unwrap();
    assert_eq!(seen["headers"]["x-streamgate-session"], json!(["a"]), "{seen}");
    assert_eq!(seen["headers"]["x-streamgate-account"], Value::Null, "{seen}");
    // Nobody could be given a token, so the session is the stream.
    assert_eq!(status(play(&gateway, "a", "/live/final/180p/index.m3u8")).await, 200);
    gateway.counts(&denials("concurrency", "stream_token_missing"), 0.0).await;
    assert_eq!(status(play(&gateway, "b", PLAYLIST)).await, 200);
    gateway.counts(&denials("concurrency", "concurrency_limit"), 1.0).await;
}

#[tokio::test]
async fn a_session_in_shadow_proves_nothing() {
    let yaml = STANDARD.replace(
        "filters: [ { session: viewers }, { concurrency: standard } ]",
        "filters: [ { shadow: { session: viewers } } ]",
    );
    let gateway = Gateway::start(&yaml, &environment(None).await);
    assert_eq!(status(gateway.get(PLAYLIST)).await, 200);
    let wrong = gateway.get(PLAYLIST).header(COOKIE, "session=a.b.c");
    assert_eq!(status(wrong).await, 200);
    gateway.counts(&denials("session", "session_missing"), 1.0).await;
    gateway.counts(&denials("session", "session_invalid"), 1.0).await;
    let seen = play(&gateway, "a", "/faults/echo/held/x").send().await.unwrap();
    let seen: Value = seen.json().await.unwrap();
    assert_eq!(seen["headers"]["x-streamgate-session"], Value::Null, "{seen}");
    assert_eq!(outcome(gateway.get("/streams")).await, (401, "session_missing".to_owned()));
}

#[tokio::test]
async fn a_session_in_shadow_is_not_kept_alive() {
    let redis = Redis::start().await;
    let yaml = with_sessions(&["active_in: shared", "idle: 10m"]).replace(
        "    filters: [ { session: viewers }, { concurrency: standard } ]\n",
        "    filters: [ { shadow: { session: viewers } } ]\n",
    );
    let gateway = Gateway::start(&yaml, &environment(Some(&redis)).await);
    let _: () = redis.ask(&["SET", "sg:session:a", "1", "EX", "60"]).await.unwrap();
    for _ in 0..3 {
        assert_eq!(status(play(&gateway, "a", PLAYLIST)).await, 200);
    }
    // The first request asks the store and the others what was remembered. A use elsewhere is
    // written: the queue has one order, so whatever the shadow had sent would be written by now.
    let _: () = redis.ask(&["SET", "sg:session:b", "1", "EX", "60"]).await.unwrap();
    assert_eq!(status(play(&gateway, "b", "/streams")).await, 200);
    gateway
        .counts("streamgate_session_extensions_total{result=\"written\",store=\"shared\"}", 1.0)
        .await;
    let left: i64 = redis.ask(&["TTL", "sg:session:a"]).await.unwrap();
    assert!((1..=60).contains(&left), "{left}");
    let used: i64 = redis.ask(&["TTL", "sg:session:b"]).await.unwrap();
    assert!(60 < used, "{used}");
}

#[tokio::test]
async fn nothing_is_written_and_what_is_enforced_elsewhere_counts() {
    let redis = Redis::start().await;
    let limit = "claim: max_streams, default: 3 }\n";
    let (path, holds) = ("{ path: \"/faults/echo/held/{*rest}\" }", "{ concurrency: standard }");
    let yaml = STANDARD.replace(limit, "default: 2 }\n");
    let (before, echo) = yaml.split_once(path).unwrap();
    let echo = echo.replace(holds, "{ shadow: { concurrency: standard } }");
    let yaml = format!("{before}{path}{echo}");
    let gateway = Gateway::start(&yaml, &environment(Some(&redis)).await);
    let (tried, holds) = ("/faults/echo/held/a.m3u8", PLAYLIST);
    let would_refuse = || async {
        let code = "code=\"concurrency_limit\",filter=\"concurrency\",route=\"echo\"";
        gateway.metric(&format!("streamgate_shadow_denials_total{{{code}}}")).await
    };
    for session in ["a", "b", "c", "a"] {
        assert_eq!(status(play(&gateway, session, tried)).await, 200);
    }
    until("c would be refused", || async { would_refuse().await == 1.0 }).await;
    assert_eq!(redis.ask::<u64>(&["DBSIZE"]).await.unwrap(), 0);
    // Those who are tried take no slot from those for whom the policy holds …
    for session in ["d", "e"] {
        assert_eq!(status(play(&gateway, session, holds)).await, 200);
    }
    assert_eq!(status(play(&gateway, "f", holds)).await, 409);
    // … and these leave no room for another one in shadow; who plays already goes on.
    assert_eq!(status(play(&gateway, "g", tried)).await, 200);
    until("g would be refused", || async { would_refuse().await == 2.0 }).await;
    assert_eq!(status(play(&gateway, "d", tried)).await, 200);
    assert_eq!(status(play(&gateway, "a", tried)).await, 200);
    assert_eq!(status(play(&gateway, "g", tried)).await, 200);
    until("g would be refused again", || async { would_refuse().await == 3.0 }).await;
}
