//! `impl Policy`: what a policy says that is only tried. It takes no slot from those it holds for,
//! and writes nothing to the store.
//!
//! The streams that it would have let in are leases in the memory of this gateway. What the store
//! knows of the account is read, and what plays there leaves less room here. So a gateway sees all
//! that is enforced anywhere, and of the streams in shadow its own.

use super::outcome::{late, unavailable};
use super::{Admission, Outcome, Policy, Refusal, Stream, WhenStoreFails};
use crate::session::Session;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use streamgate_lease::memory::MemoryStore;
use streamgate_lease::{
    Bounds, Claim, Class, ClassLimit, Classes, LeaseId, Leases, Live, Renewer, Timing,
};

/// The leases of streams in shadow; there are none until a filter wants them.
pub(super) struct ShadowLeases {
    timing: Timing,
    bounds: Bounds,
    leases: OnceLock<Leases>,
    renewer: Mutex<Option<Renewer>>,
}

impl ShadowLeases {
    pub(super) fn new(timing: Timing, bounds: Bounds) -> Self {
        let (leases, renewer) = Default::default();
        ShadowLeases { timing, bounds, leases, renewer }
    }

    fn leases(&self) -> &Leases {
        self.leases.get_or_init(|| {
            let store = Arc::new(MemoryStore::new());
            let (leases, renewer) = Leases::bounded(store, self.timing, self.bounds);
            *self.renewer.lock() = Some(renewer);
            leases
        })
    }
}

impl Policy {
    /// Has the policy tried on some route. Call it before the tasks are started.
    pub fn prepare_shadow(&self) {
        self.shadow.leases();
    }

    /// What renews the leases in shadow, for whoever runs the gateway; `None` where there are none,
    /// and when it was taken before.
    pub fn take_shadow_renewer(&self) -> Option<Renewer> {
        self.shadow.renewer.lock().take()
    }

    /// Like `touch`, for a stream in shadow.
    pub fn touch_in_shadow(
        &self,
        session: &Session,
        id: &LeaseId,
        classes: &[Class],
    ) -> Option<Admission> {
        // The session remembers where its lease is in the other table.
        let lease = self.shadow.leases().touch(self.viewer(session).holder(), id, classes)?;
        Some(Admission::Held(lease, Outcome::Renewed))
    }

    /// The stream, if this gateway knows it where it is counted.
    pub(super) fn known(&self, session: &Session, stream: &Stream<'_>) -> Option<Admission> {
        match stream.is_shadow {
            true => self.touch_in_shadow(session, &stream.id.lease, stream.classes),
            false => {
                let ttl = self.ttl_of(stream.classes, stream.ttl);
                self.touch(session, &stream.id.lease, stream.classes, ttl)
            }
        }
    }

    /// Like `admit`: the store is asked what plays, and told nothing.
    pub(super) async fn admit_in_shadow(&self, claim: Claim) -> Result<Admission, Refusal> {
        let claim = match (self.leases.list(&claim.holder).await, self.when_store_fails) {
            (Ok(live), _) if live.iter().any(|live| live.id == claim.id) => {
                return Ok(Admission::Uncounted);
            }
            (Ok(live), _) => beside(claim, &live),
            (Err(error), _) if !error.is_outage() => return Err(late()),
            (Err(_), WhenStoreFails::Local) => claim,
            (Err(_), WhenStoreFails::Open) => return Ok(Admission::Uncounted),
            (Err(_), WhenStoreFails::Closed) => {
                return Err(unavailable());
            }
        };
        match self.shadow.leases().hold(&claim).await {
            Ok(grant) => self.admission(grant, &claim, false),
            // The memory has no room for one more account.
            Err(_) => Ok(Admission::Uncounted),
        }
    }
}

/// The claim with the room that others leave.
fn beside(claim: Claim, others: &[Live]) -> Claim {
    let of = |class: Class| others.iter().filter(|live| live.classes.contains(&class)).count();
    let left =
        |limit: u32, taken: usize| limit.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
    let classes = claim.classes.iter().map(|one| {
        let limit = left(one.limit, of(one.class));
        ClassLimit { class: one.class, limit }
    });
    let classes = Classes::new(classes).expect("there were no more before");
    Claim { limit: left(claim.limit, others.len()), classes, ..claim }
}
