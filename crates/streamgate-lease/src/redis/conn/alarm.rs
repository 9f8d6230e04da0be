//! Alarm: how requests tell the monitor of a store that something is wrong.

use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Shared by all breakers of one store.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    rung: Notify,
    /// A monitor is there. Otherwise a breaker has to let requests through to find anything out.
    is_monitored: AtomicBool,
}

impl Alarm {
    /// The monitor should look at once.
    pub(crate) fn ring(&self) {
        self.rung.notify_one();
    }

    /// Until somebody rings, or has done so since the last time.
    pub(crate) async fn rung(&self) {
        self.rung.notified().await;
    }

    pub(crate) fn is_monitored(&self) -> bool {
        self.is_monitored.load(Ordering::Relaxed)
    }

    pub(crate) fn set_monitored(&self, is_monitored: bool) {
        self.is_monitored.store(is_monitored, Ordering::Relaxed);
    }
}
