//! Active sessions in the memory of this process, for a gateway that stands alone.

use super::revocation_key::RevocationKey;
use super::session_cache::SessionCache;
use foldhash::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The most sessions that are active; one more ends the session that expires first.
const SESSIONS_MAX: usize = 100_000;

/// The most revoked accounts that are remembered; one more drops the one that would be dropped
/// first.
const REVOKED_MAX: usize = 100_000;

/// When an account's sessions were ended, in seconds since 1970, and until when it is remembered.
type Revoked = HashMap<String, (u64, Instant)>;

/// Sessions and when they expire. A clone is another handle to the same sessions.
#[derive(Clone)]
pub struct MemorySessions {
    active: Arc<Mutex<HashMap<String, Instant>>>,
    revoked: Arc<Mutex<Revoked>>,
    cache: Arc<SessionCache>,
}

impl MemorySessions {
    pub(super) fn new(cache: Arc<SessionCache>) -> Self {
        MemorySessions { active: Arc::default(), revoked: Arc::default(), cache }
    }

    /// Makes the session active for `ttl` from now.
    pub fn put(&self, session: &str, ttl: Duration) {
        let mut active = self.active.lock();
        if active.len() >= SESSIONS_MAX {
            let now = Instant::now();
            active.retain(|_, expires| now < *expires);
        }
        if active.len() >= SESSIONS_MAX
            && let Some(first) = active.iter().min_by_key(|(_, expires)| **expires)
        {
            let first = first.0.clone();
            active.remove(&first);
        }
        active.insert(session.to_owned(), Instant::now() + ttl);
        drop(active);
        self.cache.forget(session);
    }

    /// Sets the expiry of an active session to `ttl` from now; `false` when it is not active.
    pub fn extend(&self, session: &str, ttl: Duration) -> bool {
        let now = Instant::now();
        match self.active.lock().get_mut(session) {
            Some(expires) if now < *expires => {
                *expires = now + ttl;
                true
            }
            _ => false,
        }
    }

    /// Moves the expiry of an active session to `ttl` from now, if that is later.
    pub(super) fn slide(&self, session: &str, ttl: Duration) {
        let now = Instant::now();
        if let Some(expires) = self.active.lock().get_mut(session).filter(|at| now < **at) {
            *expires = (now + ttl).max(*expires);
        }
    }

    /// Ends all sessions of an account that began until now, at once.
    pub(super) fn revoke(&self, account: &RevocationKey, remembered: Duration) {
        let (now, until) = (Instant::now(), Instant::now() + remembered);
        let mut revoked = self.revoked.lock();
        if revoked.len() >= REVOKED_MAX {
            revoked.retain(|_, (_, until)| now < *until);
        }
        if revoked.len() >= REVOKED_MAX
            && let Some(first) = revoked.iter().min_by_key(|(_, (_, until))| *until)
        {
            let first = first.0.clone();
            revoked.remove(&first);
        }
        revoked.insert(account.key(), (crate::clock::unix_seconds(), until));
        drop(revoked);
        self.cache.forget_account(account.tag());
    }

    /// When all sessions of the account were ended, in seconds since 1970.
    pub(super) fn revoked_at(&self, account: &RevocationKey) -> Option<u64> {
        let (at, until) = *self.revoked.lock().get(&account.key())?;
        (Instant::now() < until).then_some(at)
    }

    /// Ends the session, at once.
    pub fn delete(&self, session: &str) {
        self.active.lock().remove(session);
        self.cache.forget(session);
    }

    /// Whether the session is active now.
    pub fn is_active(&self, session: &str) -> bool {
        let expires = self.active.lock().get(session).copied();
        expires.is_some_and(|expires| Instant::now() < expires)
    }
}
