//! Degraded mode: the store cannot be asked, so this node decides with what it knows.
//!
//! Known holders continue for the grace. Newcomers are counted by the same rule as in the store,
//! but against the leases that this node knows only. Nothing here waits; the renewer tells the
//! store of these decisions when it answers again.

use super::Table;
use super::cached_entry::OwnedEntry;
use super::entry::{Entry, EntryState};
use super::shard::{Shard, ShardGuard};
use super::ttl::Ttl;
use crate::admission::{Mark, Room, Seat, Want, Wants, make_room};
use crate::clock::millis;
use crate::event::{Change, End, Start};
use crate::holder::Holder;
use crate::lease::{
    Attempt, Claim, ClaimSource, Class, DegradedPolicy, DisplacePolicy, Ending, Full, Grant, Lease,
    LeaseId, Live, Replace,
};
use crate::recorder::Via;
use crate::stats::count;
use crate::timing::Timing;

/// A stale entry may continue for this share of a ttl, five ticks, in which the renewer asks the
/// store about it.
const DOUBT_SHARE: u32 = 6;

impl Table {
    /// Whether a response that has begun may continue. It is a sign of life.
    ///
    /// The renewer renews an entry as long as its player shows signs of life. So if its validity
    /// has run out, either the store could not be asked, and `policy` decides; or the player was
    /// silent for a ttl, and the renewer first asks the store whether it still has its slot.
    pub(crate) fn may_continue(
        &self,
        holder: &Holder,
        id: &LeaseId,
        policy: DegradedPolicy,
    ) -> bool {
        let now = self.clock.now_ms();
        let timing = &self.timing;
        let shard = self.shards.write(holder);
        let Some(entry) = shard.find(holder, id) else {
            return false;
        };
        if entry.is_live(now) {
            entry.touch(now);
            return true;
        }
        let may_continue = match policy {
            DegradedPolicy::Never => false,
            DegradedPolicy::Grace => entry.is_in_grace(now, timing),
            DegradedPolicy::Endless => entry.state == EntryState::Held,
        };
        if !may_continue {
            return false;
        }
        if entry.is_stale() {
            return now < entry.valid_until.get() + millis(entry.ttl.duration() / DOUBT_SHARE);
        }
        if entry.check_pending.get() {
            return true;
        }
        if entry.ttl.duration() <= entry.silent_for(now) {
            entry.touch(now);
            entry.renew_at.set(now);
            entry.check_pending.set(true);
        } else if policy == DegradedPolicy::Endless {
            entry.extend_beyond_grace(now, timing);
        } else {
            entry.extend(now, timing);
        }
        true
    }

    /// Decides a claim with what this node knows. None: it has started as many streams as it may.
    pub(crate) fn decide_locally(&self, claim: &Claim) -> Option<Grant> {
        match self.decide(claim, false) {
            Some(grant) => Some(grant),
            // Only the store knows whether it was used in time.
            None if claim.ticket.is_some() => None,
            None => {
                let _one_at_a_time = self.starting.lock();
                let (_, provisional, _) = self.counts();
                (provisional < self.starts_max).then(|| self.decide(claim, true)).flatten()
            }
        }
    }

    /// None: a new stream would have to be started, and may not.
    fn decide(&self, claim: &Claim, may_start: bool) -> Option<Grant> {
        let now = self.clock.now_ms();
        let timing = &self.timing;
        let mut shard = self.shards.write(&claim.holder);
        let mut held = None;
        if let Some(entry) = shard.find(&claim.holder, &claim.id) {
            if let Some(why) = entry.ending_of(claim, now) {
                return Some(Grant::Ended(why));
            }
            held = entry.continues_locally(now, timing).then(|| entry.class_names());
        }
        let wants = match &held {
            Some(classes) => Wants::of_holder(claim, classes),
            None => Wants::of_newcomer(claim),
        };
        let is_start = held.is_none() && claim.by != ClaimSource::Node;
        let displaces = is_start && claim.displaces == DisplacePolicy::Older;
        let others = shard.seats_beside(claim, displaces, now, timing);
        let idle_after = millis(timing.idle_after());
        let make_room = |wants| make_room(&others, &wants, claim, now, idle_after);
        Some(match wants.and_then(make_room) {
            Err(want) => Grant::Full(shard.full(claim, want, now, timing)),
            Ok(_) if held.is_none() && !may_start => return None,
            Ok(room) => {
                self.make_way(&mut shard, claim, &room, now);
                for seat in others.iter().filter(|seat| seat.mark == Some(Mark::Older)) {
                    shard.mark(&claim.holder, &seat.id, now);
                }
                let gone = room.idle.len() + room.replaced.len() + room.superseded.len();
                let active = others.len() - gone + 1;
                Grant::Held(match held {
                    Some(classes) => shard.extend_for(claim, &classes, now, timing),
                    None => self.start_locally(&mut shard, claim, active, now),
                })
            }
        })
    }

