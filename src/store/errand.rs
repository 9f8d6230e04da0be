//! What is done in the store beside requests: uses of sessions are written, and sessions asked
//! about whose answers flow for long. A request only leaves a note; if there are too many notes,
//! one is dropped and counted, and the next use of that session leaves another.

use super::slide::{self, Reach};
use super::{Activity, Session, Store};
use crate::clock;
use futures_util::future::join_all;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Notes that wait. Each is as large as two pointers and a time.
const WAITING_MAX: usize = 16_384;

/// How many are taken at once, and so written in one pipeline.
const BATCH_MAX: usize = 256;

/// Sessions of which it is remembered when they were last written.
const WRITTEN_MAX: usize = 262_144;

/// A note.
pub(super) struct Errand {
    pub(super) activity: Arc<Activity>,
    pub(super) session: Arc<Session>,
    pub(super) task: Task,
}

pub(super) enum Task {
    /// Write that it was used: it may be idle for so long, and is written once in so long.
    Extend(Duration, Duration),
    /// Ask whether it is active.
    Ask,
}

/// What became of uses that were to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub written: u64,
    pub failed: u64,
    /// Notes that found no room, questions included.
    pub dropped: u64,
}

/// Where notes are left.
pub(super) struct Errands {
    since: Instant,
    sender: mpsc::Sender<Errand>,
    receiver: Mutex<Option<mpsc::Receiver<Errand>>>,
    written: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Default for Errands {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let (written, failed, dropped) = Default::default();
        let receiver = Mutex::new(Some(receiver));
        Errands { since: Instant::now(), sender, receiver, written, failed, dropped }
    }
}

impl Errands {
    /// A clock for what is due when.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn send(&self, errand: Errand) {
        if self.sender.try_send(errand).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            written: read(&self.written),
            failed: read(&self.failed),
            dropped: read(&self.dropped),
        }
    }

    /// The one who does what notes say; there is one.
    pub(super) fn runner(&self, store: &Arc<Store>) -> Option<Runner> {
        let notes = self.receiver.lock().take()?;
        Some(Runner { store: Arc::clone(store), notes, written: HashMap::new() })
    }
}

/// Does what notes say: must be run while the gateway runs.
pub struct Runner {
    store: Arc<Store>,
    notes: mpsc::Receiver<Errand>,
    written: HashMap<Box<str>, Written>,
}

/// What was last written of a session.
struct Written {
    /// Until then it is not written again.
    due: Instant,
    reach: Reach,
}

impl Runner {
    /// Waits for notes and does what they say, again and again. What waits when it is dropped is
    /// lost, which costs nobody more than a tenth of the time that a session may be idle.
    pub async fn run(mut self) {
        let mut notes = Vec::new();
        while self.notes.recv_many(&mut notes, BATCH_MAX).await != 0 {
            let mut uses = Vec::new();
            let mut questions = Vec::new();
            for Errand { activity, session, task } in notes.drain(..) {
                match task {
                    Task::Extend(idle, every) => uses.extend(self.due(&session, idle, every)),
                    Task::Ask => questions.push((activity, session)),
                }
            }
            join_all(questions.iter().map(ask)).await;
            self.write(uses).await;
        }
    }

    /// The use, if it is worth writing: not so soon after the last, whatever token it came with,
    /// and not when the session can't live longer anyway.
    fn due(&self, session: &Session, idle: Duration, every: Duration) -> Option<Use> {
        let reach = slide::reach(idle, session.expires_at(), clock::unix_ms())?;
        let last = self.written.get(session.id());
        if last.is_some_and(|last| Instant::now() < last.due || reach.is_same_end(&last.reach)) {
            return None;
        }
        Some(Use { session: session.id().into(), reach, every })
    }

    async fn write(&mut self, mut uses: Vec<Use>) {
        // Two tokens of one session in one batch are one use.
        uses.sort_by(|a, b| a.session.cmp(&b.session));
        uses.dedup_by(|a, b| a.session == b.session);
        if uses.is_empty() {
            return;
        }
        let pairs: Vec<_> = uses.iter().map(|used| (&*used.session, used.reach)).collect();
        let errands = &self.store.errands;
        if self.store.extend(&pairs).await.is_err() {
            errands.failed.fetch_add(uses.len() as u64, Ordering::Relaxed);
            return;
        }
        errands.written.fetch_add(uses.len() as u64, Ordering::Relaxed);
        let now = Instant::now();
        if self.written.len() + uses.len() > WRITTEN_MAX {
            self.written.retain(|_, written| now < written.due);
        }
        for Use { session, reach, every } in uses {
            if self.written.len() < WRITTEN_MAX {
                self.written.insert(session, Written { due: now + every, reach });
            }
        }
    }
}

/// Asks about a session whose answer flows. What can't be asked now is asked again later.
async fn ask((activity, session): &(Arc<Activity>, Arc<Session>)) {
    if let Ok(is_active) = activity.is_active(session).await {
        session.was_found(is_active);
    }
}

/// A use that is to be written.
struct Use {
    session: Box<str>,
    reach: Reach,
    every: Duration,
}
