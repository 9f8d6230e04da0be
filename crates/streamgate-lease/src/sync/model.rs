//! The same names over loom. loom has no `Weak`, so `Arc` and `Weak` stand here: the counting is
//! that of `std::sync::Arc`, with the same orderings, over loom's atomics.
//!
//! loom runs its threads in turns and changes turns at its own operations only. So between such an
//! operation and the change of `std`'s count beside it nobody else has a turn.

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, fence};
use loom::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
pub(crate) use loom::sync::{RwLockReadGuard, RwLockWriteGuard};
use std::ops::Deref;

/// loom's lock with parking_lot's methods.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(loom::sync::RwLock<T>);

#[derive(Debug)]
pub(crate) struct Arc<T> {
    value: std::sync::Arc<T>,
    counts: std::sync::Arc<Counts>,
}

#[derive(Debug)]
pub(crate) struct Weak<T>(Option<(std::sync::Weak<T>, std::sync::Arc<Counts>)>);

/// As in `std`: all strong references together count as one weak reference.
#[derive(Debug)]
struct Counts {
    strong: AtomicUsize,
    weak: AtomicUsize,
}

/// The weak count while `get_mut` looks at the strong one.
const LOCKED: usize = usize::MAX;

impl<T> RwLock<T> {
    pub(crate) fn read_recursive(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().expect("no thread of a model has panicked")
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().expect("no thread of a model has panicked")
    }

    pub(crate) fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        self.0.try_read().ok()
    }

    pub(crate) fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        self.0.try_write().ok()
    }
}

impl<T> Arc<T> {
    pub(crate) fn new(value: T) -> Self {
        let counts = Counts { strong: AtomicUsize::new(1), weak: AtomicUsize::new(1) };
        Self { value: std::sync::Arc::new(value), counts: std::sync::Arc::new(counts) }
    }

    pub(crate) fn downgrade(this: &Self) -> Weak<T> {
        let weak = &this.counts.weak;
        loop {
            let count = weak.load(Relaxed);
            if count == LOCKED {
                loom::thread::yield_now();
            } else if weak.compare_exchange(count, count + 1, Acquire, Relaxed).is_ok() {
                break;
            }
        }
        Weak(Some((std::sync::Arc::downgrade(&this.value), this.counts.clone())))
    }

    pub(crate) fn get_mut(this: &mut Self) -> Option<&mut T> {
        let counts = &this.counts;
        counts.weak.compare_exchange(1, LOCKED, Acquire, Relaxed).ok()?;
        let is_unique = counts.strong.load(Acquire) == 1;
        counts.weak.store(1, Release);
        is_unique.then(|| {
            std::sync::Arc::get_mut(&mut this.value).expect("both counts say that it is unique")
        })
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        self.counts.strong.fetch_add(1, Relaxed);
        Self { value: self.value.clone(), counts: self.counts.clone() }
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        if self.counts.strong.fetch_sub(1, Release) == 1 {
            self.counts.strong.load(Acquire);
            self.counts.weak.fetch_sub(1, Release);
        }
    }
}

impl<T> Weak<T> {
    pub(crate) fn upgrade(&self) -> Option<Arc<T>> {
        let (value, counts) = self.0.as_ref()?;
        loop {
            let count = counts.strong.load(Relaxed);
            if count == 0 {
                return None;
            }
            if counts.strong.compare_exchange(count, count + 1, Acquire, Relaxed).is_ok() {
                let value = value.upgrade().expect("another strong reference exists");
                return Some(Arc { value, counts: counts.clone() });
            }
        }
    }
}

impl<T> Default for Weak<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Drop for Weak<T> {
    fn drop(&mut self) {
        if let Some((value, counts)) = self.0.take() {
            drop(value);
            counts.weak.fetch_sub(1, Release);
        }
    }
}
