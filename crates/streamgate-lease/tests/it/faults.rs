//! A real store with faults in front of it: it can be down, slow, blocked or emptied, and it counts
//! the calls.

use async_trait::async_trait;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use streamgate_lease::memory::MemoryStore;
use streamgate_lease::{
    Answer, Attempt, Claim, Holder, LeaseId, LeaseStore, Live, Slot, State, StoreError, Timing,
};
use tokio::sync::Semaphore;

pub(crate) struct FaultyStore {
    store: Mutex<Arc<dyn LeaseStore>>,
    is_down: AtomicBool,
    /// One of its servers is: half of all accounts, those at the front of every lease table.
    is_half_down: AtomicBool,
    /// The store cannot read what it has about this one.
    poisoned: Mutex<Option<Holder>>,
    /// Answers of acquire and renew are held up here, after the store has decided.
    gate: Semaphore,
    pub(crate) calls: AtomicU64,
    pub(crate) acquires: AtomicU64,
    pub(crate) renewals: AtomicU64,
    /// Those of them that kept the keys, too.
    pub(crate) keeps: AtomicU64,
}

const OPEN: usize = 1 << 20;

impl FaultyStore {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            store: Mutex::new(Arc::new(MemoryStore::new())),
            is_down: AtomicBool::new(false),
            is_half_down: AtomicBool::new(false),
            poisoned: Mutex::new(None),
            gate: Semaphore::new(OPEN),
            calls: AtomicU64::default(),
            acquires: AtomicU64::default(),
            renewals: AtomicU64::default(),
            keeps: AtomicU64::default(),
        })
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Relaxed);
    }

    pub(crate) fn set_half_down(&self, is_half_down: bool) {
        self.is_half_down.store(is_half_down, Relaxed);
    }

    /// Whether the server of this account does not answer.
    pub(crate) fn is_away(&self, holder: &Holder) -> bool {
        self.is_half_down.load(Relaxed) && holder.bucket() % 256 < 128
    }

    pub(crate) fn poison(&self, holder: Holder) {
        *self.poisoned.lock().unwrap() = Some(holder);
    }

    /// As after a failover to a replica that knows nothing.
    pub(crate) fn forget_all(&self) {
        *self.store.lock().unwrap() = Arc::new(MemoryStore::new());
    }

    pub(crate) fn hold_answers(&self) {
        self.gate.forget_permits(OPEN);
    }

    pub(crate) fn release_answers(&self) {
        self.gate.add_permits(OPEN);
    }

    pub(crate) fn count(counter: &AtomicU64) -> u64 {
        counter.load(Relaxed)
    }

    /// The store behind, as another gateway sees it.
    pub(crate) fn behind(&self) -> Arc<dyn LeaseStore> {
        self.store.lock().unwrap().clone()
    }

    fn asked(&self) -> Result<Arc<dyn LeaseStore>, StoreError> {
        self.calls.fetch_add(1, Relaxed);
        if self.is_down.load(Relaxed) {
            return Err(StoreError::Unavailable("the store is down".into()));
        }
        Ok(self.behind())
    }
}

#[async_trait]
impl LeaseStore for FaultyStore {
    async fn acquire(&self, claim: &Claim, timing: &Timing) -> Result<Answer, StoreError> {
        let store = self.asked()?;
        if self.is_away(&claim.holder) {
            return Err(StoreError::Unavailable("this server is down".into()));
        }
        if *self.poisoned.lock().unwrap() == Some(claim.holder) {
            return Err(StoreError::Protocol("poison".into()));
        }
        let answer = store.acquire(claim, timing).await;
        self.acquires.fetch_add(1, Relaxed);
        drop(self.gate.acquire().await.unwrap());
        answer
    }

    async fn renew(
        &self,
        slots: &[Slot],
        timing: &Timing,
    ) -> Vec<Result<Option<Duration>, StoreError>> {
        let store = match self.asked() {
            Ok(store) => store,
            Err(error) => return vec![Err(error); slots.len()],
        };
        self.renewals.fetch_add(slots.len() as u64, Relaxed);
        let keeps = slots.iter().filter(|slot| slot.keep_keys).count();
        self.keeps.fetch_add(keeps as u64, Relaxed);
        let mut renewed = store.renew(slots, timing).await;
        for (slot, renewed) in slots.iter().zip(&mut renewed) {
            if self.is_away(&slot.holder) {
                *renewed = Err(StoreError::Unavailable("this server is down".into()));
            }
        }
        drop(self.gate.acquire().await.unwrap());
        renewed
    }

    fn fails_as_one(&self) -> bool {
        !self.is_half_down.load(Relaxed)
    }

    async fn release(
        &self,
        holder: &Holder,
        id: &LeaseId,
        timing: &Timing,
    ) -> Result<(), StoreError> {
        self.asked()?.release(holder, id, timing).await
    }

    async fn give_back(
        &self,
        holder: &Holder,
        id: &LeaseId,
        attempt: Attempt,
    ) -> Result<bool, StoreError> {
        self.asked()?.give_back(holder, id, attempt).await
    }

    async fn list(&self, holder: &Holder) -> Result<Vec<Live>, StoreError> {
        self.asked()?.list(holder).await
    }

    async fn terminate(
        &self,
        holder: &Holder,
        id: &LeaseId,
        timing: &Timing,
    ) -> Result<bool, StoreError> {
        self.asked()?.terminate(holder, id, timing).await
    }

    async fn declare(
        &self,
        holder: &Holder,
        id: &LeaseId,
        state: State,
    ) -> Result<bool, StoreError> {
        self.asked()?.declare(holder, id, state).await
    }
}
