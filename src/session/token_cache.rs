//! The cache of tokens that were verified not long ago: a player's next request costs a look-up.
//!
//! It has two generations. Tokens that are new or asked for are in the young one. When that is full
//! it becomes the old one, and the tokens of the old one that nobody asked for are dropped. So
//! memory is bounded without a list in order of use, and a flood of new tokens does not push out at
//! once those that are in use.

use super::Session;
use super::token::claims::LEEWAY_SECS;
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::mem;
use std::sync::Arc;

/// The number of locks, so that requests seldom wait for one another.
const SHARDS: usize = 16;

/// The whole token is the key: a digest would cost more than comparing a kilobyte.
type Generation = HashMap<Box<str>, Entry, RandomState>;

#[derive(Clone)]
struct Entry {
    session: Arc<Session>,
    /// The keys it was verified with; when they change it must be verified again.
    epoch: u64,
}

#[derive(Default)]
struct Shard {
    young: Generation,
    old: Generation,
}

/// Verified tokens, at most as many as it was made for.
pub(super) struct TokenCache {
    shards: Box<[RwLock<Shard>]>,
    hasher: RandomState,
    /// The most entries of a generation of one shard.
    generation_max: usize,
}

impl TokenCache {
    /// A cache for this many tokens.
    pub(super) fn new(sessions_max: usize) -> Self {
        TokenCache {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::default(),
            generation_max: (sessions_max / SHARDS / 2).max(1),
        }
    }

    /// What `token` was found to prove, unless it has expired, the leeway included, or the keys
    /// have changed since.
    pub(super) fn find(&self, token: &str, epoch: u64, now: u64) -> Option<Arc<Session>> {
        let is_good =
            |entry: &&Entry| entry.epoch == epoch && now < entry.session.expires_at() + LEEWAY_SECS;
        let shard = self.shard(token);
        {
            let shard = shard.read();
            if let Some(entry) = shard.young.get(token) {
                return Some(entry).filter(is_good).map(|entry| entry.session.clone());
            }
            shard.old.get(token).filter(is_good)?;
        }
        let mut shard = shard.write();
        let Some((token, entry)) = shard.old.remove_entry(token) else {
            // Another request was faster and moved it.
            return shard.young.get(token).filter(is_good).map(|entry| entry.session.clone());
        };
        let session = entry.session.clone();
        self.keep(&mut shard, token, entry);
        Some(session)
    }

    /// Keeps what `token` proves with the keys of `epoch`.
    pub(super) fn insert(&self, token: &str, epoch: u64, session: Arc<Session>) {
        let mut shard = self.shard(token).write();
        shard.old.remove(token);
        self.keep(&mut shard, token.into(), Entry { session, epoch });
    }

    /// How many tokens are remembered just now.
    pub(super) fn len(&self) -> usize {
        let each = self.shards.iter().map(|shard| {
            let shard = shard.read();
            shard.young.len() + shard.old.len()
        });
        each.sum()
    }

    fn keep(&self, shard: &mut Shard, token: Box<str>, entry: Entry) {
        if shard.young.len() >= self.generation_max && !shard.young.contains_key(&token) {
            shard.old = mem::take(&mut shard.young);
        }
        shard.young.insert(token, entry);
    }

    fn shard(&self, token: &str) -> &RwLock<Shard> {
        &self.shards[self.hasher.hash_one(token) as usize % SHARDS]
    }
}
