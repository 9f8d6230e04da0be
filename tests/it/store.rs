//! A Redis that is not there: at start, in the middle, dead or silent.

use crate::harness::{
    DEADLINE, Gateway, Login, PEPPER, Redis, SECRET, STANDARD, environment, outcome, until,
};
use crate::process::{Directory, Process};
use reqwest::header::COOKIE;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, interval_at};

const PATH: &str = "/live/final/master.m3u8";

async fn play(gateway: &Gateway, login: &Login) -> (u16, String) {
    outcome(gateway.get(PATH).header(COOKIE, login.cookie())).await
}

async fn readiness(gateway: &Gateway) -> String {
    gateway.admin("/readyz").await.text().await.unwrap()
}

/// `STANDARD` with the store's own deadlines and this mode.
fn with_mode(mode: &str) -> String {
    let patient = ", timeouts: { connect: 5s, command: 5s }";
    assert!(STANDARD.contains(patient));
    let limit = "    limit: { claim: max_streams, default: 3 }\n";
    let mode = format!("{limit}    when_store_fails: {mode}\n");
    STANDARD.replace(patient, "").replace(limit, &mode)
}

fn ok() -> (u16, String) {
    (200, String::new())
}

#[tokio::test]
async fn a_store_that_is_not_there_at_start_degrades_and_comes_back() {
    let redis = Redis::start().await;
    let (environment, port) = (environment(Some(&redis)).await, redis.port());
    redis.kill();
    let gateway = Gateway::start(STANDARD, &environment);
    assert_eq!(readiness(&gateway).await, "degraded");
    let _redis = Redis::on(port);
    until("the gateway is ready", || async { readiness(&gateway).await == "ready" }).await;
}

#[tokio::test]
async fn who_plays_goes_on_without_the_store_in_every_mode() {
    for mode in ["local", "open", "closed"] {
        let redis = Redis::start().await;
        let gateway = Gateway::start(&with_mode(mode), &environment(Some(&redis)).await);
        let ann = Login::of("ann", "s");
        assert_eq!(play(&gateway, &ann).await, ok());
        redis.kill();
        for _ in 0..20 {
            assert_eq!(play(&gateway, &ann).await, ok(), "{mode}");
        }
    }
}

#[tokio::test]
async fn new_streams_are_counted_here_when_the_policy_is_local() {
    let redis = Redis::start().await;
    let gateway = Gateway::start(&with_mode("local"), &environment(Some(&redis)).await);
    let logins: Vec<Login> = (0..4).map(|i| Login::of("ann", &i.to_string())).collect();
    assert_eq!(play(&gateway, &logins[0]).await, ok());
    redis.kill();
    assert_eq!(play(&gateway, &logins[1]).await, ok());
    assert_eq!(play(&gateway, &logins[2]).await, ok());
    assert_eq!(play(&gateway, &logins[3]).await, (409, "concurrency_limit".to_owned()));
    let degraded =
        "streamgate_stream_decisions_total{decision=\"admitted_degraded\",route=\"live\"}";
    assert_eq!(gateway.metric(degraded).await, 2.0);
}

#[tokio::test]
async fn everyone_plays_when_the_policy_is_open_and_no_one_new_when_it_is_closed() {
    let redis = Redis::start().await;
    let variables = environment(Some(&redis)).await;
    let open = Gateway::start(&with_mode("open"), &variables);
    let closed = Gateway::start(&with_mode("closed"), &variables);
    redis.kill();
    for i in 0..5 {
        let login = Login::of("ann", &i.to_string());
        assert_eq!(play(&open, &login).await, ok());
        let refused = play(&closed, &login).await;
        assert_eq!(refused, (503, "enforcement_unavailable".to_owned()));
    }
}

