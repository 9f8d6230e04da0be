//! Where requests ask for a key that is not known, and the one task that fetches hears of it.
//!
//! One attempt serves all who wait. After it nobody can cause another for a while, whatever names
//! of keys they invent, and names that an attempt did not find are remembered. A request that
//! goes away takes nothing with it: the attempt belongs to the task, not to the one who asked.

use super::token::KID_BYTES_MAX;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

/// How long after the beginning of an attempt, good or bad, no request causes another.
pub(super) const COOL_DOWN: Duration = Duration::from_secs(30);

/// How long a name that was not found is not asked for again.
pub(super) const UNKNOWN_KEPT: Duration = Duration::from_secs(120);

/// How many such names are remembered, of at most `KID_BYTES_MAX` bytes each.
const UNKNOWN_MAX: usize = 128;

/// How long a request waits for an attempt: a little longer than the attempt may take.
const WAIT_MAX: Duration = Duration::from_millis(crate::fetch::FETCH_MS_MAX + 500);

/// What became of the question for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The last attempt began too recently.
    Cooling,
    /// An attempt that ended not long ago did not find this name.
    KnownUnknown,
}

pub(super) struct Desk {
    state: Mutex<State>,
    called: Notify,
    finished: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// When the last attempt began.
    last_attempt: Option<Instant>,
    is_busy: bool,
    is_called: bool,
    asked: Vec<Box<str>>,
    /// The oldest first.
    unknown: VecDeque<(Box<str>, Instant)>,
}

/// An attempt that is under way, or about to be.
pub(super) struct Wait(watch::Receiver<u64>);

impl Wait {
    /// Returns when the attempt has ended, or when it takes too long.
    pub(super) async fn done(mut self) {
        // Too late, or the key set is gone: either way there is nothing more to wait for.
        let _ = timeout(WAIT_MAX, self.0.changed()).await;
    }
}

impl Desk {
    pub(super) fn new() -> Self {
        let (finished, _) = watch::channel(0);
        Desk { state: Mutex::default(), called: Notify::new(), finished }
    }

    /// Asks for the key called `kid`, or for any key at all.
    pub(super) fn ask(&self, kid: Option<&str>) -> Result<Wait, Answer> {
        let wait = Wait(self.finished.subscribe());
        let now = Instant::now();
        let mut state = self.state.lock();
        if kid.is_some_and(|kid| state.is_unknown(kid, now)) {
            return Err(Answer::KnownUnknown);
        }
        if !state.is_busy && !state.is_called {
            if state.last_attempt.is_some_and(|at| now < at + COOL_DOWN) {
                return Err(Answer::Cooling);
            }
            state.is_called = true;
            self.called.notify_one();
        }
        if let Some(kid) = kid {
            state.ask(kid);
        }
        Ok(wait)
    }

    /// Waits until somebody asks.
    pub(super) async fn called(&self) {
        loop {
            self.called.notified().await;
            // An attempt that began on its own may have answered already.
            if self.state.lock().is_called {
                return;
            }
        }
    }

    /// An attempt begins.
    pub(super) fn begin(&self) {
        let mut state = self.state.lock();
        state.last_attempt = Some(Instant::now());
        state.is_busy = true;
        state.is_called = false;
    }

    /// The attempt has ended. `is_known` tells which names it found; `None`: it failed.
    pub(super) fn finish(&self, is_known: Option<&dyn Fn(&str) -> bool>) {
        let mut state = self.state.lock();
        let asked = std::mem::take(&mut state.asked);
        if let Some(is_known) = is_known {
            let now = Instant::now();
            for kid in asked.into_iter().filter(|kid| !is_known(kid)) {
                state.forget_one_if_full();
                state.unknown.push_back((kid, now));
            }
        }
        state.is_busy = false;
        self.finished.send_modify(|attempts| *attempts += 1);
    }
}

impl State {
    fn is_unknown(&self, kid: &str, now: Instant) -> bool {
        self.unknown.iter().any(|(name, since)| **name == *kid && now < *since + UNKNOWN_KEPT)
    }

    fn ask(&mut self, kid: &str) {
        debug_assert!(kid.len() <= KID_BYTES_MAX, "tokens with longer names are refused");
        let is_new = !self.asked.iter().any(|asked| **asked == *kid);
        if is_new && self.asked.len() < UNKNOWN_MAX {
            self.asked.push(kid.into());
        }
    }

    fn forget_one_if_full(&mut self) {
        if self.unknown.len() >= UNKNOWN_MAX {
            self.unknown.pop_front();
        }
    }
}
