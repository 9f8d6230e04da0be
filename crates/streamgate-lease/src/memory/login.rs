//! What one holder's streams have to do with its logins: which belong together, which were passed
//! over, how often one starts, and what a start that failed was called.
//!
//! It outlives the slots, and it decides nothing alone: the account knows who is seated and who has
//! ended. In Redis the same lies in fields of their own beside the records (`redis/acquire.lua`).

use crate::admission::{ANEW_EVERY_MS, Mark, STARTS_MAX, STARTS_WITHIN_MS};
use crate::clock::millis;
use crate::lease::{Claim, ClaimSource, DisplacePolicy, LeaseId, Tag, Ticket};
use crate::timing::Timing;
use std::time::Duration;

/// Starts of one holder that are remembered by their paths.
const TRIES_MAX: usize = 64;
/// Tickets of one holder that are remembered; those that end first go.
const TICKETS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Logins {
    ties: Vec<(LeaseId, Tie)>,
    /// When each login displaced what it had, within a minute.
    starts: Vec<(Tag, Vec<u64>)>,
    tries: Vec<Try>,
    /// Streams whose tickets were used in time, and until when that is remembered.
    tickets: Vec<(LeaseId, u64)>,
}

/// What ties an id to its login.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tie {
    login: Option<Tag>,
    path: Option<Tag>,
    /// Of the slot's expiry.
    ttl_ms: u64,
    passes: Passes,
    marked_at: Option<u64>,
    /// When it last began anew after it was superseded.
    anew_at: Option<u64>,
}

/// How many requests of a stream were let pass since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Passes {
    #[default]
    None,
    One,
    More,
}

/// The last start of a login at a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Try {
    login: Tag,
    path: Tag,
    pub(super) id: LeaseId,
    pub(super) born_at: u64,
    until: u64,
}

impl Logins {
    pub(super) fn tie(&self, id: &LeaseId) -> Tie {
        let found = self.ties.iter().find(|(tied, _)| tied == id);
        found.map(|(_, tie)| *tie).unwrap_or_default()
    }

    fn tie_mut(&mut self, id: &LeaseId) -> &mut Tie {
        let at = self.ties.iter().position(|(tied, _)| tied == id).unwrap_or_else(|| {
            self.ties.push((*id, Tie::default()));
            self.ties.len() - 1
        });
        &mut self.ties[at].1
    }

    /// What this login's last start at this path was called, if that is not too long ago.
    pub(super) fn last_try(&self, claim: &Claim, now: u64) -> Option<Try> {
        let (login, path) = (claim.login?, claim.path?);
        let is_it = |it: &&Try| (it.login, it.path) == (login, path) && now < it.until;
        self.tries.iter().find(is_it).filter(|_| claim.by != ClaimSource::Node).copied()
    }

    /// Notes a start at a path, and tells when its id was made.
    pub(super) fn note_try(
        &mut self,
        claim: &Claim,
        retried: Option<Try>,
        until: u64,
        now: u64,
    ) -> Option<u64> {
        let (login, path) = (claim.login?, claim.path?);
        let born_at = retried.map_or(now, |it| it.born_at);
        self.tries.retain(|it| (it.login, it.path) != (login, path));
        self.tries.push(Try { login, path, id: claim.id, born_at, until });
        Some(born_at)
    }

    /// Whether a ticket lets a stream begin: it was used before, or this is its first use.
    pub(super) fn may_begin_by(&self, id: &LeaseId, ticket: Ticket, now: u64) -> bool {
        let is_known = self.tickets.iter().any(|(used, until)| used == id && now < *until);
        is_known || now < ticket.use_by
    }

    pub(super) fn note_ticket(&mut self, id: &LeaseId, ticket: Ticket, now: u64) {
        self.tickets.retain(|(used, until)| used != id && now < *until);
        if self.tickets.len() == TICKETS_MAX {
            let first = self.tickets.iter().map(|(_, until)| *until).min();
            self.tickets.retain(|(_, until)| Some(*until) != first);
        }
        self.tickets.push((*id, ticket.ends_at));
    }

    /// A start ends older streams of its login only so often.
    pub(super) fn may_displace(&self, claim: &Claim, now: u64) -> bool {
        let Some(login) = claim.login.filter(|_| claim.displaces == DisplacePolicy::Older) else {
            return false;
        };
        let starts = self.starts.iter().filter(|(of, _)| *of == login).flat_map(|(_, all)| all);
        starts.filter(|at| now < **at + STARTS_WITHIN_MS).count() < STARTS_MAX
    }

    /// A login displaces what it had.
    pub(super) fn note_start(&mut self, login: Tag, now: u64) {
        self.starts.retain_mut(|(_, all)| {
            all.retain(|at| now < *at + STARTS_WITHIN_MS);
            !all.is_empty()
        });
        match self.starts.iter_mut().find(|(of, _)| *of == login) {
            Some((_, all)) => all.push(now),
            None => self.starts.push((login, vec![now])),
        }
    }

