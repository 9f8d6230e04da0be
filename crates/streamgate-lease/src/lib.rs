//! Concurrent-stream leases: at most `limit` live slots per holder, as one store counts them.
//!
//! This is the library's front door: the words, the order of its rooms and what is exported.
//! It knows nothing of HTTP, tokens, YAML or proxies.

#![warn(missing_docs)]

mod admission;
mod clock;
mod holder;
mod keeper;
mod lease;
mod leases;
pub mod memory;
#[cfg(feature = "redis")]
pub mod redis;
mod roster;
mod stats;
mod store;
mod timing;

pub use holder::{Holder, Pepper, PepperTooShort};
pub use keeper::Keeper;
pub use lease::{
    About, Claim, Ending, Full, Grant, Lease, LeaseId, LeaseIdInvalid, Live, Replace, State,
};
pub use leases::Leases;
pub use roster::Playing;
pub use stats::{Lost, Stats};
pub use store::{Admitted, Answer, LeaseStore, Slot, StoreError};
pub use timing::{Timing, TimingOutOfRange};
