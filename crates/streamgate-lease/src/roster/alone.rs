//! A node on its own: the store cannot be asked, and somebody wants to play.
//!
//! Known holders go on for the grace. Newcomers are counted by the same rule as in the store, but
//! only against what this node knows. It never waits; the keeper makes good for it later.

use super::entry::{Entry, Standing};
use super::{ENDING_KEPT_MAX, Roster, Shard};
use crate::admission::{Room, Seat, make_room};
use crate::clock::millis;
use crate::lease::{Claim, Ending, Full, Grant, Live};
use crate::timing::Timing;

impl Roster {
    /// Decides a claim with what this node knows.
    pub(crate) fn decide_alone(&self, claim: &Claim) -> Grant {
        let now = self.clock.now_ms();
        let timing = &self.timing;
        let mut shard = self.shard(&claim.holder).lock();
        if let Some(entry) = shard.find(&claim.holder, &claim.id) {
            if let Some(why) = entry.ending(now)
                && !(entry.reusable && claim.anew)
            {
                return Grant::Ended(why);
            }
            let alone_and_live = entry.standing == Standing::Provisional && entry.is_live(now);
            if entry.is_in_grace(now, timing) || alone_and_live {
                entry.extend(now, timing);
                return Grant::Held(entry.lease(&claim.holder, now, false));
            }
        }
        let others = shard.seats(claim, now, timing);
        let idle_after = millis(timing.idle_after());
        match make_room(&others, claim.limit, &claim.replace, now, idle_after) {
            None => Grant::Full(shard.full(claim, now, timing)),
            Some(room) => {
                shard.make_way(claim, &room, now, timing);
                let active = others.len() - room.idle.len() - room.replaced.len() + 1;
                let started_at = self.clock.unix_ms();
                let mut entry = Entry::provisional(claim, started_at, now, timing);
                entry.active = u32::try_from(active).unwrap_or(u32::MAX);
                let lease = entry.lease(&claim.holder, now, true);
                self.put(&mut shard, &claim.holder, entry);
                Grant::Held(lease)
            }
        }
    }
}

impl Shard {
    fn seats(&self, claim: &Claim, now: u64, timing: &Timing) -> Vec<Seat> {
        let entries = self.holders.get(&claim.holder).into_iter().flatten();
        let others = entries.filter(|entry| entry.id != claim.id && entry.is_seated(now, timing));
        let seat = |entry: &Entry| Seat {
            id: entry.id,
            started_at: entry.started_at,
            paused_since: entry.paused_since.map(u64::from),
        };
        others.map(seat).collect()
    }

    fn full(&self, claim: &Claim, now: u64, timing: &Timing) -> Full {
        let entries = self.holders.get(&claim.holder).into_iter().flatten();
        let others = entries.filter(|entry| entry.id != claim.id && entry.is_seated(now, timing));
        let mut live: Vec<_> = others.map(|entry| entry.live(now)).collect();
        live.sort_by(Live::by_age);
        let retry_after = live.iter().map(|live| live.expires_in).min().unwrap_or_default();
        Full { limit: claim.limit, live, retry_after }
    }

    fn make_way(&mut self, claim: &Claim, room: &Room, now: u64, timing: &Timing) {
        for id in &room.idle {
            self.remove(&claim.holder, id);
        }
        for id in &room.replaced {
            self.alter(&claim.holder, id, |entry| {
                let lasts = timing.tombstone_of(entry.reusable).min(ENDING_KEPT_MAX);
                entry.end(Ending::Replaced, now, lasts);
            });
        }
    }
}
