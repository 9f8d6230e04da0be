//! RenewalBatch: many renewals at once, without a script.

use super::cluster::Batch;
use super::conn::{
    Command, Node, Patience, Reading, ReplyError, array, flag, server_time, unreadable,
};
use super::keys::{hash_slot, keys, names};
use crate::clock::millis;
use crate::store::{Slot, StoreError};
use crate::timing::Timing;
use ::redis::{Pipeline, Value, pipe};
use async_trait::async_trait;
use std::time::Duration;
use tokio::time::Instant;

/// Renewals, whose expiries are counted by the clock of the server that has the lease.
pub(super) struct RenewalBatch<'a> {
    pub(super) slots: &'a [Slot],
    pub(super) timing: &'a Timing,
}

#[async_trait]
impl Batch for RenewalBatch<'_> {
    type Answer = Option<Duration>;

    /// At 4 us each.
    const PIPELINE_MAX: usize = 32;

    fn slots(&self) -> Vec<u16> {
        self.slots.iter().map(|slot| hash_slot(&slot.holder)).collect()
    }

    async fn send(
        &self,
        node: &Node,
        indexes: &[usize],
        asking: bool,
    ) -> Result<Vec<Result<Self::Answer, ReplyError>>, ReplyError> {
        let clock = server_clock(node).await?;
        let mut pipeline = pipe();
        pipeline.cmd("TIME");
        let now_ms = clock.now_ms();
        let slots: Vec<_> = indexes.iter().map(|index| self.slots[*index]).collect();
        for slot in &slots {
            let expiry = now_ms + millis(slot.life(self.timing));
            add_renewal(&mut pipeline, slot, self.timing, expiry);
        }
        let sent = Instant::now();
        let values = node.send(&Command::Pipeline(&pipeline), Patience::Command, asking).await?;
        let mut values = array(&values)?.iter();
        node.clock().learn(values.next().and_then(server_time), sent);
        let certain_life = |slot: &Slot| slot.life(self.timing).saturating_sub(clock.uncertainty());
        let moved = moved(values, &slots, node.host());
        let renewed = slots.iter().zip(moved);
        Ok(renewed.map(|(slot, moved)| Ok(moved?.then(|| certain_life(slot)))).collect())
    }
}

/// A node's clock. Asks for the time if no reply has carried it lately.
async fn server_clock(node: &Node) -> Result<Reading, ReplyError> {
    if let Some(reading) = node.clock().read() {
        return Ok(reading);
    }
    let sent = Instant::now();
    let time = node.send(&Command::Pipeline(pipe().cmd("TIME")), Patience::Command, false).await?;
    node.clock().learn(array(&time)?.first().and_then(server_time), sent);
    // Better no renewal than one with a wrong time.
    node.clock().read().ok_or_else(|| unreadable("the time").into())
}

/// Adds one renewal: it moves the expiry forward, never back, and makes no lease. Now and then it
/// does the same to the TTLs of the keys. A holder with two names is renewed under both: the lease
/// lies under one of them.
///
/// `GT` on a key without a TTL would do nothing; acquire.lua sees to it that there is one.
fn add_renewal(pipeline: &mut Pipeline, slot: &Slot, timing: &Timing, expiry: u64) {
    let (leases_ttl, records_ttl) = key_ttls(&timing.for_ttl(slot.ttl));
    for pair in keys(&slot.holder).chunks(2) {
        pipeline.cmd("ZADD").arg(&pair[0]).arg(&["XX", "GT", "CH"]);
        pipeline.arg(expiry).arg(slot.id.to_string());
        if slot.keep_keys {
            pipeline.cmd("PEXPIRE").arg(&pair[0]).arg(leases_ttl).arg("GT");
            pipeline.cmd("PEXPIRE").arg(&pair[1]).arg(records_ttl).arg("GT");
        }
    }
}

/// The TTLs of the leases and of the records in milliseconds, as in acquire.lua.
fn key_ttls(timing: &Timing) -> (u64, u64) {
    let ttl = millis(timing.ttl());
    (64 * ttl, millis(timing.tombstone()).max(64 * ttl))
}

/// Which of a pipeline's renewals changed something: one reply for each name of the holder, three
/// where the TTLs of the keys are moved, too. A protocol error concerns one holder, and changed
/// nothing. Redirects and `Unavailable` are errors of the renewal.
fn moved<'a>(
    mut values: impl Iterator<Item = &'a Value>,
    slots: &[Slot],
    host: &str,
) -> Vec<Result<bool, ReplyError>> {
    let mut moved = |slot: &Slot| {
        let mut moved = Ok(false);
        for _ in names(&slot.holder) {
            let value = values.next();
            match value.and_then(|value| ReplyError::of_value(value, host)) {
                Some(ReplyError::Failed(StoreError::Protocol(_))) => {}
                Some(error) => moved = Err(error),
                None if value.is_some_and(|value| flag(value) == Ok(true)) => {
                    moved = moved.map(|_| true);
                }
                None => {}
            }
            let ttls = values.by_ref().take(2 * usize::from(slot.keep_keys));
            ttls.count();
        }
        moved
    };
    slots.iter().map(&mut moved).collect()
}
