//! Counts the requests that are being answered, and says whether there is room for one more. Each
//! counts until its guard is dropped, however it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use tokio::sync::Notify;

/// The number of requests that are being answered; a drain waits until it is 0. Clones share it.
#[derive(Clone, Debug)]
pub struct InFlight(Arc<Count>);

/// Both counts in one number, so that a request costs one step of it.
#[derive(Debug)]
struct Count {
    /// In the lower half all requests, in the upper half those that were admitted.
    now: AtomicU64,
    admitted_max: AtomicU32,
    changed: Notify,
}

const ONE: u64 = 1;
const ONE_ADMITTED: u64 = 1 << 32;

/// One request that is being answered.
#[derive(Debug)]
pub struct Guard {
    count: Arc<Count>,
    is_admitted: bool,
}

impl InFlight {
    /// Counts no request yet; so many may be admitted at once.
    pub fn new(admitted_max: u32) -> Self {
        let admitted_max = AtomicU32::new(admitted_max);
        InFlight(Arc::new(Count { now: AtomicU64::new(0), admitted_max, changed: Notify::new() }))
    }

    /// From now on so many may be admitted at once.
    pub fn set_max(&self, admitted_max: u32) {
        self.0.admitted_max.store(admitted_max, Ordering::Relaxed);
    }

    /// Counts one more request, until the guard is dropped. One that is not admitted is answered,
    /// too: it is told that there is no room.
    pub fn enter(&self) -> Guard {
        let before = self.0.now.fetch_add(ONE + ONE_ADMITTED, Ordering::AcqRel);
        let is_admitted =
            before / ONE_ADMITTED < u64::from(self.0.admitted_max.load(Ordering::Relaxed));
        if !is_admitted {
            self.0.now.fetch_sub(ONE_ADMITTED, Ordering::AcqRel);
        }
        Guard { count: Arc::clone(&self.0), is_admitted }
    }

    /// How many requests are being answered.
    pub fn now(&self) -> u64 {
        self.0.now.load(Ordering::Acquire) % ONE_ADMITTED
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

impl Guard {
    /// Whether there was room for the request.
    pub fn is_admitted(&self) -> bool {
        self.is_admitted
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let counted = if self.is_admitted { ONE + ONE_ADMITTED } else { ONE };
        let before = self.count.now.fetch_sub(counted, Ordering::AcqRel);
        if before % ONE_ADMITTED == 1 {
            self.count.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_admitted_takes_no_room() {
        let all = InFlight::new(2);
        let (one, two) = (all.enter(), all.enter());
        let refused = all.enter();
        let is_admitted = [&one, &two, &refused].map(Guard::is_admitted);
        assert_eq!((is_admitted, all.now()), ([true, true, false], 3), "all are answered");
        drop(one);
        assert!(all.enter().is_admitted(), "the refused one is still there, and in nobody's way");
        drop((two, refused));
        assert_eq!(all.now(), 0);
    }
}
