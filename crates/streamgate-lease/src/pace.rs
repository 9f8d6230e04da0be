//! Pace: how often the renewer looks at the table. The shortest ttl that any claim has brought
//! decides it, from the moment on at which that claim is made.

use crate::clock::millis;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Pace {
    shortest_ttl_ms: AtomicU64,
    became_shorter: Notify,
}

impl Pace {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { shortest_ttl_ms: AtomicU64::new(millis(ttl)), became_shorter: Notify::new() }
    }

    /// There is a lease that lives for `ttl` after its last sign of life.
    pub(crate) fn keep_up_with(&self, ttl: Duration) {
        let ttl_ms = millis(ttl);
        let is_shorter = || ttl_ms < self.shortest_ttl_ms.load(Relaxed);
        if is_shorter() && ttl_ms < self.shortest_ttl_ms.fetch_min(ttl_ms, Relaxed) {
            self.became_shorter.notify_one();
        }
    }

    pub(crate) fn shortest_ttl(&self) -> Duration {
        Duration::from_millis(self.shortest_ttl_ms.load(Relaxed))
    }

    /// Done when it has become shorter since the last call, or does so now.
    pub(crate) async fn becomes_shorter(&self) {
        self.became_shorter.notified().await;
    }
}
