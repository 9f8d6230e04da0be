//! Active sessions in this process, for a gateway that stands alone.

use super::known::Known;
use super::mark::Mark;
use foldhash::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How many sessions may be active; one more ends the one that expires first.
const SESSIONS_MAX: usize = 100_000;

/// How many accounts may have been revoked; one more forgets the one that is forgotten first.
const REVOKED_MAX: usize = 100_000;

/// When an account's sessions were ended, in seconds since 1970, and until when that is remembered.
type Revoked = HashMap<String, (u64, Instant)>;

/// Sessions and when they expire. A clone is another handle to the same.
#[derive(Clone)]
pub struct MemorySessions {
    active: Arc<Mutex<HashMap<String, Instant>>>,
    revoked: Arc<Mutex<Revoked>>,
    known: Arc<Known>,
}

impl MemorySessions {
    pub(super) fn new(known: Arc<Known>) -> Self {
        MemorySessions { active: Arc::default(), revoked: Arc::default(), known }
    }

    /// The session is active for `ttl` from now.
    pub fn put(&self, session: &str, ttl: Duration) {
        let mut active = self.active.lock();
        if active.len() >= SESSIONS_MAX {
            let now = Instant::now();
            active.retain(|_, expires| *expires > now);
        }
        if active.len() >= SESSIONS_MAX
            && let Some(first) = active.iter().min_by_key(|(_, expires)| **expires)
        {
            let first = first.0.clone();
            active.remove(&first);
        }
        active.insert(session.to_owned(), Instant::now() + ttl);
        drop(active);
        self.known.forget(session);
    }

    /// A session that is active stays so for `ttl` from now; `false` when it is not active.
    pub fn extend(&self, session: &str, ttl: Duration) -> bool {
        let now = Instant::now();
        match self.active.lock().get_mut(session) {
            Some(expires) if *expires > now => {
                *expires = now + ttl;
                true
            }
            _ => false,
        }
    }

    /// A session that is active stays so for at least `ttl` from now.
    pub(super) fn slide(&self, session: &str, ttl: Duration) {
        let now = Instant::now();
        if let Some(expires) = self.active.lock().get_mut(session).filter(|at| now < **at) {
            *expires = (now + ttl).max(*expires);
        }
    }

    /// All sessions of an account that began until now are over, at once.
    pub(super) fn revoke(&self, mark: &Mark, remembered: Duration) {
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
        revoked.insert(mark.key(), (crate::clock::unix_seconds(), until));
        drop(revoked);
        self.known.forget_account(mark.tag());
    }

    /// Until when the account's sessions are over, in seconds since 1970.
    pub(super) fn revoked_at(&self, mark: &Mark) -> Option<u64> {
        let (at, until) = *self.revoked.lock().get(&mark.key())?;
        (Instant::now() < until).then_some(at)
    }

    /// The session is over, at once.
    pub fn delete(&self, session: &str) {
        self.active.lock().remove(session);
        self.known.forget(session);
    }

    pub fn is_active(&self, session: &str) -> bool {
        let expires = self.active.lock().get(session).copied();
        expires.is_some_and(|expires| expires > Instant::now())
    }
}
