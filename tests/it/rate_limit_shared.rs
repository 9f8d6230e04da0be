//! Rate limits that gateways share over a real Redis: that they count together, what holds without
//! the store, and that its return brings no burst.

use crate::harness::{DEADLINE, Gateway, Redis, outcome, until};
use crate::origin::mirror;
use crate::process::Directory;
use reqwest::RequestBuilder;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use streamgate::quota::shared::{Ask, SharedKey, give_back, take};
use streamgate::quota::{Algorithm, Rate, Taken};
use streamgate::yaml::Environment;
use streamgate_lease::redis::{Client, Deadlines};
use tokio::time::Instant;

const YAML: &str = r#"
listeners: [ { name: edge, address: "127.0.0.1:0", trusted: ["127.0.0.1"] } ]
admin: { address: "127.0.0.1:0" }
workers: 2
access_log: { to: off }
stores: { shared: { url: "${URL}", timeouts: { connect: 5s, command: 5s } } }
upstreams: { all: { endpoints: [ "${UPSTREAM}" ] } }
routes:
  - name: bucket
    match: { path: "/bucket/{*rest}" }
    filters: [ { rate_limit: { limit: 4, per: 24h, store: shared, gateways: 2 } } ]
    upstream: all
  - name: window
    match: { path: "/window/{*rest}" }
    filters:
      - rate_limit:
          { limit: 4, per: 24h, algorithm: sliding_window, store: shared, when_store_fails: closed }
    upstream: all
  - name: open
    match: { path: "/open/{*rest}" }
    filters: [ { rate_limit: { limit: 1, per: 24h, store: shared, when_store_fails: open } } ]
    upstream: all
  - name: several
    match: { path: "/several/{*rest}" }
    filters:
      - rate_limit:
          - { limit: 3, per: 24h, store: shared, key: { header: x-key } }
          - { limit: 2, per: 12h, store: shared, key: { header: x-key }, name: half }
          - { limit: 4, per: 24h, store: shared }
          - { limit: 9, per: 24h, name: here }
    upstream: all
"#;

async fn environment(url: String) -> Environment {
    Environment::default().with("UPSTREAM", mirror(&[]).await.to_string()).with("URL", url)
}

fn from(gateway: &Gateway, path: &str, client: &str) -> RequestBuilder {
    gateway.get(path).header("x-forwarded-for", client)
}

async fn asked(gateway: &Gateway, path: &str, client: &str) -> u16 {
    outcome(from(gateway, path, client)).await.0
}

/// What all gateways let through together, and what each limit of a list costs.
async fn count_together(url: String) {
    let environment = environment(url).await;
    let (one, two) = (Gateway::start(YAML, &environment), Gateway::start(YAML, &environment));
    for path in ["/bucket/a", "/window/a"] {
        for (gateway, expected) in
            [(&one, 200), (&two, 200), (&two, 200), (&one, 200), (&two, 429), (&one, 429)]
        {
            assert_eq!(asked(gateway, path, "192.0.2.1").await, expected, "{path}");
        }
        assert_eq!(asked(&one, path, "192.0.2.2").await, 200);
    }
    let told = async |gateway: &Gateway, key: &str| {
        let request = from(gateway, "/several/a", "192.0.2.1").header("x-key", key);
        let answer = request.send().await.unwrap();
        let left = answer.headers()["ratelimit"].to_str().unwrap().to_owned();
        let units = left.split(", ").map(|item| {
            let (name, rest) = item.split_once(";r=").unwrap();
            format!("{name}{}", rest.split(';').next().unwrap())
        });
        (answer.status().as_u16(), units.collect::<Vec<_>>().join(" "))
    };
    let check = async |gateway: &Gateway, key: &str, status: u16, left: &str| {
        assert_eq!(told(gateway, key).await, (status, left.to_owned()), "{key}");
    };
    check(&one, "a", 200, "\"x-key\"2 \"half\"1 \"client\"3 \"here\"8").await;
    check(&two, "a", 200, "\"x-key\"1 \"half\"0 \"client\"2 \"here\"8").await;
    // What one refuses is charged to none, wherever it is counted.
    check(&one, "a", 429, "\"x-key\"1 \"half\"0 \"client\"2 \"here\"8").await;
    check(&one, "b", 200, "\"x-key\"2 \"half\"1 \"client\"1 \"here\"7").await;
    check(&one, "c", 200, "\"x-key\"2 \"half\"1 \"client\"0 \"here\"6").await;
    check(&one, "d", 429, "\"x-key\"3 \"half\"2 \"client\"0 \"here\"6").await;
}

