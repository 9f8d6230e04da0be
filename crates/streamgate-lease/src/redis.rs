//! Leases in Redis (7.0 or newer) or Valkey: shared by all gateways, decided one holder at a time.
//!
//! Two keys per holder, in one hash slot of a cluster: `sg:{b}:h:l`, a sorted set of lease ids
//! whose scores are expiries, and `sg:{b}:h:m`, what is known of them and which ids have ended.
//! Nothing of a configuration is in a key, so gateways with different settings still count alike.
//!
//! Admitting is a script, because it must see and change both keys at once, by the server's clock.
//! Renewing is not: only acquire adds members, and it clears away the expired ones and counts
//! before it does. So `ZADD XX` can neither exceed the limit nor bring back what was removed, and
//! `GT` makes a late or doubled renewal harmless. That is four times cheaper than a script.
//!
//! It is not a cache and not a queue: no key lives without a TTL.

mod links;
mod cluster;
mod map;
mod slot;
mod place;
mod batch;
mod link;
mod question;
mod trouble;
mod breaker;
mod dial;
mod tls;
mod address;
mod feed;
mod notice;
mod offset;
mod reply;

use crate::clock::millis;
use crate::holder::Holder;
use crate::lease::{Claim, LeaseId, Live, REPLACE_MAX, Replace, State};
use crate::store::{Answer, LeaseStore, Slot, StoreError};
use crate::timing::Timing;
use ::redis::{Pipeline, Script, Value, cmd, pipe};
use async_trait::async_trait;
use batch::{Batch, scatter};
use link::Link;
use question::Question;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

pub use address::{Address, AddressInvalid};
pub use feed::{Feed, News};
pub use link::Deadlines;
pub use links::Links;
pub use notice::Notice;
pub use tls::{Tls, TlsInvalid};
use trouble::Trouble;

/// Leases in one Redis: one server, a master behind sentinels, or a cluster.
pub struct RedisStore {
    links: Arc<Links>,
    acquire: Script,
    end: Script,
    declare: Script,
    list: Script,
}

/// The two keys of a holder.
struct Keys {
    leases: String,
    records: String,
}

impl RedisStore {
    /// Leases over links. Asks nothing yet, so a server that is down is no error here.
    #[must_use]
    pub fn new(links: Arc<Links>) -> Self {
        Self {
            links,
            acquire: Script::new(include_str!("redis/acquire.lua")),
            end: Script::new(include_str!("redis/end.lua")),
            declare: Script::new(include_str!("redis/declare.lua")),
            list: Script::new(include_str!("redis/list.lua")),
        }
    }

    /// Releases (`R`) or terminates (`T`).
    async fn end(
        &self,
        holder: &Holder,
        id: &LeaseId,
        verb: &str,
        timing: &Timing,
    ) -> Result<bool, StoreError> {
        let keys = Keys::of(holder);
        let mut invocation = self.end.key(&keys.leases);
        invocation
            .key(keys.records)
            .arg(id.to_string())
            .arg(verb)
            .arg(millis(timing.ttl()))
            .arg(millis(timing.tombstone()))
            .arg(notice::name(holder));
        reply::flag(&self.links.invoke(&keys.leases, &invocation).await?)
    }
}

/// A server's clock; asks for the time if it was not heard of lately.
async fn server_clock(link: &Link) -> Result<offset::Reading, Trouble> {
    if let Some(reading) = link.clock.read() {
        return Ok(reading);
    }
    let sent = Instant::now();
    let time = link.ask(&Question::Command(&cmd("TIME")), false).await?;
    link.clock.learn(reply::server_time(&time), sent);
    // A round trip too long to learn from: better no renewal than one with a wrong time.
    link.clock.read().ok_or(StoreError::Timeout.into())
}

impl Keys {
    fn of(holder: &Holder) -> Self {
        let stem = format!("sg:{{{:04x}}}:{holder}", holder.bucket());
        Self { leases: format!("{stem}:l"), records: format!("{stem}:m") }
    }

