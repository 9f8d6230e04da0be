//! What is known and kept of sessions at one store: one value for each open store, whatever number
//! of session kinds use it.

use super::memory_sessions::MemorySessions;
use super::queue::{Figures, Queue};
use super::revocations::Revocations;
use super::session_cache::SessionCache;
use crate::store::Store;
use std::fmt;
use std::sync::Arc;
use streamgate_lease::redis::Client;

/// The sessions at one store. Making one connects to nothing.
///
/// Commands about sessions: `session_queries.rs`. The task that writes beside requests:
/// `write_behind.rs`.
pub struct SessionStore {
    /// The store that the sessions are in.
    pub store: Arc<Store>,
    pub(super) backend: Backend,
    pub(super) cache: Arc<SessionCache>,
    pub(super) queue: Queue,
}

/// Where the sessions themselves are.
pub(super) enum Backend {
    Memory(MemorySessions),
    Redis(Arc<Client>),
}

impl fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore").field("store", &self.store).finish_non_exhaustive()
    }
}

impl SessionStore {
    /// The sessions at `store`.
    pub fn new(store: Arc<Store>) -> Self {
        let cache = Arc::new(SessionCache::default());
        let backend = match store.client() {
            None => Backend::Memory(MemorySessions::new(Arc::clone(&cache))),
            Some(client) => Backend::Redis(Arc::clone(client)),
        };
        SessionStore { store, backend, cache, queue: Queue::default() }
    }

    /// What the store said of the session in the last seconds, if it was asked.
    pub(super) fn was_active(&self, session: &str) -> Option<bool> {
        self.cache.find(session)
    }

    /// The embedded sessions, for whoever writes them from within this process.
    pub fn memory_sessions(&self) -> Option<&MemorySessions> {
        match &self.backend {
            Backend::Memory(sessions) => Some(sessions),
            Backend::Redis(_) => None,
        }
    }

    /// How many writes and questions beside requests were done, failed or dropped.
    pub fn figures(&self) -> Figures {
        self.queue.figures()
    }

    /// What makes the cache forget revoked sessions: a task must listen while the gateway runs.
    pub fn revocations(&self) -> Option<Revocations> {
        match &self.backend {
            Backend::Memory(_) => None,
            Backend::Redis(client) => {
                Some(Revocations::new(Arc::clone(client), Arc::clone(&self.cache)))
            }
        }
    }
}
