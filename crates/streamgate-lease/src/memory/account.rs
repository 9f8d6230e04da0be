//! What one holder has: slots, remembered slots and tombstones. Pure: `now` is always handed in.
//!
//! This is the state machine of the library in plain Rust. `redis/scripts/*.lua` say the same, and
//! the contract tests run both. No clock and no lock here.

use super::login::{Logins, Try};
use super::slot::{Seated, Tombstone};
use crate::admission::{Mark, Room, Seat, Want, Wants, lacks_place, make_room};
use crate::clock::millis;
use crate::lease::{Attempt, Claim, ClaimSource, Ending, Full, LeaseId, Live, State};
use crate::store::{Admitted, Answer, Slot};
use crate::timing::Timing;
use std::time::Duration;

/// Every so many records the dead ones are cleared away.
const CLEARED_EVERY: usize = 16;
/// Tombstones of one holder; beyond it the one that would fade first goes: what was superseded
/// before releases, and releases before others.
pub(crate) const TOMBSTONES_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Account {
    slots: Vec<Seated>,
    tombstones: Vec<Tombstone>,
    logins: Logins,
}

impl Account {
    pub(super) fn acquire(&mut self, claim: &Claim, timing: &Timing, now: u64) -> Answer {
        let retried = self.retried(claim, now);
        let claim = &Claim { id: retried.map_or(claim.id, |it| it.id), ..claim.clone() };
        let stone = self.tombstone(&claim.id, now);
        if let Some(stone) = stone.filter(|stone| !self.lifts(claim, stone, now)) {
            return Answer::Ended(stone.why, Duration::from_millis(stone.until - now));
        }
        self.unseat_expired(now);
        let mine = self.slots.iter().find(|slot| slot.is_seated(&claim.id));
        let is_new = mine.is_none();
        let seated_until = mine.and_then(|slot| slot.expires_at);
        let is_passed =
            seated_until.is_some_and(|until| self.logins.tie(&claim.id).is_passed(until));
        let is_known = self.has_record(&claim.id);
        if is_new && self.is_late(claim, now) {
            return Answer::Ended(Ending::Unused, Duration::ZERO);
        }
        let timing = &self.timing_of(claim, is_new, timing);
        let wants = match mine {
            Some(slot) => Wants::of_holder(claim, &slot.classes),
            None if claim.lost && is_known && claim.reusable => Err(Want { class: None, limit: 0 }),
            None => Wants::of_newcomer(claim),
        };
        let is_start = is_new && claim.by != ClaimSource::Node;
        let displaces = is_start && self.logins.may_displace(claim, now);
        let others = self.seats_beside(claim, displaces);
        if let Some(want) = self.overdue(claim, &others, now) {
            self.unseat(&claim.id);
            return self.full(claim, want, now);
        }
        let idle_after = millis(timing.idle_after());
        let make_room = |wants| make_room(&others, &wants, claim, now, idle_after);
        let is_adoptable = claim.adopt || (claim.lost && !is_known);
        let is_adopted =
            wants.is_ok() && is_adoptable && 0 < claim.limit && !timing.grandfather().is_zero();
        let over_until = now + millis(timing.grandfather());
        let decided = match wants.and_then(make_room) {
            Ok(room) => Ok((room, None)),
            Err(_) if is_adopted => Ok((Room::default(), Some(over_until))),
            Err(want) => Err(want),
        };
        match decided {
            Err(want) => self.full(claim, want, now),
            Ok((room, over)) => {
                self.clear_away(&room, timing, now);
                let marked = if displaces { self.mark(claim, &others, &room, now) } else { vec![] };
                if stone.is_some_and(|stone| stone.why == Ending::Superseded) {
                    self.logins.note_anew(&claim.id, now);
                }
                let expires_at = now + millis(timing.ttl());
                if is_new {
                    self.seat(claim, expires_at, now);
                } else {
                    self.confirm(claim, expires_at);
                }
                self.settle_flag(claim, over);
                let born_at = self.logins.note_try(claim, retried, expires_at, now);
                self.logins.tied(claim, is_new, is_passed, now);
                if seated_until.is_none_or(|until| until <= expires_at) {
                    self.logins.lives_by(&claim.id, timing);
                }
                let held = self.held(claim, is_new, now, room);
                Answer::Held(Admitted { marked, born_at, ..held })
            }
        }
    }

