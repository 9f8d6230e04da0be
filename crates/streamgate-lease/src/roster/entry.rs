//! One line of the roster: what this node knows of one lease. Times are the node's milliseconds.
//!
//! No locks and no store here; what an entry may become is written down in its methods. Those that
//! take `&self` may be called while others read it.

use super::shared::{Flag, Moment, Tally};
use crate::clock::millis;
use crate::holder::Holder;
use crate::lease::{About, Claim, Class, Classes, Ending, Lease, LeaseId, Live, Replace, State};
use crate::store::Admitted;
use crate::timing::Timing;
use std::num::NonZeroU64;
use std::time::Duration;

/// A player that was told to stop may ask again at once; the store is spared that much.
const ENDING_SURE_MS: u64 = 2000;
/// Every so many renewals the keys in the store are kept from fading, too. They live for 64 ttls,
/// and so many renewals take 28 at most.
const KEEP_KEYS_EVERY: u8 = 64;

/// What is kept about a lease, 104 bytes and its labels and classes, if it has any.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: LeaseId,
    pub(super) standing: Standing,
    pub(super) reusable: bool,
    /// There was a sign of life that the store has not been told of.
    pub(super) touched: Flag,
    /// The store had said so, but could not be asked when it went on.
    pub(super) alone: Flag,
    /// The store said that it is one too many, and lets it go on for a while.
    pub(super) over_limit: bool,
    /// Somebody says that it was ended elsewhere; the store has not been asked since.
    pub(super) doubtful: Flag,
    /// Whoever started it was to replace the oldest.
    pub(super) replaces: bool,
    /// The roster has let go of it, or has a younger one of that name.
    pub(super) is_gone: Flag,
    /// Counts renewals, so that now and then one also keeps the labels from fading.
    renewals: Tally,
    pub(super) limit: u32,
    pub(super) active: u32,
    /// Unix milliseconds of the store's clock.
    pub(super) started_at: u64,
    /// Until then the lease is known to be good, or the ending is remembered.
    pub(super) valid_until: Moment,
    pub(super) renew_at: Moment,
    /// When the store was last asked and said yes.
    pub(super) confirmed_at: Moment,
    pub(super) touched_at: Moment,
    pub(super) paused_since: Option<NonZeroU64>,
    pub(super) about: Option<Box<About>>,
    pub(super) classes: Option<Box<Classes>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The store said so.
    Held,
    /// This node said so, because the store could not be asked.
    Provisional,
    /// It is over; kept so that the next request is told.
    Ended(Ending),
}

impl Entry {
    /// A lease that the store has confirmed; `asked_at` is from before it was asked.
    pub(super) fn held(claim: &Claim, admitted: &Admitted, asked_at: u64, timing: &Timing) -> Self {
        Self {
            limit: claim.limit,
            active: admitted.active,
            started_at: admitted.started_at,
            valid_until: Moment::new(asked_at + millis(admitted.expires_in)),
            renew_at: Moment::new(asked_at + renew_after(&claim.id, asked_at, timing)),
            confirmed_at: Moment::new(asked_at),
            over_limit: admitted.over_limit,
            ..Self::blank(claim, Standing::Held, asked_at)
        }
    }

    /// A lease that this node vouches for alone.
    pub(super) fn provisional(claim: &Claim, started_at: u64, now: u64, timing: &Timing) -> Self {
        let spread = millis(timing.renew_every()).max(1);
        Self {
            limit: claim.limit,
            started_at,
            valid_until: Moment::new(now + millis(timing.ttl())),
            renew_at: Moment::new(now + scatter(&claim.id, now) % spread),
            ..Self::blank(claim, Standing::Provisional, now)
        }
    }

    fn blank(claim: &Claim, standing: Standing, now: u64) -> Self {
        Self {
            id: claim.id,
            standing,
            reusable: claim.reusable,
            touched: Flag::new(standing == Standing::Provisional),
            alone: Flag::new(false),
            over_limit: false,
            doubtful: Flag::new(false),
            replaces: claim.replace == Replace::Oldest,
            is_gone: Flag::new(false),
            renewals: Tally::default(),
            limit: 0,
            active: 0,
            started_at: 0,
            valid_until: Moment::new(now),
            renew_at: Moment::new(now),
            confirmed_at: Moment::new(0),
            touched_at: Moment::new(now),
            paused_since: None,
            about: (!claim.about.is_empty()).then(|| Box::new(claim.about.clone())),
            classes: (!claim.classes.is_empty()).then(|| Box::new(claim.classes.clone())),
        }
    }

