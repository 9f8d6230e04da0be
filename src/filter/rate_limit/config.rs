//! Limits as the file has them.

use super::Limit;
use super::key::Key;
use crate::problem::Problem;
use crate::quota::{Algorithm, Rate};
use crate::units::{Count, Fingerprint, Text, Time};
use crate::yaml::{At, MapOrList};
use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One limit, or several at once.
pub(in crate::filter) type Config = MapOrList<Settings>;

/// How often who may ask.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RateLimit")]
pub struct Settings {
    /// So many requests …
    limit: At<Count>,
    /// … in each span of this length, up to a day.
    per: At<Time>,
    /// So many at once, for a token bucket; left out, it is the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    burst: Option<At<Count>>,
    /// How it is counted.
    #[serde(default)]
    algorithm: Algorithm,
    /// Whose requests are counted together.
    #[serde(default = "client")]
    key: At<KeyConfig>,
    /// How many bits of an IPv6 address count, as a home or a server has a whole network of them.
    #[serde(default = "ipv6_prefix")]
    ipv6_prefix: At<Count>,
    /// As how many requests one of this route counts.
    #[serde(default = "one")]
    cost: At<Count>,
    /// The entry of `stores` in which all gateways count together; left out, each counts by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store: Option<At<Text>>,
    /// What holds when the store does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    when_store_fails: Option<At<WhenStoreFails>>,
    /// How many gateways there are: while the store does not answer, each lets through its part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateways: Option<At<Count>>,
    /// What clients are told that the limit is called; left out, it is the key's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<At<Text>>,
    /// How many keys are remembered; beyond, those are forgotten first that have asked least.
    #[serde(default = "entries")]
    entries: At<Count>,
    /// Whether answers tell what is left (`RateLimit`, `RateLimit-Policy`).
    #[serde(default = "yes")]
    pub(super) fields: bool,
}

/// What holds when the store does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RateLimitWhenStoreFails")]
pub(super) enum WhenStoreFails {
    /// Each gateway counts by itself, its part of the limit.
    #[default]
    Local,
    /// Requests pass.
    Open,
    /// Requests are refused.
    Closed,
}

/// The store that gateways share, and what they do without it.
pub(super) struct StoreChoice {
    pub(super) name: At<Text>,
    pub(super) gateways: u32,
    pub(super) when_fails: WhenStoreFails,
}

/// Whose requests are counted together.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RateLimitKey")]
enum KeyConfig {
    /// Those of one address.
    Client,
    /// Those of one account.
    Account,
    /// Those of one session.
    Session,
    /// Those with one value of this header field; those without it together.
    Header(Text),
}

fn client() -> At<KeyConfig> {
    At::unwritten(KeyConfig::Client)
}

fn ipv6_prefix() -> At<Count> {
    At::unwritten(Count(64))
}

fn one() -> At<Count> {
    At::unwritten(Count(1))
}

/// Some two megabytes for a token bucket, and twelve for a sliding window.
fn entries() -> At<Count> {
    At::unwritten(Count(65_536))
}

fn yes() -> bool {
    true
}

/// Nobody waits longer than a day.
const PER_MAX: Time = Time::secs(24 * 60 * 60);

/// How many limits one filter may have.
const LIMITS_MAX: usize = 8;

/// How long a limit's name may be, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// All limits of a filter; all problems of them.
pub(super) fn compile(config: &Config) -> Result<Vec<Limit>, Vec<Problem>> {
    let all = config.whole();
    let mut problems = Vec::new();
    match all.len() {
        0 => {
            let help = "write `{ limit: 50, per: 1s }`, or leave the filter out";
            problems.push(all.problem("nothing is limited here").help(help).of_absence());
        }
        n if LIMITS_MAX < n => {
            let text = format!("{n} limits; at most {LIMITS_MAX} are possible in one filter");
            problems.push(all.problem(text).help("leave some out"));
        }
        _ => {}
    }
    problems.extend(other_store(all));
    let mut limits: Vec<Limit> = Vec::new();
    for settings in all.iter() {
        match settings.compile() {
            Err(told) => problems.extend(told),
            Ok(limit) if limits.iter().any(|other| other.name == limit.name) => {
                let text = format!("two limits are called `{}`", limit.name);
                problems.push(settings.problem(text).help("give each a `name` of its own"));
            }
            Ok(limit) => limits.push(limit),
        }
    }
    if problems.is_empty() { Ok(limits) } else { Err(problems) }
}

