//! Many real servers: a cluster of three primaries with a replica each, or a master with two
//! replicas and three sentinels. On ports that the kernel chose; none outlives its test.

use redis::aio::MultiplexedConnection;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, interval};

/// A primary is taken for dead by its cluster after this.
const DEAD_AFTER_MS: &str = "800";
/// Likewise a master by its sentinels, which ping once a second: with less than that they take a
/// new master for dead before they have asked it, and promote another one beside it.
const SENTINEL_DEAD_AFTER_MS: &str = "2000";
/// Somebody else may take a port between its choice and its use.
const STARTS_MAX: usize = 5;

/// Far more than a failover needs on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Whole fleets run one at a time: with several on two cores, what a test sees would be the wait
/// for a core.
static TURN: Semaphore = Semaphore::const_new(1);

/// Waits for one's turn to have a fleet.
pub(crate) async fn turn() -> SemaphorePermit<'static> {
    TURN.acquire().await.unwrap()
}

/// Asks again and again until the answer is yes, and leaves the servers some time to get there.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    let mut pace = interval(Duration::from_millis(10));
    while !is_so().await {
        assert!(began.elapsed() < WAIT_MAX, "never came true: {what}");
        pace.tick().await;
    }
}

/// One server process with a folder of its own.
pub(crate) struct Node {
    child: Child,
    dir: PathBuf,
    pub(crate) port: u16,
    /// A second one, for servers that listen twice.
    pub(crate) other_port: u16,
    words: Vec<String>,
}

fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Node {
    /// Starts a server and waits until it answers. Its folder holds a file of settings.
    pub(crate) async fn start(words: &[&str], settings: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        for _ in 0..STARTS_MAX {
            let n = COUNT.fetch_add(1, Ordering::Relaxed);
            let dir = std::env::temp_dir().join(format!("sg-fleet-{}-{n}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("settings"), settings).unwrap();
            let (port, other_port) = (port(), port());
            let fill = |word: &&str| {
                let dir = dir.to_str().unwrap();
                word.replace("{port}", &port.to_string())
                    .replace("{other}", &other_port.to_string())
                    .replace("{dir}", dir)
            };
            let words: Vec<_> = words.iter().map(fill).collect();
            let child = spawn(&dir, &words);
            let mut node = Self { child, dir, port, other_port, words };
            if node.answers().await {
                return node;
            }
        }
        panic!("no server could be started on a free port");
    }

    /// An ordinary server that keeps nothing on disk, and more words.
    pub(crate) async fn server(more: &[&str]) -> Self {
        let words = ["--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let debug = ["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"];
        Self::start(&[&words, debug.as_slice(), more].concat(), "").await
    }

    /// False if the process is gone.
    async fn answers(&mut self) -> bool {
        let mut pace = interval(Duration::from_millis(10));
        while self.child.try_wait().unwrap().is_none() {
            if self.tell::<()>("PING").await.is_ok() {
                return true;
            }
            pace.tick().await;
        }
        false
    }

    pub(crate) async fn try_peek(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let patient = Some(Duration::from_secs(20));
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(patient)
            .set_response_timeout(patient);
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// What it answers to a few words; an error is one, too.
    pub(crate) async fn tell<T: redis::FromRedisValue>(
        &self,
        words: &str,
    ) -> redis::RedisResult<T> {
        let mut connection = self.try_peek().await?;
        let mut words = words.split_ascii_whitespace();
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        command.query_async(&mut connection).await
    }

    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, words: &str) -> T {
        self.tell(words).await.unwrap_or_else(|error| panic!("{words}: {error}"))
    }

    pub(crate) async fn is_master(&self) -> bool {
        let info: String = self.tell("INFO replication").await.unwrap_or_default();
        info.contains("role:master")
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, and waits for nothing.
    pub(crate) fn spawn_again(&mut self) {
        self.child = spawn(&self.dir, &self.words);
    }

    pub(crate) async fn restart(&mut self) {
        self.spawn_again();
        assert!(self.answers().await, "it did not start again");
    }
}

fn spawn(dir: &std::path::Path, words: &[String]) -> Child {
    Command::new("redis-server")
        .args(words)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("these tests need a redis-server: apt-get install redis-server")
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Three primaries and their replicas.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    _turn: SemaphorePermit<'static>,
}

/// The slots of the three primaries.
pub(crate) const RANGES: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

impl Cluster {
    pub(crate) async fn start() -> Self {
        let (_turn, mut nodes) = (turn().await, Vec::new());
        for _ in 0..6 {
            let words = ["--cluster-enabled", "yes", "--cluster-port", "{other}"];
            let timeout = ["--cluster-node-timeout", DEAD_AFTER_MS];
            let part = ["--cluster-require-full-coverage", "no"];
            let always = ["--cluster-replica-validity-factor", "0"];
            let all = [&words, timeout.as_slice(), part.as_slice(), always.as_slice()].concat();
            nodes.push(Node::server(&all).await);
        }
        let cluster = Self { nodes, _turn };
        cluster.join().await;
        cluster
    }

    async fn join(&self) {
        for (n, (first, last)) in RANGES.iter().enumerate() {
            let primary = &self.nodes[n];
            primary.ask::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", n + 1)).await;
            primary.ask::<()>(&format!("CLUSTER ADDSLOTSRANGE {first} {last}")).await;
        }
        for node in &self.nodes[1..] {
            let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", node.port, node.other_port);
            self.nodes[0].ask::<()>(&meet).await;
        }
        for node in &self.nodes {
            until("all have met", async || {
                node.ask::<String>("CLUSTER INFO").await.contains("cluster_known_nodes:6")
            })
            .await;
        }
        for n in 0..3 {
            let id: String = self.nodes[n].ask("CLUSTER MYID").await;
            let replica = &self.nodes[n + 3];
            until("the replica knows its primary", async || {
                replica.tell::<()>(&format!("CLUSTER REPLICATE {id}")).await.is_ok()
            })
            .await;
        }
        for node in &self.nodes {
            until("the cluster is well and everybody knows it", async || {
                let info: String = node.ask("CLUSTER INFO").await;
                let slots: redis::Value = node.ask("CLUSTER SLOTS").await;
                info.contains("cluster_state:ok") && replicas(&slots) == 3
            })
            .await;
        }
        for replica in &self.nodes[3..] {
            until("replicas are in step", async || {
                replica.ask::<String>("INFO replication").await.contains("master_link_status:up")
            })
            .await;
        }
    }

    pub(crate) fn url(&self) -> String {
        let hosts = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        format!("redis+cluster://{}", hosts.collect::<Vec<_>>().join(","))
    }

    /// Which of the three shards a key is in.
    pub(crate) async fn shard(&self, key: &str) -> usize {
        let slot: u16 = self.nodes[0].ask(&format!("CLUSTER KEYSLOT {key}")).await;
        RANGES.iter().position(|(first, last)| (*first..=*last).contains(&slot)).unwrap()
    }
}

fn replicas(slots: &redis::Value) -> usize {
    let redis::Value::Array(rows) = slots else {
        return 0;
    };
    let of = |row: &redis::Value| match row {
        redis::Value::Array(row) => row.len().saturating_sub(3),
        _ => 0,
    };
    rows.iter().map(of).sum()
}

/// A master, two replicas, three sentinels.
pub(crate) struct Watched {
    /// What everybody calls the machine that all of them are on.
    host: &'static str,
    pub(crate) servers: Vec<Node>,
    pub(crate) sentinels: Vec<Node>,
    _turn: SemaphorePermit<'static>,
}

impl Watched {
    pub(crate) async fn start() -> Self {
        Self::at("127.0.0.1").await
    }

    /// They know each other by the name of this machine, and call themselves by it.
    pub(crate) async fn by_name() -> Self {
        Self::at("localhost").await
    }

    async fn at(host: &'static str) -> Self {
        let _turn = turn().await;
        // The name may lead to either family; the minus sign lets one be missing.
        let anywhere = ["--bind", "127.0.0.1", "-::1"];
        let mut servers = vec![Node::server(&anywhere).await];
        let master = servers[0].port.to_string();
        for _ in 0..2 {
            let replica = ["--replicaof", host, &master, "--replica-announce-ip", host];
            servers.push(Node::server(&[anywhere.as_slice(), &replica].concat()).await);
        }
        for replica in &servers[1..] {
            until("replicas are in step", async || {
                replica.ask::<String>("INFO replication").await.contains("master_link_status:up")
            })
            .await;
        }
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(sentinel(host, &master).await);
        }
        let watched = Self { host, servers, sentinels, _turn };
        for sentinel in &watched.sentinels {
            until("sentinels know each other and the replicas", async || {
                let info: String = sentinel.ask("INFO sentinel").await;
                info.contains("slaves=2,sentinels=3")
            })
            .await;
        }
        watched
    }

    /// Whether a sentinel names another master than this one.
    pub(crate) async fn has_another_than(&self, old: &Node) -> bool {
        for sentinel in &self.sentinels {
            let question = "SENTINEL GET-MASTER-ADDR-BY-NAME main";
            let (_, port): (String, u16) = sentinel.ask(question).await;
            if port != old.port {
                return true;
            }
        }
        false
    }

    pub(crate) fn url(&self) -> String {
        let hosts = self.sentinels.iter().map(|node| format!("{}:{}", self.host, node.port));
        format!("redis+sentinel://{}/main", hosts.collect::<Vec<_>>().join(","))
    }
}

async fn sentinel(host: &str, master: &str) -> Node {
    // A sentinel wants settings in a file that it can write to.
    let settings = format!(
        "sentinel resolve-hostnames yes\n\
         sentinel announce-hostnames yes\n\
         sentinel monitor main {host} {master} 2\n\
         sentinel down-after-milliseconds main {SENTINEL_DEAD_AFTER_MS}\n\
         sentinel failover-timeout main 10000\n\
         sentinel parallel-syncs main 2\n"
    );
    let words = ["{dir}/settings", "--sentinel", "--port", "{port}", "--dir", "{dir}"];
    Node::start(&[&words, ["--bind", "127.0.0.1", "-::1"].as_slice()].concat(), &settings).await
}