#[tokio::test]
async fn a_store_that_hangs_costs_its_deadline_once_and_then_nothing() {
    let redis = Redis::start().await;
    // A short ttl, because what was admitted here is written to the store a third of it later. A
    // long deadline, so that fifty of them are far more than a busy machine takes for the rest.
    let yaml = with_mode("local").replace("    pepper:", "    ttl: 6s\n    pepper:");
    let yaml = yaml.replace("memory:}\"", "memory:}\", timeouts: { command: 1s, start: 1s }");
    let gateway = Gateway::start(&yaml, &environment(Some(&redis)).await);
    assert_eq!(play(&gateway, &Login::of("ann", "0")).await, ok());
    redis.signal("STOP");
    // Until it is found out that the store is away, who starts is told to come back.
    let late = (503, "enforcement_unavailable".to_owned());
    until("the store is away", || async {
        let answered = play(&gateway, &Login::of("first", "s")).await;
        assert!(answered == ok() || answered == late, "{answered:?}");
        answered == ok()
    })
    .await;
    let began = Instant::now();
    for i in 0..50 {
        assert_eq!(play(&gateway, &Login::of(&format!("ann{i}"), "s")).await, ok());
    }
    // Fifty times the deadline would be 50 s: the breaker spares nearly all of them.
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    redis.signal("CONT");
    until("new streams are counted in the store again", || async {
        let keys: Vec<String> = redis.ask(&["KEYS", "sg:*:l"]).await.unwrap_or_default();
        keys.len() > 40
    })
    .await;
}

/// It is there and takes no writes: nobody's streams are counted, so it is down.
#[tokio::test]
async fn a_store_that_answers_with_errors_is_down_until_it_serves_again() {
    let redis = Redis::start().await;
    let gateway = Gateway::start(&with_mode("local"), &environment(Some(&redis)).await);
    let gateway = &gateway;
    let is = |status: &'static str| async move { readiness(gateway).await == status };
    until("it is ready", || is("ready")).await;
    let _: String = redis.ask(&["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
    assert_eq!(play(gateway, &Login::of("ann", "s")).await, ok());
    until("it is degraded", || is("degraded")).await;
    assert_eq!(gateway.metric("streamgate_store_up{store=\"shared\"}").await, 0.0);
    let _: String = redis.ask(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    until("it is ready again", || is("ready")).await;
    assert_eq!(gateway.metric("streamgate_store_up{store=\"shared\"}").await, 1.0);
}

/// An operator who is told of an outage looks for the network, and it was the password.
#[tokio::test]
async fn a_redis_that_knows_nobody_is_told_by_its_word_and_without_the_password() {
    let redis = Redis::start().await;
    redis.ask::<()>(&["CONFIG", "SET", "requirepass", "right"]).await.unwrap();
    for (who, word) in [
        ("", "NOAUTH"),
        (":very-wrong@", "WRONGPASS"),
        ("default:very-wrong@", "WRONGPASS"),
        ("somebody:right@", "WRONGPASS"),
    ] {
        let environment = [
            format!("REDIS_URL=redis://{who}127.0.0.1:{}/", redis.port()),
            format!("SESSION_SECRET={SECRET}"),
            format!("ACCOUNT_PEPPER={PEPPER}"),
            "STREAM_ADDR=127.0.0.1:1".to_owned(),
            "RUST_LOG=streamgate=debug".to_owned(),
        ];
        let variables = environment.iter().map(String::as_str);
        let prefix: Vec<&str> = ["env"].into_iter().chain(variables).collect();
        let mut process = Process::start_behind(&prefix, STANDARD).await;
        let told = process.says("the store answers with an error").await;
        let line: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&line["level"], &line["fields"]["why"]), (&"WARN".into(), &word.into()));
        let detail = process.says("what the store said").await;
        assert!(detail.contains(word), "{detail}");
        assert!(!format!("{told}{detail}").contains("very-wrong"), "{told}{detail}");
        assert_eq!(process.metric("streamgate_store_up{store=\"shared\"}").await, 0.0);
        assert_eq!(process.admin("/readyz").await.body, "degraded");
    }
}

/// A late answer is no outage: who starts waits, and nobody is admitted without a word.
#[tokio::test]
async fn a_store_that_is_slow_admits_nobody_and_says_when_to_come_back() {
    let redis = Redis::start().await;
    // Connecting may take long, so the store that is stopped for a moment is not away.
    let yaml = with_mode("open").replace("memory:}\"", "memory:}\", timeouts: { connect: 30s }");
    let gateway = Gateway::start(&yaml, &environment(Some(&redis)).await);
    until("it is ready", || async { readiness(&gateway).await == "ready" }).await;
    assert_eq!(play(&gateway, &Login::of("ann", "0")).await, ok());
    redis.signal("STOP");
    let login = Login::of("bob", "1");
    let answer = gateway.get(PATH).header(COOKIE, login.cookie()).send().await.unwrap();
    redis.signal("CONT");
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    assert_eq!(readiness(&gateway).await, "ready");
    until("it plays", || async { play(&gateway, &login).await == ok() }).await;
}

#[tokio::test]
async fn a_store_may_be_a_socket_in_the_file_system() {
    let folder = Directory::new();
    let socket = folder.path().join("redis.sock");
    let redis = Redis::with_socket(&socket).await;
    for scheme in ["unix", "redis+unix"] {
        let url = format!("{scheme}://{}", socket.display());
        let gateway = Gateway::start(STANDARD, &environment(None).await.with("REDIS_URL", url));
        until("it is ready", || async { readiness(&gateway).await == "ready" }).await;
        assert_eq!(play(&gateway, &Login::of("ann", scheme)).await, ok());
    }
    let keys: Vec<String> = redis.ask(&["KEYS", "sg:*:l"]).await.unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
}

#[tokio::test]
async fn lists_and_endings_need_the_store() {
    let redis = Redis::start().await;
    let gateway = Gateway::standard(Some(&redis)).await;
    let ann = Login::of("ann", "s");
    assert_eq!(play(&gateway, &ann).await, ok());
    redis.kill();
    let listed = outcome(gateway.get("/streams").header(COOKIE, ann.cookie())).await;
    assert_eq!(listed, (503, "enforcement_unavailable".to_owned()));
}

/// A way to a Redis on which every answer is so much later.
async fn far_away(redis: &Redis, distance: Duration) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, port) = (socket.local_addr().unwrap(), redis.port());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = socket.accept().await {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(async move {
                let (mut asked, mut said) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
                loop {
                    tokio::select! {
                        Ok(n @ 1..) = client.read(&mut asked) => {
                            server.write_all(&asked[..n]).await.unwrap();
                        }
                        Ok(n @ 1..) = server.read(&mut said) => {
                            interval_at(Instant::now() + distance, distance).tick().await;
                            if client.write_all(&said[..n]).await.is_err() {
                                return;
                            }
                        }
                        else => return,
                    }
                }
            });
        }
    });
    address
}