#[tokio::test]
async fn gateways_count_together() {
    let redis = Redis::start().await;
    count_together(redis.url()).await;
    let keys: Vec<String> = redis.ask(&["KEYS", "*"]).await.unwrap();
    assert!(keys.iter().all(|key| key.starts_with("sg:rate:{")), "{keys:?}");
    assert!(!keys.iter().any(|key| key.contains("192.0.2")), "{keys:?}");
    for key in &keys {
        let ms: i64 = redis.ask(&["PTTL", key]).await.unwrap();
        assert!(0 < ms && ms < 26 * 3_600_000, "{key} ends by itself: {ms}");
    }
}

#[tokio::test]
async fn they_do_so_in_a_cluster() {
    // A node of a cluster writes down who it is.
    let directory = Directory::new();
    let folder = directory.path().display().to_string();
    let words = ["--appendonly", "no", "--cluster-enabled", "yes", "--dir", &folder];
    let redis = Redis::with_words(&words).await;
    let _: String = redis.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await.unwrap();
    until("the cluster serves", || async {
        let info: String = redis.ask(&["CLUSTER", "INFO"]).await.unwrap();
        info.contains("cluster_state:ok")
    })
    .await;
    count_together(format!("redis+cluster://127.0.0.1:{}", redis.port())).await;
}

#[tokio::test]
async fn without_the_store_each_gateway_has_its_part() {
    let redis = Redis::start().await;
    let port = redis.port();
    let environment = environment(redis.url()).await;
    let yaml = YAML.replace("connect: 5s, command: 5s", "connect: 250ms, command: 250ms");
    let (one, two) = (Gateway::start(&yaml, &environment), Gateway::start(&yaml, &environment));
    for gateway in [&one, &two] {
        assert_eq!(asked(gateway, "/bucket/a", "192.0.2.9").await, 200);
    }
    redis.kill();
    for gateway in [&one, &two] {
        for expected in [200, 200, 429] {
            assert_eq!(asked(gateway, "/bucket/a", "192.0.2.1").await, expected);
        }
        for _ in 0..3 {
            assert_eq!(asked(gateway, "/open/a", "192.0.2.1").await, 200);
        }
        let refused = outcome(from(gateway, "/window/a", "192.0.2.1")).await;
        assert_eq!(refused, (503, "enforcement_unavailable".to_owned()));
    }
    let failures = "streamgate_rate_limit_store_failures_total{route=\"bucket\"}";
    assert_eq!(one.metric(failures).await, 3.0);
    let redis = Redis::on(port);
    for (gateway, probe) in [(&one, "192.0.2.7"), (&two, "192.0.2.8")] {
        until("the store is asked again", || async {
            let before = gateway.metric(failures).await;
            asked(gateway, "/bucket/a", probe).await;
            gateway.metric(failures).await == before
        })
        .await;
    }
    // What each let through alone is told to the store: two and two, and the first one's third.
    assert_eq!(asked(&one, "/bucket/a", "192.0.2.1").await, 200);
    assert_eq!(asked(&two, "/bucket/a", "192.0.2.1").await, 429);
    assert_eq!(asked(&one, "/bucket/a", "192.0.2.1").await, 429);
    drop(redis);
}

