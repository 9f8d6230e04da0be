//! The locks, counted references and atomics of the lease table: `std`'s and parking_lot's, and
//! loom's when the model is checked (`scripts/loom`).
//!
//! loom runs a test in every interleaving of its threads, and with every value that an atomic read
//! may return. It sees only what goes through its own types, so the table takes them from here. The
//! cfg has a name of its own, because `--cfg loom` would also change tokio.

#[cfg(not(all(test, streamgate_loom)))]
pub(crate) use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(not(all(test, streamgate_loom)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, fence};
#[cfg(not(all(test, streamgate_loom)))]
pub(crate) use std::sync::{Arc, Weak};

#[cfg(all(test, streamgate_loom))]
mod model;
#[cfg(all(test, streamgate_loom))]
pub(crate) use model::{
    Arc, AtomicBool, AtomicU8, AtomicU64, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak, fence,
};
