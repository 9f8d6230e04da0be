//! Leases in this process: the default store, and the model that Redis is held to.
//!
//! Not shared between gateways and not kept over a restart. For one node it promises the same as
//! Redis, except that it cannot fail.

mod account;
mod login;
mod slot;

use crate::clock::Clock;
use crate::holder::Holder;
use crate::lease::{Attempt, Claim, LeaseId, Live, State};
use crate::store::{Answer, LeaseStore, Slot, StoreError};
use crate::timing::Timing;
use account::Account;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;

/// A power of two; more than there are cores, so that locks are seldom met.
const SHARDS: usize = 64;
/// Holders in one shard; 4 million in all. Beyond it, newcomers are told that there is no store.
const HOLDERS_PER_SHARD_MAX: usize = 65_536;
/// A shard is looked through for dead holders when it has doubled, but not below this size.
const SWEEP_MIN: usize = 64;

/// Leases in memory. Cheap to make, starts nothing.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Debug, Default)]
struct Shard {
    accounts: HashMap<Holder, Account, foldhash::fast::RandomState>,
    sweep_at: usize,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { clock: Clock::new(), shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Decides one thing about one holder, under its shard's lock.
    fn with<T>(
        &self,
        holder: &Holder,
        decide: impl FnOnce(&mut Account, u64) -> T,
    ) -> Result<T, StoreError> {
        let mut shard = self.shards[holder.spread() % SHARDS].lock();
        let now = self.clock.unix_ms();
        shard.gather(holder);
        shard.make_place(holder, now)?;
        Ok(decide(shard.accounts.entry(*holder).or_default(), now))
    }

    /// Like `with`, but does not make an account of a holder that has none.
    fn peek<T: Default>(&self, holder: &Holder, decide: impl FnOnce(&mut Account, u64) -> T) -> T {
        let mut shard = self.shards[holder.spread() % SHARDS].lock();
        let now = self.clock.unix_ms();
        shard.gather(holder);
        shard.accounts.get_mut(holder).map(|account| decide(account, now)).unwrap_or_default()
    }
}

impl Shard {
    /// Brings what lies under the holder's other name under its current one. Both are in one shard.
    fn gather(&mut self, holder: &Holder) {
        if let Some(other) = holder.other()
            && let Some(found) = self.accounts.remove(&other)
        {
            self.accounts.entry(*holder).or_default().gather(found);
        }
    }

    fn make_place(&mut self, holder: &Holder, now: u64) -> Result<(), StoreError> {
        if self.accounts.len() < self.sweep_at.max(SWEEP_MIN) || self.accounts.contains_key(holder)
        {
            return Ok(());
        }
        self.accounts.retain(|_, account| !account.is_dead(now));
        self.sweep_at = (2 * self.accounts.len()).min(HOLDERS_PER_SHARD_MAX);
        if HOLDERS_PER_SHARD_MAX <= self.accounts.len() {
            return Err(StoreError::Unavailable("the memory store is full".into()));
        }
        Ok(())
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl LeaseStore for MemoryStore {
    async fn acquire(&self, claim: &Claim, timing: &Timing) -> Result<Answer, StoreError> {
        self.with(&claim.holder, |account, now| account.acquire(claim, timing, now))
    }

    async fn renew(
        &self,
        slots: &[Slot],
        timing: &Timing,
    ) -> Vec<Result<Option<Duration>, StoreError>> {
        let renew = |slot: &Slot| {
            let moved = self.peek(&slot.holder, |account, now| account.renew(slot, timing, now));
            Ok(moved.then_some(slot.life(timing)))
        };
        slots.iter().map(renew).collect()
    }

    async fn release(
        &self,
        holder: &Holder,
        id: &LeaseId,
        timing: &Timing,
    ) -> Result<(), StoreError> {
        self.peek(holder, |account, now| account.release(id, timing, now));
        Ok(())
    }

    async fn give_back(
        &self,
        holder: &Holder,
        id: &LeaseId,
        attempt: Attempt,
    ) -> Result<bool, StoreError> {
        Ok(self.peek(holder, |account, now| account.give_back(id, attempt, now)))
    }

    async fn list(&self, holder: &Holder) -> Result<Vec<Live>, StoreError> {
        Ok(self.peek(holder, |account, now| account.list(now)))
    }

    async fn terminate(
        &self,
        holder: &Holder,
        id: &LeaseId,
        timing: &Timing,
    ) -> Result<bool, StoreError> {
        Ok(self.peek(holder, |account, now| account.terminate(id, timing, now)))
    }

    async fn declare(
        &self,
        holder: &Holder,
        id: &LeaseId,
        state: State,
    ) -> Result<bool, StoreError> {
        Ok(self.peek(holder, |account, now| account.declare(id, state, now)))
    }
}
