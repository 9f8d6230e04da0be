//! The queue of what is to be done in the store beside requests. It is bounded: what finds it full
//! is dropped and counted, and the next use of that session leaves another job.

use crate::session::{Revocation, Session};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The most jobs that wait. Each is as large as a few pointers.
const JOBS_MAX: usize = 16_384;

/// One thing to do about one session.
pub(super) struct Job {
    pub(super) session: Arc<Session>,
    pub(super) task: Task,
}

pub(super) enum Task {
    /// Extend the session, because it was used.
    Extend {
        /// How long it may go unused.
        idle: Duration,
        /// The minimum time between two writes of one session.
        at_most_every: Duration,
    },
    /// Ask the store whether the session is active.
    Ask {
        /// How the end of all sessions of its account is found, if that is set up.
        revocation: Option<Arc<Revocation>>,
    },
}

/// What became of jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Uses of sessions that the store took.
    pub written: u64,
    /// Uses of sessions that the store did not take.
    pub failed: u64,
    /// Jobs that found the queue full, questions included.
    pub dropped: u64,
}

/// Where requests leave jobs.
pub(super) struct Queue {
    since: Instant,
    sender: mpsc::Sender<Job>,
    receiver: Mutex<Option<mpsc::Receiver<Job>>>,
    written: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Default for Queue {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(JOBS_MAX);
        let (written, failed, dropped) = Default::default();
        let receiver = Mutex::new(Some(receiver));
        Queue { since: Instant::now(), sender, receiver, written, failed, dropped }
    }
}

impl Queue {
    /// Milliseconds since the queue was made: the clock of the sessions' write throttles.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Leaves a job, or drops and counts it. Never waits.
    pub(super) fn send(&self, job: Job) {
        if self.sender.try_send(job).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The end that jobs come out of; the first caller gets it.
    pub(super) fn take_receiver(&self) -> Option<mpsc::Receiver<Job>> {
        self.receiver.lock().take()
    }

    pub(super) fn count_written(&self, uses: usize) {
        self.written.fetch_add(uses as u64, Ordering::Relaxed);
    }

    pub(super) fn count_failed(&self, uses: usize) {
        self.failed.fetch_add(uses as u64, Ordering::Relaxed);
    }

    pub(super) fn figures(&self) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            written: read(&self.written),
            failed: read(&self.failed),
            dropped: read(&self.dropped),
        }
    }
}
