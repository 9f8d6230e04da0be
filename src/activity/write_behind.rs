//! The task that writes to the store beside requests: uses of sessions, in batches, and questions
//! about sessions whose answers flow for long.

use super::queue::{Job, Task};
use super::revocation_key::RevocationKey;
use super::session_store::SessionStore;
use super::sliding_expiry::{self, NewExpiry};
use crate::clock;
use crate::session::{Revocation, Session};
use futures_util::future::join_all;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The most jobs that are taken at once, and so written in one pipeline.
const BATCH_MAX: usize = 256;

/// The most sessions of which it is remembered when they were last written.
const WRITTEN_MAX: usize = 262_144;

/// Does the jobs of one store's queue: a task must run it while the gateway runs.
pub struct WriteBehind {
    sessions: Arc<SessionStore>,
    jobs: mpsc::Receiver<Job>,
    written: HashMap<Box<str>, Written>,
}

/// What was last written of a session.
struct Written {
    /// Until then it is not written again.
    due: Instant,
    expiry: NewExpiry,
}

/// A use that is to be written.
struct Use {
    session: Box<str>,
    expiry: NewExpiry,
    at_most_every: Duration,
}

impl WriteBehind {
    /// The task of this store. There is one: `None` when it was taken before.
    pub fn take(sessions: &Arc<SessionStore>) -> Option<Self> {
        let jobs = sessions.queue.take_receiver()?;
        Some(WriteBehind { sessions: Arc::clone(sessions), jobs, written: HashMap::new() })
    }

    /// Waits for jobs and does them, again and again. Jobs that wait when this is dropped are lost,
    /// which costs a session no more than a tenth of the time that it may be idle.
    pub async fn run(mut self) {
        let mut jobs = Vec::new();
        while self.jobs.recv_many(&mut jobs, BATCH_MAX).await != 0 {
            let mut uses = Vec::new();
            let mut questions = Vec::new();
            for Job { session, task } in jobs.drain(..) {
                match task {
                    Task::Extend { idle, at_most_every } => {
                        uses.extend(self.due(&session, idle, at_most_every));
                    }
                    Task::Ask { revocation } => questions.push((session, revocation)),
                }
            }
            let asked = questions.iter().map(|(session, by)| self.ask(session, by.as_deref()));
            join_all(asked).await;
            self.write(uses).await;
        }
    }

    /// The use, if it is worth writing: not so soon after the last one, whatever token it came
    /// with, and not when the session can't live longer anyway.
    fn due(&self, session: &Session, idle: Duration, at_most_every: Duration) -> Option<Use> {
        let expiry = sliding_expiry::after_use(idle, session.expires_at(), clock::unix_ms())?;
        let last = self.written.get(session.id());
        if last.is_some_and(|last| Instant::now() < last.due || expiry.is_same_end(&last.expiry)) {
            return None;
        }
        Some(Use { session: session.id().into(), expiry, at_most_every })
    }

    async fn write(&mut self, mut uses: Vec<Use>) {
        // Two tokens of one session in one batch are one use.
        uses.sort_by(|a, b| a.session.cmp(&b.session));
        uses.dedup_by(|a, b| a.session == b.session);
        if uses.is_empty() {
            return;
        }
        let pairs: Vec<_> = uses.iter().map(|used| (&*used.session, used.expiry)).collect();
        if self.sessions.extend(&pairs).await.is_err() {
            self.sessions.queue.count_failed(uses.len());
            return;
        }
        self.sessions.queue.count_written(uses.len());
        let now = Instant::now();
        if WRITTEN_MAX < self.written.len() + uses.len() {
            self.written.retain(|_, written| now < written.due);
        }
        for Use { session, expiry, at_most_every } in uses {
            if self.written.len() < WRITTEN_MAX {
                self.written.insert(session, Written { due: now + at_most_every, expiry });
            }
        }
    }

    /// Asks about a session whose answer flows, and notes the answer in the session. When the store
    /// can't be asked now, the next look at the session asks again.
    async fn ask(&self, session: &Session, revocation: Option<&Revocation>) {
        let key = revocation.map(|revocation| RevocationKey::of(revocation, session.account()));
        if let Ok(is_active) = self.sessions.is_active(session, key.as_ref()).await {
            session.note_revoked(!is_active);
        }
    }
}
