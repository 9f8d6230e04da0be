//! Rates that all gateways share: kept in Redis, taken by one script.
//!
//! All rates of one key lie together (one hash tag), so one round trip takes of all of them or of
//! none, in a cluster, too. What is asked of different keys goes out at the same time.

use super::{Algorithm, Left, Rate, Taken};
use redis::{Script, ScriptInvocation};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Duration;
use streamgate_lease::StoreError;
use streamgate_lease::redis::Client;

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("take.lua")));

/// How many numbers the script tells of each rate.
const TOLD: usize = 4;

/// Whose units they are, as the store knows it: a hash. Rates of one are kept together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedKey(String);

impl SharedKey {
    /// The key of these parts, which are told apart.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut text = String::with_capacity(32);
        for byte in &digest[..16] {
            write!(text, "{byte:02x}").expect("a string takes all");
        }
        SharedKey(text)
    }

    /// The beginning of it, which tells rates apart.
    pub fn short(&self) -> &str {
        &self.0[..16]
    }

    /// The name in the store of what this key has of a rate.
    fn name(&self, rate: &str) -> String {
        format!("sg:rate:{{{}}}:{rate}", self.0)
    }
}

/// Units of one rate.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// What the rate is called in the store: the same on all gateways, and nothing else is.
    pub name: &'a str,
    /// The rate.
    pub rate: &'a Rate,
    /// How it is counted.
    pub algorithm: Algorithm,
    /// So many are wanted.
    pub units: u32,
    /// So many were taken here while the store was away.
    pub debt: u64,
}

/// Takes of all these rates of a key, or of none.
pub async fn take(
    client: &Client,
    key: &SharedKey,
    asks: &[Ask<'_>],
) -> Result<Vec<Taken>, StoreError> {
    let told = run(client, key, asks, 1).await?;
    if told.len() != asks.len() * TOLD {
        return Err(StoreError::Protocol("an answer of another length".to_owned()));
    }
    let duration = |us: i64| Duration::from_micros(us.max(0) as u64);
    let taken = told.chunks_exact(TOLD).map(|told| {
        let left = Left { units: told[1].max(0) as u64, more_in: duration(told[2]) };
        match told[0] {
            1 => Taken::All(left),
            _ => Taken::Nothing(left, duration(told[3])),
        }
    });
    Ok(taken.collect())
}

/// Gives back what was taken of all these rates.
pub async fn give_back(
    client: &Client,
    key: &SharedKey,
    asks: &[Ask<'_>],
) -> Result<(), StoreError> {
    run(client, key, asks, -1).await.map(|_| ())
}

async fn run(
    client: &Client,
    key: &SharedKey,
    asks: &[Ask<'_>],
    sign: i64,
) -> Result<Vec<i64>, StoreError> {
    let mut script = TAKE.prepare_invoke();
    for ask in asks {
        prepare(&mut script, key, ask, sign);
    }
    let reply = client.invoke(&key.name(""), &script).await?;
    redis::from_redis_value(reply)
        .map_err(|_| StoreError::Protocol("an answer of another kind".to_owned()))
}

fn prepare(script: &mut ScriptInvocation<'_>, key: &SharedKey, ask: &Ask<'_>, sign: i64) {
    let kind = match ask.algorithm {
        Algorithm::TokenBucket => "B",
        Algorithm::SlidingWindow => "W",
    };
    let debt = if sign < 0 { 0 } else { ask.debt };
    script
        .key(key.name(ask.name))
        .arg(kind)
        .arg(ask.rate.limit)
        .arg(ask.rate.per.as_micros().to_string())
        .arg(ask.rate.burst)
        .arg(sign * i64::from(ask.units))
        .arg(debt);
}
