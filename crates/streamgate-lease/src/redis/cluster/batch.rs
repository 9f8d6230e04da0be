//! Batch: many commands of one kind at once. They are grouped by the node that has their slots and
//! sent side by side, in small pipelines; each command has a result of its own, so the failure of
//! one node is the failure of its commands alone.
//!
//! Which node has which slot, and where a command goes that was redirected, is `Client::run`'s.

use crate::redis::conn::{Node, ReplyError};
use crate::store::StoreError;
use async_trait::async_trait;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Pipelines on their way to one node: while one is executed there, the next travels.
const PIPELINES_AT_ONCE: usize = 2;
/// Where the way is much longer than the execution, all of a batch travel at once. The server
/// serves others between them all the same: it reads 16 KiB of one connection in a turn.
const PIPELINES_AT_ONCE_FAR: usize = 8;
/// A round trip from which on a node is far away.
const FAR: Duration = Duration::from_millis(5);

/// Commands of one kind.
#[async_trait]
pub(crate) trait Batch: Sync {
    type Answer: Send;

    /// So many commands in one pipeline. The server serves nobody else meanwhile, which should be
    /// less than half a millisecond.
    const PIPELINE_MAX: usize;

    /// The hash slot of each command.
    fn slots(&self) -> Vec<u16>;

    /// Sends the commands at these indexes to the node that has their slots. Results stand in the
    /// order of the indexes.
    async fn send(
        &self,
        node: &Node,
        indexes: &[usize],
        asking: bool,
    ) -> Result<Vec<Result<Self::Answer, ReplyError>>, ReplyError>;
}

/// The commands of a batch that one node executes.
pub(crate) struct ShardBatch {
    node: Arc<Node>,
    /// Where they stand in the whole batch.
    indexes: Vec<usize>,
    /// Their slots are only migrating to this node.
    asking: bool,
}

impl ShardBatch {
    /// The first `count` commands, all for one node.
    pub(crate) fn whole(node: Arc<Node>, count: usize) -> Self {
        Self { node, indexes: (0..count).collect(), asking: false }
    }
}

/// Adds the command at `index` to the shard of its node.
pub(crate) fn add_to_shard(
    shards: &mut Vec<ShardBatch>,
    index: usize,
    node: Arc<Node>,
    asking: bool,
) {
    let same = |shard: &&mut ShardBatch| shard.asking == asking && Arc::ptr_eq(&shard.node, &node);
    match shards.iter_mut().find(same) {
        Some(shard) => shard.indexes.push(index),
        None => shards.push(ShardBatch { node, indexes: vec![index], asking }),
    }
}

/// Sends the shards side by side, and writes the result of each command to its index.
pub(crate) async fn send_shards<B: Batch>(
    batch: &B,
    shards: Vec<ShardBatch>,
    pipeline_max: Duration,
    results: &mut [Result<B::Answer, ReplyError>],
) {
    let sent = shards.into_iter().map(|shard| send_shard(batch, shard, pipeline_max));
    for (index, result) in join_all(sent).await.into_iter().flatten() {
        results[index] = result;
    }
}

/// Sends pipeline after pipeline to one node; each may take `pipeline_max`. When one of them fails,
/// so do those behind it.
async fn send_shard<B: Batch>(
    batch: &B,
    shard: ShardBatch,
    pipeline_max: Duration,
) -> Vec<(usize, Result<B::Answer, ReplyError>)> {
    let mut results = Vec::with_capacity(shard.indexes.len());
    // Time is counted from the moment at which a pipeline is sent, not from that of the first.
    let send = async |few| timeout(pipeline_max, batch.send(&shard.node, few, shard.asking)).await;
    let pipelines: Vec<_> = shard.indexes.chunks(B::PIPELINE_MAX).map(send).collect();
    let is_far = shard.node.clock().round_trip().is_some_and(|round_trip| FAR <= round_trip);
    let at_once = if is_far { PIPELINES_AT_ONCE_FAR } else { PIPELINES_AT_ONCE };
    let mut replies = stream::iter(pipelines).buffered(at_once);
    let mut rest = shard.indexes.as_slice();
    while let Some(reply) = replies.next().await {
        let (few, later) = rest.split_at(rest.len().min(B::PIPELINE_MAX));
        match reply.unwrap_or(Err(StoreError::Timeout.into())) {
            Ok(answers) => results.extend(few.iter().copied().zip(answers)),
            Err(error) => {
                results.extend(rest.iter().map(|index| (*index, Err(error.clone()))));
                break;
            }
        }
        rest = later;
    }
    results
}
