//! What happened to an upstream beside its requests, on its way to whoever tells it.

use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Notices that wait to be told. Each holds for seconds, so there are never many.
const WAITING_MAX: usize = 1_024;

/// Where notices of one kind are entered, one at a time.
#[derive(Debug)]
pub(super) struct Notices<T> {
    told: Mutex<mpsc::Sender<T>>,
    heard: Mutex<Option<mpsc::Receiver<T>>>,
}

impl<T> Default for Notices<T> {
    fn default() -> Self {
        let (told, heard) = mpsc::channel(WAITING_MAX);
        Notices { told: Mutex::new(told), heard: Mutex::new(Some(heard)) }
    }
}

impl<T> Notices<T> {
    /// Enters what `decide` says. It runs alone, so that two do not go where one may.
    pub(super) fn enter(&self, decide: impl FnOnce() -> Option<T>) -> bool {
        let told = self.told.lock();
        let Some(notice) = decide() else { return false };
        // Nobody listens in a test or a check.
        let _ = told.try_send(notice);
        true
    }

    /// All that are entered, for one who listens.
    pub(super) fn take(&self) -> Option<mpsc::Receiver<T>> {
        self.heard.lock().take()
    }
}
