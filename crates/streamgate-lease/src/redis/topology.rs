//! Topology: which node a command goes to, in a store of one server and in a cluster.
//!
//! It sends no commands of callers; [`Client`](super::Client) does.

use super::address::{Address, Shape};
use super::cluster::{Cluster, ShardBatch, add_to_shard, slot};
use super::conn::{
    Alarm, Connector, Credentials, Deadlines, HostPort, Node, ReplyError, Sentinel, Tls, TlsInvalid,
};
use crate::store::StoreError;
use ::redis::Client as RedisClient;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Keys that a probe tries.
const PROBE_KEYS: usize = 8;

/// The nodes of a store.
pub(super) enum Topology {
    /// One server, or one master that sentinels watch over.
    Single(Arc<Node>),
    Cluster(Box<Cluster>),
}

impl Topology {
    /// The nodes at an address. Connects to nothing yet.
    pub(super) fn new(
        address: &Address,
        deadlines: Deadlines,
        tls: &Tls,
        alarm: &Arc<Alarm>,
    ) -> Result<Self, TlsInvalid> {
        let credentials = || Credentials::new(address, tls);
        let (connector, host) = match &address.shape {
            Shape::Cluster => {
                let cluster = Cluster::new(address, credentials(), deadlines, Arc::clone(alarm))?;
                return Ok(Self::Cluster(Box::new(cluster)));
            }
            Shape::One => {
                let info = &address.hosts[0];
                let host = HostPort::of(info).map(|server| server.host).unwrap_or_default();
                (Connector::Server(credentials().client(info)?), host)
            }
            Shape::Sentinel(name) => {
                let sentinel = Sentinel::new(name, credentials(), &address.hosts)?;
                (Connector::Sentinel(sentinel), String::new())
            }
        };
        Ok(Self::Single(Arc::new(Node::new(connector, &host, deadlines, alarm))))
    }

    /// The nodes that are known.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        match self {
            Self::Single(node) => vec![node.clone()],
            Self::Cluster(cluster) => cluster.nodes(),
        }
    }

    /// Probes the nodes that are in doubt or were not probed for `every`, side by side. Says
    /// whether there were any. A cluster with such a node may have another map by now.
    pub(super) async fn probe(&self, every: Duration, deadline: Instant) -> bool {
        if let Self::Cluster(cluster) = self {
            cluster.follow(deadline).await;
        }
        let nodes = self.nodes();
        let due: Vec<_> = nodes.iter().filter(|node| node.is_probe_due(every)).collect();
        let probes = due.iter().map(|node| async {
            let keys = probe_keys(|slot| match self {
                Self::Single(_) => true,
                Self::Cluster(cluster) => cluster.has(slot, node),
            });
            node.probe(&keys).await;
        });
        join_all(probes).await;
        !due.is_empty()
    }

    pub(super) fn is_single(&self) -> bool {
        matches!(self, Self::Single(_))
    }

    /// The node that has a slot, as far as is known.
    pub(super) async fn owner(&self, slot: u16, deadline: Instant) -> Option<Arc<Node>> {
        match self {
            Self::Single(node) => Some(node.clone()),
            Self::Cluster(cluster) => cluster.owners(&[slot], deadline).await.pop().flatten(),
        }
    }

    /// The node that an error redirects to, and whether it has to be told `ASKING`. Otherwise the
    /// error is the answer.
    pub(super) async fn redirect(
        &self,
        slot: u16,
        error: ReplyError,
        deadline: Instant,
    ) -> Result<(Arc<Node>, bool), StoreError> {
        let redirected = match (self, &error) {
            (Self::Cluster(cluster), ReplyError::Moved(server)) => {
                cluster.moved(slot, server, deadline).await.map(|node| (node, false))
            }
            (Self::Cluster(cluster), ReplyError::Ask(server)) => {
                cluster.node(server).map(|node| (node, true))
            }
            _ => None,
        };
        redirected.ok_or_else(|| error.into_store_error())
    }

    /// Groups many slots by the nodes that have them. Slots that no node has are left out.
    pub(super) async fn shards(&self, slots: &[u16], deadline: Instant) -> Vec<ShardBatch> {
        let owners = match self {
            Self::Single(node) => return vec![ShardBatch::whole(node.clone(), slots.len())],
            Self::Cluster(cluster) => cluster.owners(slots, deadline).await,
        };
        let mut shards = Vec::new();
        for (index, node) in owners.into_iter().enumerate() {
            if let Some(node) = node {
                add_to_shard(&mut shards, index, node, false);
            }
        }
        shards
    }

    /// Groups those commands, by index, that were redirected by the nodes that they go to now.
    pub(super) async fn redirected_shards(
        &self,
        slots: &[u16],
        redirects: Vec<(usize, ReplyError)>,
        deadline: Instant,
    ) -> Vec<ShardBatch> {
        let mut shards = Vec::new();
        for (index, error) in redirects {
            if let Ok((node, asking)) = self.redirect(slots[index], error, deadline).await {
                add_to_shard(&mut shards, index, node, asking);
            }
        }
        shards
    }

    /// A node for pub/sub. In a cluster every node hears what is published on any of them.
    pub(super) async fn pubsub_node(&self, deadline: Instant) -> Option<Arc<Node>> {
        match self {
            Self::Single(node) => Some(node.clone()),
            Self::Cluster(cluster) => cluster.pubsub_nodes(deadline).await.into_iter().next(),
        }
    }

    /// Whether a subscriber at this server should subscribe elsewhere by now.
    pub(super) async fn is_stale(&self, server: &RedisClient, deadline: Instant) -> bool {
        match self {
            Self::Single(node) => node.connector.is_stale(server, deadline).await,
            Self::Cluster(cluster) => cluster.is_cut_off(server, deadline).await,
        }
    }

    /// Drops connections to servers other than this master. A cluster has many masters.
    pub(super) fn follow_master(&self, master: &RedisClient) {
        if let Self::Single(node) = self {
            node.follow_master(master);
        }
    }
}

/// Keys that nobody uses, in slots for which `has` says yes. They lie apart, so that a node of a
/// cluster that was taken for one server has not all of them.
fn probe_keys(has: impl Fn(u16) -> bool) -> Vec<String> {
    let keys = (0..=u16::MAX).map(|bucket| format!("sg:{{{bucket:04x}}}:probe"));
    keys.filter(|key| has(slot::of(key))).take(PROBE_KEYS).collect()
}

/// The error for a slot that no node has, as far as is known.
pub(super) fn no_owner() -> StoreError {
    StoreError::Unavailable("no server has this slot".into())
}
