//! What an account keeps of one lease: its slot, or the tombstone when it has ended.

use crate::lease::{About, Claim, Class, Ending, LeaseId, Live, State};
use std::time::Duration;

/// A slot. One that has lost its seat (`expires_at` is `None`) is only remembered.
#[derive(Debug)]
pub(super) struct Seated {
    pub(super) id: LeaseId,
    pub(super) expires_at: Option<u64>,
    pub(super) started_at: u64,
    pub(super) paused_since: Option<u64>,
    pub(super) reusable: bool,
    /// In the order of their names. An expired slot keeps them until it is admitted anew.
    pub(super) classes: Vec<Class>,
    /// Adopted beyond the limit, until then at the latest.
    pub(super) over_until: Option<u64>,
    pub(super) about: About,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Tombstone {
    pub(super) id: LeaseId,
    pub(super) why: Ending,
    pub(super) until: u64,
    pub(super) reusable: bool,
}

impl Tombstone {
    /// Which go first when there are too many.
    pub(super) fn rank(&self) -> u8 {
        match self.why {
            Ending::Superseded => 0,
            Ending::Released => 1,
            Ending::Terminated | Ending::Replaced | Ending::Unused => 2,
        }
    }

    /// A reusable id that was released may play again; it was not lost, though.
    pub(super) fn is_mere_trace(&self) -> bool {
        self.reusable && self.why == Ending::Released
    }
}

impl Seated {
    pub(super) fn is_seated(&self, id: &LeaseId) -> bool {
        self.id == *id && self.expires_at.is_some()
    }

    /// What a claim changes on a slot that is or was its own. What it is reusable for stays.
    pub(super) fn refresh(&mut self, claim: &Claim) {
        if !claim.about.is_empty() {
            self.about = claim.about.clone();
        }
        if claim.explicit_start {
            self.paused_since = None;
        }
    }

    pub(super) fn live(&self, now: u64) -> Option<Live> {
        let expires_at = self.expires_at.filter(|expires_at| now < *expires_at)?;
        Some(Live {
            id: self.id,
            about: self.about.clone(),
            started_at: self.started_at,
            expires_in: Duration::from_millis(expires_at - now),
            state: if self.paused_since.is_some() { State::Paused } else { State::Playing },
            classes: self.classes.clone(),
            over_limit: self.over_until.is_some(),
        })
    }
}
