//! How often a login may fail, for one account and from one address. The counts are in this process
//! only: with N replicas an attacker has N times as many tries. A login that succeeds is not
//! counted, so everybody in an office behind one address can log in.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::account::AccountName;
use crate::caller::Caller;

/// Entries that each table holds at most; beyond them the one that is free soonest is forgotten.
const ENTRIES_MAX: usize = 10_000;

/// So many at once, and then one more after each pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Attempts that may fail in a row; 1 or more.
    pub burst: u32,
    /// After how long one attempt comes back.
    pub one_back_after: Duration,
}

/// Both tables.
pub(crate) struct Throttle {
    accounts: Table<AccountName>,
    addresses: Table<Caller>,
}

impl Throttle {
    pub(crate) fn new(per_account: Allowance, per_address: Allowance) -> Self {
        Self { accounts: Table::new(per_account), addresses: Table::new(per_address) }
    }

    /// Takes one attempt from both, or says how long to wait for one.
    pub(crate) fn take(&self, account: &AccountName, caller: Caller) -> Result<(), Duration> {
        let now = Instant::now();
        self.addresses.take(caller, now)?;
        self.accounts.take(account.clone(), now).inspect_err(|_| self.addresses.give_back(&caller))
    }

    /// The attempt was no failure: it is given back.
    pub(crate) fn give_back(&self, account: &AccountName, caller: Caller) {
        self.accounts.give_back(account);
        self.addresses.give_back(&caller);
    }
}

/// GCRA: for each key the time until which it has used up its allowance.
struct Table<K> {
    allowance: Allowance,
    used_until: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash + Clone> Table<K> {
    fn new(allowance: Allowance) -> Self {
        Self { allowance, used_until: Mutex::default() }
    }

    fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let step = self.allowance.one_back_after;
        let slack = step * self.allowance.burst.saturating_sub(1);
        let mut used_until = self.used_until.lock();
        let used = used_until.get(&key).map_or(now, |used| (*used).max(now));
        let ahead = used - now;
        if slack < ahead {
            return Err(ahead - slack);
        }
        if used_until.len() >= ENTRIES_MAX && !used_until.contains_key(&key) {
            forget(&mut used_until, now);
        }
        used_until.insert(key, used + step);
        Ok(())
    }

    fn give_back(&self, key: &K) {
        let mut used_until = self.used_until.lock();
        // An entry that was forgotten meanwhile has nothing to give back.
        let Some(used) = used_until.get_mut(key) else { return };
        match used.checked_sub(self.allowance.one_back_after) {
            Some(earlier) if Instant::now() < earlier => *used = earlier,
            _ => drop(used_until.remove(key)),
        }
    }
}

/// Makes room: all that are free again, else the one that is free soonest.
fn forget<K: Eq + Hash + Clone>(used_until: &mut HashMap<K, Instant>, now: Instant) {
    used_until.retain(|_, used| now < *used);
    if used_until.len() < ENTRIES_MAX {
        return;
    }
    let soonest = used_until.iter().min_by_key(|(_, used)| **used).map(|(key, _)| key.clone());
    if let Some(key) = soonest {
        used_until.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn table() -> Table<u32> {
        Table::new(Allowance { burst: 3, one_back_after: SECOND * 10 })
    }

    #[test]
    fn a_burst_then_one_after_each_pause() {
        let (table, now) = (table(), Instant::now());
        for _ in 0..3 {
            assert_eq!(table.take(1, now), Ok(()));
        }
        assert_eq!(table.take(1, now), Err(SECOND * 10));
        assert_eq!(table.take(1, now + SECOND * 4), Err(SECOND * 6));
        assert_eq!(table.take(2, now), Ok(()), "another key has its own");
        assert_eq!(table.take(1, now + SECOND * 10), Ok(()));
        assert_eq!(table.take(1, now + SECOND * 10), Err(SECOND * 10));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (table, now) = (table(), Instant::now());
        for _ in 0..20 {
            assert_eq!(table.take(1, now), Ok(()));
            table.give_back(&1);
        }
    }

    #[test]
    fn a_flood_of_keys_stays_within_bounds() {
        let (table, now) = (table(), Instant::now());
        for _ in 0..3 {
            assert_eq!(table.take(0, now), Ok(()));
        }
        for key in 1..ENTRIES_MAX as u32 + 50 {
            assert_eq!(table.take(key, now), Ok(()));
        }
        assert_eq!(table.used_until.lock().len(), ENTRIES_MAX);
        assert!(table.take(0, now).is_err(), "the busiest key is the last to be forgotten");
    }
}
