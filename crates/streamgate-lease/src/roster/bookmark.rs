//! Where a lease was found, so that the next sign of life need not look for it.
//!
//! Who follows a bookmark takes no lock of the roster. So an entry that somebody may be looking at
//! is never changed but replaced, and one that the roster lets go of says so itself: that nobody
//! holds it any more would not do, as another one who has just followed the bookmark holds it, too.

use super::entry::Entry;
use crate::holder::Holder;
use crate::lease::LeaseId;
use parking_lot::RwLock;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};

/// A holder, and where a node keeps one of its leases. Whoever remembers a holder between requests
/// remembers this instead, and [`Leases::touch_by`](crate::Leases::touch_by) finds the lease in one
/// place of memory where a look-up takes six.
///
/// What it points to is the node's own entry or nothing: an entry that ended, was changed or was
/// let go of is not found by it any more, and is looked up again. A clone has to find it by itself.
pub struct Bookmark {
    holder: Holder,
    place: RwLock<Place>,
}

#[derive(Default)]
struct Place {
    /// Whose entry it is.
    roster: u64,
    entry: Weak<Entry>,
}

impl Bookmark {
    /// One that has found nothing yet.
    #[must_use]
    pub fn new(holder: Holder) -> Self {
        Self { holder, place: RwLock::default() }
    }

    /// Whose leases it is for.
    #[must_use]
    pub const fn holder(&self) -> &Holder {
        &self.holder
    }

    /// The entry, if it is this one's and still where it was.
    pub(super) fn follow(&self, roster: u64, id: &LeaseId) -> Option<Arc<Entry>> {
        // While somebody moves it, a look-up is quicker than waiting.
        let place = self.place.try_read()?;
        place.entry().filter(|entry| place.roster == roster && entry.id == *id)
    }

    /// Points to an entry, unless it points to one already: streams of one login that take turns
    /// would only push each other out.
    pub(super) fn point(&self, roster: u64, entry: &Listed) {
        if let Some(mut place) = self.place.try_write()
            && place.entry().is_none()
        {
            *place = Place { roster, entry: Arc::downgrade(&entry.0) };
        }
    }
}

impl Place {
    /// What it points to, if that is still there.
    fn entry(&self) -> Option<Arc<Entry>> {
        self.entry.upgrade().filter(|entry| !entry.is_gone.get())
    }
}

/// An entry that the roster has; when it is dropped, the roster has it no more.
#[derive(Debug)]
pub(super) struct Listed(Arc<Entry>);

impl Listed {
    pub(super) fn new(entry: Entry) -> Self {
        Self(Arc::new(entry))
    }

    /// The entry as it is from now on, if a bookmark points to it a copy in a place of its own. A
    /// sign of life that is given at this very moment may stay behind; there will be another.
    pub(super) fn for_change(&mut self) -> &mut Entry {
        if Arc::get_mut(&mut self.0).is_none() {
            let copy = Entry::clone(&self.0);
            *self = Self::new(copy);
        }
        Arc::get_mut(&mut self.0).expect("nobody has seen it yet")
    }
}

impl Deref for Listed {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.0
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.is_gone.set(true);
    }
}

impl Clone for Bookmark {
    fn clone(&self) -> Self {
        Self::new(self.holder)
    }
}

