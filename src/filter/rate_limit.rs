//! The filter `rate_limit`: how often a client, an account, a session or the holder of a key may
//! ask.
//!
//! A filter may have several limits. A request passes if all of them let it, and is charged to all
//! or to none. What is left stands in every answer (`RateLimit`, draft-ietf-httpapi-ratelimit-
//! headers), so that a well-made client never meets a refusal. How it is counted is the room
//! `quota`'s knowledge.

mod config;
mod counted;
mod fields;
mod key;
mod shared;

use super::{Answer, Decision, Fact, Filter, Halt, Placement, Stage, Stance};
use crate::denial::{Code, Denial};
use crate::exchange::{Exchange, Finding, Quota};
use crate::part::{Compiled, Parts};
use crate::problem::Problem;
use crate::quota::shared::SharedKey;
use crate::quota::{Algorithm, Figures, Left, Rate, Taken};
use crate::request::Request;
use crate::units::Fingerprint;
use async_trait::async_trait;
use config::StoreChoice;
use counted::Counted;
use fields::{POLICY, REMAINING};
use http::HeaderValue;
use key::Key;
use parking_lot::Mutex;
use shared::Shared;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(super) use config::Config;

/// What the tables of a route are kept as while the configuration changes.
const KIND: &str = "rate limits";

pub(super) fn build(
    config: &Config,
    _: &Parts,
    stance: Stance,
) -> Result<Box<dyn Filter>, Vec<Problem>> {
    let limits = config::compile(config)?;
    let policy = fields::policy(limits.iter().map(|limit| (&*limit.name, &limit.rate)));
    Ok(Box::new(RateLimit {
        needs_login: limits.iter().any(|limit| limit.key.is_of_session()),
        tells: config.whole().iter().all(|limit| limit.fields),
        limits: limits.into(),
        tables: Box::default(),
        shared: None,
        policy: Arc::new(policy),
        is_shadow: stance == Stance::Shadow,
    }))
}

/// One limit, compiled.
struct Limit {
    name: Box<str>,
    rate: Rate,
    algorithm: Algorithm,
    key: Key,
    /// What a request costs.
    units: u32,
    keys_max: usize,
    store: Option<StoreChoice>,
    print: Fingerprint,
}

impl Limit {
    /// What this gateway lets through by itself.
    fn own_rate(&self) -> Rate {
        let gateways = self.store.as_ref().map_or(1, |store| store.gateways);
        let part = |whole: u32| whole.div_ceil(gateways).max(self.units);
        Rate {
            limit: self.rate.limit.div_ceil(gateways),
            burst: part(self.rate.burst),
            ..self.rate
        }
    }
}

/// The filter, running.
struct RateLimit {
    limits: Box<[Limit]>,
    /// The table of each limit, once it is known on which route.
    tables: Box<[Arc<Counted>]>,
    shared: Option<Shared>,
    policy: Arc<HeaderValue>,
    tells: bool,
    needs_login: bool,
    is_shadow: bool,
}

/// What one limit said.
struct Outcome {
    taken: Taken,
    /// The units are gone.
    is_charged: bool,
    /// They were taken from the table of this gateway.
    is_here: bool,
}

impl Outcome {
    fn here(taken: Taken) -> Self {
        Outcome { taken, is_charged: matches!(taken, Taken::All(_)), is_here: true }
    }
}

/// The tables of a route, each with what it was made from.
type Kept = Mutex<Vec<(Fingerprint, Arc<Counted>)>>;

#[async_trait]
impl Filter for RateLimit {
    fn needs(&self) -> &'static [Fact] {
        if self.needs_login { &[Fact::Login] } else { &[] }
    }

    fn settle(&mut self, place: &Placement<'_>) -> Result<(), Vec<Problem>> {
        self.shared = self.open(place)?;
        let known = place.lasting.kept(KIND, place.route);
        let known = known.and_then(|kept| kept.part.downcast::<Kept>().ok());
        let kept = known.unwrap_or_else(|| {
            let (print, part) = (Fingerprint::of(&KIND), Arc::new(Kept::default()));
            place.lasting.keep(KIND, place.route, Compiled { print, part: part.clone() });
            part
        });
        let mut kept = kept.lock();
        let table = |(nth, limit): (usize, &Limit)| {
            let own = [place.index as u8, nth as u8, u8::from(self.is_shadow)];
            let print = limit.print.with(&own);
            if let Some((_, table)) = kept.iter().find(|(other, _)| *other == print) {
                return Arc::clone(table);
            }
            let rate = if self.is_at_store(nth) { limit.own_rate() } else { limit.rate };
            let table = Arc::new(Counted::new(limit.algorithm, rate, limit.keys_max));
            kept.push((print, Arc::clone(&table)));
            table
        };
        self.tables = self.limits.iter().enumerate().map(table).collect();
        // Those of a configuration that nobody uses any more.
        kept.retain(|(_, table)| 1 < Arc::strong_count(table));
        Ok(())
    }

    fn decide_at_once(&self, request: &Request<'_>, known: &Exchange) -> Option<Decision> {
        if self.shared.is_some() {
            return None;
        }
        let keys: Vec<key::Of<'_>> = self.keys(request, known);
        let outcomes = self.take_here(&keys, known);
        Some(match self.is_refused(&outcomes) {
            true => Err(self.refused(&keys, outcomes, known)),
            false => Ok(self.passed(&outcomes)),
        })
    }

    async fn decide(&self, request: &Request<'_>, known: &Exchange) -> Decision {
        let keys: Vec<key::Of<'_>> = self.keys(request, known);
        let mut outcomes = self.take_here(&keys, known);
        let Some(store) = self.shared.as_ref().filter(|_| !self.is_refused(&outcomes)) else {
            return match self.is_refused(&outcomes) {
                true => Err(self.refused(&keys, outcomes, known)),
                false => Ok(self.passed(&outcomes)),
            };
        };
        let asked = self.ask(store, &keys, &mut outcomes, known.began).await;
        if asked.is_ok() && !self.is_refused(&outcomes) {
            return Ok(self.passed(&outcomes));
        }
        self.give_back(store, &keys, &outcomes).await;
        let refused = self.refused(&keys, outcomes, known);
        Err(asked.map_or_else(Halt::from, |()| refused))
    }

    fn finishes(&self) -> Option<Stage> {
        self.tells.then_some(Stage::Quota)
    }

    fn finish(&self, answer: &mut Answer<'_>, known: &Exchange) {
        let own = known.quotas().iter().find(|one| Arc::ptr_eq(&one.policy, &self.policy));
        if let Some(quota) = own {
            // Values of our own making: none of these fails.
            let _ = answer.head.append_header(REMAINING, &quota.left);
            let _ = answer.head.append_header(POLICY, &*self.policy);
        }
    }

    fn rates(&self) -> Figures {
        Figures {
            evicted: self.tables.iter().map(|table| table.evicted()).sum(),
            alone: self.tables.iter().map(|table| table.alone.load(Ordering::Relaxed)).sum(),
        }
    }
}

