//! The way to the store: what is asked may be lost before or after it is done, take its time, be
//! done twice or late, come in another order, or meet a store that is down.

use super::checked_store::CheckedStore;
use super::pass;
use super::policy::{Key, account};
use super::post::{Books, Turn};
use async_trait::async_trait;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamgate_lease::{
    Answer, Attempt, Claim, ClaimSource, Holder, LeaseId, LeaseStore, Live, Slot, State,
    StoreError, Timing,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A claim may be done that long after it was given up.
pub(super) const CLAIM_LATE_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_millis(40);
const RENEWAL_LATE_MAX: Duration = Duration::from_secs(30);

pub(super) struct Faults {
    pub(super) checked: Arc<CheckedStore>,
    chance: Mutex<Chance>,
    /// What is done later must be heard of, should it find something broken.
    later: Mutex<Vec<JoinHandle<()>>>,
}

struct Chance {
    rng: SmallRng,
    /// In percent.
    trouble: u32,
    is_down: bool,
}

#[derive(Clone, Copy)]
enum Fate {
    Fine,
    LostOnTheWayBack,
    Doubled,
    /// Nobody waits for it any more when it is done.
    Late,
    DoneAgainLater,
}

impl Faults {
    pub(super) fn new(seed: u64, checked: Arc<CheckedStore>) -> Arc<Self> {
        let rng = SmallRng::seed_from_u64(seed ^ 0x5eed);
        let chance = Mutex::new(Chance { rng, trouble: 0, is_down: false });
        Arc::new(Self { checked, chance, later: Mutex::default() })
    }

    pub(super) fn changes(&self, rng: &mut SmallRng) {
        let mut chance = self.chance.lock().unwrap();
        chance.trouble = [0, 0, 10, 30, 60][rng.random_range(0..5)];
        chance.is_down = rng.random_range(0..8) == 0;
        self.checked.post.set_trouble(chance.trouble);
    }

    pub(super) fn clears(&self) {
        let mut chance = self.chance.lock().unwrap();
        chance.trouble = 0;
        chance.is_down = false;
        self.checked.post.set_trouble(0);
    }

    pub(super) async fn all_is_done(&self) {
        let later = std::mem::take(&mut *self.later.lock().unwrap());
        for done in later {
            done.await.unwrap();
        }
        self.checked.post.all_has_come().await;
    }

    /// Draws what happens to a call, and lets it take its time.
    async fn fate(&self) -> Result<Fate, StoreError> {
        let (fate, delay) = {
            let mut chance = self.chance.lock().unwrap();
            if chance.is_down {
                return Err(StoreError::Unavailable("down".into()));
            }
            let trouble = chance.trouble;
            let delay = Duration::from_millis(chance.rng.random_range(0..40));
            let in_trouble = chance.rng.random_range(0..100) < trouble;
            let fate = match chance.rng.random_range(0..5) {
                _ if !in_trouble => Some(Fate::Fine),
                0 => None,
                1 => Some(Fate::LostOnTheWayBack),
                2 => Some(Fate::Doubled),
                3 => Some(Fate::Late),
                _ => Some(Fate::DoneAgainLater),
            };
            (fate, delay)
        };
        pass(delay).await;
        fate.ok_or(StoreError::Timeout)
    }

    /// An answer is on its way; meanwhile others may be heard, and notices of what was done since.
    async fn answer_travels(&self) {
        pass(self.delay(ANSWER_MAX)).await;
    }

    fn delay(&self, most: Duration) -> Duration {
        most.mul_f64(self.chance.lock().unwrap().rng.random_range(0.0..1.0))
    }

    fn acquire_later(&self, claim: &Claim) {
        let (checked, claim) = (self.checked.clone(), claim.clone());
        let delay = self.delay(CLAIM_LATE_MAX);
        self.later.lock().unwrap().push(tokio::spawn(async move {
            pass(delay).await;
            checked.acquire(&claim).await;
        }));
    }

    fn give_back_later(&self, holder: &Holder, id: &LeaseId, attempt: Attempt) {
        let (checked, holder, id) = (self.checked.clone(), *holder, *id);
        let delay = self.delay(CLAIM_LATE_MAX);
        self.later.lock().unwrap().push(tokio::spawn(async move {
            pass(delay).await;
            checked.give_back(&holder, &id, attempt).await;
        }));
    }

    fn renew_later(&self, slots: &[Slot]) {
        let (checked, slots) = (self.checked.clone(), slots.to_vec());
        let delay = self.delay(RENEWAL_LATE_MAX);
        self.later.lock().unwrap().push(tokio::spawn(async move {
            pass(delay).await;
            for slot in slots {
                // Its score was settled when it was first sent.
                checked.renew(&Slot { silent_for: slot.silent_for + delay, ..slot }).await;
            }
        }));
    }
}

/// The store as one gateway has it, and when it last confirmed each lease to it.
pub(super) struct Handle {
    pub(super) faults: Arc<Faults>,
    pub(super) confirmed: Arc<Mutex<HashMap<Key, Instant>>>,
    pub(super) books: Arc<Mutex<Books>>,
}

impl Handle {
    fn heard(&self, holder: &Holder, id: &LeaseId, turn: Turn, to_a_request: bool) {
        let key = (account(holder), *id);
        self.confirmed.lock().unwrap().insert(key, Instant::now());
        self.books.lock().unwrap().confirmed(key, turn, to_a_request);
    }
}

#[async_trait]
impl LeaseStore for Handle {
    async fn acquire(&self, claim: &Claim, _: &Timing) -> Result<Answer, StoreError> {
        let (faults, checked) = (&self.faults, &self.faults.checked);
        let fate = faults.fate().await?;
        if matches!(fate, Fate::Late | Fate::DoneAgainLater) {
            faults.acquire_later(claim);
        }
        if matches!(fate, Fate::Late) {
            return Err(StoreError::Timeout);
        }
        let (mut answer, mut turn) = checked.acquire(claim).await;
        match fate {
            Fate::LostOnTheWayBack => return Err(StoreError::Timeout),
            Fate::Doubled => (answer, turn) = checked.acquire(claim).await,
            _ => {}
        }
        faults.answer_travels().await;
        if matches!(answer, Answer::Held(_)) {
            self.heard(&claim.holder, &claim.id, turn, claim.by != ClaimSource::Node);
        }
        Ok(answer)
    }

    async fn renew(&self, slots: &[Slot], _: &Timing) -> Vec<Result<Option<Duration>, StoreError>> {
        let (faults, checked) = (&self.faults, &self.faults.checked);
        let fate = match faults.fate().await {
            Ok(fate) => fate,
            Err(error) => return vec![Err(error); slots.len()],
        };
        if matches!(fate, Fate::Late | Fate::DoneAgainLater) {
            faults.renew_later(slots);
        }
        if matches!(fate, Fate::Late) {
            return vec![Err(StoreError::Timeout); slots.len()];
        }
        let (mut renewed, mut turns) = (Vec::new(), Vec::new());
        for slot in slots {
            let (moved, turn) = checked.renew(slot).await;
            renewed.push(Ok(moved));
            turns.push(turn);
            if matches!(fate, Fate::Doubled) {
                checked.renew(slot).await;
            }
        }
        if matches!(fate, Fate::LostOnTheWayBack) {
            return vec![Err(StoreError::Timeout); slots.len()];
        }
        faults.answer_travels().await;
        for ((slot, moved), turn) in slots.iter().zip(&renewed).zip(turns) {
            if matches!(moved, Ok(Some(_))) {
                self.heard(&slot.holder, &slot.id, turn, false);
            }
        }
        renewed
    }

    async fn release(&self, holder: &Holder, id: &LeaseId, _: &Timing) -> Result<(), StoreError> {
        let fate = self.faults.fate().await?;
        self.faults.checked.end(holder, id, false).await;
        match fate {
            Fate::LostOnTheWayBack => Err(StoreError::Timeout),
            _ => Ok(()),
        }
    }

    async fn give_back(
        &self,
        holder: &Holder,
        id: &LeaseId,
        attempt: Attempt,
    ) -> Result<bool, StoreError> {
        let fate = self.faults.fate().await?;
        if matches!(fate, Fate::Late | Fate::DoneAgainLater) {
            self.faults.give_back_later(holder, id, attempt);
        }
        if matches!(fate, Fate::Late) {
            return Err(StoreError::Timeout);
        }
        let given = self.faults.checked.give_back(holder, id, attempt).await;
        match fate {
            Fate::LostOnTheWayBack => Err(StoreError::Timeout),
            Fate::Doubled => Ok(self.faults.checked.give_back(holder, id, attempt).await || given),
            _ => Ok(given),
        }
    }

    async fn list(&self, holder: &Holder) -> Result<Vec<Live>, StoreError> {
        self.faults.fate().await?;
        self.faults.checked.store().list(holder).await
    }

    async fn terminate(
        &self,
        holder: &Holder,
        id: &LeaseId,
        _: &Timing,
    ) -> Result<bool, StoreError> {
        let fate = self.faults.fate().await?;
        let known = self.faults.checked.end(holder, id, true).await;
        match fate {
            Fate::LostOnTheWayBack => Err(StoreError::Timeout),
            _ => Ok(known),
        }
    }

    async fn declare(
        &self,
        holder: &Holder,
        id: &LeaseId,
        state: State,
    ) -> Result<bool, StoreError> {
        self.faults.fate().await?;
        Ok(self.faults.checked.declare(holder, id, state).await)
    }
}