/// One round trip asks one store.
fn other_store(all: &[At<Settings>]) -> Option<Problem> {
    let mut stores = all.iter().filter_map(|limit| limit.store.as_ref());
    let first = stores.next()?;
    let other = stores.find(|store| store.0 != first.0)?;
    let text = format!("the limits of one filter share one store, and this is not `{}`", first.0);
    Some(other.problem(text).help("write a second filter `rate_limit` for another store"))
}

impl Settings {
    fn compile(&self) -> Result<Limit, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut keep = |problem: Problem| problems.push(problem);
        let rate = self.rate(&mut keep);
        let key = self.key(&mut keep);
        let name = self.name(&mut keep);
        if rate.burst < self.cost.0 {
            let text = format!("a request that costs {} can never pass", self.cost.value);
            keep(self.cost.problem(text).help(format!("write {} or less", rate.burst)));
        }
        let store = self.store(&mut keep);
        match (key, problems.is_empty()) {
            (Some(key), true) => Ok(Limit {
                name: name.into(),
                rate,
                algorithm: self.algorithm,
                key,
                units: self.cost.0,
                keys_max: self.entries.0 as usize,
                store,
                print: Fingerprint::of(self),
            }),
            _ => Err(problems),
        }
    }

    fn rate(&self, keep: &mut impl FnMut(Problem)) -> Rate {
        let (limit, per) = (self.limit.0, self.per.0);
        if PER_MAX.0 < per {
            let text = format!("{} is longer than a day", self.per.value);
            keep(self.per.problem(text).help("write `24h` or less"));
        }
        if per / limit < Rate::UNIT_MIN {
            let text = "more than a million a second is no limit";
            keep(self.limit.problem(text).help("write fewer, or a longer `per`"));
        }
        if let (Some(burst), Algorithm::SlidingWindow) = (&self.burst, self.algorithm) {
            let text = "a sliding window has no burst: no span has more than `limit`";
            keep(burst.problem(text).help("leave it out, or write `algorithm: token_bucket`"));
        }
        let burst = self.burst.as_ref().map_or(limit, |burst| burst.0);
        Rate { limit, per, burst }
    }

    fn store(&self, keep: &mut impl FnMut(Problem)) -> Option<StoreChoice> {
        let Some(name) = &self.store else {
            let places = [
                self.when_store_fails.as_ref().map(|mode| mode.place),
                self.gateways.as_ref().map(|gateways| gateways.place),
            ];
            for place in places.into_iter().flatten() {
                let text = "without a `store` each gateway counts by itself";
                keep(Problem::at(place, text).help("write `store: …`, or leave this out"));
            }
            return None;
        };
        Some(StoreChoice {
            name: name.clone(),
            gateways: self.gateways.as_ref().map_or(1, |gateways| gateways.0),
            when_fails: self.when_store_fails.as_ref().map(|mode| mode.value).unwrap_or_default(),
        })
    }

    fn key(&self, keep: &mut impl FnMut(Problem)) -> Option<Key> {
        let ipv6_bits = u8::try_from(self.ipv6_prefix.0).ok().filter(|bits| *bits <= 128);
        let Some(ipv6_bits) = ipv6_bits else {
            let text = format!("an IPv6 address has no {} bits", self.ipv6_prefix.value);
            keep(self.ipv6_prefix.problem(text).help("write 128 or less, such as 64 or 56"));
            return None;
        };
        match &self.key.value {
            KeyConfig::Client => Some(Key::Client { ipv6_bits }),
            KeyConfig::Account => Some(Key::Account { ipv6_bits }),
            KeyConfig::Session => Some(Key::Session { ipv6_bits }),
            KeyConfig::Header(name) => match HeaderName::from_bytes(name.0.as_bytes()) {
                Ok(name) => Some(Key::Header(name)),
                Err(_) => {
                    let text = format!("`{name}` is not the name of a header field");
                    keep(self.key.problem(text).help("use letters, digits and `-`"));
                    None
                }
            },
        }
    }

    fn name(&self, keep: &mut impl FnMut(Problem)) -> String {
        let Some(name) = &self.name else {
            return match &self.key.value {
                KeyConfig::Client => "client".to_owned(),
                KeyConfig::Account => "account".to_owned(),
                KeyConfig::Session => "session".to_owned(),
                KeyConfig::Header(name) => name.0.to_ascii_lowercase(),
            };
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.0.is_empty() || NAME_BYTES_MAX < name.0.len() || !name.0.chars().all(is_plain) {
            let text = format!("`{}` can't be the name of a limit", name.0);
            let help = "use up to 64 letters, digits, `-`, `_` and `.`, such as `per-minute`";
            keep(name.problem(text).help(help));
        }
        name.0.clone()
    }
}