impl RateLimit {
    /// The store that the limits name, if it is one that gateways share.
    fn open(&self, place: &Placement<'_>) -> Result<Option<Shared>, Vec<Problem>> {
        let mut client = None;
        for choice in self.limits.iter().filter_map(|limit| limit.store.as_ref()) {
            let store = place.stores.find(&choice.name)?;
            client = store.client().cloned();
        }
        let Some(client) = client else { return Ok(None) };
        let index = [place.index as u8, u8::from(self.is_shadow)];
        let name = |limit: &Limit| {
            limit.store.as_ref()?;
            // A limit that is changed is another one; when the store fails is no part of it.
            let rate = limit.rate.print(limit.algorithm);
            let parts = [place.route.as_bytes(), &index, limit.name.as_bytes(), rate.as_bytes()];
            Some(SharedKey::of(parts).short().to_owned())
        };
        let names = self.limits.iter().map(name).collect();
        Ok(Some(Shared { client, names }))
    }

    fn is_at_store(&self, number: usize) -> bool {
        self.shared.as_ref().is_some_and(|store| store.names[number].is_some())
    }

    fn keys<'a>(&'a self, request: &Request<'a>, known: &'a Exchange) -> Vec<key::Of<'a>> {
        self.limits.iter().map(|limit| limit.key.of(request, known)).collect()
    }

    /// Takes of all limits that are counted here. It is the same moment for all of them, and no
    /// clock is read for it.
    fn take_here(&self, keys: &[key::Of<'_>], known: &Exchange) -> Vec<Option<Outcome>> {
        let take = |(number, limit): (usize, &Limit)| {
            let table = &self.tables[number];
            let is_here = !self.is_at_store(number);
            is_here.then(|| Outcome::here(table.take(&keys[number], limit.units, known.began)))
        };
        self.limits.iter().enumerate().map(take).collect()
    }

    fn is_refused(&self, outcomes: &[Option<Outcome>]) -> bool {
        let outcomes = outcomes.iter().flatten();
        outcomes.map(|outcome| outcome.taken).any(|taken| matches!(taken, Taken::Nothing(..)))
    }

    fn passed(&self, outcomes: &[Option<Outcome>]) -> Finding {
        match self.tells {
            true => Finding::Quota(Quota {
                left: fields::remaining(self.left(outcomes)),
                policy: Arc::clone(&self.policy),
            }),
            false => Finding::Nothing,
        }
    }

    fn left<'a>(
        &'a self,
        outcomes: &'a [Option<Outcome>],
    ) -> impl Iterator<Item = (&'a str, Left)> {
        let named = self.limits.iter().zip(outcomes);
        named.filter_map(|(limit, outcome)| {
            let (Taken::All(left) | Taken::Nothing(left, _)) = outcome.as_ref()?.taken;
            Some((&*limit.name, left))
        })
    }

    /// The refusal, once those limits have got back what they gave that would have let it pass.
    fn refused(
        &self,
        keys: &[key::Of<'_>],
        mut outcomes: Vec<Option<Outcome>>,
        known: &Exchange,
    ) -> Halt {
        let (mut violated, mut longest) = (Vec::new(), Duration::ZERO);
        for (number, outcome) in outcomes.iter_mut().enumerate() {
            let (limit, Some(outcome)) = (&self.limits[number], outcome) else { continue };
            match &mut outcome.taken {
                Taken::Nothing(_, wait) => {
                    violated.push(&*limit.name);
                    longest = longest.max(*wait);
                }
                Taken::All(left) if outcome.is_charged => {
                    left.units += u64::from(limit.units);
                    if outcome.is_here {
                        self.tables[number].give_back(&keys[number], limit.units, known.began);
                    }
                }
                Taken::All(_) => {}
            }
        }
        let denial = Denial::from(Code::RateLimited)
            .retry_after(longest)
            .with("violated-policies", violated);
        let denial = match self.tells {
            true => denial
                .with_header(REMAINING, fields::remaining(self.left(&outcomes)))
                .with_header(POLICY, (*self.policy).clone()),
            false => denial,
        };
        denial.into()
    }
}
