//! One entry of the table: what this node knows of one lease. Times are the node's milliseconds.
//!
//! There are no locks and no store here; the methods say how an entry may change. Methods that take
//! `&self` may be called while others read the entry.

use super::Asked;
use super::atomics::{AtomicCount, AtomicFlag, AtomicGate, AtomicMillis};
use super::ttl::Ttl;
use crate::clock::millis;
use crate::holder::Holder;
use crate::lease::{
    About, Claim, ClaimSource, Class, Classes, Ending, Lease, LeaseId, Live, Replace, State, Tag,
};
use crate::store::Admitted;
use crate::timing::Timing;
use std::num::NonZeroU64;
use std::time::Duration;

/// A player that was told to stop often asks again at once. For so long the store is not asked.
const ENDING_SURE_MS: u64 = 2000;
/// One renewal in so many also moves the expiry of the holder's keys in the store. The keys live
/// for 64 ttls, and so many renewals take 28 ttls at most.
const KEEP_KEYS_EVERY: u8 = 64;
/// An ending is remembered here no longer than this; the store remembers it for longer.
pub(super) const ENDING_KEPT_MAX: Duration = Duration::from_secs(600);

/// What is kept about a lease: 128 bytes, and its labels and classes if it has any.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: LeaseId,
    pub(super) state: EntryState,
    pub(super) reusable: bool,
    /// The player showed a sign of life that the store does not know of yet.
    pub(super) touched: AtomicFlag,
    /// The store had confirmed it, but was away when its validity was extended here.
    pub(super) extended_locally: AtomicFlag,
    /// Its validity ran out while its player was silent, and the renewer is to ask the store about
    /// it at the next tick. Until it has the answer, the stream may continue.
    pub(super) check_pending: AtomicFlag,
    /// The store counts it beyond the limit, and lets it play for a while.
    pub(super) over_limit: bool,
    /// The number of the notice by which another node says that it has ended it, if the store has
    /// not been asked since; else 0.
    stale_by: AtomicMillis,
    /// The claim that started it was to replace the oldest stream.
    pub(super) replaces: bool,
    /// The table has removed it, or has replaced it by a changed copy.
    pub(super) is_gone: AtomicFlag,
    /// What its next request has to mind.
    pub(super) gate: AtomicGate,
    pub(super) login: Option<Tag>,
    /// When a later playback of its login began; 0: it did not.
    pub(super) marked_at: AtomicMillis,
    /// Counts renewals: one in `KEEP_KEYS_EVERY` also keeps the holder's keys.
    renewals: AtomicCount,
    pub(super) limit: u32,
    pub(super) active: u32,
    /// Unix milliseconds of the store's clock.
    pub(super) started_at: u64,
    pub(super) ttl: Ttl,
    /// Until then the lease is known to be valid, or the ending is remembered.
    pub(super) valid_until: AtomicMillis,
    pub(super) renew_at: AtomicMillis,
    /// When the store was asked, for the last question that it answered with yes.
    pub(super) confirmed_at: AtomicMillis,
    pub(super) touched_at: AtomicMillis,
    pub(super) paused_since: Option<NonZeroU64>,
    pub(super) about: Option<Box<About>>,
    pub(super) classes: Option<Box<Classes>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryState {
    /// The store has admitted it.
    Held,
    /// This node has admitted it, because the store could not be asked.
    Provisional,
    /// It has ended; the entry stays for a while, so that its next request hears of it.
    Ended(Ending),
}

impl Entry {
    /// A lease that the store has confirmed; `asked_at` is from before it was asked.
    pub(super) fn held(claim: &Claim, admitted: &Admitted, asked_at: u64) -> Self {
        let ttl = Ttl::of(admitted.ttl);
        Self {
            limit: claim.limit,
            active: admitted.active,
            started_at: admitted.started_at,
            valid_until: AtomicMillis::new(asked_at + millis(admitted.expires_in)),
            renew_at: AtomicMillis::new(asked_at + ttl.renew_after(&claim.id, asked_at)),
            confirmed_at: AtomicMillis::new(asked_at),
            over_limit: admitted.over_limit,
            gate: match claim.by {
                ClaimSource::Reservation => AtomicGate::reserved(),
                ClaimSource::Request if admitted.first.is_some() => AtomicGate::first_only(),
                ClaimSource::Request | ClaimSource::Node => AtomicGate::open(),
            },
            ..Self::blank(claim, EntryState::Held, asked_at, ttl)
        }
    }

