//! The gate between requests that need a key which is not known, and the one task that fetches the
//! key set (single flight, with a cool-down).
//!
//! One fetch serves all requests that wait. After a fetch no request can cause another one for a
//! while, whatever key names its sender invents, and names that a fetch did not find are
//! remembered. A request that is cancelled does not cancel the fetch, which belongs to the task.

use crate::session::token::KID_BYTES_MAX;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

/// How long after the beginning of a fetch, good or bad, no request causes another.
pub(in crate::session) const COOL_DOWN: Duration = Duration::from_secs(30);

/// How long a key that was not found is not asked for again.
pub(in crate::session) const UNKNOWN_KEPT: Duration = Duration::from_secs(120);

/// The most such names that are remembered, of at most `KID_BYTES_MAX` bytes each.
const UNKNOWN_MAX: usize = 128;

/// How long a request waits for a fetch: a little longer than the fetch may take.
const WAIT_MAX: Duration = Duration::from_millis(crate::fetch::FETCH_MS_MAX + 500);

/// Why there is nothing to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// The last fetch began too recently.
    Cooling,
    /// A fetch that ended not long ago did not find this name.
    KnownUnknown,
}

/// Lets one fetch run at a time, and not too often.
pub(super) struct RefreshGate {
    state: Mutex<State>,
    called: Notify,
    finished: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// When the last fetch began.
    last_fetch: Option<Instant>,
    /// A fetch is running.
    is_busy: bool,
    /// A request has asked for a fetch, and none has begun since.
    is_called: bool,
    /// The names of keys that requests wait for.
    asked: Vec<Box<str>>,
    /// Names that were not found, and when; the oldest first.
    unknown: VecDeque<(Box<str>, Instant)>,
}

/// A fetch that is running or about to begin.
pub(in crate::session) struct Wait(watch::Receiver<u64>);

impl Wait {
    /// Returns when the fetch has ended, or when it takes too long.
    pub(in crate::session) async fn done(mut self) {
        // Too late, or the key set is gone: either way there is nothing more to wait for.
        let _ = timeout(WAIT_MAX, self.0.changed()).await;
    }
}

impl RefreshGate {
    /// A gate that has seen no fetch.
    pub(super) fn new() -> Self {
        let (finished, _) = watch::channel(0);
        RefreshGate { state: Mutex::default(), called: Notify::new(), finished }
    }

    /// Asks for a fetch that may find the key called `kid`, or any key at all.
    pub(super) fn ask(&self, kid: Option<&str>) -> Result<Wait, Closed> {
        let wait = Wait(self.finished.subscribe());
        let now = Instant::now();
        let mut state = self.state.lock();
        if kid.is_some_and(|kid| state.is_unknown(kid, now)) {
            return Err(Closed::KnownUnknown);
        }
        if !state.is_busy && !state.is_called {
            if state.last_fetch.is_some_and(|at| now < at + COOL_DOWN) {
                return Err(Closed::Cooling);
            }
            state.is_called = true;
            self.called.notify_one();
        }
        if let Some(kid) = kid {
            state.ask(kid);
        }
        Ok(wait)
    }

    /// Waits until a request asks for a fetch.
    pub(super) async fn called(&self) {
        loop {
            self.called.notified().await;
            // A fetch that was due anyway may have begun since.
            if self.state.lock().is_called {
                return;
            }
        }
    }

    /// A fetch begins.
    pub(super) fn begin(&self) {
        let mut state = self.state.lock();
        state.last_fetch = Some(Instant::now());
        state.is_busy = true;
        state.is_called = false;
    }

    /// The fetch has ended. `is_known` says which names it found; `None`: it failed.
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
        self.finished.send_modify(|fetches| *fetches += 1);
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
