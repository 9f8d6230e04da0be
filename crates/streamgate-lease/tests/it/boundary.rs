//! The scripts to the millisecond. A server's clock stands still for nobody, so here it is taken
//! out of the scripts: a prelude (`frozen.lua`) gives them the time that the test says.
//!
//! Only who is early and who is late; what the scripts do is shown in `contract` and `model`.

use crate::server::Server;
use redis::Value;
use redis::aio::MultiplexedConnection;

const TTL: u64 = 60_000;
const TOMBSTONE: u64 = 100_000;
const IDLE_AFTER: u64 = 30_000;
const GRANDFATHER: u64 = 45_000;
const BEGIN: u64 = 1_700_000_000_000;

struct Frozen {
    connection: MultiplexedConnection,
    _server: Server,
}

impl Frozen {
    async fn start() -> Self {
        let server = Server::start().await;
        Self { connection: server.peek().await, _server: server }
    }

    /// Runs a script that many milliseconds after the beginning.
    async fn run(&mut self, name: &str, after: u64, words: &[String]) -> Value {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/redis/scripts");
        let script = std::fs::read_to_string(format!("{folder}/{name}.lua")).unwrap();
        let gather = std::fs::read_to_string(format!("{folder}/gather.lua")).unwrap();
        let script = redis::Script::new(&[include_str!("frozen.lua"), &gather, &script].concat());
        let clock = (BEGIN + after).to_string();
        redis::cmd("SET").arg("clock").arg(clock).exec_async(&mut self.connection).await.unwrap();
        let mut invocation = script.key("l");
        invocation.key("m").arg(words);
        invocation.invoke_async(&mut self.connection).await.unwrap()
    }

    /// `held`, `full` or `ended`, and what it says besides.
    async fn acquire(&mut self, after: u64, id: &str, adopt: bool) -> (String, Vec<Value>) {
        let numbers = [TTL, 1, TOMBSTONE, IDLE_AFTER, 600_000, 0, 0].map(|n| n.to_string());
        let mut words = vec![id.to_owned()];
        words.extend(numbers);
        words.extend(["", "nobody", "", ""].map(str::to_owned));
        words.extend([u64::from(adopt), GRANDFATHER].map(|n| n.to_string()));
        words.extend(["", "request", "", "marked", "0", ""].map(str::to_owned));
        let Value::Array(parts) = self.run("acquire", after, &words).await else {
            panic!("an array was expected");
        };
        (redis::from_redis_value(parts[0].clone()).unwrap(), parts)
    }

    async fn word(&mut self, after: u64, id: &str) -> String {
        self.acquire(after, id, false).await.0
    }

    async fn declare(&mut self, after: u64, id: &str) -> bool {
        self.run("declare", after, &[id.into(), "1".into()]).await == Value::Int(1)
    }

    async fn live(&mut self, after: u64) -> usize {
        match self.run("list", after, &[]).await {
            Value::Array(parts) => match &parts[1] {
                Value::Array(rows) => rows.len(),
                _ => panic!("rows were expected"),
            },
            _ => panic!("an array was expected"),
        }
    }

    /// Whether the slot of this version was given back.
    async fn give_back(&mut self, id: &str, version: &Value) -> bool {
        let Value::Int(version) = version else { panic!("{version:?}") };
        self.run("give_back", 0, &[id.into(), version.to_string(), "1".into()]).await
            == Value::Int(1)
    }

    async fn end(&mut self, after: u64, id: &str) {
        let words = [id, "T", &TTL.to_string(), &TOMBSTONE.to_string(), ""].map(str::to_owned);
        assert_eq!(self.run("end", after, &words).await, Value::Int(1));
    }
}

#[tokio::test]
async fn a_slot_is_free_at_the_millisecond_of_its_expiry() {
    let mut server = Frozen::start().await;
    assert_eq!(server.word(0, "tv").await, "held");
    assert_eq!(server.live(TTL - 1).await, 1);
    assert!(server.declare(TTL - 1, "tv").await);
    assert_eq!(server.word(TTL - 1, "pad").await, "full");
    assert_eq!(server.live(TTL).await, 0);
    assert!(!server.declare(TTL, "tv").await);
    assert_eq!(server.word(TTL, "pad").await, "held");
    assert_eq!(server.live(TTL).await, 1);
}

#[tokio::test]
async fn a_tombstone_lasts_to_the_millisecond() {
    let mut server = Frozen::start().await;
    assert_eq!(server.word(0, "tv").await, "held");
    server.end(0, "tv").await;
    assert_eq!(server.word(TOMBSTONE - 1, "tv").await, "ended");
    assert_eq!(server.word(TOMBSTONE, "tv").await, "held");
}

#[tokio::test]
async fn who_is_paused_is_idle_a_millisecond_later() {
    let mut server = Frozen::start().await;
    assert_eq!(server.word(0, "tv").await, "held");
    assert!(server.declare(10, "tv").await);
    assert_eq!(server.word(10 + IDLE_AFTER, "pad").await, "full");
    assert_eq!(server.word(11 + IDLE_AFTER, "pad").await, "held");
}

#[tokio::test]
async fn the_time_over_the_limit_is_up_to_the_millisecond() {
    let mut server = Frozen::start().await;
    assert_eq!(server.word(0, "tv").await, "held");
    let (word, parts) = server.acquire(0, "pad", true).await;
    assert_eq!((word.as_str(), &parts[8]), ("held", &Value::Int(1)));
    assert_eq!(server.word(GRANDFATHER - 1, "pad").await, "held");
    assert_eq!(server.word(GRANDFATHER, "pad").await, "full");
    assert_eq!(server.live(GRANDFATHER).await, 1);
}

/// Both have the same expiry, so the version alone does not tell that there were two.
#[tokio::test]
async fn two_requests_of_one_millisecond_are_two() {
    let mut server = Frozen::start().await;
    let (_, parts) = server.acquire(0, "tv", false).await;
    let version = parts[10].clone();
    assert_eq!(version, parts[2], "the first");
    assert_eq!(server.word(0, "tv").await, "held");
    assert!(!server.give_back("tv", &version).await);
    assert_eq!(server.live(0).await, 1);
    server.end(0, "tv").await;
    let (_, parts) = server.acquire(0, "pad", false).await;
    assert!(server.give_back("pad", &parts[10].clone()).await, "nobody else was let pass");
}

/// A gateway of before starts it anew, with a shorter ttl, so that the expiry is the same.
#[tokio::test]
async fn what_was_started_anew_by_a_gateway_of_before_is_no_failed_start() {
    let mut server = Frozen::start().await;
    let (_, parts) = server.acquire(0, "tv", false).await;
    let record = format!("L{},0,0,", BEGIN + 5);
    let set = redis::cmd("HSET").arg("m").arg("tv").arg(record).clone();
    set.exec_async(&mut server.connection).await.unwrap();
    assert!(!server.give_back("tv", &parts[10].clone()).await);
    assert_eq!(server.live(5).await, 1);
}
