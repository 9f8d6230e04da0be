//! The cache of what the store said of sessions in the last seconds.

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer is used. A message about a revocation takes effect at once; this bounds the
/// harm when such a message is lost.
const TTL: Duration = Duration::from_secs(5);

/// The most answers that are kept.
const ANSWERS_MAX: usize = 262_144;

/// The number of locks, so that requests of different sessions seldom wait for one another.
const SHARDS: usize = 64;

type Shard = HashMap<Box<str>, Entry, RandomState>;

#[derive(Clone, Copy)]
struct Entry {
    at: Instant,
    is_active: bool,
    /// The tag of its account; 0 when it has none.
    account: u64,
}

impl Entry {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < TTL
    }
}

/// Whether sessions are active, by their ids.
pub(super) struct SessionCache {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    /// Grows with every revocation: an answer to a question that was asked before it is not kept.
    epoch: AtomicU64,
}

impl Default for SessionCache {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        SessionCache { shards, hasher: RandomState::default(), epoch: AtomicU64::new(0) }
    }
}

impl SessionCache {
    fn shard(&self, session: &str) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(session) as usize % SHARDS]
    }

    /// Take it before the store is asked, and hand it to `enter` with the answer.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The answer, if it is fresh.
    pub(super) fn find(&self, session: &str) -> Option<bool> {
        let shard = self.shard(session).lock();
        let entry = shard.get(session)?;
        entry.is_fresh().then_some(entry.is_active)
    }

    /// Keeps an answer to a question that was asked in `epoch`, about a session of the account with
    /// this tag; 0 for none.
    pub(super) fn enter(&self, session: &str, is_active: bool, account: u64, epoch: u64) {
        let mut shard = self.shard(session).lock();
        if self.epoch() != epoch {
            return;
        }
        if shard.len() >= ANSWERS_MAX / SHARDS {
            shard.retain(|_, entry| entry.is_fresh());
        }
        if shard.len() < ANSWERS_MAX / SHARDS {
            let entry = Entry { at: Instant::now(), is_active, account };
            shard.insert(session.into(), entry);
        }
    }

    /// Forgets what is known of one session.
    pub(super) fn forget(&self, session: &str) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.shard(session).lock().remove(session);
    }

    /// Forgets what is known of an account's sessions. It looks through all entries: that is slow,
    /// but it happens seldom, and a second index would make each request slower.
    pub(super) fn forget_account(&self, account: u64) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        for shard in &self.shards {
            shard.lock().retain(|_, entry| entry.account != account);
        }
    }

    /// Forgets everything.
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
        let cache = SessionCache::default();
        cache.enter("s", true, 0, cache.epoch());
        assert_eq!(cache.find("s"), Some(true));
        tokio::time::advance(TTL).await;
        assert_eq!(cache.find("s"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_is_forgotten_and_no_other() {
        let cache = SessionCache::default();
        for (session, account) in [("a1", 1), ("a2", 1), ("b", 2), ("c", 0)] {
            cache.enter(session, true, account, cache.epoch());
        }
        let epoch = cache.epoch();
        cache.forget_account(1);
        cache.enter("a3", true, 1, epoch);
        let found = ["a1", "a2", "a3", "b", "c"].map(|session| cache.find(session));
        assert_eq!(found, [None, None, None, Some(true), Some(true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_revocation_outdates_answers_that_are_under_way() {
        let cache = SessionCache::default();
        let epoch = cache.epoch();
        cache.forget("s");
        cache.enter("s", true, 0, epoch);
        assert_eq!(cache.find("s"), None);
    }
}