/// What is too short for the distance is warned of, with what would be right.
#[tokio::test]
async fn a_store_that_is_too_far_away_for_its_timeouts_is_warned_of() {
    let redis = Redis::start().await;
    let relay = far_away(&redis, Duration::from_millis(150)).await;
    let from = "\"${REDIS_URL:-memory:}\", timeouts: { connect: 5s, command: 5s }";
    let to = format!("\"redis://{relay}\", timeouts: {{ connect: 5s, command: 200ms }}");
    assert!(STANDARD.contains(from));
    let yaml = STANDARD
        .replace(from, &to)
        .replace("${SESSION_SECRET}", SECRET)
        .replace("${ACCOUNT_PEPPER}", PEPPER)
        .replace("${STREAM_ADDR}", "127.0.0.1:9");
    let mut process = Process::start(&yaml).await;
    let said = process.says("too far away").await;
    let said: Value = serde_json::from_str(&said).unwrap();
    let number = |name: &str| said["fields"][name].as_u64().unwrap();
    let (store, level) = (&said["fields"]["store"], &said["level"]);
    assert_eq!((store.as_str(), level.as_str()), (Some("shared"), Some("WARN")), "{said}");
    assert_eq!((number("command_ms"), number("connect_ms")), (200, 5000), "{said}");
    let round_trip = number("round_trip_ms");
    assert!(150 <= round_trip, "{said}");
    let right = format!("timeouts: {{ connect: 5000ms, command: {}ms }}", (round_trip + 1) * 2);
    assert!(said["fields"]["message"].as_str().unwrap().contains(&right), "{said}");
}