    pub(super) fn is_provisional(&self) -> bool {
        self.standing == Standing::Provisional
    }

    /// Good for a player to go on with, right now.
    pub(super) fn is_live(&self, now: u64) -> bool {
        now < self.valid_until.get() && !matches!(self.standing, Standing::Ended(_))
    }

    /// It was admitted with all of these classes.
    pub(super) fn covers(&self, names: &[Class]) -> bool {
        names.is_empty() || self.classes.as_deref().is_some_and(|classes| classes.cover(names))
    }

    pub(super) fn class_names(&self) -> Vec<Class> {
        self.classes.iter().flat_map(|all| all.iter()).map(|of| of.class).collect()
    }

    /// Further classes, or younger limits of those that it has.
    pub(super) fn join(&mut self, younger: &Classes) {
        if !younger.is_empty() {
            let known = self.classes.take().unwrap_or_default();
            self.classes = Some(Box::new(known.joined(younger)));
        }
    }

    /// How it ended. A released id that is reusable has not: it may play again.
    pub(super) fn ending(&self, now: u64) -> Option<Ending> {
        match self.standing {
            Standing::Ended(Ending::Released) if self.reusable => None,
            Standing::Ended(why) if now < self.valid_until.get() => Some(why),
            _ => None,
        }
    }

    /// How it ended, if the store need not be asked about it. A reusable id may have been started
    /// again through another node, so for that the answer is only good for a moment.
    pub(super) fn ending_for_sure(&self, now: u64) -> Option<Ending> {
        let is_recent = now < self.touched_at.get() + ENDING_SURE_MS;
        self.ending(now).filter(|_| !self.reusable || is_recent)
    }

    /// It ended here at this moment or later, so an answer asked for at this moment may be older.
    pub(super) fn ended_since(&self, asked_at: u64) -> Option<Ending> {
        match self.standing {
            Standing::Ended(why) if asked_at <= self.touched_at.get() => Some(why),
            _ => None,
        }
    }

    pub(super) fn end(&mut self, why: Ending, now: u64, lasts: Duration) {
        self.standing = Standing::Ended(why);
        self.valid_until.set(now + millis(lasts));
        self.touched_at.set(now);
        self.touched.set(false);
        self.about = None;
        self.classes = None;
    }

    /// A sign of life. One that this node vouches for lives on by it; any other is renewed by the
    /// keeper.
    pub(super) fn touch(&self, now: u64, timing: &Timing) {
        if self.touched_at.get() < now {
            self.touched_at.raise(now);
            self.touched.set(true);
        }
        if self.is_provisional() {
            self.valid_until.raise(now + millis(timing.ttl()));
        }
    }

