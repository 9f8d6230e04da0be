//! The sessions of one kind, as their store sees them: whether one is still active, that one was
//! used, and that one or all of an account are over.
//!
//! A request waits for the store at most once in a while, for the question whether its session is
//! active. Everything else is left to `errand`, which does it beside.

use super::errand::{Errand, Task};
use super::mark::Mark;
use super::{Session, Store};
use crate::session::{Config, Revocation};
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::StoreError;

/// Uses of a session are written as often as this fits into the time it may be idle.
const WRITES_PER_IDLE: u32 = 10;

/// One kind of session and the store in which its sessions must be active.
#[derive(Debug)]
pub struct Activity {
    /// The entry of `sessions`.
    pub name: Box<str>,
    pub store: Arc<Store>,
    idle: Option<Duration>,
    revocation: Option<Revocation>,
}

/// What became of the wish to end sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whether there was such a session; all of an account always are.
    pub was_active: bool,
    /// Whether the other gateways were told. If not, they find out within seconds.
    pub is_told: bool,
}

impl Activity {
    pub fn new(name: &str, config: &Config, store: Arc<Store>) -> Self {
        let idle = config.idle.as_ref().map(|idle| idle.0);
        Activity { name: name.into(), store, idle, revocation: config.revocation() }
    }

    /// What the store said of the session in the last seconds, if it was asked.
    pub fn was_active(&self, session: &Session) -> Option<bool> {
        self.store.was_active(session.id())
    }

    /// Whether the session is active: told at once if that was asked in the last seconds, else one
    /// round trip.
    pub async fn is_active(&self, session: &Session) -> Result<bool, StoreError> {
        self.store.is_active(session, self.mark(session.account()).as_ref()).await
    }

    /// The session is used. Tells the store now and then, and never waits for it.
    pub fn touch(self: &Arc<Self>, session: &Arc<Session>) {
        let Some(idle) = self.idle else { return };
        let every = u64::try_from((idle / WRITES_PER_IDLE).as_millis()).unwrap_or(u64::MAX);
        if session.is_use_due(self.store.errands.now_ms(), every) {
            self.send(session, Task::Extend(idle, idle / WRITES_PER_IDLE));
        }
    }

    /// Whether an answer that flows for long may go on, by what is known; it is a use, too. What is
    /// not known is asked beside, and the next time it is: a request may be answered for longer
    /// than anything is remembered.
    pub fn may_go_on(self: &Arc<Self>, session: &Arc<Session>) -> bool {
        match self.was_active(session) {
            Some(is_active) => session.was_found(is_active),
            None => self.send(session, Task::Ask),
        }
        self.touch(session);
        !session.is_found_over()
    }

    fn send(self: &Arc<Self>, session: &Arc<Session>, task: Task) {
        let (activity, session) = (Arc::clone(self), Arc::clone(session));
        self.store.errands.send(Errand { activity, session, task });
    }

    /// Ends one session, for all gateways.
    pub async fn end(&self, session: &str) -> Result<Ended, StoreError> {
        self.store.end(session).await
    }

    /// Whether all sessions of an account can be ended.
    pub fn can_end_accounts(&self) -> bool {
        self.revocation.is_some()
    }

    /// Ends all sessions of an account that began until now, for all gateways. `None` if that is
    /// not set up.
    pub async fn end_all(&self, account: &str) -> Option<Result<Ended, StoreError>> {
        let revocation = self.revocation.as_ref()?;
        let mark = Mark::of(revocation, account);
        Some(self.store.revoke(&mark, revocation.remembered).await)
    }

    fn mark(&self, account: &str) -> Option<Mark> {
        self.revocation.as_ref().map(|revocation| Mark::of(revocation, account))
    }
}