    /// The longest ttl that its stream was given stays with it.
    fn timing_of(&self, claim: &Claim, is_new: bool, timing: &Timing) -> Timing {
        let timing = timing.for_ttl(claim.ttl);
        let given = self.logins.tie(&claim.id).ttl().filter(|_| !is_new);
        timing.for_ttl(given.max(Some(timing.ttl())))
    }

    /// Whether it would be the first use of a ticket that had to be used before.
    fn is_late(&self, claim: &Claim, now: u64) -> bool {
        let ticket = claim.ticket.filter(|_| claim.by != ClaimSource::Node);
        ticket.is_some_and(|ticket| !self.logins.may_begin_by(&claim.id, ticket, now))
    }

    /// The start that this one is a retry of: it was given back.
    fn retried(&self, claim: &Claim, now: u64) -> Option<Try> {
        let last = self.logins.last_try(claim, now)?;
        let is_left = |stone: &Tombstone| stone.id == last.id && !stone.is_mere_trace();
        let is_known =
            self.slots.iter().any(|slot| slot.id == last.id) || self.tombstones.iter().any(is_left);
        (!is_known).then_some(last)
    }

    fn lifts(&self, claim: &Claim, stone: &Tombstone, now: u64) -> bool {
        match stone.why {
            Ending::Superseded => claim.starts && self.logins.tie(&claim.id).may_begin_anew(now),
            _ => stone.reusable && claim.explicit_start,
        }
    }

    /// A later playback of their login begins. Tells those for whom that is news.
    fn mark(&mut self, claim: &Claim, others: &[Seat], room: &Room, now: u64) -> Vec<LeaseId> {
        if let Some(login) = claim.login {
            self.logins.note_start(login, now);
        }
        let gone = [&room.superseded, &room.idle, &room.replaced];
        let is_gone = |id: &LeaseId| gone.iter().any(|all| all.contains(id));
        let older = others.iter().filter(|seat| seat.mark == Some(Mark::Older));
        let marked: Vec<_> = older.map(|seat| seat.id).filter(|id| !is_gone(id)).collect();
        marked.iter().for_each(|id| self.logins.mark(id, now));
        marked
    }

    /// Frees the slot of a start that failed, unless anything else of it was let pass.
    pub(super) fn give_back(&mut self, id: &LeaseId, attempt: Attempt, now: u64) -> bool {
        let is_it = |slot: &Seated| match attempt {
            Attempt::Versioned(version) => slot.id == *id && slot.expires_at == Some(version),
            Attempt::Unanswered(_) => slot.is_seated(id),
        };
        let at = self.slots.iter().position(is_it);
        let Some(at) = at.filter(|_| self.logins.tie(id).passes() == attempt.passes()) else {
            return false;
        };
        self.slots.swap_remove(at);
        self.logins.gave_back(id, now);
        true
    }

    fn full(&self, claim: &Claim, Want { class, limit }: Want, now: u64) -> Answer {
        Answer::Full(Full::new(limit, class, &claim.id, self.list(now)))
    }

    /// What one has no place in whose time over the limit is up.
    fn overdue(&self, claim: &Claim, others: &[Seat], now: u64) -> Option<Want> {
        let slot = self.slots.iter().find(|slot| slot.is_seated(&claim.id))?;
        slot.over_until.filter(|until| *until <= now)?;
        lacks_place(others, claim, &slot.classes)
    }

    /// One that is over the limit is within it as soon as there is a place for it.
    fn settle_flag(&mut self, claim: &Claim, over: Option<u64>) {
        let others = self.seats_beside(claim, false);
        let mine = self.slots.iter_mut().find(|slot| slot.is_seated(&claim.id));
        let slot = mine.expect("who is admitted has a seat");
        slot.over_until = slot.over_until.or(over);
        slot.over_until.take_if(|_| lacks_place(&others, claim, &slot.classes).is_none());
    }

