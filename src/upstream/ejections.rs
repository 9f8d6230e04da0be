//! Ejections of one upstream's endpoints, on their way to whoever tells them.

use super::EjectReason;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;

/// Ejections that wait to be told. Each holds for seconds, so there are never many.
const WAITING_MAX: usize = 1_024;

/// An endpoint was ejected.
#[derive(Clone, Copy, Debug)]
pub struct Ejection {
    /// Which one.
    pub endpoint: SocketAddr,
    /// Why.
    pub why: EjectReason,
    /// For how long.
    pub time: Duration,
}

/// Where ejections are entered, one at a time.
#[derive(Debug)]
pub(super) struct Ejections {
    told: Mutex<mpsc::Sender<Ejection>>,
    heard: Mutex<Option<mpsc::Receiver<Ejection>>>,
}

impl Default for Ejections {
    fn default() -> Self {
        let (told, heard) = mpsc::channel(WAITING_MAX);
        Ejections { told: Mutex::new(told), heard: Mutex::new(Some(heard)) }
    }
}

impl Ejections {
    /// Enters what `decide` says. It runs alone, so that two do not go where one may.
    pub(super) fn enter(&self, decide: impl FnOnce() -> Option<Ejection>) -> bool {
        let told = self.told.lock();
        let Some(ejection) = decide() else { return false };
        // Nobody listens in a test or a check.
        let _ = told.try_send(ejection);
        true
    }

    /// All that are entered, for one who listens.
    pub(super) fn take(&self) -> Option<mpsc::Receiver<Ejection>> {
        self.heard.lock().take()
    }
}