    /// A lease that this node has admitted without the store.
    pub(super) fn provisional(claim: &Claim, started_at: u64, now: u64, timing: &Timing) -> Self {
        let ttl = Ttl::of(timing.for_ttl(claim.ttl).ttl());
        Self {
            limit: claim.limit,
            started_at,
            valid_until: AtomicMillis::new(now + ttl.ms()),
            renew_at: AtomicMillis::new(now + ttl.soon(&claim.id, now)),
            gate: match claim.by {
                ClaimSource::Reservation => AtomicGate::reserved(),
                ClaimSource::Request => AtomicGate::first_only(),
                ClaimSource::Node => AtomicGate::open(),
            },
            ..Self::blank(claim, EntryState::Provisional, now, ttl)
        }
    }

    fn blank(claim: &Claim, state: EntryState, now: u64, ttl: Ttl) -> Self {
        Self {
            id: claim.id,
            state,
            reusable: claim.reusable,
            touched: AtomicFlag::new(state == EntryState::Provisional),
            extended_locally: AtomicFlag::new(false),
            check_pending: AtomicFlag::new(false),
            over_limit: false,
            stale_by: AtomicMillis::new(0),
            replaces: claim.replace == Replace::Oldest,
            is_gone: AtomicFlag::new(false),
            gate: AtomicGate::open(),
            login: claim.login,
            marked_at: AtomicMillis::new(0),
            renewals: AtomicCount::new(),
            limit: 0,
            active: 0,
            started_at: 0,
            ttl,
            valid_until: AtomicMillis::new(now),
            renew_at: AtomicMillis::new(now),
            confirmed_at: AtomicMillis::new(0),
            touched_at: AtomicMillis::new(now),
            paused_since: None,
            about: (!claim.about.is_empty()).then(|| Box::new(claim.about.clone())),
            classes: (!claim.classes.is_empty()).then(|| Box::new(claim.classes.clone())),
        }
    }

    /// Whether nobody will ask for it any more. It outlives its validity by a ttl, so that the
    /// holders are still known when the store comes back.
    pub(super) fn is_spent(&self, now: u64) -> bool {
        match self.state {
            EntryState::Held => self.valid_until.get() + self.ttl.ms() <= now,
            EntryState::Provisional | EntryState::Ended(_) => self.valid_until.get() <= now,
        }
    }

    pub(super) fn is_provisional(&self) -> bool {
        self.state == EntryState::Provisional
    }

