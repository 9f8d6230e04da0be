//! Says when a session's use is worth telling to its store: once in a while, and for one request
//! of many that come at the same time. And whether it beats at all, for answers that flow longer
//! than anything else is remembered. It tells and asks nobody itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// When the next beat is due, in milliseconds of whatever clock its callers share.
    due: AtomicU64,
    /// The session was found to be over.
    has_stopped: AtomicBool,
}

impl Pulse {
    /// Whether a beat is due at `now_ms`; then the next is due `every_ms` later.
    pub(super) fn beats(&self, now_ms: u64, every_ms: u64) -> bool {
        let due = self.due.load(Ordering::Relaxed);
        let next = now_ms.saturating_add(every_ms);
        // Only one of those who see it due gets it.
        due <= now_ms
            && self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Somebody asked beside whether the session is active.
    pub(super) fn was_found(&self, is_active: bool) {
        self.has_stopped.store(!is_active, Ordering::Relaxed);
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.has_stopped.load(Ordering::Relaxed)
    }
}

impl Clone for Pulse {
    fn clone(&self) -> Self {
        Pulse {
            due: AtomicU64::new(self.due.load(Ordering::Relaxed)),
            has_stopped: AtomicBool::new(self.has_stopped()),
        }
    }
}

impl PartialEq for Pulse {
    /// When it was used is no part of what a session is.
    fn eq(&self, _: &Pulse) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_beats_at_once_and_then_once_in_a_while() {
        let pulse = Pulse::default();
        let beats: Vec<u64> = (0..100).filter(|now| pulse.beats(*now, 30)).collect();
        assert_eq!(beats, [0, 30, 60, 90]);
    }
}
