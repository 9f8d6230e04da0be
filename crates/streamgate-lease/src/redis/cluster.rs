//! Cluster: one node per primary, found by the slot of a key.
//!
//! The slot map is fetched by the caller that needs it, one at a time and not too often: for the
//! first command of all, when a server says that a slot has moved, and when the breaker of the
//! node that has the slot is open. That last one is how a failover heals: a dead server can tell
//! nobody `MOVED`. Callers of healthy shards never wait for a map.
//!
//! Nothing is sent twice, except once where a server says that the slot is elsewhere.

mod batch;
mod slot_map;
pub(super) mod slot;

pub(super) use batch::{Batch, ShardBatch, add_to_shard, send_shards};

use super::address::Address;
use super::conn::{
    Alarm, Command, Connector, Credentials, Deadlines, HostPort, Node, Patience, TlsInvalid,
};
use ::redis::{Client as RedisClient, Value, cmd};
use parking_lot::Mutex;
use rand::seq::SliceRandom;
use slot_map::{SlotMap, shards};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A map is fetched at most this often, whoever wants one.
const COOL_DOWN: Duration = Duration::from_millis(400);
/// Servers that are asked for one map.
const ASKED_MAX: usize = 4;
/// Of 16384 slots, a server that can reach fewer of them is cut off from most of its cluster.
const SLOTS_REACHED_MIN: u64 = 8192;

/// What is known of a cluster.
pub(super) struct Cluster {
    credentials: Credentials,
    deadlines: Deadlines,
    alarm: Arc<Alarm>,
    seeds: Vec<HostPort>,
    map: Mutex<SlotMap>,
    /// Held by the caller that fetches a map.
    fetching: tokio::sync::Mutex<()>,
    /// When a fetch was last tried, with or without success.
    fetched_at: Mutex<Option<Instant>>,
}

impl Cluster {
    pub(super) fn new(
        address: &Address,
        credentials: Credentials,
        deadlines: Deadlines,
        alarm: Arc<Alarm>,
    ) -> Result<Self, TlsInvalid> {
        let seeds: Vec<_> = address.hosts.iter().filter_map(HostPort::of).collect();
        // Certificates are parsed for every server anew; if that works once, it always does.
        for seed in &seeds {
            credentials.client_at(seed)?;
        }
        Ok(Self {
            credentials,
            deadlines,
            alarm,
            seeds,
            map: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
            fetched_at: Mutex::default(),
        })
    }

    /// The node that has each of these slots. If a slot has none, or the breaker of its node is
    /// open, a new map is fetched first, unless another caller does so or did a moment ago. Where
    /// there is a monitor, it does that for breakers.
    pub(super) async fn owners(&self, slots: &[u16], deadline: Instant) -> Vec<Option<Arc<Node>>> {
        let owners = self.owners_in_map(slots);
        let serves = |node: &&Arc<Node>| self.alarm.is_monitored() || !node.is_resting();
        if owners.iter().flatten().filter(serves).count() == slots.len() {
            return owners;
        }
        if self.fetched_at.lock().is_none() {
            // No node is known yet: all callers wait for the first map.
            if let Ok(_fetching) = timeout_at(deadline, self.fetching.lock()).await
                && self.fetched_at.lock().is_none()
            {
                self.fetch(deadline, None).await;
            }
        } else {
            self.refresh(deadline, None).await;
        }
        self.owners_in_map(slots)
    }

    /// A server said that the slot is at `server` now: the node there.
    pub(super) async fn moved(
        &self,
        slot: u16,
        server: &HostPort,
        deadline: Instant,
    ) -> Option<Arc<Node>> {
        let node = self.node(server)?;
        self.map.lock().move_slot(slot, server);
        // Where one slot went, others probably did.
        self.refresh(deadline, Some(&node)).await;
        Some(node)
    }

    /// The node at a server that another one named.
    pub(super) fn node(&self, server: &HostPort) -> Option<Arc<Node>> {
        self.map.lock().node(server, || self.new_node(server))
    }

    /// Fetches a map if none is known, or the breaker of a node is open.
    pub(super) async fn follow(&self, deadline: Instant) {
        if self.map.lock().is_empty() {
            self.owners(&[0], deadline).await;
        } else if self.nodes().iter().any(|node| node.is_resting()) {
            self.refresh(deadline, None).await;
        }
    }

