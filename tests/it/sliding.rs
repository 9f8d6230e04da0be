//! Sessions that live as long as they are used: what is written to the store, and how seldom.

use crate::harness::{Gateway, Login, Redis, environment, outcome, until, with_sessions};
use reqwest::header::COOKIE;
use std::time::Duration;
use tokio::time::Instant;

const PATH: &str = "/live/final/master.m3u8";

/// `STANDARD`, with sessions that end when nobody uses them for so long.
fn idle(time: &str) -> String {
    let yaml = with_sessions(&["active_in: shared", &format!("idle: {time}")]);
    // Without leases, whose renewals move expiries, too.
    yaml.replace(", { concurrency: standard } ]", " ]")
}

async fn start(redis: &Redis, time: &str) -> Gateway {
    Gateway::start(&idle(time), &environment(Some(redis)).await)
}

async fn play(gateway: &Gateway, cookie: &str) -> (u16, String) {
    outcome(gateway.get(PATH).header(COOKIE, cookie)).await
}

fn ok() -> (u16, String) {
    (200, String::new())
}

/// Waits until so many uses were written.
async fn written(gateway: &Gateway, count: f64) {
    let series = "streamgate_session_extensions_total{result=\"written\",store=\"shared\"}";
    until("uses are written", || async { gateway.metric(series).await >= count }).await;
}

/// How often the store was asked to move an expiry.
async fn writes(redis: &Redis) -> u64 {
    let stats: String = redis.ask(&["INFO", "commandstats"]).await.unwrap();
    let calls = stats.lines().filter(|line| line.starts_with("cmdstat_pexpire"));
    let calls = calls.filter_map(|line| line.split_once("calls=")?.1.split(',').next());
    calls.map(|calls| calls.parse::<u64>().unwrap()).sum()
}

async fn ttl_ms(redis: &Redis) -> i64 {
    redis.ask(&["PTTL", "sg:session:s"]).await.unwrap()
}

async fn put(redis: &Redis, ttl_ms: &str) {
    let _: () = redis.ask(&["SET", "sg:session:s", "1", "PX", ttl_ms]).await.unwrap();
}

#[tokio::test]
async fn a_session_lives_while_it_is_used_and_ends_when_it_is_not() {
    let redis = Redis::start().await;
    let gateway = start(&redis, "20s").await;
    let cookie = Login::of("ann", "s").cookie();
    put(&redis, "20000").await;
    // Time passes for the store alone: each time most of what the session had left.
    for n in 0..3 {
        put(&redis, "9000").await;
        until("a use gives it all of its time again", || async {
            assert_eq!(play(&gateway, &cookie).await, ok(), "{n}");
            10_000 < ttl_ms(&redis).await
        })
        .await;
    }
    put(&redis, "1").await;
    until("an unused session expires", || async { ttl_ms(&redis).await == -2 }).await;
    // What was remembered of it holds for five seconds, and uses bring nothing back.
    until("it is refused", || async { play(&gateway, &cookie).await.1 == "session_ended" }).await;
    assert_eq!(ttl_ms(&redis).await, -2);
}

#[tokio::test]
async fn many_uses_are_one_write() {
    let redis = Redis::start().await;
    let gateway = start(&redis, "10m").await;
    let (ann, bob) = (Login::of("ann", "s"), Login::of("bob", "other"));
    put(&redis, "600000").await;
    let _: () = redis.ask(&["SET", "sg:session:other", "1", "PX", "600000"]).await.unwrap();
    // Another token of the same session, as after a refresh, is no reason to write again.
    let cookies = [ann.cookie(), ann.clone().with("plan", "gold").cookie(), bob.cookie()];
    for cookie in &cookies {
        for _ in 0..100 {
            assert_eq!(play(&gateway, cookie).await, ok());
        }
    }
    written(&gateway, 2.0).await;
    assert_eq!(writes(&redis).await, 2, "one for each session");
    let dropped = "streamgate_session_extensions_total{result=\"dropped\",store=\"shared\"}";
    assert_eq!(gateway.metric(dropped).await, 0.0);
}

