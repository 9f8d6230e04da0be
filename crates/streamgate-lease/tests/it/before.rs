//! A gateway from before there were logins, marks and starts that are given back (commit 345bf06),
//! as far as a store notices it: its scripts, word for word, beside those of today. They must be
//! able to share a Redis while an operator replaces one gateway after the other.
//!
//! What it lists, declares and renews is what a gateway of today lists, declares and renews.

use crate::server::Server;
use redis::{FromRedisValue, Script, Value};
use std::time::Duration;
use streamgate_lease::{
    Admitted, Answer, Claim, Ending, Full, Holder, LeaseId, LeaseStore, Replace, Timing,
};

const ACQUIRE: &str =
    concat!(include_str!("before/gather.lua"), include_str!("before/acquire.lua"));
const END: &str = concat!(include_str!("before/gather.lua"), include_str!("before/end.lua"));

type Held = (String, u64, u64, u8, u32, u64, Vec<String>, Vec<String>, u8);
type NoRoom = (String, u64, Vec<Value>, String, u32);
type HasEnded = (String, u64, String, u64);

pub(crate) struct Before {
    acquire: Script,
    end: Script,
}

impl Before {
    pub(crate) fn new() -> Self {
        Self { acquire: Script::new(ACQUIRE), end: Script::new(END) }
    }

    /// Of the claim it knows neither login nor path, nor who makes it.
    pub(crate) async fn acquire(
        &self,
        server: &Server,
        store: &dyn LeaseStore,
        claim: &Claim,
        timing: &Timing,
    ) -> Answer {
        let mut invocation = self.acquire.prepare_invoke();
        for key in keys(&claim.holder) {
            invocation.key(key);
        }
        invocation.arg(words(claim, timing));
        let mut connection = server.peek().await;
        let value: Value = invocation.invoke_async(&mut connection).await.unwrap();
        let Value::Array(parts) = &value else { panic!("{value:?}") };
        match String::from_redis_value_ref(&parts[0]).unwrap().as_str() {
            "held" => held(claim, &value, timing.ttl()),
            "full" => {
                let (_, _, _, class, limit) = NoRoom::from_redis_value_ref(&value).unwrap();
                let class = (!class.is_empty()).then(|| class.parse().unwrap());
                // A refusal changes nothing, so what is there now was there.
                let live = store.list(&claim.holder).await.unwrap();
                let mut full = Full { limit, class, live, retry_after: Duration::ZERO };
                let others = full.in_the_way(&claim.id).map(|live| live.expires_in);
                full.retry_after = others.min().unwrap_or_default();
                Answer::Full(full)
            }
            _ => {
                let (_, now, why, until) = HasEnded::from_redis_value_ref(&value).unwrap();
                let why = match why.as_str() {
                    "R" => Ending::Released,
                    "T" => Ending::Terminated,
                    "P" => Ending::Replaced,
                    other => panic!("{other}"),
                };
                Answer::Ended(why, Duration::from_millis(until - now))
            }
        }
    }

    /// Releases it, or terminates it. Whether there was something to end.
    pub(crate) async fn end(
        &self,
        server: &Server,
        holder: &Holder,
        id: &LeaseId,
        verb: &str,
        timing: &Timing,
    ) -> bool {
        let mut invocation = self.end.prepare_invoke();
        for key in keys(holder) {
            invocation.key(key);
        }
        invocation.arg(id.to_string()).arg(verb).arg(ms(timing.ttl()));
        invocation.arg(ms(timing.tombstone())).arg(names(holder));
        invocation.invoke_async(&mut server.peek().await).await.unwrap()
    }
}

fn held(claim: &Claim, value: &Value, ttl: Duration) -> Answer {
    let (_, now, expiry, is_new, active, started_at, replaced, idle, over) =
        Held::from_redis_value_ref(value).unwrap();
    let ids = |texts: Vec<String>| texts.iter().map(|text| text.parse().unwrap()).collect();
    Answer::Held(Admitted {
        is_new: is_new == 1,
        active,
        id: claim.id,
        first: None,
        born_at: None,
        started_at,
        ttl,
        expires_in: Duration::from_millis(expiry - now),
        replaced: ids(replaced),
        idle: ids(idle),
        superseded: Vec::new(),
        marked: Vec::new(),
        over_limit: over == 1,
    })
}

fn words(claim: &Claim, timing: &Timing) -> Vec<String> {
    let (replace, named) = match &claim.replace {
        Replace::Nobody => ("nobody", [].as_slice()),
        Replace::Oldest => ("oldest", [].as_slice()),
        Replace::These(ids) => ("these", ids.as_slice()),
    };
    let about = match (claim.about.device(), claim.about.title()) {
        (None, None) => String::new(),
        (device, title) => serde_json::json!([device, title]).to_string(),
    };
    let classes: Vec<_> =
        claim.classes.iter().map(|of| format!("{}={}", of.class, of.limit)).collect();
    let adopt = if claim.adopt { "1" } else { "0" };
    let mut words = vec![
        claim.id.to_string(),
        ms(timing.ttl()).to_string(),
        claim.limit.to_string(),
        ms(timing.tombstone()).to_string(),
        ms(timing.idle_after()).to_string(),
        ms(Timing::TTL_MAX).to_string(),
        u8::from(claim.reusable).to_string(),
        u8::from(claim.explicit_start).to_string(),
        about,
        replace.to_owned(),
        names(&claim.holder),
        classes.join(","),
        adopt.to_owned(),
        ms(timing.grandfather()).to_string(),
    ];
    words.extend(named.iter().map(LeaseId::to_string));
    words
}

fn both(holder: &Holder) -> impl Iterator<Item = Holder> {
    [*holder].into_iter().chain(holder.other())
}

fn keys(holder: &Holder) -> impl Iterator<Item = String> {
    let stems = both(holder).map(|name| format!("sg:{{{:04x}}}:{name}", name.bucket()));
    stems.flat_map(|stem| [format!("{stem}:l"), format!("{stem}:m")])
}

fn names(holder: &Holder) -> String {
    let named = both(holder).map(|name| format!("{:04x}:{name}", name.bucket()));
    named.collect::<Vec<_>>().join(" ")
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}