    pub(super) fn mark(&mut self, id: &LeaseId, now: u64) {
        self.tie_mut(id).marked_at = Some(now);
    }

    /// It began anew after it was superseded.
    pub(super) fn note_anew(&mut self, id: &LeaseId, now: u64) {
        self.tie_mut(id).anew_at = Some(now);
    }

    /// The claim was granted: what it says of itself, and that its player is there.
    pub(super) fn tied(&mut self, claim: &Claim, is_new: bool, is_passed: bool, now: u64) {
        let tie = self.tie_mut(&claim.id);
        tie.login = claim.login.or(tie.login);
        tie.path = claim.path.or(tie.path);
        if is_new {
            tie.passes = if claim.by == ClaimSource::Node { Passes::More } else { Passes::None };
            tie.marked_at = None;
        }
        match claim.by {
            ClaimSource::Request => {
                tie.passes = if tie.passes == Passes::None { Passes::One } else { Passes::More };
                tie.marked_at = None;
            }
            // A node gives it a ttl from now; its player is as silent as before.
            ClaimSource::Node if is_passed => tie.marked_at = Some(now),
            ClaimSource::Node | ClaimSource::Reservation => {}
        }
    }

    /// Its expiry is a ttl after its last sign of life.
    pub(super) fn lives_by(&mut self, id: &LeaseId, timing: &Timing) {
        self.tie_mut(id).ttl_ms = millis(timing.ttl());
    }

    /// The start failed, so its next try is the same.
    pub(super) fn gave_back(&mut self, id: &LeaseId, now: u64) {
        let tie = self.tie(id);
        for it in self.tries.iter_mut().filter(|it| it.id == *id && Some(it.path) == tie.path) {
            it.until = now + tie.ttl_ms;
        }
    }

    pub(super) fn gather(&mut self, other: Self) {
        let ties = &mut self.ties;
        for tie in other.ties {
            if ties.iter().all(|(id, _)| *id != tie.0) {
                ties.push(tie);
            }
        }
        for starts in other.starts {
            if self.starts.iter().all(|(login, _)| *login != starts.0) {
                self.starts.push(starts);
            }
        }
        for used in other.tickets {
            if self.tickets.iter().all(|(id, _)| *id != used.0) {
                self.tickets.push(used);
            }
        }
        for it in other.tries {
            if self.tries.iter().all(|mine| (mine.login, mine.path) != (it.login, it.path)) {
                self.tries.push(it);
            }
        }
    }

    /// Keeps what is needed for these, and what is young by itself.
    pub(super) fn forget(&mut self, is_needed: impl Fn(&LeaseId) -> bool, now: u64) {
        self.ties.retain(|(id, _)| is_needed(id));
        self.tries.retain(|it| now < it.until);
        let excess = self.tries.len().saturating_sub(TRIES_MAX);
        self.tries.sort_by_key(|it| it.until);
        self.tries.drain(..excess);
    }

    /// From this moment on, nothing here means anything any more.
    pub(super) fn is_dead(&self, now: u64) -> bool {
        let mut starts = self.starts.iter().flat_map(|(_, all)| all);
        let is_counted = starts.any(|at| now < at + STARTS_WITHIN_MS);
        let is_used = self.tickets.iter().any(|(_, until)| now < *until);
        !is_counted && !is_used && self.tries.iter().all(|it| it.until <= now)
    }
}

impl Tie {
    pub(super) fn is_of(&self, login: Option<Tag>) -> bool {
        self.login.is_some() && self.login == login
    }

    /// What the slot's expiry is counted by, if that is known.
    pub(super) fn ttl(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.ttl_ms)).filter(|ttl| !ttl.is_zero())
    }

    /// Its player's last sign of life, by the slot's expiry.
    pub(super) fn alive_at(&self, expires_at: u64) -> u64 {
        expires_at.saturating_sub(self.ttl_ms)
    }

    pub(super) fn mark(&self, expires_at: u64, is_older: bool) -> Option<Mark> {
        Mark::of(self.marked_at, self.alive_at(expires_at), is_older)
    }

    /// It has been silent since a later playback of its login began.
    pub(super) fn is_passed(&self, expires_at: u64) -> bool {
        self.mark(expires_at, false) == Some(Mark::Passed)
    }

    pub(super) fn may_begin_anew(&self, now: u64) -> bool {
        self.anew_at.is_none_or(|at| at + ANEW_EVERY_MS <= now)
    }

    /// One request of it was let pass, and no other.
    pub(super) fn is_used_once(&self) -> bool {
        self.passes == Passes::One
    }

    /// How many requests of it were let pass; two are many.
    pub(super) fn passes(&self) -> u32 {
        match self.passes {
            Passes::None => 0,
            Passes::One => 1,
            Passes::More => 2,
        }
    }
}
