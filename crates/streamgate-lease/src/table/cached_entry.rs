//! A reference to the table's entry of a lease, so that the next sign of life needs no look-up.
//!
//! Whoever follows such a reference holds an `Arc<Entry>` and takes no lock of the table. Two rules
//! follow from that:
//!
//! 1. An entry to which references exist is not changed in place. It is copied, the copy is
//!    changed, and the table has the copy from then on (copy on write, [`OwnedEntry::make_mut`]).
//! 2. When the table removes an entry, or replaces it by a copy, it sets `is_gone`. A `Weak` that
//!    cannot be upgraded would not be enough: another reader may hold the `Arc` at that moment, and
//!    then the `Weak` can still be upgraded.
//!
//! `table/model.rs` checks both rules in every interleaving that is possible (`scripts/loom`).

use super::entry::Entry;
use crate::holder::Holder;
use crate::lease::LeaseId;
use crate::sync::{Arc, RwLock, Weak};
use std::fmt;
use std::ops::Deref;

/// A holder, and a reference to the table's entry of one of its leases. A caller that remembers a
/// holder between requests remembers this instead. [`Leases::touch_cached`] then reads one place in
/// memory, where a look-up reads six.
///
/// It refers to the entry in the node's table, or to nothing: after the entry has ended, was
/// changed or was removed, the next touch looks the lease up again. A clone begins with no
/// reference.
///
/// [`Leases::touch_cached`]: crate::Leases::touch_cached
pub struct CachedEntry {
    holder: Holder,
    target: RwLock<Target>,
}

#[derive(Default)]
struct Target {
    /// The number of the table that has the entry.
    table: u64,
    entry: Weak<Entry>,
}

impl CachedEntry {
    /// One that refers to nothing yet.
    #[must_use]
    pub fn new(holder: Holder) -> Self {
        Self { holder, target: RwLock::default() }
    }

    /// The holder.
    #[must_use]
    pub const fn holder(&self) -> &Holder {
        &self.holder
    }

    /// The entry, if it is the one of this id in this table and the table still has it.
    pub(super) fn get(&self, table: u64, id: &LeaseId) -> Option<Arc<Entry>> {
        // While somebody else sets it, a look-up is quicker than waiting.
        let target = self.target.try_read()?;
        target.entry().filter(|entry| target.table == table && entry.id == *id)
    }

    /// Refers to this entry from now on, unless it refers to one already: two streams of one login
    /// that take turns would only replace each other.
    pub(super) fn set(&self, table: u64, entry: &OwnedEntry) {
        if let Some(mut target) = self.target.try_write()
            && target.entry().is_none()
        {
            *target = Target { table, entry: Arc::downgrade(&entry.0) };
        }
    }
}

impl Target {
    /// The entry, if the table still has it.
    fn entry(&self) -> Option<Arc<Entry>> {
        self.entry.upgrade().filter(|entry| !entry.is_gone.get())
    }
}

/// An entry as the table owns it. Dropping it means that the table has removed it.
#[derive(Debug)]
pub(super) struct OwnedEntry(Arc<Entry>);

impl OwnedEntry {
    pub(super) fn new(entry: Entry) -> Self {
        Self(Arc::new(entry))
    }

    /// A reference to the entry, which outlives it here.
    pub(super) fn reference(&self) -> Arc<Entry> {
        Arc::clone(&self.0)
    }

    /// The entry, to be changed. If there are references to it, a copy takes its place, and they
    /// find nothing any more. A sign of life at this very moment may be lost with the old entry;
    /// the player will show another one.
    pub(super) fn make_mut(&mut self) -> &mut Entry {
        if Arc::get_mut(&mut self.0).is_none() {
            let copy = Entry::clone(&self.0);
            *self = Self::new(copy);
        }
        Arc::get_mut(&mut self.0).expect("a copy that was just made has no references")
    }
}

impl Deref for OwnedEntry {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.0
    }
}

impl Drop for OwnedEntry {
    fn drop(&mut self) {
        self.0.is_gone.set(true);
    }
}

