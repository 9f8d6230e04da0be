//! What the store said of sessions in the last seconds.

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer is good for. A revocation on the channel takes effect at once; this bounds
/// the harm of one that was lost.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// How many answers are remembered in all.
const ANSWERS_MAX: usize = 262_144;

/// Requests of different sessions should not wait for one another.
const SHARDS: usize = 64;

type Shard = HashMap<Box<str>, (Instant, bool, u64), RandomState>;

/// Answers by session.
pub(super) struct Known {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    /// Grows with every revocation, so that an answer asked for before one is not kept after it.
    epoch: AtomicU64,
}

impl Default for Known {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Known { shards, hasher: RandomState::default(), epoch: AtomicU64::new(0) }
    }
}

impl Known {
    fn shard(&self, session: &str) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(session) as usize % SHARDS]
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn find(&self, session: &str) -> Option<bool> {
        let shard = self.shard(session).lock();
        let (at, answer, _) = shard.get(session)?;
        (at.elapsed() < GOOD_FOR).then_some(*answer)
    }

    /// Remembers an answer that was asked for in `epoch`, about a session of the account with this
    /// tag; 0 for none.
    pub(super) fn enter(&self, session: &str, answer: bool, account: u64, epoch: u64) {
        let mut shard = self.shard(session).lock();
        if self.epoch() != epoch {
            return;
        }
        if shard.len() >= ANSWERS_MAX / SHARDS {
            shard.retain(|_, (at, ..)| at.elapsed() < GOOD_FOR);
        }
        if shard.len() < ANSWERS_MAX / SHARDS {
            shard.insert(session.into(), (Instant::now(), answer, account));
        }
    }

    pub(super) fn forget(&self, session: &str) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.shard(session).lock().remove(session);
    }

    /// Forgets what is known of an account's sessions. It looks through all answers, because their
    /// look-up should not pay for what happens seldom.
    pub(super) fn forget_account(&self, account: u64) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        for shard in &self.shards {
            shard.lock().retain(|_, (.., of)| *of != account);
        }
    }

    pub(super) fn forget_all(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        for shard in &self.shards {
            shard.lock().clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_good_for_five_seconds() {
        let known = Known::default();
        known.enter("s", true, 0, known.epoch());
        assert_eq!(known.find("s"), Some(true));
        tokio::time::advance(GOOD_FOR).await;
        assert_eq!(known.find("s"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_is_forgotten_and_no_other() {
        let known = Known::default();
        for (session, account) in [("a1", 1), ("a2", 1), ("b", 2), ("c", 0)] {
            known.enter(session, true, account, known.epoch());
        }
        let epoch = known.epoch();
        known.forget_account(1);
        known.enter("a3", true, 1, epoch);
        let found = ["a1", "a2", "a3", "b", "c"].map(|session| known.find(session));
        assert_eq!(found, [None, None, None, Some(true), Some(true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_revocation_outdates_answers_that_are_under_way() {
        let known = Known::default();
        let epoch = known.epoch();
        known.forget("s");
        known.enter("s", true, 0, epoch);
        assert_eq!(known.find("s"), None);
    }
}