    /// The hash slot of both.
    fn slot(holder: &Holder) -> u16 {
        slot::of(&format!("{:04x}", holder.bucket()))
    }
}

/// What acquire.lua calls ARGV.
fn acquire_words(claim: &Claim, timing: &Timing) -> Vec<String> {
    let (replace, named) = match &claim.replace {
        Replace::Oldest => ("oldest", [].as_slice()),
        Replace::These(ids) if ids.len() <= REPLACE_MAX => ("these", ids.as_slice()),
        Replace::Nobody | Replace::These(_) => ("nobody", [].as_slice()),
    };
    let mut words = vec![
        claim.id.to_string(),
        millis(timing.ttl()).to_string(),
        claim.limit.to_string(),
        millis(timing.tombstone()).to_string(),
        millis(timing.idle_after()).to_string(),
        millis(Timing::TTL_MAX).to_string(),
        u8::from(claim.reusable).to_string(),
        u8::from(claim.anew).to_string(),
        reply::about_text(&claim.about),
        replace.to_owned(),
        notice::name(&claim.holder),
        reply::classes_text(&claim.classes),
    ];
    words.extend(named.iter().map(LeaseId::to_string));
    words
}

/// One renewal: the expiry forward, never back and never out of nothing; the TTLs likewise.
///
/// `GT` on a key without a TTL would do nothing; acquire.lua sees to it that there is one.
fn renew_one(pipeline: &mut Pipeline, slot: &Slot, timing: &Timing, expiry: u64) {
    let keys = Keys::of(&slot.holder);
    let (leases_ttl, records_ttl) = key_ttls(timing);
    pipeline.cmd("ZADD").arg(&keys.leases).arg(&["XX", "GT", "CH"]);
    pipeline.arg(expiry).arg(slot.id.to_string());
    pipeline.cmd("PEXPIRE").arg(&keys.leases).arg(leases_ttl).arg("GT");
    if slot.keep_about {
        pipeline.cmd("PEXPIRE").arg(&keys.records).arg(records_ttl).arg("GT");
    }
}

/// As in acquire.lua, in milliseconds: of the leases, and of the records.
fn key_ttls(timing: &Timing) -> (u64, u64) {
    let ttl = millis(timing.ttl());
    (4 * ttl, millis(timing.tombstone()).max(16 * ttl))
}

/// Renewals, each counted by the clock of the server that has it.
struct Renewals<'a> {
    slots: &'a [Slot],
    timing: &'a Timing,
}

/// Claims, for the script of this hash.
struct Claims<'a> {
    claims: &'a [Claim],
    timing: &'a Timing,
    hash: &'a str,
}

#[async_trait]
impl Batch for Renewals<'_> {
    type Answer = Option<Duration>;

    fn slots(&self) -> Vec<u16> {
        self.slots.iter().map(|slot| Keys::slot(&slot.holder)).collect()
    }

    async fn put(
        &self,
        link: &Link,
        which: &[usize],
        asking: bool,
    ) -> Result<Vec<Result<Self::Answer, Trouble>>, Trouble> {
        let clock = server_clock(link).await?;
        let mut pipeline = pipe();
        pipeline.cmd("TIME");
        let now_ms = clock.now_ms();
        let slots: Vec<_> = which.iter().map(|at| self.slots[*at]).collect();
        let life = |slot: &Slot| self.timing.ttl().saturating_sub(slot.silent_for);
        for slot in &slots {
            renew_one(&mut pipeline, slot, self.timing, now_ms + millis(life(slot)));
        }
        let sent = Instant::now();
        let values = link.ask(&Question::Pipeline(&pipeline), asking).await?;
        let mut values = reply::array(&values)?.iter();
        link.clock.learn(values.next().and_then(reply::server_time), sent);
        let believed = |slot: &Slot| life(slot).saturating_sub(clock.doubt());
        let moved = reply::moved(values, &slots, link.host());
        let renewed = slots.iter().zip(moved);
        Ok(renewed.map(|(slot, moved)| Ok(moved?.then(|| believed(slot)))).collect())
    }
}

