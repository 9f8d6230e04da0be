//! Concurrent-stream leases: at most `limit` live slots per holder, as one store counts them.
//!
//! A lease is one playback slot. It lives for one ttl after its player's last sign of life, and
//! every media request is one; so nothing has to be given back, and no counter can leak. It knows
//! nothing of HTTP, tokens, YAML or proxies.
//!
//! | word | meaning |
//! |---|---|
//! | [`Holder`] | whose slots are counted: an account, unreadable without the [`Pepper`] |
//! | [`LeaseId`] | which slot; asking again with the same id is asking for the same slot |
//! | [`Claim`] | a wish to play, with its limit and who may have to go |
//! | [`Class`] | a kind of stream with a limit of its own, as 4K, beside the limit of all |
//! | [`Grant`] | the answer: a lease, no room and who is there, or that the id has ended |
//! | [`Lease`] | the proof of a live slot; only this crate makes one |
//! | [`Leases`] | what a gateway asks; a known and fresh lease costs one look-up at most |
//! | [`CachedEntry`] | a holder, and where this node keeps a lease of its |
//! | [`Renewer`] | renews what was touched, in batches, off the request's path |
//! | [`LeaseStore`] | where the truth is: [`memory`] or Redis |
//!
//! # State machine
//!
//! ```text
//! NONE ─acquire, room→ ACTIVE ⇄ IDLE                declared pause and resume
//! ACTIVE, IDLE ─renew→ the same, expiry = max(old, new)
//! ACTIVE, IDLE ─clock ≥ expiry→ EXPIRED ─acquire, room→ ACTIVE
//! IDLE ─somebody needs the slot→ EXPIRED
//! ACTIVE, IDLE, EXPIRED ─release, terminate, replace→ ENDED
//! reusable: ─release→ NONE; ENDED ─a ttl later→ NONE; ENDED ─explicit start, room→ ACTIVE
//! any ─acquire, no room→ unchanged
//! ```
//!
//! A lease carries the classes that it was admitted with, and there was room in each of them:
//!
//! ```text
//! ACTIVE(classes) ─acquire a further class, room in it→ ACTIVE(classes + class)
//! ACTIVE(classes) ─acquire a further class, no room in it→ unchanged; the asker is told which
//! EXPIRED ─acquire, room→ ACTIVE(the classes of this claim)
//! ```
//!
//! While the store is away, a node decides alone. What it started, or let go on, it has adopted
//! when the store answers again; what is one too many by then goes on, flagged, for a while:
//!
//! ```text
//! NONE ─acquire by a node alone, room for all it knows→ PROVISIONAL
//! PROVISIONAL ─adopt, room→ ACTIVE
//! PROVISIONAL ─adopt, no room→ OVER      counted when newcomers ask, itself beyond the limit
//! NONE ─its node says that it was promised: lost, no room→ OVER
//! OVER ─acquire, a place beside those within the limit→ ACTIVE
//! OVER ─acquire, none, its time is up→ EXPIRED, and the asker is refused
//! ```
//!
//! So the invariant is: live leases that are not OVER are at most `limit`, in each class, too.
//!
//! A login's later playback marks its older ones, which then make room before anybody is refused:
//!
//! ```text
//! ACTIVE, IDLE ─a later start of its login→ the same, MARKED
//! MARKED ─acquire by its player, or a renewal a second younger than the mark→ not MARKED
//! MARKED ─somebody needs the slot→ SUPERSEDED
//! SUPERSEDED ─a ttl later→ NONE; ─acquire that starts, 10 s after the last such, room→ ACTIVE
//! ACTIVE ─given back by its first request, no other let pass→ NONE
//! ```
//!
//! ENDED absorbs everything for its tombstone's life, except that a reusable id, which stands for a
//! login rather than a playback, may play again as shown.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use streamgate_lease::memory::MemoryStore;
//! use streamgate_lease::{Claim, Grant, Holder, LeaseId, Leases, Pepper, Timing};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let (leases, _renewer) = Leases::new(Arc::new(MemoryStore::new()), Timing::default());
//! let alice = Holder::of(&Pepper::new([7; 32])?, "alice");
//! let tv = Claim::new(alice, LeaseId::of("session", Some("playback 1")), 1);
//! let pc = Claim::new(alice, LeaseId::of("session", Some("playback 2")), 1);
//!
//! assert!(matches!(leases.hold(&tv).await?, Grant::Held(_)));
//! assert!(matches!(leases.hold(&pc).await?, Grant::Full(_)));
//! leases.release(&tv.holder, &tv.id).await?;
//! assert!(matches!(leases.hold(&pc).await?, Grant::Held(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(missing_docs)]

// From top to bottom: a module imports only modules that stand below it.
mod leases;
mod renewer;
mod node;
mod pace;
mod abandoned;
mod table;
mod recorder;
mod stats;
mod event;
#[cfg(feature = "redis")]
pub mod redis;
pub mod memory;
mod admission;
mod store;
mod timing;
mod lease;
mod holder;
mod clock;
mod sync;

pub use event::{Change, End, Events, LeaseEvent, Refusal, Start};
pub use holder::{Holder, Pepper, PepperTooShort};
pub use lease::{
    About, Attempt, Claim, ClaimSource, Class, ClassInvalid, ClassLimit, Classes, DegradedPolicy,
    DisplacePolicy, Ending, Full, Grant, Lease, LeaseId, LeaseIdInvalid, LeaseText, Live, Replace,
    State, Tag, TagInvalid, Ticket, TooManyClasses,
};
pub use leases::{Leases, StartsExhausted};
pub use node::Bounds;
pub use renewer::Renewer;
pub use stats::{Lost, Stats};
pub use store::{Admitted, Answer, LeaseStore, Slot, StoreError, UnavailableReason};
pub use table::{CachedEntry, Census, Playing};
pub use timing::{Timing, TimingOutOfRange};
