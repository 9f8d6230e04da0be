//! Limits that all gateways share: what their store is asked, and what holds without its answer.

use super::config::WhenStoreFails;
use super::key::Of;
use super::{Limit, Outcome, RateLimit};
use crate::denial::Denial;
use crate::quota::shared::{self, Ask, SharedKey};
use crate::quota::{Left, Taken};
use futures_util::future::join_all;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use streamgate_lease::StoreError;
use streamgate_lease::redis::Client;
use tokio::time::Instant;

/// The store of a filter's limits.
pub(super) struct Shared {
    pub(super) client: Arc<Client>,
    /// What each limit is called there; `None` for those that are counted here.
    pub(super) names: Box<[Option<String>]>,
}

/// Limits of one key, by their numbers: the store is asked about them at once.
struct Group {
    key: SharedKey,
    limits: Vec<usize>,
    /// What was taken of each here while the store was away.
    debts: Vec<u64>,
}

impl RateLimit {
    /// Asks the store about all limits that it knows. What comes of them stands in `outcomes`; a
    /// refusal is one of those that need an answer and got none.
    pub(super) async fn ask(
        &self,
        store: &Shared,
        keys: &[Of<'_>],
        outcomes: &mut [Option<Outcome>],
        now: Instant,
    ) -> Result<(), Denial> {
        let groups = self.groups(store, keys, Some(now));
        let asked = groups.iter().map(|group| async move {
            let asks = self.asks(store, group);
            shared::take(&store.client, &group.key, &asks).await
        });
        let mut refused = Ok(());
        for (group, answer) in groups.iter().zip(join_all(asked).await) {
            match answer {
                Ok(taken) => {
                    let is_charged = taken.iter().all(|taken| matches!(taken, Taken::All(_)));
                    for (number, taken) in group.limits.iter().zip(taken) {
                        outcomes[*number] = Some(Outcome { taken, is_charged, is_here: false });
                    }
                }
                Err(error) => {
                    for (number, debt) in group.limits.iter().zip(&group.debts) {
                        let outcome = self.alone(*number, &keys[*number], *debt, &error, now);
                        outcomes[*number] = outcome.map_err(|denial| refused = Err(denial)).ok();
                    }
                }
            }
        }
        refused
    }

    /// Gives back to the store what was taken there.
    pub(super) async fn give_back(
        &self,
        store: &Shared,
        keys: &[Of<'_>],
        outcomes: &[Option<Outcome>],
    ) {
        let is_charged = |number: &usize| {
            outcomes[*number].as_ref().is_some_and(|outcome| outcome.is_charged && !outcome.is_here)
        };
        let mut groups = self.groups(store, keys, None);
        groups.retain(|group| group.limits.iter().all(is_charged));
        let given = groups.iter().map(|group| async move {
            let asks = self.asks(store, group);
            // If it fails, the client has so much less until it comes back by itself.
            let _ = shared::give_back(&store.client, &group.key, &asks).await;
        });
        join_all(given).await;
    }

    /// The limits of each key. Debts are told to the store once: they are looked for where it is
    /// asked at this time.
    fn groups(&self, store: &Shared, keys: &[Of<'_>], asked_at: Option<Instant>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let known = store.names.iter().enumerate().filter(|(_, name)| name.is_some());
        for (number, _) in known {
            let key = keys[number].shared();
            let drain = |now| self.tables[number].drain(&keys[number], now);
            let debt = asked_at.map_or(0, drain);
            match groups.iter_mut().find(|group| group.key == key) {
                Some(group) => {
                    group.limits.push(number);
                    group.debts.push(debt);
                }
                None => groups.push(Group { key, limits: vec![number], debts: vec![debt] }),
            }
        }
        groups
    }

    fn asks<'a>(&'a self, store: &'a Shared, group: &Group) -> Vec<Ask<'a>> {
        let ask = |(number, debt): (&usize, &u64)| {
            let limit: &Limit = &self.limits[*number];
            let name = store.names[*number].as_deref().expect("only such limits are in groups");
            let (rate, algorithm) = (&limit.rate, limit.algorithm);
            Ask { name, rate, algorithm, units: limit.units, debt: *debt }
        };
        group.limits.iter().zip(&group.debts).map(ask).collect()
    }

    /// What holds for a limit whose store gave no answer.
    fn alone(
        &self,
        number: usize,
        key: &Of<'_>,
        debt: u64,
        error: &StoreError,
        now: Instant,
    ) -> Result<Outcome, Denial> {
        let (limit, table) = (&self.limits[number], &self.tables[number]);
        table.alone.fetch_add(1, Ordering::Relaxed);
        let mode = limit.store.as_ref().map_or(WhenStoreFails::Local, |store| store.when_fails);
        match mode {
            WhenStoreFails::Closed => Err(Denial::of_store(error)),
            WhenStoreFails::Open => {
                let left = Left { units: limit.rate.burst.into(), ..Left::default() };
                Ok(Outcome { taken: Taken::All(left), is_charged: false, is_here: true })
            }
            WhenStoreFails::Local => {
                if debt != 0 {
                    table.take(key, u32::try_from(debt).unwrap_or(u32::MAX), now);
                }
                Ok(Outcome::here(table.take(key, limit.units, now)))
            }
        }
    }
}
