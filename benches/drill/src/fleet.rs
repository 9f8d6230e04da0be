//! The servers of one store: one alone, a master with replicas and sentinels, or a cluster.

use crate::node::Node;
use clap::ValueEnum;
use load::bench::Bench;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A primary is taken for dead by its cluster after this many milliseconds.
const DEAD_AFTER_MS: &str = "800";
/// Likewise a master by its sentinels. They ping once a second: with less than that they take a
/// new master for dead before they have asked it, and promote another one beside it.
const SENTINEL_DEAD_AFTER_MS: &str = "2000";
/// Far more than anything here takes by itself.
const WAIT_MAX: Duration = Duration::from_secs(60);
const SHARDS: usize = 3;
const RANGES: [(u16, u16); SHARDS] = [(0, 5460), (5461, 10922), (10923, 16383)];
const DURABLE: [&str; 4] = ["--save", "", "--appendonly", "yes"];
const FORGETFUL: [&str; 4] = ["--save", "", "--appendonly", "no"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// One server that writes all to its disk.
    Durable,
    /// One server that writes nothing down.
    Forgetful,
    /// A master, two replicas, three sentinels.
    Sentinel,
    /// Three primaries with a replica each.
    Cluster,
}

/// The running servers.
pub(crate) struct Fleet {
    pub(crate) kind: Kind,
    pub(crate) nodes: Vec<Node>,
    sentinels: Vec<Node>,
}

