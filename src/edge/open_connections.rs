//! How many connections of clients are open in the process, over all listeners, and how many may
//! be. Each counts until its guard is dropped.

use super::in_flight::none_left;
use crate::units::Count;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use tokio::sync::Notify;

/// The open connections of the process. Clones share the count.
#[derive(Clone, Debug)]
pub struct OpenConnections(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    now: AtomicU32,
    max: AtomicU32,
    memory: AtomicU8,
    changed: Notify,
}

/// How much is left of the memory that the process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Memory {
    /// Nothing has to be done.
    Enough,
    /// Connections are not kept for another request.
    Short,
    /// No request is answered but by 503.
    Scarce,
    /// No connection is taken.
    Gone,
}

/// One open connection.
#[derive(Debug)]
pub(super) struct OpenGuard(Arc<Counted>);

impl OpenConnections {
    /// Counts none yet; so many may be open.
    pub fn new(max: Count) -> Self {
        let (now, max) = (AtomicU32::new(0), AtomicU32::new(max.0));
        let (memory, changed) = (AtomicU8::new(Memory::Enough as u8), Notify::new());
        OpenConnections(Arc::new(Counted { now, max, memory, changed }))
    }

    /// From now on so many may be open.
    pub fn set_max(&self, max: Count) {
        self.0.max.store(max.0, Ordering::Relaxed);
    }

    /// How much memory there is left.
    pub fn set_memory(&self, memory: Memory) {
        self.0.memory.store(memory as u8, Ordering::Relaxed);
    }

    /// Whether connections are closed after their next answer, for want of memory.
    pub(super) fn is_memory_short(&self) -> bool {
        Memory::Short as u8 <= self.0.memory.load(Ordering::Relaxed)
    }

    /// Whether no connection is taken, for want of memory.
    pub(super) fn is_closed(&self) -> bool {
        Memory::Gone as u8 <= self.0.memory.load(Ordering::Relaxed)
    }

    /// Counts one more, if there is room.
    pub(super) fn enter(&self) -> Option<OpenGuard> {
        let max = if self.is_closed() { 0 } else { self.0.max.load(Ordering::Relaxed) };
        let one_more = |now: u32| (now < max).then_some(now + 1);
        let entered = self.0.now.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        entered.is_ok().then(|| OpenGuard(Arc::clone(&self.0)))
    }

    /// How many are open.
    pub fn now(&self) -> u32 {
        self.0.now.load(Ordering::Acquire)
    }

    /// Waits until none is open.
    pub async fn none(&self) {
        none_left(&self.0.changed, || self.now() == 0).await;
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        if self.0.now.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_over_all_listeners() {
        let all = OpenConnections::new(Count(2));
        let (one, two) = (all.enter(), all.clone().enter());
        assert!(one.is_some() && two.is_some() && all.enter().is_none());
        drop(one);
        assert!(all.enter().is_some());
        all.set_max(Count(1));
        assert!(all.enter().is_none(), "a lower bound holds for those who come");
        drop(two);
        assert_eq!(all.now(), 0);
    }
}
