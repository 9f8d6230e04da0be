//! A node on its own: the store cannot be asked, and somebody wants to play.
//!
//! Known holders go on for the grace. Newcomers are counted by the same rule as in the store, but
//! only against what this node knows. It never waits; the keeper makes good for it later.

use super::Roster;
use super::bookmark::Listed;
use super::entry::{Entry, Standing};
use super::shard::{Shard, Writing};
use crate::admission::{Room, Seat, Want, Wants, make_room};
use crate::clock::millis;
use crate::holder::Holder;
use crate::lease::{Claim, Class, Ending, Full, Grant, Lease, LeaseId, Live, Replace};
use crate::leases::Alone;
use crate::timing::Timing;

/// What is in doubt goes on for this share of a ttl, in which the keeper finds out: five beats.
const DOUBT_SHARE: u32 = 6;

impl Roster {
    /// Whether what flows already may flow on. It is a sign of life.
    ///
    /// One that is past its time was in reach of the keeper until then, so either the store could
    /// not be asked, and it goes on alone; or it was silent itself, and the keeper finds out first
    /// whether it still has its slot.
    pub(crate) fn goes_on(&self, holder: &Holder, id: &LeaseId, alone: Alone) -> bool {
        let now = self.clock.now_ms();
        let timing = &self.timing;
        let shard = self.shards.write(holder);
        let Some(entry) = shard.find(holder, id) else {
            return false;
        };
        if entry.is_live(now) {
            entry.touch(now, timing);
            return true;
        }
        let may_be = match alone {
            Alone::Never => false,
            Alone::Grace => entry.is_in_grace(now, timing),
            Alone::Endless => entry.standing == Standing::Held,
        };
        if !may_be {
            return false;
        }
        if entry.doubtful.get() {
            return now < entry.valid_until.get() + millis(timing.ttl() / DOUBT_SHARE);
        }
        let is_asked_about = entry.touched.get() && entry.renew_at.get() == entry.touched_at.get();
        if is_asked_about {
            return true;
        }
        if timing.ttl() <= entry.silent_for(now) {
            entry.touch(now, timing);
            entry.renew_at.set(now);
        } else if alone == Alone::Endless {
            entry.extend_beyond_grace(now, timing);
        } else {
            entry.extend(now, timing);
        }
        true
    }

    /// Decides a claim with what this node knows. None: it has started as many as it may.
    pub(crate) fn decide_alone(&self, claim: &Claim) -> Option<Grant> {
        match self.decide(claim, false) {
            Some(grant) => Some(grant),
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
            if let Some(why) = entry.ending(now)
                && !(entry.reusable && claim.anew)
            {
                return Some(Grant::Ended(why));
            }
            held = entry.goes_on_alone(now, timing).then(|| entry.class_names());
        }
        let wants = match &held {
            Some(classes) => Wants::of_holder(claim, classes),
            None => Wants::of_newcomer(claim),
        };
        let others = shard.seats_beside(claim, now, timing);
        let idle_after = millis(timing.idle_after());
        let make_room = |wants| make_room(&others, &wants, &claim.replace, now, idle_after);
        Some(match wants.and_then(make_room) {
            Err(want) => Grant::Full(shard.full(claim, want, now, timing)),
            Ok(_) if held.is_none() && !may_start => return None,
            Ok(room) => {
                shard.make_way(claim, &room, now, timing);
                let active = others.len() - room.idle.len() - room.replaced.len() + 1;
                Grant::Held(match held {
                    Some(classes) => shard.go_on(claim, &classes, now, timing),
                    None => self.start_alone(&mut shard, claim, active, now),
                })
            }
        })
    }

    fn start_alone(
        &self,
        shard: &mut Writing<'_>,
        claim: &Claim,
        active: usize,
        now: u64,
    ) -> Lease {
        let mut entry = Entry::provisional(claim, self.clock.unix_ms(), now, &self.timing);
        entry.active = u32::try_from(active).unwrap_or(u32::MAX);
        let lease = entry.lease(&claim.holder, now, true);
        self.put(shard, &claim.holder, entry);
        lease
    }
}

impl Shard {
    /// A known lease goes on. A class that it did not have is news to the store, so then it is
    /// this node's own word.
    fn go_on(&mut self, claim: &Claim, held: &[Class], now: u64, timing: &Timing) -> Lease {
        self.alter(&claim.holder, &claim.id, |entry| {
            entry.extend(now, timing);
            entry.join(&claim.classes);
            if !claim.classes.iter().all(|of| held.contains(&of.class)) {
                entry.standing = Standing::Provisional;
                entry.replaces = claim.replace == Replace::Oldest;
                entry.extend(now, timing);
                entry.touched.set(true);
            }
        });
        let entry = self.find(&claim.holder, &claim.id).expect("nobody clears himself away");
        entry.lease(&claim.holder, now, false)
    }

    fn seats_beside(&self, claim: &Claim, now: u64, timing: &Timing) -> Vec<Seat> {
        let entries = self.entries_of(&claim.holder).iter();
        let others = entries.filter(|entry| entry.id != claim.id && entry.is_seated(now, timing));
        let seat = |entry: &Listed| Seat {
            id: entry.id,
            started_at: entry.started_at,
            paused_since: entry.paused_since.map(u64::from),
            classes: entry.class_names(),
            over_limit: entry.over_limit,
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

    fn make_way(&mut self, claim: &Claim, room: &Room, now: u64, timing: &Timing) {
        for id in &room.idle {
            self.remove(&claim.holder, id);
        }
        for id in &room.replaced {
            self.end(&claim.holder, id, Ending::Replaced, now, timing);
        }
    }
}
