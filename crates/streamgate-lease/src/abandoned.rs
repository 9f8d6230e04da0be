//! Starts whose answers never came: the store may have admitted what nobody knows of.
//!
//! Such a claim names an id that was made for it, so no retry ever finds its slot. The renewer
//! gives it back as soon as the store answers, and again for a while, as the claim may be late.

use crate::holder::Holder;
use crate::lease::{Attempt, Claim, LeaseId};
use parking_lot::Mutex;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Those that wait to be given back. What is beyond is left to its ttl.
const WAITING_MAX: usize = 10_000;
/// A claim that was given up is done within this time, or never.
const LATE_MAX: Duration = Duration::from_secs(10);
/// How often the store is asked for what it did not have yet.
pub(crate) const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A start that gave up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Abandoned {
    pub(crate) holder: Holder,
    pub(crate) id: LeaseId,
    pub(crate) attempt: Attempt,
    until: Instant,
}

impl Abandoned {
    /// Whether its claim may still be done.
    pub(crate) fn may_come(&self) -> bool {
        Instant::now() < self.until
    }
}

/// The starts that gave up, until somebody takes them.
#[derive(Debug, Default)]
pub(crate) struct AbandonedStarts {
    waiting: Mutex<Vec<Abandoned>>,
    has_some: Notify,
}

impl AbandonedStarts {
    /// Notes a claim whose answer never came. False if too many wait.
    pub(crate) fn note(&self, claim: &Claim) -> bool {
        let (holder, id) = (claim.holder, claim.id);
        let attempt = Attempt::Unanswered(claim.by);
        let mut waiting = self.waiting.lock();
        if waiting.len() == WAITING_MAX {
            return false;
        }
        waiting.push(Abandoned { holder, id, attempt, until: Instant::now() + LATE_MAX });
        self.has_some.notify_one();
        true
    }

    /// Takes all, once there are some.
    pub(crate) async fn take(&self) -> Vec<Abandoned> {
        self.has_some.notified().await;
        std::mem::take(&mut self.waiting.lock())
    }
}
