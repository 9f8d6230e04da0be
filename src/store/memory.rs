//! Active sessions in this process, for a gateway that stands alone.

use super::known::Known;
use foldhash::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How many sessions may be active; one more ends the one that expires first.
const SESSIONS_MAX: usize = 100_000;

/// Sessions and when they expire. A clone is another handle to the same.
#[derive(Clone)]
pub struct MemorySessions {
    active: Arc<Mutex<HashMap<String, Instant>>>,
    known: Arc<Known>,
}

impl MemorySessions {
    pub(super) fn new(known: Arc<Known>) -> Self {
        MemorySessions { active: Arc::default(), known }
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