    /// How long its player has shown no sign of life.
    pub(super) fn silent_for(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.touched_at.get()))
    }

    /// The keeper may claim a slot in its player's name. An acquire gives it a whole ttl from now,
    /// so one who has been silent for long has to come himself.
    pub(super) fn may_be_claimed(&self, now: u64, timing: &Timing) -> bool {
        self.silent_for(now) <= timing.ttl() / 2
    }

    /// Whether others must count it while the store is away: it is live, or it would go on at its
    /// next request, which is due within a ttl of its last.
    pub(super) fn is_seated(&self, now: u64, timing: &Timing) -> bool {
        let is_expected = now < self.touched_at.get() + millis(timing.ttl());
        self.is_live(now) || (is_expected && self.is_in_grace(now, timing))
    }

    /// Certain of its slot without the store: it was confirmed within the grace.
    pub(super) fn is_in_grace(&self, now: u64, timing: &Timing) -> bool {
        self.standing == Standing::Held && now < self.confirmed_at.get() + millis(timing.grace())
    }

    /// A node on its own lets it go on: it is certain of its slot, or the slot is the node's word.
    pub(super) fn goes_on_alone(&self, now: u64, timing: &Timing) -> bool {
        let is_own_word = self.is_provisional() && self.is_live(now);
        self.is_in_grace(now, timing) || is_own_word
    }

    /// Lives on without the store, one ttl at a time and never beyond the grace.
    pub(super) fn extend(&self, now: u64, timing: &Timing) {
        if self.standing == Standing::Held {
            let grace_ends = self.confirmed_at.get() + millis(timing.grace());
            self.valid_until.raise(grace_ends.min(now + millis(timing.ttl())));
            self.alone.set(true);
        }
        self.touch(now, timing);
    }

    /// Likewise for as long as it takes, whenever the store confirmed it last.
    pub(super) fn extend_beyond_grace(&self, now: u64, timing: &Timing) {
        self.extend(now, timing);
        self.valid_until.raise(now + millis(timing.ttl()));
    }

    /// The keeper is to ask about it at its next beat.
    pub(super) fn ask_soon(&self, now: u64) {
        self.touched.set(true);
        self.renew_at.lower(now);
    }

    /// It goes on by this node's own word, and the store should adopt it.
    pub(super) fn is_own_word(&self) -> bool {
        self.is_provisional() || (self.standing == Standing::Held && self.alone.get())
    }

    /// A renewal will do: the store has it, within the limit for all that this node knows.
    pub(super) fn is_plain(&self) -> bool {
        !self.alone.get() && !self.over_limit
    }

    /// The keeper takes it along: the next renewal is a jittered third of a ttl away.
    ///
    /// Tells whether this time the keys in the store are to be kept from fading, too.
    pub(super) fn take_along(&self, now: u64, timing: &Timing) -> bool {
        self.touched.set(false);
        self.renew_at.set(now + renew_after(&self.id, now, timing));
        self.renewals.count() % KEEP_KEYS_EVERY == KEEP_KEYS_EVERY - 1
    }

    /// The store said yes when it was asked then.
    pub(super) fn confirm(&self, expires_in: Duration, asked_at: u64) {
        self.valid_until.raise(asked_at + millis(expires_in));
        self.confirmed_at.raise(asked_at);
        self.alone.set(false);
        self.doubtful.set(false);
    }

    pub(super) fn claim(&self, holder: &Holder) -> Claim {
        Claim {
            holder: *holder,
            id: self.id,
            limit: self.limit,
            classes: self.classes.as_deref().cloned().unwrap_or_default(),
            about: self.about.as_deref().cloned().unwrap_or_default(),
            replace: if self.is_own_word() && self.replaces {
                Replace::Oldest
            } else {
                Replace::Nobody
            },
            reusable: self.reusable,
            anew: false,
            adopt: self.is_own_word(),
            lost: false,
        }
    }

    pub(super) fn lease(&self, holder: &Holder, now: u64, is_new: bool) -> Lease {
        Lease {
            id: self.id,
            holder: *holder,
            is_new,
            provisional: self.is_provisional(),
            limit: self.limit,
            active: self.active,
            started_at: self.started_at,
            expires_in: Duration::from_millis(self.valid_until.get().saturating_sub(now)),
            renew_in: Duration::from_millis(self.renew_at.get().saturating_sub(now)),
        }
    }

    pub(super) fn live(&self, now: u64) -> Live {
        Live {
            id: self.id,
            about: self.about.as_deref().cloned().unwrap_or_default(),
            started_at: self.started_at,
            expires_in: Duration::from_millis(self.valid_until.get().saturating_sub(now)),
            state: if self.paused_since.is_some() { State::Paused } else { State::Playing },
            classes: self.class_names(),
            over_limit: self.over_limit,
        }
    }
}

/// A third of the ttl ± 20 %, in milliseconds. Derived from the id and the hour, not drawn, so
/// that a simulation replays; over many leases it is as even as a draw.
fn renew_after(id: &LeaseId, now: u64, timing: &Timing) -> u64 {
    let third = millis(timing.renew_every());
    let span = (third * 2 / 5).max(1);
    third - third / 5 + scatter(id, now) % span
}

fn scatter(id: &LeaseId, now: u64) -> u64 {
    // splitmix64's finaliser.
    let mut x = id.spread() ^ now.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