    /// The primaries that are known.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        self.map.lock().nodes().to_vec()
    }

    /// Whether this node has the slot, as far as is known.
    pub(super) fn has(&self, slot: u16, node: &Arc<Node>) -> bool {
        self.map.lock().owner(slot).is_some_and(|owner| Arc::ptr_eq(&owner, node))
    }

    /// Nodes that hear what is published, which are all: in random order, those with an open
    /// breaker last.
    pub(super) async fn pubsub_nodes(&self, deadline: Instant) -> Vec<Arc<Node>> {
        if self.map.lock().is_empty() {
            self.owners(&[0], deadline).await;
        }
        let mut nodes = self.map.lock().nodes().to_vec();
        nodes.shuffle(&mut rand::rng());
        nodes.sort_by_key(|node| node.is_resting());
        nodes
    }

    /// Whether this server has lost touch with most of the cluster: then what is published does
    /// not reach it.
    pub(super) async fn is_cut_off(&self, server: &RedisClient, deadline: Instant) -> bool {
        let Some(server) = HostPort::of(server.get_connection_info()) else {
            return false;
        };
        let Some(node) = self.new_node(&server) else {
            return false;
        };
        let mut info = cmd("CLUSTER");
        let command = Command::Single(info.arg("INFO"));
        match timeout_at(deadline, node.send(&command, Patience::Command, false)).await {
            Ok(Ok(Value::BulkString(info))) => {
                let info = String::from_utf8_lossy(&info);
                let reached = info.lines().find_map(|line| line.strip_prefix("cluster_slots_ok:"));
                let reached = reached.and_then(|reached| reached.trim().parse::<u64>().ok());
                reached.is_some_and(|reached| reached < SLOTS_REACHED_MIN)
            }
            Ok(Ok(_)) => false,
            Ok(Err(_)) | Err(_) => true,
        }
    }

    fn owners_in_map(&self, slots: &[u16]) -> Vec<Option<Arc<Node>>> {
        let map = self.map.lock();
        slots.iter().map(|slot| map.owner(*slot)).collect()
    }

    fn new_node(&self, server: &HostPort) -> Option<Arc<Node>> {
        let client = self.credentials.client_at(server).ok()?;
        Some(Arc::new(Node::new(
            Connector::Server(client),
            &server.host,
            self.deadlines,
            &self.alarm,
        )))
    }

    /// Fetches a map, unless another caller does so or did a moment ago.
    async fn refresh(&self, deadline: Instant, first: Option<&Arc<Node>>) {
        if let Ok(_fetching) = self.fetching.try_lock() {
            let fetched_at = *self.fetched_at.lock();
            if fetched_at.is_none_or(|fetched_at| COOL_DOWN <= fetched_at.elapsed()) {
                self.fetch(deadline, first).await;
            }
        }
    }

    async fn fetch(&self, deadline: Instant, first: Option<&Arc<Node>>) {
        let deadline = deadline.min(Instant::now() + self.deadlines.connect);
        if let Some((reply, host)) = self.fetch_from_any(deadline, first).await
            && let Some(shards) = shards(&reply, &host)
        {
            let mut map = self.map.lock();
            *map = map.rebuilt(&shards, |server| self.new_node(server));
        }
        *self.fetched_at.lock() = Some(Instant::now());
    }

    /// Asks some servers one after the other. Each has its share of the time that is left, so one
    /// that hangs does not keep us from those behind it.
    async fn fetch_from_any(
        &self,
        deadline: Instant,
        first: Option<&Arc<Node>>,
    ) -> Option<(Value, String)> {
        let candidates = self.candidates(first);
        let mut slots = cmd("CLUSTER");
        let command = Command::Single(slots.arg("SLOTS"));
        for (n, node) in candidates.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(candidates.len() - n).unwrap_or(u32::MAX);
            let share = Instant::now() + share;
            if let Ok(Ok(reply)) =
                timeout_at(share, node.send(&command, Patience::Command, false)).await
            {
                return Some((reply, node.host().to_owned()));
            }
        }
        None
    }

    /// The nodes to ask for a map: primaries with closed breakers, then replicas and the servers
    /// that the address names. In random order, so that a server with an old map is not asked for
    /// ever.
    fn candidates(&self, first: Option<&Arc<Node>>) -> Vec<Arc<Node>> {
        let mut rng = rand::rng();
        let (mut nodes, mut others) = {
            let map = self.map.lock();
            (map.nodes().to_vec(), map.replicas.clone())
        };
        nodes.retain(|node| {
            !node.is_resting() && first.is_none_or(|first| !Arc::ptr_eq(first, node))
        });
        nodes.shuffle(&mut rng);
        // Leave room for a server that is no primary: all primaries may hang at once.
        nodes.truncate(ASKED_MAX - 2);
        nodes.splice(0..0, first.cloned());
        others.extend(self.seeds.iter().cloned());
        others.shuffle(&mut rng);
        let room = ASKED_MAX.saturating_sub(nodes.len());
        nodes.extend(others.iter().filter_map(|server| self.new_node(server)).take(room));
        nodes
    }
}
