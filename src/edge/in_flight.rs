//! Counts the requests that are being answered. Each counts until its guard is dropped, however it
//! ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// The number of requests that are being answered; a drain waits until it is 0. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    now: AtomicU64,
    changed: Notify,
}

/// One request that is being answered.
pub struct Guard(Arc<Count>);

impl InFlight {
    /// Counts one more request, until the guard is dropped.
    pub fn enter(&self) -> Guard {
        self.0.now.fetch_add(1, Ordering::Relaxed);
        Guard(Arc::clone(&self.0))
    }

    /// How many requests are being answered.
    pub fn now(&self) -> u64 {
        self.0.now.load(Ordering::Acquire)
    }

    /// Waits until no request is being answered.
    pub async fn none(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.now() == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.0.now.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}
