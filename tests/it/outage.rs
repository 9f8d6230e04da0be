//! What viewers notice while Redis dies, hangs and comes back: two gateways under a steady load.
//! The whole of it, with clusters and sentinels, is the drill: docs/failure.md.

use crate::harness::{DEADLINE, Gateway, Login, Redis, STANDARD, environment, outcome, until};
use crate::process::Directory;
use futures_util::future::join_all;
use reqwest::header::COOKIE;
use reqwest::{Method, RequestBuilder};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};

const PATH: &str = "/live/final/master.m3u8";
const ACCOUNTS: usize = 50;
const THIRD_DEVICES: usize = 20;
const TTL: Duration = Duration::from_secs(6);
const SECOND: Duration = Duration::from_secs(1);
/// Ten times the defaults each, because tests run side by side on few cores.
const DEADLINES: Duration = Duration::from_millis(500 + 2_500);
const SLACK: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Holder,
    ThirdDevice,
}

/// Who asked, when, how long it took, and what was answered.
type Sample = (Role, Instant, Duration, u16);

/// Two gateways, accounts that are full, and third devices that try to start.
struct Load {
    gateways: [Gateway; 2],
    samples: Arc<Mutex<Vec<Sample>>>,
    tasks: JoinSet<()>,
}

/// Where a ttl must outlast an outage: what is left of it after a third, the outage, the breaker's
/// rest and a deadline. A lease that has run out in Redis is anybody's, and rightly so.
const TTL_LONG: Duration = Duration::from_secs(18);

fn yaml(ttl: Duration) -> String {
    let patient = "timeouts: { connect: 5s, command: 5s }";
    let policy = format!(
        "limit: {{ default: 2 }}\n    ttl: {}s\n    degraded: {{ grandfather: 0s }}\n",
        ttl.as_secs()
    );
    STANDARD
        .replace(patient, "timeouts: { connect: 2500ms, command: 500ms }")
        .replace("limit: { claim: max_streams, default: 3 }\n", &policy)
}

async fn lasts(time: Duration) {
    interval_at(Instant::now() + time, time).tick().await;
}

impl Load {
    async fn start(redis: &Redis) -> Self {
        let variables = environment(Some(redis)).await;
        let gateways = [
            Gateway::start(&yaml(TTL_LONG), &variables),
            Gateway::start(&yaml(TTL_LONG), &variables),
        ];
        let mut load = Self { gateways, samples: Arc::default(), tasks: JoinSet::new() };
        for n in 0..ACCOUNTS {
            for gateway in 0..2 {
                load.spawn(Role::Holder, n, gateway);
            }
        }
        until("all accounts are full", || async {
            let keys: Vec<String> = redis.ask(&["KEYS", "sg:*:l"]).await.unwrap();
            let mut streams = 0;
            for key in &keys {
                streams += redis.ask::<usize>(&["ZCARD", key]).await.unwrap();
            }
            streams == 2 * ACCOUNTS
        })
        .await;
        (0..THIRD_DEVICES).for_each(|n| load.spawn(Role::ThirdDevice, n, n % 2));
        load
    }

    fn spawn(&mut self, role: Role, n: usize, gateway: usize) {
        let device =
            if role == Role::ThirdDevice { "third".to_owned() } else { gateway.to_string() };
        let login = Login::of(&format!("account {n}"), &format!("{n} {device}"));
        let request = self.gateways[gateway].get(PATH).header(COOKIE, login.cookie());
        let (samples, first) = (self.samples.clone(), SECOND.mul_f64(n as f64 / ACCOUNTS as f64));
        self.tasks.spawn(async move {
            let mut pace = interval_at(Instant::now() + first, SECOND);
            loop {
                pace.tick().await;
                let began = Instant::now();
                let answer = request.try_clone().unwrap().send().await;
                let status = answer.map_or(0, |answer| answer.status().as_u16());
                samples.lock().unwrap().push((role, began, began.elapsed(), status));
            }
        });
    }

    fn of(&self, role: Role, since: Instant) -> Vec<Sample> {
        let samples = self.samples.lock().unwrap();
        samples.iter().filter(|sample| sample.0 == role && since <= sample.1).copied().collect()
    }

    /// How long the store has not answered, as each gateway saw it.
    async fn degraded(&self) -> Vec<f64> {
        let series = "streamgate_lease_degraded_seconds{policy=\"standard\"}";
        join_all(self.gateways.iter().map(|gateway| gateway.metric(series))).await
    }

    /// While all is well: as many third devices are let in as should be.
    async fn is_healthy(&self) {
        let (since, before) = (Instant::now(), self.degraded().await);
        until("third devices have tried", || async {
            THIRD_DEVICES < self.of(Role::ThirdDevice, since).len()
        })
        .await;
        let answers = self.of(Role::ThirdDevice, since).into_iter().map(|sample| sample.3);
        let others: Vec<_> = answers.filter(|status| *status != 409).collect();
        let after = self.degraded().await;
        assert!(others.is_empty(), "not 409: {others:?}; degraded: {before:?}, then {after:?}");
    }

