//! ClaimBatch: many claims at once, each decided by the acquire script.

use super::cluster::Batch;
use super::conn::{Command, Node, Patience, ReplyError, array};
use super::keys::{hash_slot, keys};
use super::scripts::{self, ACQUIRE, acquire_args};
use crate::lease::Claim;
use crate::store::Answer;
use crate::timing::Timing;
use ::redis::{Value, pipe};
use async_trait::async_trait;

/// Claims for the acquire script, which has this hash.
pub(super) struct ClaimBatch<'a> {
    pub(super) claims: &'a [Claim],
    pub(super) timing: &'a Timing,
    pub(super) hash: &'a str,
}

#[async_trait]
impl Batch for ClaimBatch<'_> {
    type Answer = Answer;

    /// At 30 us each.
    const PIPELINE_MAX: usize = 8;

    fn slots(&self) -> Vec<u16> {
        self.claims.iter().map(|claim| hash_slot(&claim.holder)).collect()
    }

    async fn send(
        &self,
        node: &Node,
        indexes: &[usize],
        asking: bool,
    ) -> Result<Vec<Result<Self::Answer, ReplyError>>, ReplyError> {
        let mut pipeline = pipe();
        // A server that has restarted knows no script, and in a pipeline nothing is sent twice.
        pipeline.cmd("SCRIPT").arg("LOAD").arg(ACQUIRE);
        let claims = || indexes.iter().map(|index| &self.claims[*index]);
        for claim in claims() {
            let keys = keys(&claim.holder);
            let evalsha = pipeline.cmd("EVALSHA").arg(self.hash).arg(keys.len());
            evalsha.arg(keys).arg(acquire_args(claim, self.timing));
        }
        let values = node.send(&Command::Pipeline(&pipeline), Patience::Command, asking).await?;
        let values = array(&values)?.iter().skip(1);
        let answer =
            |(claim, value): (&Claim, &Value)| match ReplyError::of_value(value, node.host()) {
                Some(error) => Err(error),
                None => Ok(scripts::answer(value, &claim.id)?),
            };
        Ok(claims().zip(values).map(answer).collect())
    }
}
