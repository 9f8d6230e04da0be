//! Whether sessions are active: asked of their store, kept alive there by use, and ended.
//!
//! A request waits for the store at most once in a few seconds, for the question whether its
//! session is active; the answer is cached. Everything else is left to `write_behind`, a task that
//! works beside requests.

mod write_behind;
mod session_queries;
mod session_store;
mod revocations;
mod memory_sessions;
mod session_cache;
mod queue;
mod revocation_key;
mod sliding_expiry;

pub use memory_sessions::MemorySessions;
pub use queue::Figures;
pub use revocations::Revocations;
pub use session_queries::Ended;
pub use session_store::SessionStore;
pub use write_behind::WriteBehind;

use crate::session::{Config, Revocation, Session};
use queue::{Job, Task};
use revocation_key::RevocationKey;
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::StoreError;

/// A session's uses are written this often within the time that it may be idle.
const WRITES_PER_IDLE: u32 = 10;

/// One kind of session and the store in which its sessions must be active.
#[derive(Debug)]
pub struct Activity {
    /// The entry of `sessions`.
    pub name: Box<str>,
    /// Where its sessions are, together with those of other kinds in the same store.
    pub sessions: Arc<SessionStore>,
    idle: Option<Duration>,
    revocation: Option<Arc<Revocation>>,
}

impl Activity {
    /// Sessions of the kind `name`, as `config` has it, in this store.
    pub fn new(name: &str, config: &Config, sessions: Arc<SessionStore>) -> Self {
        let idle = config.idle.as_ref().map(|idle| idle.0);
        let revocation = config.revocation().map(Arc::new);
        Activity { name: name.into(), sessions, idle, revocation }
    }

    /// The name of the store.
    pub fn store_name(&self) -> &str {
        &self.sessions.store.name
    }

    /// What the store said of the session in the last seconds, if it was asked.
    pub fn was_active(&self, session: &Session) -> Option<bool> {
        self.sessions.was_active(session.id())
    }

    /// Whether the session is active: from the cache if that was asked in the last seconds, else
    /// with one round trip.
    pub async fn is_active(&self, session: &Session) -> Result<bool, StoreError> {
        let revocation = self.revocation.as_ref();
        let key = revocation.map(|revocation| RevocationKey::of(revocation, session.account()));
        self.sessions.is_active(session, key.as_ref()).await
    }

    /// Notes that the session is used, so that it stays active. Writes it now and then, and never
    /// waits for the store.
    pub fn touch(&self, session: &Arc<Session>) {
        let Some(idle) = self.idle else { return };
        let at_most_every = idle / WRITES_PER_IDLE;
        let every_ms = u64::try_from(at_most_every.as_millis()).unwrap_or(u64::MAX);
        if session.is_write_due(self.sessions.queue.now_ms(), every_ms) {
            self.send(session, Task::Extend { idle, at_most_every });
        }
    }

    /// Whether an answer that flows for long may go on, by what is known now; it is a use, too. If
    /// nothing is known, the store is asked beside, and the next call knows the answer.
    pub fn may_go_on(&self, session: &Arc<Session>) -> bool {
        match self.was_active(session) {
            Some(is_active) => session.note_revoked(!is_active),
            None => self.send(session, Task::Ask { revocation: self.revocation.clone() }),
        }
        self.touch(session);
        !session.is_revoked()
    }

    fn send(&self, session: &Arc<Session>, task: Task) {
        self.sessions.queue.send(Job { session: Arc::clone(session), task });
    }

    /// Ends one session, for all gateways.
    pub async fn end(&self, session: &str) -> Result<Ended, StoreError> {
        self.sessions.end(session).await
    }

    /// Whether all sessions of an account can be ended.
    pub fn can_end_accounts(&self) -> bool {
        self.revocation.is_some()
    }

    /// Ends all sessions of an account that began until now, for all gateways. `None` if that is
    /// not set up.
    pub async fn end_all(&self, account: &str) -> Option<Result<Ended, StoreError>> {
        let revocation = self.revocation.as_ref()?;
        let key = RevocationKey::of(revocation, account);
        Some(self.sessions.revoke(&key, revocation.remembered).await)
    }
}

#[cfg(test)]
mod tests;
