//! What [`Leases`](crate::Leases) and their [`Renewer`](crate::Renewer) share: one node's view of
//! one policy. It decides nothing.

use crate::abandoned::AbandonedStarts;
use crate::event::End;
use crate::lease::Claim;
use crate::pace::Pace;
use crate::recorder::{Recorder, Via};
use crate::stats::{Outage, count};
use crate::store::{Answer, LeaseStore, StoreError};
use crate::table::{Asked, ClaimOutcome, Table};
use crate::timing::Timing;
use std::sync::Arc;
use std::time::Duration;

/// How much one node takes upon itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Entries in the table of leases. An entry that was evicted is asked of the store again.
    /// Default one million.
    pub table_entries_max: usize,
    /// Streams that this node has started while the store was away, at one time. Default 10 000.
    pub starts_max: usize,
    /// Events that may wait for the subscriber of [`Leases::events`](crate::Leases::events).
    /// Further events are dropped and counted. Default 8192.
    pub events_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { table_entries_max: 1_000_000, starts_max: 10_000, events_max: 8192 }
    }
}

pub(crate) struct Node {
    pub(crate) store: Arc<dyn LeaseStore>,
    pub(crate) timing: Timing,
    pub(crate) table: Table,
    pub(crate) pace: Pace,
    pub(crate) abandoned: AbandonedStarts,
    pub(crate) outage: Outage,
}

impl Node {
    pub(crate) fn new(store: Arc<dyn LeaseStore>, timing: Timing, bounds: Bounds) -> Self {
        let recorder = Recorder::new(bounds.events_max);
        let table = Table::new(timing, bounds.table_entries_max, bounds.starts_max, recorder);
        let (pace, abandoned, outage) =
            (Pace::new(timing.ttl()), Default::default(), Default::default());
        Self { store, timing, table, pace, abandoned, outage }
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        self.table.recorder()
    }

    /// How long the claim's lease is to live after a sign of life.
    pub(crate) fn ttl_of(&self, claim: &Claim) -> Duration {
        self.timing.for_ttl(claim.ttl).ttl()
    }

    /// Notes whether the store answered, and passes the result on.
    pub(crate) fn noted<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Ok(_) => self.outage.note(true),
            Err(error) => {
                count(&self.recorder().counters.store_errors);
                if error.is_outage() {
                    self.outage.note(false);
                }
            }
        }
        result
    }

    /// Enters what the store has decided about a claim of this node.
    pub(crate) async fn settle(
        &self,
        claim: &Claim,
        answer: Answer,
        asked: Asked,
    ) -> Result<(), StoreError> {
        let (node, table) = (self, &self.table);
        match answer {
            Answer::Held(admitted) => {
                count(&node.recorder().counters.registered);
                if table.confirm_claim(claim, &admitted, asked) == ClaimOutcome::EndedMeanwhile {
                    node.noted(node.store.release(&claim.holder, &claim.id, &node.timing).await)?;
                }
            }
            Answer::Full(full) => {
                let why = if full.limit == 0 { End::Gone } else { End::Refused };
                table.forget(&claim.holder, &claim.id, why, Via::Renewer);
            }
            Answer::Ended(why, lasts) => {
                table.end(&claim.holder, &claim.id, why, lasts, Via::Renewer);
            }
        }
        Ok(())
    }
}