fn patient(redis: &Redis) -> Client {
    let deadlines = Deadlines { connect: DEADLINE, command: DEADLINE, start: DEADLINE };
    Client::with_deadlines(&redis.url(), deadlines).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_gateways_admit_no_more_than_one_would() {
    let redis = Redis::start().await;
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
        let rate = Rate { limit: 200, per: Duration::from_secs(1), burst: 200 };
        let (admitted, began) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let lasts = Duration::from_secs(3);
        let gateways = (0..10).map(|_| {
            let (client, admitted) = (patient(&redis), Arc::clone(&admitted));
            tokio::spawn(async move {
                let key = SharedKey::of([&b"hot"[..]]);
                let name = format!("{algorithm:?}");
                let ask = Ask { name: &name, rate: &rate, algorithm, units: 1, debt: 0 };
                while began.elapsed() < lasts {
                    let taken = take(&client, &key, std::slice::from_ref(&ask)).await.unwrap();
                    if matches!(taken[..], [Taken::All(_)]) {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        for gateway in gateways.collect::<Vec<_>>() {
            gateway.await.unwrap();
        }
        let (all, took) = (admitted.load(Ordering::Relaxed) as f64, began.elapsed().as_secs_f64());
        let most = match algorithm {
            Algorithm::TokenBucket => 200.0 + 200.0 * took,
            Algorithm::SlidingWindow => 200.0 * (took.ceil() + 1.0),
        };
        assert!(all <= most * 1.01, "{algorithm:?}: {all} in {took} s");
        assert!(200.0 * 2.0 <= all, "{algorithm:?}: {all} in {took} s");
    }
}

#[tokio::test]
async fn the_store_keeps_the_rates_of_a_key_together() {
    let redis = Redis::start().await;
    let (client, key) = (patient(&redis), SharedKey::of([&b"a"[..]]));
    let day = Duration::from_secs(24 * 3_600);
    let wide = Rate { limit: 10, per: day, burst: 10 };
    let narrow = Rate { limit: 3, per: day, burst: 3 };
    let ask = |name, rate, algorithm, units| Ask { name, rate, algorithm, units, debt: 0 };
    let both = |units| {
        [
            ask("wide", &wide, Algorithm::TokenBucket, units),
            ask("narrow", &narrow, Algorithm::SlidingWindow, units),
        ]
    };
    let left = |taken: &[Taken]| -> Vec<(bool, u64)> {
        let one = |taken: &Taken| match taken {
            Taken::All(left) => (true, left.units),
            Taken::Nothing(left, _) => (false, left.units),
        };
        taken.iter().map(one).collect()
    };
    let taken = take(&client, &key, &both(2)).await.unwrap();
    assert_eq!(left(&taken), [(true, 8), (true, 1)]);
    let taken = take(&client, &key, &both(2)).await.unwrap();
    assert_eq!(left(&taken), [(true, 8), (false, 1)], "all or none");
    let Taken::Nothing(_, wait) = taken[1] else { panic!("{taken:?}") };
    assert!(day.mul_f64(0.99) < wait && wait < day.mul_f64(1.07), "{wait:?}");
    give_back(&client, &key, &both(2)).await.unwrap();
    let taken = take(&client, &key, &both(3)).await.unwrap();
    assert_eq!(left(&taken), [(true, 7), (true, 0)]);
    // What was taken elsewhere counts, whether or not there was room for it.
    let owed = Ask { debt: 5, ..ask("wide", &wide, Algorithm::TokenBucket, 3) };
    let taken = take(&client, &key, &[owed]).await.unwrap();
    assert_eq!(left(&taken), [(false, 2)]);
    let taken = take(&client, &key, &[ask("wide", &wide, Algorithm::TokenBucket, 2)]).await;
    assert_eq!(left(&taken.unwrap()), [(true, 0)]);
}
