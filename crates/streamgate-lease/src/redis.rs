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
//! While a pepper is being changed a holder has two names and four keys, in the same hash slot, as
//! the bucket stays. Every script first gathers under the gateway's own current name what lies
//! under the other (`gather.lua`), so it finds everything in one place whatever the other gateways
//! call current; renewals go to both.
//!
//! It is not a cache and not a queue: no key lives without a TTL.

mod links;
mod cluster;
mod map;
mod slot;
mod place;
mod batch;
mod link;
mod lane;
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
use ::redis::{Pipeline, Script, ScriptInvocation, Value, pipe};
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

const ACQUIRE: &str = concat!(include_str!("redis/gather.lua"), include_str!("redis/acquire.lua"));
const END: &str = concat!(include_str!("redis/gather.lua"), include_str!("redis/end.lua"));
const DECLARE: &str = concat!(include_str!("redis/gather.lua"), include_str!("redis/declare.lua"));
const LIST: &str = concat!(include_str!("redis/gather.lua"), include_str!("redis/list.lua"));

/// Leases in one Redis: one server, a master behind sentinels, or a cluster.
pub struct RedisStore {
    links: Arc<Links>,
    acquire: Script,
    end: Script,
    declare: Script,
    list: Script,
}

impl RedisStore {
    /// Leases over links. Asks nothing yet, so a server that is down is no error here.
    #[must_use]
    pub fn new(links: Arc<Links>) -> Self {
        Self {
            links,
            acquire: Script::new(ACQUIRE),
            end: Script::new(END),
            declare: Script::new(DECLARE),
            list: Script::new(LIST),
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
        let mut invocation = about(holder, &self.end);
        invocation
            .arg(id.to_string())
            .arg(verb)
            .arg(millis(timing.ttl()))
            .arg(millis(timing.tombstone()))
            .arg(notice::names(holder));
        reply::flag(&self.ask(holder, &invocation).await?)
    }

    /// Asks the server that has the holder's keys.
    async fn ask(
        &self,
        holder: &Holder,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<Value, StoreError> {
        self.links.ask(hash_slot(holder), &Question::Script(invocation)).await
    }
}

/// A server's clock; asks for the time if it was not heard of lately.
async fn server_clock(link: &Link) -> Result<offset::Reading, Trouble> {
    if let Some(reading) = link.clock().read() {
        return Ok(reading);
    }
    let sent = Instant::now();
    let time = link.ask(&Question::Pipeline(pipe().cmd("TIME")), false).await?;
    link.clock().learn(reply::array(&time)?.first().and_then(reply::server_time), sent);
    // A round trip too long to learn from: better no renewal than one with a wrong time.
    link.clock().read().ok_or(StoreError::Timeout.into())
}

/// A holder's two keys, leases and records, and the two of its other name if it has one.
fn keys(holder: &Holder) -> Vec<String> {
    let stems = names(holder).map(|name| format!("sg:{{{:04x}}}:{name}", name.bucket()));
    stems.flat_map(|stem| [format!("{stem}:l"), format!("{stem}:m")]).collect()
}

/// The hash slot of them all.
fn hash_slot(holder: &Holder) -> u16 {
    slot::of(&format!("{:04x}", holder.bucket()))
}

/// A holder by its current name and by its other one.
fn names(holder: &Holder) -> impl Iterator<Item = Holder> {
    [*holder].into_iter().chain(holder.other())
}

/// A script about a holder.
fn about<'s>(holder: &Holder, script: &'s Script) -> ScriptInvocation<'s> {
    let mut invocation = script.prepare_invoke();
    for key in keys(holder) {
        invocation.key(key);
    }
    invocation
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
        notice::names(&claim.holder),
        reply::classes_text(&claim.classes),
        adopt_word(claim).to_owned(),
        millis(timing.grandfather()).to_string(),
    ];
    words.extend(named.iter().map(LeaseId::to_string));
    words
}

fn adopt_word(claim: &Claim) -> &'static str {
    match (claim.adopt, claim.lost) {
        (true, _) => "1",
        (false, true) => "2",
        (false, false) => "0",
    }
}

/// One renewal: the expiry forward, never back and never out of nothing; now and then the TTLs
/// likewise. Under both names of a holder that has two: it lies under one of them.
///
/// `GT` on a key without a TTL would do nothing; acquire.lua sees to it that there is one.
fn renew_one(pipeline: &mut Pipeline, slot: &Slot, timing: &Timing, expiry: u64) {
    let (leases_ttl, records_ttl) = key_ttls(timing);
    for pair in keys(&slot.holder).chunks(2) {
        pipeline.cmd("ZADD").arg(&pair[0]).arg(&["XX", "GT", "CH"]);
        pipeline.arg(expiry).arg(slot.id.to_string());
        if slot.keep_keys {
            pipeline.cmd("PEXPIRE").arg(&pair[0]).arg(leases_ttl).arg("GT");
            pipeline.cmd("PEXPIRE").arg(&pair[1]).arg(records_ttl).arg("GT");
        }
    }
}

/// As in acquire.lua, in milliseconds: of the leases, and of the records.
fn key_ttls(timing: &Timing) -> (u64, u64) {
    let ttl = millis(timing.ttl());
    (64 * ttl, millis(timing.tombstone()).max(64 * ttl))
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

    /// At 4 us each.
    const PIPELINE_MAX: usize = 32;

    fn slots(&self) -> Vec<u16> {
        self.slots.iter().map(|slot| hash_slot(&slot.holder)).collect()
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
        link.clock().learn(values.next().and_then(reply::server_time), sent);
        let believed = |slot: &Slot| life(slot).saturating_sub(clock.doubt());
        let moved = reply::moved(values, &slots, link.host());
        let renewed = slots.iter().zip(moved);
        Ok(renewed.map(|(slot, moved)| Ok(moved?.then(|| believed(slot)))).collect())
    }
}

#[async_trait]
impl Batch for Claims<'_> {
    type Answer = Answer;

    /// At 30 us each.
    const PIPELINE_MAX: usize = 8;

    fn slots(&self) -> Vec<u16> {
        self.claims.iter().map(|claim| hash_slot(&claim.holder)).collect()
    }

    async fn put(
        &self,
        link: &Link,
        which: &[usize],
        asking: bool,
    ) -> Result<Vec<Result<Self::Answer, Trouble>>, Trouble> {
        let mut pipeline = pipe();
        // A server that has restarted knows no script; in a pipeline there is no second try.
        pipeline.cmd("SCRIPT").arg("LOAD").arg(ACQUIRE);
        let claims = || which.iter().map(|at| &self.claims[*at]);
        for claim in claims() {
            let keys = keys(&claim.holder);
            let evalsha = pipeline.cmd("EVALSHA").arg(self.hash).arg(keys.len());
            evalsha.arg(keys).arg(acquire_words(claim, self.timing));
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
        let mut invocation = about(&claim.holder, &self.acquire);
        invocation.arg(acquire_words(claim, timing));
        reply::answer(&self.ask(&claim.holder, &invocation).await?, &claim.id)
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
        reply::listed(&self.ask(holder, &about(holder, &self.list)).await?)
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
        let mut invocation = about(holder, &self.declare);
        invocation.arg(id.to_string()).arg(u8::from(state == State::Paused));
        reply::flag(&self.ask(holder, &invocation).await?)
    }
}