    /// From when on nobody is let in any more.
    async fn heals(&self) -> Duration {
        let back = Instant::now();
        until("third devices are refused again", || async {
            let tried = self.of(Role::ThirdDevice, Instant::now() - SECOND * 2);
            THIRD_DEVICES < tried.len() && tried.iter().all(|sample| sample.3 == 409)
        })
        .await;
        back.elapsed().saturating_sub(SECOND * 2)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_dies_and_one_that_hangs_interrupt_nobody() {
    let folder = Directory::new();
    let mut redis = Redis::durable(folder.path(), None).await;
    let load = Load::start(&redis).await;
    let began = Instant::now();
    load.is_healthy().await;

    let port = redis.port();
    redis.kill();
    lasts(SECOND).await;
    redis = Redis::durable(folder.path(), Some(port)).await;
    let killed = load.heals().await;
    load.is_healthy().await;

    redis.signal("STOP");
    lasts(SECOND * 3).await;
    redis.signal("CONT");
    let hung = load.heals().await;
    load.is_healthy().await;

    let holders = load.of(Role::Holder, began);
    let interrupted: Vec<_> = holders.iter().filter(|sample| sample.3 != 200).collect();
    assert!(interrupted.is_empty(), "{} of {}", interrupted.len(), holders.len());
    assert!(ACCOUNTS * 2 * 8 < holders.len(), "there was no load: {}", holders.len());
    let all = [holders, load.of(Role::ThirdDevice, began)].concat();
    let longest = all.iter().map(|sample| sample.2).max().unwrap();
    assert!(longest < DEADLINES + SLACK, "somebody waited for {longest:?}");
    println!("killed: healed {killed:?} later; hung: {hung:?}; longest answer {longest:?}");
}

/// A long answer, and for how long it flowed.
async fn flows(request: RequestBuilder, most: Duration) -> Duration {
    let mut answer = request.timeout(DEADLINE * 3).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let began = Instant::now();
    while began.elapsed() < most
        && let Ok(Some(_)) = answer.chunk().await
    {}
    began.elapsed()
}

/// The route `live` leads to an answer that takes its time.
fn with_slow_answers(mode: &str) -> String {
    let slow = r#"
  - name: slow
    match: { path: "/faults/slow" }
    filters: [ { session: viewers }, { concurrency: standard } ]
    upstream: stream
"#;
    let mode = format!("    when_store_fails: {mode}\n    pepper:");
    yaml(TTL).replace("    pepper:", &mode) + slow
}

const SLOW: &str = "/faults/slow?bytes=60000000&chunk_bytes=1000&chunk_ms=100&chunked=true";

#[tokio::test]
async fn a_long_answer_flows_on_without_the_store_as_the_policy_says() {
    // It is asked about every five seconds, and a ttl is over at the second time.
    let most = Duration::from_secs(13);
    let flowed = async |mode: &str| {
        let redis = Redis::start().await;
        let gateway = Gateway::start(&with_slow_answers(mode), &environment(Some(&redis)).await);
        let ann = Login::of("ann", "tv");
        let request = gateway.get(SLOW).header(COOKIE, ann.cookie());
        let first = gateway.get(PATH).header(COOKIE, ann.cookie());
        assert_eq!(outcome(first).await.0, 200);
        redis.kill();
        flows(request, most).await
    };
    let (local, open, closed) = tokio::join!(flowed("local"), flowed("open"), flowed("closed"));
    assert!(most <= local, "local: {local:?}");
    assert!(most <= open, "open: {open:?}");
    assert!(closed < most, "closed: {closed:?}");
}

#[tokio::test]
async fn a_long_answer_ends_when_its_stream_is_stopped_at_another_gateway() {
    let redis = Redis::start().await;
    let variables = environment(Some(&redis)).await;
    let yaml = with_slow_answers("local");
    let [here, there] = [(), ()].map(|()| Gateway::start(&yaml, &variables));
    let (tv, pad) = (Login::of("ann", "tv"), Login::of("ann", "pad"));
    let request = here.get(SLOW).header(COOKIE, tv.cookie());
    let flowing = tokio::spawn(flows(request, DEADLINE * 2));
    until("it has its slot", || async {
        let keys: Vec<String> = redis.ask(&["KEYS", "sg:*:l"]).await.unwrap();
        !keys.is_empty()
    })
    .await;
    let listed = there.get("/streams").header(COOKIE, pad.cookie()).send().await.unwrap();
    let listed: serde_json::Value = listed.json().await.unwrap();
    let code = listed["streams"][0]["code"].as_str().unwrap().to_owned();
    let stop = there.request(Method::POST, &format!("/streams/{code}/terminate"));
    assert_eq!(outcome(stop.header(COOKIE, pad.cookie())).await.0, 204);
    let flowed = flowing.await.unwrap();
    assert!(flowed < DEADLINE * 2, "it flowed on for {flowed:?}");
}