#[async_trait]
impl Batch for Claims<'_> {
    type Answer = Answer;

    fn slots(&self) -> Vec<u16> {
        self.claims.iter().map(|claim| Keys::slot(&claim.holder)).collect()
    }

    async fn put(
        &self,
        link: &Link,
        which: &[usize],
        asking: bool,
    ) -> Result<Vec<Result<Self::Answer, Trouble>>, Trouble> {
        let mut pipeline = pipe();
        // A server that has restarted knows no script; in a pipeline there is no second try.
        pipeline.cmd("SCRIPT").arg("LOAD").arg(include_str!("redis/acquire.lua"));
        let claims = || which.iter().map(|at| &self.claims[*at]);
        for claim in claims() {
            let keys = Keys::of(&claim.holder);
            let evalsha = pipeline.cmd("EVALSHA").arg(self.hash).arg(2);
            evalsha.arg(keys.leases).arg(keys.records).arg(acquire_words(claim, self.timing));
        }
        let values = link.ask(&Question::Pipeline(&pipeline), asking).await?;
        let values = reply::array(&values)?.iter().skip(1);
        let answer = |(claim, value): (&Claim, &Value)| match Trouble::among(value, link.host()) {
            Some(trouble) => Err(trouble),
            None => Ok(reply::answer(value, &claim.id)?),
        };
        Ok(claims().zip(values).map(answer).collect())
    }
}

#[async_trait]
impl LeaseStore for RedisStore {
    async fn acquire(&self, claim: &Claim, timing: &Timing) -> Result<Answer, StoreError> {
        let keys = Keys::of(&claim.holder);
        let mut invocation = self.acquire.key(keys.leases);
        invocation.key(keys.records).arg(acquire_words(claim, timing));
        let sent = Instant::now();
        let slot = Keys::slot(&claim.holder);
        let (reply, link) = self.links.ask(slot, &Question::Script(&invocation)).await?;
        link.clock.learn(reply::time_of(&reply), sent);
        reply::answer(&reply, &claim.id)
    }

    async fn acquire_all(
        &self,
        claims: &[Claim],
        timing: &Timing,
    ) -> Vec<Result<Answer, StoreError>> {
        scatter(&self.links, &Claims { claims, timing, hash: self.acquire.get_hash() }).await
    }

    async fn renew(
        &self,
        slots: &[Slot],
        timing: &Timing,
    ) -> Vec<Result<Option<Duration>, StoreError>> {
        scatter(&self.links, &Renewals { slots, timing }).await
    }

    fn fails_as_one(&self) -> bool {
        self.links.fail_as_one()
    }

    async fn release(
        &self,
        holder: &Holder,
        id: &LeaseId,
        timing: &Timing,
    ) -> Result<(), StoreError> {
        self.end(holder, id, "R", timing).await.map(|_| ())
    }

    async fn list(&self, holder: &Holder) -> Result<Vec<Live>, StoreError> {
        let keys = Keys::of(holder);
        let mut invocation = self.list.key(&keys.leases);
        invocation.key(keys.records);
        reply::listed(&self.links.invoke(&keys.leases, &invocation).await?)
    }

    async fn terminate(
        &self,
        holder: &Holder,
        id: &LeaseId,
        timing: &Timing,
    ) -> Result<bool, StoreError> {
        self.end(holder, id, "T", timing).await
    }

    async fn declare(
        &self,
        holder: &Holder,
        id: &LeaseId,
        state: State,
    ) -> Result<bool, StoreError> {
        let keys = Keys::of(holder);
        let mut invocation = self.declare.key(&keys.leases);
        invocation.key(keys.records).arg(id.to_string()).arg(u8::from(state == State::Paused));
        reply::flag(&self.links.invoke(&keys.leases, &invocation).await?)
    }
}