/// Asks until the answer is yes.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> io::Result<()> {
    let began = Instant::now();
    while !is_so().await {
        if WAIT_MAX < began.elapsed() {
            return Err(io::Error::other(format!("never came true: {what}")));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

impl Fleet {
    pub(crate) async fn start(kind: Kind, bench: Bench, folder: &Path) -> io::Result<Self> {
        let (nodes, sentinels) = match kind {
            Kind::Durable => (vec![Node::start(bench, folder, &DURABLE)?], Vec::new()),
            Kind::Forgetful => (vec![Node::start(bench, folder, &FORGETFUL)?], Vec::new()),
            Kind::Sentinel => sentinels_of(bench, folder).await?,
            Kind::Cluster => (cluster(bench, folder).await?, Vec::new()),
        };
        Ok(Self { kind, nodes, sentinels })
    }

    /// As a gateway's file has it.
    pub(crate) fn url(&self) -> String {
        let hosts = |nodes: &[Node]| {
            let hosts = nodes.iter().map(|node| node.address.to_string());
            hosts.collect::<Vec<_>>().join(",")
        };
        match self.kind {
            Kind::Durable | Kind::Forgetful => format!("redis://{}", hosts(&self.nodes)),
            Kind::Sentinel => format!("redis+sentinel://{}/main", hosts(&self.sentinels)),
            Kind::Cluster => format!("redis+cluster://{}", hosts(&self.nodes)),
        }
    }

    /// Those that take writes now. Of a cluster, one of each shard.
    pub(crate) async fn masters(&self) -> Vec<&Node> {
        let mut masters = Vec::new();
        for node in &self.nodes {
            let is_named = match self.kind {
                Kind::Sentinel => self.is_named(node.address).await,
                _ => true,
            };
            if is_named && node.is_master().await {
                masters.push(node);
            }
        }
        masters
    }

    /// Somebody takes writes for every account.
    pub(crate) async fn is_well(&self) -> bool {
        let needed = if self.kind == Kind::Cluster { SHARDS } else { 1 };
        needed <= self.masters().await.len()
    }

    /// Those who do not lead follow, so that the next failure finds somebody to take over.
    pub(crate) async fn is_whole(&self) -> bool {
        if !self.is_well().await {
            return false;
        }
        let leaders: Vec<_> = self.masters().await.iter().map(|node| node.address).collect();
        for node in self.nodes.iter().filter(|node| !leaders.contains(&node.address)) {
            if !node.is_in_step().await {
                return false;
            }
        }
        true
    }

    async fn is_named(&self, address: SocketAddr) -> bool {
        for sentinel in &self.sentinels {
            let question = "SENTINEL GET-MASTER-ADDR-BY-NAME main";
            let named: (String, u16) = sentinel.tell(question).await.unwrap_or_default();
            if named.1 != address.port() {
                return false;
            }
        }
        true
    }

    /// How many streams the store has of each account that has any.
    pub(crate) async fn streams(&self) -> io::Result<Vec<usize>> {
        let mut streams = Vec::new();
        for master in self.masters().await {
            let count = |key: String| async move {
                let card: usize = master.tell(&format!("ZCARD {key}")).await?;
                redis::RedisResult::Ok(card)
            };
            let keys: Vec<String> = master.tell("KEYS sg:*:l").await.map_err(io::Error::other)?;
            for key in keys {
                streams.push(count(key).await.map_err(io::Error::other)?);
            }
        }
        Ok(streams)
    }
}

async fn sentinels_of(bench: Bench, folder: &Path) -> io::Result<(Vec<Node>, Vec<Node>)> {
    let prompt = ["--repl-diskless-sync-delay", "0"];
    let mut nodes = vec![Node::start(bench, folder, &[&FORGETFUL[..], &prompt].concat())?];
    let master = nodes[0].address.port().to_string();
    for _ in 0..2 {
        let follow = ["--replicaof", "127.0.0.1", &master];
        nodes.push(Node::start(bench, folder, &[&FORGETFUL[..], &prompt, &follow].concat())?);
    }
    for replica in &nodes[1..] {
        until("replicas are in step", async || replica.is_in_step().await).await?;
    }
    let text = format!(
        "sentinel monitor main 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds main {SENTINEL_DEAD_AFTER_MS}\n\
         sentinel failover-timeout main 10000\nsentinel parallel-syncs main 2\n"
    );
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        sentinels.push(Node::sentinel(bench, folder, &text)?);
    }
    for sentinel in &sentinels {
        until("sentinels know each other and the replicas", async || {
            let info: String = sentinel.tell("INFO sentinel").await.unwrap_or_default();
            info.contains("slaves=2,sentinels=3")
        })
        .await?;
    }
    Ok((nodes, sentinels))
}

async fn cluster(bench: Bench, folder: &Path) -> io::Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for _ in 0..2 * SHARDS {
        let words = ["--cluster-enabled", "yes", "--cluster-port", "{bus}"];
        let timeouts = ["--cluster-node-timeout", DEAD_AFTER_MS];
        let part = ["--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"];
        let always = ["--cluster-replica-validity-factor", "0"];
        let all = [&FORGETFUL[..], &words, &timeouts, &part, &always].concat();
        nodes.push(Node::start(bench, folder, &all)?);
    }
    let tell = async |node: &Node, words: String| node.tell::<()>(&words).await;
    for (n, (first, last)) in RANGES.iter().enumerate() {
        let epoch = tell(&nodes[n], format!("CLUSTER SET-CONFIG-EPOCH {}", n + 1)).await;
        epoch.map_err(io::Error::other)?;
        let slots = tell(&nodes[n], format!("CLUSTER ADDSLOTSRANGE {first} {last}")).await;
        slots.map_err(io::Error::other)?;
    }
    for node in &nodes[1..] {
        let bus = &node.word_after("--cluster-port");
        let meet = format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.address.port());
        tell(&nodes[0], meet).await.map_err(io::Error::other)?;
    }
    let info = async |node: &Node| node.tell::<String>("CLUSTER INFO").await.unwrap_or_default();
    for node in &nodes {
        until("all have met", async || info(node).await.contains("cluster_known_nodes:6")).await?;
    }
    for n in 0..SHARDS {
        let id: String = nodes[n].tell("CLUSTER MYID").await.map_err(io::Error::other)?;
        let replica = &nodes[n + SHARDS];
        let follow = format!("CLUSTER REPLICATE {id}");
        until("the replica knows its primary", async || replica.tell::<()>(&follow).await.is_ok())
            .await?;
    }
    for node in &nodes {
        until("the cluster is well", async || info(node).await.contains("cluster_state:ok"))
            .await?;
    }
    for replica in &nodes[SHARDS..] {
        until("replicas are in step", async || replica.is_in_step().await).await?;
    }
    Ok(nodes)
}
