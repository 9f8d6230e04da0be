//! Streams whose slots outlive their last request for different times, as routes and classes say,
//! on memory and on a real Redis.

use crate::harness::{Gateway, Login, Redis, STANDARD, environment, outcome, until};
use reqwest::header::COOKIE;
use serde_json::Value;

/// Live goes by the policy's three seconds; films, and what is of the class `film`, by ten minutes.
fn yaml() -> String {
    let policy = "    ttl: 3s\n    same_session: count\n    \
                  classes: { film: { limit: 5, ttl: 10m } }\n    pepper:";
    let route = |name: &str, more: &str| {
        format!(
            "  - name: {name}\n    match: {{ path: \"/faults/echo/{name}/{{*file}}\" }}\n    \
             filters: [ {{ session: viewers }}, \
             {{ concurrency: {{ policy: standard{more} }} }} ]\n    upstream: stream\n"
        )
    };
    STANDARD.replace("    pepper:", policy)
        + &route("films", ", ttl: 10m")
        + &route("classed", ", classes: [film]")
        + &route("brief", ", classes: [film], ttl: 3s")
}

async fn plays(gateway: &Gateway, session: &str, path: &str) -> (u16, String) {
    let login = Login::of("ann", session).with("max_streams", 4);
    outcome(gateway.get(path).header(COOKIE, login.cookie())).await
}

async fn active(gateway: &Gateway) -> Vec<u64> {
    let login = Login::of("ann", "looking");
    let list = gateway.get("/streams").header(COOKIE, login.cookie()).send().await.unwrap();
    let list: Value = list.json().await.unwrap();
    let streams = list["streams"].as_array().unwrap();
    streams.iter().map(|stream| stream["expires_in"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_film_keeps_its_slot_while_its_player_is_silent() {
    let redis = Redis::start().await;
    for redis in [None, Some(&redis)] {
        let gateway = Gateway::start(&yaml(), &environment(redis).await);
        let ok = (200, String::new());
        for (session, path) in [
            ("one", "/faults/echo/films/a.m3u8"),
            ("two", "/faults/echo/classed/a.m3u8"),
            ("three", "/live/final/master.m3u8"),
            ("four", "/faults/echo/brief/a.m3u8"),
        ] {
            assert_eq!(plays(&gateway, session, path).await, ok, "{path}");
        }
        let full = (409, "concurrency_limit".to_owned());
        assert_eq!(plays(&gateway, "five", "/live/final/master.m3u8").await, full);
        until("those who live by three seconds are gone", || async {
            active(&gateway).await.len() == 2
        })
        .await;
        assert!(active(&gateway).await.iter().all(|expires_in| 500 < *expires_in));
        for session in ["five", "six"] {
            assert_eq!(plays(&gateway, session, "/live/final/master.m3u8").await, ok);
        }
        assert_eq!(plays(&gateway, "seven", "/live/final/master.m3u8").await, full);
        for (session, path) in
            [("one", "/faults/echo/films/a.ts"), ("two", "/faults/echo/classed/a.ts")]
        {
            assert_eq!(plays(&gateway, session, path).await, ok, "it seeks: {path}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_goes_on_to_a_film_lives_by_that_at_once() {
    let redis = Redis::start().await;
    for redis in [None, Some(&redis)] {
        let gateway = Gateway::start(&yaml(), &environment(redis).await);
        for path in
            ["/live/final/master.m3u8", "/faults/echo/films/a.ts", "/live/final/master.m3u8"]
        {
            assert_eq!(plays(&gateway, "one", path).await.0, 200, "{path}");
        }
        let left = active(&gateway).await;
        assert!(left.len() == 1 && 500 < left[0], "{left:?}");
    }
}