impl fmt::Debug for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bookmark").field(&self.holder).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::Pepper;
    use crate::lease::{Claim, State};
    use crate::roster::Roster;
    use crate::store::Admitted;
    use crate::timing::Timing;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::thread;
    use std::time::Duration;

    fn claim(name: &str) -> Claim {
        let holder = Holder::of(&Pepper::new([7; 32]).unwrap(), "alice");
        Claim::new(holder, LeaseId::of(name, None), 3)
    }

    fn roster_with(claims: &[&Claim]) -> Roster {
        let roster = Roster::new(Timing::default(), 1000, 10);
        claims.iter().for_each(|claim| admit(&roster, claim));
        roster
    }

    fn admit(roster: &Roster, claim: &Claim) {
        let admitted = Admitted {
            is_new: true,
            active: 1,
            started_at: 0,
            expires_in: Duration::from_secs(60),
            over_limit: false,
            replaced: Vec::new(),
            idle: Vec::new(),
        };
        roster.admit(claim, &admitted, roster.now_ms(), true).unwrap();
    }

    fn touches(roster: &Roster, bookmark: &Bookmark, claim: &Claim) -> bool {
        roster.touch_by(bookmark, &claim.id, &[]).is_some()
    }

    #[test]
    fn it_points_to_the_first_that_is_found_and_to_the_next_when_that_is_gone() {
        let (tv, pc) = (claim("tv"), claim("pc"));
        let roster = roster_with(&[&tv, &pc]);
        let bookmark = Bookmark::new(tv.holder);
        let points_to = |claim: &Claim| bookmark.follow(roster.number, &claim.id).is_some();
        assert!(!points_to(&tv));
        assert!(touches(&roster, &bookmark, &tv) && points_to(&tv));
        assert!(touches(&roster, &bookmark, &pc) && points_to(&tv) && !points_to(&pc));
        roster.forget(&tv.holder, &tv.id);
        assert!(!points_to(&tv) && !touches(&roster, &bookmark, &tv));
        assert!(touches(&roster, &bookmark, &pc) && points_to(&pc));
        // What has ended is remembered by the roster for long, and by no bookmark.
        roster.release(&pc.holder, &pc.id);
        assert!(!touches(&roster, &bookmark, &pc));
        admit(&roster, &tv);
        assert!(touches(&roster, &bookmark, &tv) && points_to(&tv));
    }

    #[test]
    fn what_was_changed_is_looked_up_again() {
        type Change = fn(&Roster, &Claim);
        let changes: [(Change, bool); 4] = [
            (|roster, tv| roster.declare(&tv.holder, &tv.id, State::Paused), true),
            (|roster, tv| admit(roster, tv), true),
            (|roster, tv| roster.release(&tv.holder, &tv.id), false),
            (|roster, tv| assert!(roster.terminate(&tv.holder, &tv.id)), false),
        ];
        for (n, (change, goes_on)) in changes.into_iter().enumerate() {
            let tv = claim("tv");
            let roster = roster_with(&[&tv]);
            let bookmark = Bookmark::new(tv.holder);
            assert!(touches(&roster, &bookmark, &tv));
            change(&roster, &tv);
            assert!(bookmark.follow(roster.number, &tv.id).is_none(), "{n}");
            assert_eq!(touches(&roster, &bookmark, &tv), goes_on, "{n}");
        }
    }

    #[test]
    fn what_it_found_elsewhere_counts_for_nothing() {
        let tv = claim("tv");
        let (one, other) = (roster_with(&[&tv]), roster_with(&[]));
        let bookmark = Bookmark::new(tv.holder);
        assert!(touches(&one, &bookmark, &tv));
        assert!(!touches(&other, &bookmark, &tv));
        admit(&other, &tv);
        other.release(&tv.holder, &tv.id);
        assert!(!touches(&other, &bookmark, &tv) && touches(&one, &bookmark, &tv));
        assert!(bookmark.clone().follow(one.number, &tv.id).is_none());
    }

    #[test]
    fn once_it_has_ended_nobody_goes_on_by_it() {
        let tv = claim("tv");
        for _ in 0..500 {
            let roster = roster_with(&[&tv]);
            let bookmark = Bookmark::new(tv.holder);
            let has_ended = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    assert!(touches(&roster, &bookmark, &tv));
                    roster.terminate(&tv.holder, &tv.id);
                    has_ended.store(true, SeqCst);
                });
                for _ in 0..2 {
                    scope.spawn(|| {
                        loop {
                            let is_over = has_ended.load(SeqCst);
                            let goes_on = touches(&roster, &bookmark, &tv);
                            assert!(!(is_over && goes_on), "it went on after it had ended");
                            if is_over {
                                break;
                            }
                        }
                    });
                }
            });
        }
    }
}