impl Clone for CachedEntry {
    fn clone(&self) -> Self {
        Self::new(self.holder)
    }
}

impl fmt::Debug for CachedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CachedEntry").field(&self.holder).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::End;
    use crate::holder::Pepper;
    use crate::lease::{Claim, State};
    use crate::recorder::{Recorder, Via};
    use crate::store::Admitted;
    use crate::table::Table;
    use crate::timing::Timing;

    fn claim(name: &str) -> Claim {
        let holder = Holder::of(&Pepper::new([7; 32]).unwrap(), "alice");
        Claim::new(holder, LeaseId::of(name, None), 3)
    }

    fn table_with(claims: &[&Claim]) -> Table {
        let table = Table::new(Timing::default(), 1000, 10, Recorder::new(1));
        claims.iter().for_each(|claim| admit(&table, claim));
        table
    }

    fn admit(table: &Table, claim: &Claim) {
        let admitted = Admitted::alone(claim.id);
        table.admit(claim, &admitted, table.asking(), true).unwrap();
    }

    fn touches(table: &Table, cached_entry: &CachedEntry, claim: &Claim) -> bool {
        table.touch_cached(cached_entry, &claim.id, &[]).is_some()
    }

    #[test]
    fn it_refers_to_the_first_lease_found_and_to_another_once_that_is_gone() {
        let (tv, pc) = (claim("tv"), claim("pc"));
        let table = table_with(&[&tv, &pc]);
        let cached_entry = CachedEntry::new(tv.holder);
        let refers_to = |claim: &Claim| cached_entry.get(table.number, &claim.id).is_some();
        assert!(!refers_to(&tv));
        assert!(touches(&table, &cached_entry, &tv) && refers_to(&tv));
        assert!(touches(&table, &cached_entry, &pc) && refers_to(&tv) && !refers_to(&pc));
        table.forget(&tv.holder, &tv.id, End::Refused, Via::Request);
        assert!(!refers_to(&tv) && !touches(&table, &cached_entry, &tv));
        assert!(touches(&table, &cached_entry, &pc) && refers_to(&pc));
        // The table remembers for long what has ended; a cached entry does not refer to it.
        table.release(&pc.holder, &pc.id);
        assert!(!touches(&table, &cached_entry, &pc));
        admit(&table, &tv);
        assert!(touches(&table, &cached_entry, &tv) && refers_to(&tv));
    }

    #[test]
    fn a_changed_entry_is_looked_up_again() {
        type Change = fn(&Table, &Claim);
        let changes: [(Change, bool); 4] = [
            (|table, tv| table.declare(&tv.holder, &tv.id, State::Paused), true),
            (|table, tv| admit(table, tv), true),
            (|table, tv| table.release(&tv.holder, &tv.id), false),
            (|table, tv| assert!(table.terminate(&tv.holder, &tv.id)), false),
        ];
        for (n, (change, plays_on)) in changes.into_iter().enumerate() {
            let tv = claim("tv");
            let table = table_with(&[&tv]);
            let cached_entry = CachedEntry::new(tv.holder);
            assert!(touches(&table, &cached_entry, &tv));
            change(&table, &tv);
            assert!(cached_entry.get(table.number, &tv.id).is_none(), "{n}");
            assert_eq!(touches(&table, &cached_entry, &tv), plays_on, "{n}");
        }
    }

    #[test]
    fn an_entry_of_another_table_is_not_used() {
        let tv = claim("tv");
        let (one, other) = (table_with(&[&tv]), table_with(&[]));
        let cached_entry = CachedEntry::new(tv.holder);
        assert!(touches(&one, &cached_entry, &tv));
        assert!(!touches(&other, &cached_entry, &tv));
        admit(&other, &tv);
        other.release(&tv.holder, &tv.id);
        assert!(!touches(&other, &cached_entry, &tv) && touches(&one, &cached_entry, &tv));
        assert!(cached_entry.clone().get(one.number, &tv.id).is_none());
    }
}