#[tokio::test]
async fn under_load_each_session_is_written_at_most_ten_times_per_idle() {
    let redis = Redis::start().await;
    let gateway = start(&redis, "10s").await;
    let logins: Vec<Login> =
        (0..5).map(|i| Login::of(&format!("a{i}"), &format!("s{i}"))).collect();
    for login in &logins {
        let key = format!("sg:session:{}", login.session);
        let _: () = redis.ask(&["SET", &key, "1", "PX", "10000"]).await.unwrap();
    }
    let cookies: Vec<String> = logins.iter().map(Login::cookie).collect();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(3_500) {
        let all = cookies.iter().map(|cookie| play(&gateway, cookie));
        for answered in futures_util::future::join_all(all).await {
            assert_eq!(answered, ok());
        }
    }
    let most = 5 * (began.elapsed().as_secs() + 1);
    let writes = writes(&redis).await;
    println!("{writes} writes of 5 sessions in {:?}, at most {most}", began.elapsed());
    assert!((5..=most).contains(&writes), "{writes}");
}

#[tokio::test]
async fn no_use_carries_a_session_beyond_its_token() {
    let redis = Redis::start().await;
    let gateway = start(&redis, "10m").await;
    put(&redis, "5000").await;
    let before = streamgate::clock::unix_seconds();
    let cookie = format!("session={}", Login::of("ann", "s").token_for(60));
    let after = streamgate::clock::unix_seconds();
    assert_eq!(play(&gateway, &cookie).await, ok());
    written(&gateway, 1.0).await;
    let ends_ms: u64 = redis.ask(&["PEXPIRETIME", "sg:session:s"]).await.unwrap();
    let end = (before + 60) * 1_000..=(after + 60) * 1_000;
    assert!(end.contains(&ends_ms) && ends_ms.is_multiple_of(1_000), "{ends_ms}");
}

#[tokio::test]
async fn an_expiry_only_moves_forward() {
    let redis = Redis::start().await;
    let gateway = start(&redis, "1m").await;
    put(&redis, "3000000").await;
    assert_eq!(play(&gateway, &Login::of("ann", "s").cookie()).await, ok());
    written(&gateway, 1.0).await;
    assert!(2_900_000 < ttl_ms(&redis).await, "what the auth service gave is not taken");
}

#[tokio::test]
async fn a_key_without_an_expiry_gets_one() {
    let redis = Redis::start().await;
    let gateway = start(&redis, "1m").await;
    let _: () = redis.ask(&["SET", "sg:session:s", "1"]).await.unwrap();
    assert_eq!(play(&gateway, &Login::of("ann", "s").cookie()).await, ok());
    written(&gateway, 1.0).await;
    assert!((50_000..=60_000).contains(&ttl_ms(&redis).await), "{}", ttl_ms(&redis).await);
}

#[tokio::test]
async fn a_session_that_was_ended_is_not_brought_back() {
    let redis = Redis::start().await;
    let gateway = start(&redis, "3s").await;
    let cookie = Login::of("ann", "s").cookie();
    put(&redis, "60000").await;
    assert_eq!(play(&gateway, &cookie).await, ok());
    written(&gateway, 1.0).await;
    // No gateway got a message, so what is remembered still lets it pass, and its uses are written.
    let _: () = redis.ask(&["DEL", "sg:session:s"]).await.unwrap();
    until("a use is written after the end", || async {
        play(&gateway, &cookie).await;
        writes(&redis).await >= 2
    })
    .await;
    assert_eq!(ttl_ms(&redis).await, -2);
}

#[tokio::test]
async fn a_store_that_is_gone_costs_uses_and_no_request() {
    let redis = Redis::start().await;
    let yaml = idle("3s").replace(", timeouts: { connect: 5s, command: 5s }", "");
    let gateway = Gateway::start(&yaml, &environment(Some(&redis)).await);
    let cookie = Login::of("ann", "s").cookie();
    put(&redis, "60000").await;
    assert_eq!(play(&gateway, &cookie).await, ok());
    written(&gateway, 1.0).await;
    redis.kill();
    let failed = "streamgate_session_extensions_total{result=\"failed\",store=\"shared\"}";
    // What was remembered of the session runs out after five seconds, and uses of a session that
    // nobody could be asked about are not written: on a busy machine that may come first.
    let unasked = "streamgate_sessions_unasked_total";
    until("a write fails", || async {
        let began = Instant::now();
        assert_eq!(play(&gateway, &cookie).await, ok());
        assert!(began.elapsed() < Duration::from_secs(2));
        gateway.metric(failed).await >= 1.0 || gateway.metric(unasked).await >= 1.0
    })
    .await;
}
