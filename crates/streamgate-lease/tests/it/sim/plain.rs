//! A store made of the specification, which can do what a real one may: its clock jumps, and after
//! a failover it has what its replica had heard of.
//!
//! It takes accounts by number, so it knows nothing of peppers; for that the memory store is there.

use super::policy::{ACCOUNTS, account};
use crate::spec::Spec;
use async_trait::async_trait;
use std::sync::Mutex;
use std::time::Duration;
use streamgate_lease::{
    Answer, Attempt, Claim, Holder, LeaseId, LeaseStore, Live, Slot, State, StoreError, Timing,
};
use tokio::time::Instant;

/// When its clock starts; far from zero, so that it can be set back.
const EPOCH_MS: u64 = 1_000_000_000;

pub(super) struct Plain {
    began: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    accounts: [Spec; ACCOUNTS.len()],
    /// What the clock shows beside the time that has passed.
    shift_ms: u64,
}

impl Plain {
    pub(super) fn new() -> Self {
        let inner = Inner { accounts: Default::default(), shift_ms: EPOCH_MS };
        Self { began: Instant::now(), inner: Mutex::new(inner) }
    }

    pub(super) fn copy(&self) -> [Spec; ACCOUNTS.len()] {
        self.inner.lock().unwrap().accounts.clone()
    }

    /// Its replica takes over.
    pub(super) fn fails_over_to(&self, replica: [Spec; ACCOUNTS.len()]) {
        self.inner.lock().unwrap().accounts = replica;
    }

    pub(super) fn jumps(&self, by: Duration, is_back: bool) {
        let mut inner = self.inner.lock().unwrap();
        let by = u64::try_from(by.as_millis()).unwrap();
        inner.shift_ms = if is_back { inner.shift_ms - by } else { inner.shift_ms + by };
    }

    fn with<T>(&self, of: &Holder, decide: impl FnOnce(&mut Spec, u64) -> T) -> T {
        let mut inner = self.inner.lock().unwrap();
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        let now = inner.shift_ms + passed;
        decide(&mut inner.accounts[account(of)], now)
    }
}

#[async_trait]
impl LeaseStore for Plain {
    async fn acquire(&self, claim: &Claim, timing: &Timing) -> Result<Answer, StoreError> {
        Ok(self.with(&claim.holder, |spec, now| spec.acquire(claim, timing, now)))
    }

    async fn renew(
        &self,
        slots: &[Slot],
        timing: &Timing,
    ) -> Vec<Result<Option<Duration>, StoreError>> {
        let renew = |slot: &Slot| {
            let (silent, ttl) = (slot.silent_for, slot.ttl.unwrap_or(timing.ttl()));
            let moved = self.with(&slot.holder, |spec, now| spec.renew(slot.id, silent, ttl, now));
            Ok(moved.then_some(ttl.saturating_sub(silent)))
        };
        slots.iter().map(renew).collect()
    }

    async fn release(
        &self,
        holder: &Holder,
        id: &LeaseId,
        timing: &Timing,
    ) -> Result<(), StoreError> {
        self.with(holder, |spec, now| spec.release(*id, timing, now));
        Ok(())
    }

    async fn give_back(
        &self,
        holder: &Holder,
        id: &LeaseId,
        attempt: Attempt,
    ) -> Result<bool, StoreError> {
        Ok(self.with(holder, |spec, now| spec.give_back(*id, attempt, now)))
    }

    async fn list(&self, holder: &Holder) -> Result<Vec<Live>, StoreError> {
        Ok(self.with(holder, |spec, now| spec.list(now)))
    }

    async fn terminate(
        &self,
        holder: &Holder,
        id: &LeaseId,
        timing: &Timing,
    ) -> Result<bool, StoreError> {
        Ok(self.with(holder, |spec, now| spec.terminate(*id, timing, now)))
    }

    async fn declare(
        &self,
        holder: &Holder,
        id: &LeaseId,
        state: State,
    ) -> Result<bool, StoreError> {
        Ok(self.with(holder, |spec, now| spec.declare(*id, state, now)))
    }
}
