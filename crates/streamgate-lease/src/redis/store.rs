//! RedisStore: each verb of a lease store as one script, or as batches in pipelines.

use super::claim_batch::ClaimBatch;
use super::client::Client;
use super::conn::{Command, Patience, flag};
use super::keys::hash_slot;
use super::renewal_batch::RenewalBatch;
use super::scripts::{self, Scripts};
use crate::holder::Holder;
use crate::lease::{Attempt, Claim, LeaseId, Live, State};
use crate::store::{Answer, LeaseStore, Slot, StoreError};
use crate::timing::Timing;
use ::redis::{ScriptInvocation, Value};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// Leases in one Redis: one server, a master behind sentinels, or a cluster.
pub struct RedisStore {
    client: Arc<Client>,
    scripts: Scripts,
}

impl RedisStore {
    /// Leases in the servers of a client. Asks nothing yet, so a server that is down is no error
    /// here.
    #[must_use]
    pub fn new(client: Arc<Client>) -> Self {
        Self { client, scripts: Scripts::new() }
    }

    /// Runs a script on the server that has the holder's keys.
    async fn invoke(
        &self,
        holder: &Holder,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<Value, StoreError> {
        self.invoke_for(Patience::Command, holder, invocation).await
    }

    async fn invoke_for(
        &self,
        patience: Patience,
        holder: &Holder,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<Value, StoreError> {
        self.client.send(hash_slot(holder), &Command::Script(invocation), patience).await
    }
}

#[async_trait]
impl LeaseStore for RedisStore {
    async fn acquire(&self, claim: &Claim, timing: &Timing) -> Result<Answer, StoreError> {
        let script = self.scripts.acquire(claim, timing);
        let reply = self.invoke_for(Patience::Start, &claim.holder, &script).await?;
        scripts::answer(&reply, &claim.id)
    }

    async fn acquire_all(
        &self,
        claims: &[Claim],
        timing: &Timing,
    ) -> Vec<Result<Answer, StoreError>> {
        let hash = self.scripts.acquire_hash();
        self.client.run(&ClaimBatch { claims, timing, hash }).await
    }

    async fn renew(
        &self,
        slots: &[Slot],
        timing: &Timing,
    ) -> Vec<Result<Option<Duration>, StoreError>> {
        self.client.run(&RenewalBatch { slots, timing }).await
    }

    fn fails_as_one(&self) -> bool {
        self.client.fails_as_one()
    }

    async fn release(
        &self,
        holder: &Holder,
        id: &LeaseId,
        timing: &Timing,
    ) -> Result<(), StoreError> {
        self.invoke(holder, &self.scripts.release(holder, id, timing))
            .await
            .and_then(|reply| flag(&reply))
            .map(drop)
    }

    async fn give_back(
        &self,
        holder: &Holder,
        id: &LeaseId,
        attempt: Attempt,
    ) -> Result<bool, StoreError> {
        flag(&self.invoke(holder, &self.scripts.give_back(holder, id, attempt)).await?)
    }

    async fn list(&self, holder: &Holder) -> Result<Vec<Live>, StoreError> {
        scripts::live(&self.invoke(holder, &self.scripts.list(holder)).await?)
    }

    async fn terminate(
        &self,
        holder: &Holder,
        id: &LeaseId,
        timing: &Timing,
    ) -> Result<bool, StoreError> {
        flag(&self.invoke(holder, &self.scripts.terminate(holder, id, timing)).await?)
    }

    async fn declare(
        &self,
        holder: &Holder,
        id: &LeaseId,
        state: State,
    ) -> Result<bool, StoreError> {
        flag(&self.invoke(holder, &self.scripts.declare(holder, id, state)).await?)
    }
}
