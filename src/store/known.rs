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

type Shard = HashMap<Box<str>, (Instant, bool), RandomState>;

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
        let (at, answer) = shard.get(session)?;
        (at.elapsed() < GOOD_FOR).then_some(*answer)
    }

    /// Remembers an answer that was asked for in `epoch`.
    pub(super) fn enter(&self, session: &str, answer: bool, epoch: u64) {
        let mut shard = self.shard(session).lock();
        if self.epoch() != epoch {
            return;
        }
        if shard.len() >= ANSWERS_MAX / SHARDS {
            shard.retain(|_, (at, _)| at.elapsed() < GOOD_FOR);
        }
        if shard.len() < ANSWERS_MAX / SHARDS {
            shard.insert(session.into(), (Instant::now(), answer));
        }
    }

    pub(super) fn forget(&self, session: &str) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.shard(session).lock().remove(session);
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
        known.enter("s", true, known.epoch());
        assert_eq!(known.find("s"), Some(true));
        tokio::time::advance(GOOD_FOR).await;
        assert_eq!(known.find("s"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_revocation_outdates_answers_that_are_under_way() {
        let known = Known::default();
        let epoch = known.epoch();
        known.forget("s");
        known.enter("s", true, epoch);
        assert_eq!(known.find("s"), None);
    }
}