    /// Valid at this moment: its player may play.
    pub(super) fn is_live(&self, now: u64) -> bool {
        now < self.valid_until.get() && !matches!(self.state, EntryState::Ended(_))
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

    /// How it ended. A reusable id that was released has no ending: it may play again.
    pub(super) fn ending(&self, now: u64) -> Option<Ending> {
        match self.state {
            EntryState::Ended(Ending::Released) if self.reusable => None,
            EntryState::Ended(why) if now < self.valid_until.get() => Some(why),
            _ => None,
        }
    }

    /// How it ended, if the store need not be asked about it. Another node may have started a
    /// reusable or a superseded id again, so for such an id the answer is certain for a moment
    /// only.
    pub(super) fn ending_for_sure(&self, now: u64) -> Option<Ending> {
        let is_recent = now < self.touched_at.get() + ENDING_SURE_MS;
        let is_final = |why: &Ending| !self.reusable && *why != Ending::Superseded;
        self.ending(now).filter(|why| is_recent || is_final(why))
    }

    /// How it ended, if that was at this moment or later: an answer of the store that was asked for
    /// at this moment may then be older than the ending.
    pub(super) fn ended_since(&self, asked_at: u64) -> Option<Ending> {
        match self.state {
            EntryState::Ended(why) if asked_at <= self.touched_at.get() => Some(why),
            _ => None,
        }
    }

    /// Since when it plays, by the store's clock. None: it has ended.
    pub(super) fn playing_since(&self) -> Option<u64> {
        (!matches!(self.state, EntryState::Ended(_))).then_some(self.started_at)
    }

    /// Ends it. Returns since when it had played, if it did.
    pub(super) fn end(&mut self, why: Ending, now: u64, lasts: Duration) -> Option<u64> {
        let playing_since = self.playing_since();
        self.state = EntryState::Ended(why);
        self.valid_until.set(now + millis(lasts));
        self.touched_at.set(now);
        self.touched.set(false);
        self.check_pending.set(false);
        self.about = None;
        self.classes = None;
        playing_since
    }

    /// A sign of life. It extends a provisional lease at once; any other lease is extended by the
    /// renewer, in the store.
    pub(super) fn touch(&self, now: u64) {
        if self.touched_at.get() < now {
            self.touched_at.raise(now);
            self.touched.set(true);
        }
        if self.is_provisional() {
            self.valid_until.raise(now + self.ttl.ms());
        }
    }

    /// The time since its player's last sign of life.
    pub(super) fn silent_for(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.touched_at.get()))
    }

    /// Whether the renewer may claim a slot in its player's name. An acquire gives it a whole ttl
    /// from now, so a player that was silent for more than half a ttl has to ask itself.
    pub(super) fn may_be_claimed(&self, now: u64) -> bool {
        self.silent_for(now) <= self.ttl.duration() / 2
    }

    /// Whether it takes a slot while the store is away: it is live, or its next request, which is
    /// expected within a ttl of the last one, would extend it.
    pub(super) fn is_seated(&self, now: u64, timing: &Timing) -> bool {
        let is_expected = now < self.touched_at.get() + self.ttl.ms();
        self.is_live(now) || (is_expected && self.is_in_grace(now, timing))
    }

    /// Sure of its slot without the store, because the store confirmed it within the grace.
    pub(super) fn is_in_grace(&self, now: u64, timing: &Timing) -> bool {
        self.state == EntryState::Held && now < self.grace_ends(timing)
    }

    fn grace_ends(&self, timing: &Timing) -> u64 {
        self.confirmed_at.get() + millis(timing.grace()).max(self.ttl.ms())
    }

    /// Whether it may continue while the store is away: it is in its grace, or it is provisional
    /// and live.
    pub(super) fn continues_locally(&self, now: u64, timing: &Timing) -> bool {
        self.is_in_grace(now, timing) || (self.is_provisional() && self.is_live(now))
    }

    /// Extends it without the store, by one ttl and never beyond the grace.
    pub(super) fn extend(&self, now: u64, timing: &Timing) {
        if self.state == EntryState::Held {
            self.valid_until.raise(self.grace_ends(timing).min(now + self.ttl.ms()));
            self.extended_locally.set(true);
            self.check_pending.set(false);
        }
        self.touch(now);
    }

    /// Extends it without the store, by one ttl, whenever the store confirmed it last.
    pub(super) fn extend_beyond_grace(&self, now: u64, timing: &Timing) {
        self.extend(now, timing);
        self.valid_until.raise(now + self.ttl.ms());
    }

    /// Makes it due: the renewer asks the store about it at the next tick.
    pub(super) fn make_due(&self, now: u64) {
        self.touched.set(true);
        self.renew_at.lower(now);
    }

    /// This node has admitted or extended it without the store, and the store should adopt it.
    pub(super) fn is_local_decision(&self) -> bool {
        self.is_provisional() || (self.state == EntryState::Held && self.extended_locally.get())
    }

    /// Whether a renewal is enough: as far as this node knows, the store has it, within the limit.
    pub(super) fn needs_renewal_only(&self) -> bool {
        !self.extended_locally.get() && !self.over_limit
    }

    /// The renewer asks the store about it now; the next renewal is due in a jittered third of a
    /// ttl. Returns whether this renewal has to keep the holder's keys, too.
    pub(super) fn mark_sent(&self, now: u64) -> bool {
        self.touched.set(false);
        self.check_pending.set(false);
        self.renew_at.set(now + self.ttl.renew_after(&self.id, now));
        self.renewals.increment() % KEEP_KEYS_EVERY == KEEP_KEYS_EVERY - 1
    }

    /// Another node says that it has ended it.
    pub(super) fn doubt(&self, notice: u64, now: u64) {
        self.valid_until.lower(now);
        self.stale_by.set(notice);
        self.make_due(now);
    }

    /// Whether another node says that it has ended it, and the store has not been asked since.
    pub(super) fn is_stale(&self) -> bool {
        self.stale_by.get() != 0
    }

    /// The store confirmed it. What a notice has told since it was asked stays in doubt.
    pub(super) fn confirm(&self, expires_in: Duration, asked: Asked) {
        let asked_at = asked.at;
        if asked.notices < self.stale_by.get() {
            self.make_due(asked_at);
            return;
        }
        self.valid_until.raise(asked_at + millis(expires_in));
        self.confirmed_at.raise(asked_at);
        self.extended_locally.set(false);
        self.check_pending.set(false);
        self.stale_by.set(0);
    }

    /// The claim by which the renewer asks the store for this lease.
    pub(super) fn claim(&self, holder: &Holder) -> Claim {
        Claim {
            classes: self.classes.as_deref().cloned().unwrap_or_default(),
            ttl: Some(self.ttl.duration()),
            about: self.about.as_deref().cloned().unwrap_or_default(),
            replace: if self.is_local_decision() && self.replaces {
                Replace::Oldest
            } else {
                Replace::Nobody
            },
            reusable: self.reusable,
            login: self.login,
            by: ClaimSource::Node,
            adopt: self.is_local_decision(),
            ..Claim::new(*holder, self.id, self.limit)
        }
    }

    pub(super) fn lease(&self, holder: &Holder, now: u64, is_new: bool) -> Lease {
        Lease {
            id: self.id,
            holder: *holder,
            is_new,
            provisional: self.is_provisional(),
            start: None,
            born_at: None,
            limit: self.limit,
            active: self.active,
            started_at: self.started_at,
            ttl: self.ttl.duration(),
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