    pub(super) fn renew(&mut self, renewal: &Slot, timing: &Timing, now: u64) -> bool {
        let expires_at = now + millis(renewal.life(timing));
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.is_seated(&renewal.id)) else {
            return false;
        };
        let moved = slot.expires_at < Some(expires_at);
        slot.expires_at = slot.expires_at.max(Some(expires_at));
        moved
    }

    pub(super) fn release(&mut self, id: &LeaseId, timing: &Timing, now: u64) {
        let Some(at) = self.slots.iter().position(|slot| slot.id == *id) else {
            return;
        };
        self.bury(at, Ending::Released, timing, now);
    }

    pub(super) fn terminate(&mut self, id: &LeaseId, timing: &Timing, now: u64) -> bool {
        let Some(at) = self.slots.iter().position(|slot| slot.id == *id) else {
            return false;
        };
        self.bury(at, Ending::Terminated, timing, now);
        true
    }

    pub(super) fn declare(&mut self, id: &LeaseId, state: State, now: u64) -> bool {
        let live = |slot: &&mut Seated| slot.id == *id && Some(now) < slot.expires_at;
        let Some(slot) = self.slots.iter_mut().find(live) else {
            return false;
        };
        slot.paused_since = match state {
            State::Playing => None,
            State::Paused => slot.paused_since.or(Some(now)),
        };
        true
    }

    pub(super) fn list(&self, now: u64) -> Vec<Live> {
        let mut live: Vec<_> = self.slots.iter().filter_map(|slot| slot.live(now)).collect();
        live.sort_by(Live::by_age);
        live
    }

    /// Takes over what the same holder has under another name. What has ended under either name has
    /// ended, and no expiry moves back.
    pub(super) fn gather(&mut self, other: Self) {
        self.logins.gather(other.logins);
        for stone in other.tombstones {
            match self.tombstones.iter_mut().find(|mine| mine.id == stone.id) {
                Some(mine) if mine.until < stone.until => *mine = stone,
                Some(_) => {}
                None => self.tombstones.push(stone),
            }
        }
        for slot in other.slots {
            match self.slots.iter_mut().find(|mine| mine.id == slot.id) {
                Some(mine) => mine.expires_at = mine.expires_at.max(slot.expires_at),
                None => self.slots.push(slot),
            }
        }
        let stones = &self.tombstones;
        let is_ended = |id: &LeaseId| stones.iter().any(|s| s.id == *id && !s.is_mere_trace());
        self.slots.retain(|slot| !is_ended(&slot.id));
    }

    /// From this moment on, nothing here means anything any more.
    pub(super) fn is_dead(&self, now: u64) -> bool {
        let live = self.slots.iter().any(|slot| Some(now) < slot.expires_at);
        !live && self.tombstones.iter().all(|stone| stone.until <= now) && self.logins.is_dead(now)
    }

    fn tombstone(&self, id: &LeaseId, now: u64) -> Option<Tombstone> {
        let holds = |stone: &&Tombstone| now < stone.until && !stone.is_mere_trace();
        self.tombstones.iter().filter(holds).find(|stone| stone.id == *id).copied()
    }

    /// Something is known of it, if only that it was released.
    fn has_record(&self, id: &LeaseId) -> bool {
        let ids = self.slots.iter().map(|slot| slot.id);
        ids.chain(self.tombstones.iter().map(|stone| stone.id)).any(|known| known == *id)
    }

    /// An expired slot is free for others. What is known of it stays, in case it comes back.
    fn unseat_expired(&mut self, now: u64) {
        for slot in &mut self.slots {
            slot.expires_at = slot.expires_at.filter(|expires_at| now < *expires_at);
        }
    }

    fn unseat(&mut self, id: &LeaseId) {
        for slot in self.slots.iter_mut().filter(|slot| slot.id == *id) {
            slot.expires_at = None;
        }
    }

    /// Those that have a seat beside a claim, which `displaces` the older ones of its login or not.
    fn seats_beside(&self, claim: &Claim, displaces: bool) -> Vec<Seat> {
        let others = self.slots.iter().filter(|slot| slot.id != claim.id);
        let seated = others.filter_map(|slot| Some((slot, slot.expires_at?)));
        let seat = |(slot, expires_at): (&Seated, u64)| {
            let tie = self.logins.tie(&slot.id);
            Seat {
                id: slot.id,
                started_at: slot.started_at,
                paused_since: slot.paused_since,
                classes: slot.classes.clone(),
                over_limit: slot.over_until.is_some(),
                alive_at: tie.alive_at(expires_at),
                mark: tie.mark(expires_at, displaces && tie.is_of(claim.login)),
            }
        };
        seated.map(seat).collect()
    }

    fn clear_away(&mut self, room: &Room, timing: &Timing, now: u64) {
        for slot in &mut self.slots {
            if room.idle.contains(&slot.id) {
                slot.expires_at = None;
            }
        }
        let replaced = room.replaced.iter().map(|id| (id, Ending::Replaced));
        let superseded = room.superseded.iter().map(|id| (id, Ending::Superseded));
        for (id, why) in replaced.chain(superseded) {
            if let Some(at) = self.slots.iter().position(|slot| slot.id == *id) {
                self.bury(at, why, timing, now);
            }
        }
    }

    fn seat(&mut self, claim: &Claim, expires_at: u64, now: u64) {
        self.tombstones.retain(|stone| stone.id != claim.id);
        if let Some(ticket) = claim.ticket {
            self.logins.note_ticket(&claim.id, ticket, now);
        }
        let remembered = self.slots.iter_mut().find(|slot| slot.id == claim.id);
        if let Some(slot) = remembered {
            slot.expires_at = Some(expires_at);
            slot.started_at = now;
            slot.classes = claim.class_names();
            slot.over_until = None;
            slot.refresh(claim);
            return;
        }
        self.slots.push(Seated {
            id: claim.id,
            expires_at: Some(expires_at),
            started_at: now,
            paused_since: None,
            reusable: claim.reusable,
            classes: claim.class_names(),
            over_until: None,
            about: claim.about.clone(),
        });
        self.forget_the_dead(now);
    }

    /// A slot goes on, with the classes that it was short of.
    fn confirm(&mut self, claim: &Claim, expires_at: u64) {
        let mine = self.slots.iter_mut().find(|slot| slot.is_seated(&claim.id));
        let slot = mine.expect("nobody clears his own seat away");
        slot.expires_at = slot.expires_at.max(Some(expires_at));
        slot.classes.extend(claim.class_names());
        slot.classes.sort();
        slot.classes.dedup();
        slot.refresh(claim);
    }

    fn bury(&mut self, at: usize, why: Ending, timing: &Timing, now: u64) {
        let slot = self.slots.swap_remove(at);
        // Its player comes back within its own ttl, not within that of whoever ends it.
        let timing = timing.for_ttl(self.logins.tie(&slot.id).ttl());
        let until = now + millis(timing.tombstone_of(why, slot.reusable));
        self.tombstones.push(Tombstone { id: slot.id, why, until, reusable: slot.reusable });
    }

    fn forget_the_dead(&mut self, now: u64) {
        let records = self.slots.len() + self.tombstones.len();
        if records < 2 * CLEARED_EVERY || !records.is_multiple_of(CLEARED_EVERY) {
            return;
        }
        self.slots.retain(|slot| slot.expires_at.is_some());
        self.tombstones.retain(|stone| now < stone.until);
        if TOMBSTONES_MAX < self.tombstones.len() {
            self.tombstones.sort_by_key(|stone| (stone.rank(), stone.until));
            self.tombstones.drain(..self.tombstones.len() - TOMBSTONES_MAX);
        }
        let (slots, stones) = (&self.slots, &self.tombstones);
        let is_known = |id: &LeaseId| {
            slots.iter().any(|slot| slot.id == *id) || stones.iter().any(|stone| stone.id == *id)
        };
        self.logins.forget(is_known, now);
    }

    fn held(&self, claim: &Claim, is_new: bool, now: u64, room: Room) -> Admitted {
        let seated = self.slots.iter().filter(|slot| slot.expires_at.is_some());
        let mine = self.slots.iter().find(|slot| slot.is_seated(&claim.id));
        let slot = mine.expect("who is admitted has a seat");
        let expires_at = slot.expires_at.unwrap_or(now);
        let is_first =
            claim.by == ClaimSource::Request && self.logins.tie(&claim.id).is_used_once();
        Admitted {
            id: claim.id,
            first: is_first.then_some(expires_at),
            born_at: None,
            superseded: room.superseded,
            marked: Vec::new(),
            is_new,
            active: u32::try_from(seated.count()).unwrap_or(u32::MAX),
            started_at: slot.started_at,
            ttl: self.logins.tie(&claim.id).ttl().unwrap_or_default(),
            expires_in: Duration::from_millis(expires_at.saturating_sub(now)),
            replaced: room.replaced,
            idle: room.idle,
            over_limit: slot.over_until.is_some(),
        }
    }
}