    fn start_locally(
        &self,
        shard: &mut ShardGuard<'_>,
        claim: &Claim,
        active: usize,
        now: u64,
    ) -> Lease {
        let mut entry = Entry::provisional(claim, self.clock.unix_ms(), now, &self.timing);
        entry.active = u32::try_from(active).unwrap_or(u32::MAX);
        let start = Attempt::of(claim.by, true, Some(0));
        let lease = Lease { start, ..entry.lease(&claim.holder, now, true) };
        // It is known, but the store confirmed it too long ago: it starts again.
        let known = shard.find(&claim.holder, &claim.id);
        let expired = known.and_then(|known| known.playing_since());
        self.record_end(&claim.holder, &claim.id, expired, End::Expired, Via::Request);
        let change = Change::Started { how: Start::Provisional, started_at: entry.started_at };
        self.insert(shard, &claim.holder, entry);
        self.recorder.record(&claim.holder, &claim.id, change, Via::Request);
        lease
    }

    fn make_way(&self, shard: &mut ShardGuard<'_>, claim: &Claim, room: &Room, now: u64) {
        for id in &room.idle {
            let removed = shard.remove(&claim.holder, id);
            self.record_end(&claim.holder, id, removed, End::Idle, Via::Request);
        }
        for id in &room.superseded {
            count(&self.recorder.counters.superseded);
            let ended = shard.end(&claim.holder, id, Ending::Superseded, now, &self.timing);
            self.record_end(&claim.holder, id, ended, End::Superseded, Via::Request);
        }
        for id in &room.replaced {
            let ended = shard.end(&claim.holder, id, Ending::Replaced, now, &self.timing);
            self.record_end(&claim.holder, id, ended, End::Replaced, Via::Request);
        }
    }
}

impl Shard {
    /// Extends a known lease. If it did not have one of the classes, the store does not know of
    /// that class, so the lease becomes provisional.
    fn extend_for(&mut self, claim: &Claim, held: &[Class], now: u64, timing: &Timing) -> Lease {
        let mut is_first = false;
        self.update(&claim.holder, &claim.id, |entry| {
            is_first = claim.by == ClaimSource::Request && entry.open_locally();
            entry.ttl = entry.ttl.max(Ttl::of(timing.for_ttl(claim.ttl).ttl()));
            entry.extend(now, timing);
            entry.join(&claim.classes);
            if !claim.classes.iter().all(|of| held.contains(&of.class)) {
                entry.state = EntryState::Provisional;
                entry.replaces = claim.replace == Replace::Oldest;
                entry.extend(now, timing);
                entry.touched.set(true);
            }
        });
        let entry = self
            .find(&claim.holder, &claim.id)
            .expect("a claim never makes room for itself by removing itself");
        Lease {
            start: is_first.then_some(Attempt::Versioned(0)),
            ..entry.lease(&claim.holder, now, false)
        }
    }

    fn seats_beside(&self, claim: &Claim, displaces: bool, now: u64, timing: &Timing) -> Vec<Seat> {
        let entries = self.entries_of(&claim.holder).iter();
        let others = entries.filter(|entry| entry.id != claim.id && entry.is_seated(now, timing));
        let seat = |entry: &OwnedEntry| Seat {
            id: entry.id,
            started_at: entry.started_at,
            paused_since: entry.paused_since.map(u64::from),
            classes: entry.class_names(),
            over_limit: entry.over_limit,
            alive_at: entry.touched_at.get(),
            mark: entry.mark_of(displaces && claim.login.is_some() && entry.login == claim.login),
        };
        others.map(seat).collect()
    }

    fn full(&self, claim: &Claim, want: Want, now: u64, timing: &Timing) -> Full {
        let entries = self.entries_of(&claim.holder).iter();
        let seated = entries.filter(|entry| entry.is_seated(now, timing));
        let mut live: Vec<_> = seated.map(|entry| entry.live(now)).collect();
        live.sort_by(Live::by_age);
        Full::new(want.limit, want.class, &claim.id, live)
    }
}
