//! A concurrency policy as the file has it.

use super::allowance::Allowance;
use super::identity::{SourceConfig, StreamIdentity};
use super::ticket as tickets;
use crate::problem::Problem;
use crate::units::{Count, Secret, Text, Time, TimeOrNone};
use crate::yaml::{At, Entries, ScalarOr};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use streamgate_lease::{Bounds, Class, Classes, Pepper, Timing};

/// How many streams an account may play, and what happens beyond.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Policy")]
pub struct Config {
    /// The store that all gateways share.
    pub store: At<Text>,
    /// At least 32 bytes. Account ids are hashed with it (HMAC-SHA-256) before they reach the
    /// store, a log or an upstream.
    pub pepper: Peppers,
    /// How many streams an account may play.
    pub limit: Limit,
    /// Kinds of streams with limits of their own, at most 4. Routes say which streams they are.
    #[serde(default)]
    pub classes: Entries<ClassConfig>,
    /// How long a slot outlives the last request of its stream.
    #[serde(default = "ttl")]
    pub ttl: At<Time>,
    /// How a stream is identified: a list of sources, the strongest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<At<Vec<At<SourceConfig>>>>,
    /// Casting tickets, for devices that have neither the session's cookie nor its header. Left
    /// out: none are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tickets: Option<tickets::Config>,
    /// What happens to one more stream of a full account.
    #[serde(default)]
    pub when_full: WhenFull,
    /// What a new playback of a login does to those that it plays already.
    #[serde(default)]
    pub same_session: SameSession,
    /// What happens when the store does not answer.
    #[serde(default)]
    pub when_store_fails: WhenStoreFails,
    /// Bounds of what a gateway may do alone when the store does not answer.
    #[serde(default)]
    pub degraded: Degraded,
    /// Origins besides our own from which browsers may start, end and take over streams, such as
    /// `https://www.example.com`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<At<Text>>,
    /// The HTTP status of `concurrency_limit` for clients that can't take 409.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<At<Count>>,
}

/// A pepper, or the two between which it is being changed.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Peppers(ScalarOr<Secret, Change>);

/// A change of pepper; all gateways know both before any of them turns the two round.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Change {
    /// The pepper that accounts are named by.
    current: At<Secret>,
    /// The other one: leases that lie under its names are found, too.
    also: At<Secret>,
}

impl Peppers {
    /// The current one first.
    pub fn all(&self) -> Vec<&At<Secret>> {
        match &self.0 {
            ScalarOr::Value(pepper) => vec![pepper],
            ScalarOr::Full(change) => vec![&change.current, &change.also],
        }
    }

    fn check(&self, name: &str, problems: &mut Vec<Problem>) -> Option<Pepper> {
        let all = self.all();
        for short in all.iter().filter(|pepper| Pepper::new(pepper.reveal()).is_err()) {
            let text = format!("the pepper of policy `{name}` is shorter than 32 bytes");
            problems.push(short.problem(text).help("make one: `openssl rand -hex 32`"));
        }
        let pepper = Pepper::new(all[0].reveal()).ok()?;
        let Some(also) = all.get(1) else {
            return Some(pepper);
        };
        if also.value == all[0].value {
            let text = format!("the two peppers of policy `{name}` are the same");
            problems.push(also.problem(text).help("write the one that it is changed from or to"));
        }
        pepper.with_also(also.reveal()).ok()
    }
}

/// Where an account's limit comes from.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The token's claim that holds it: a whole number, also as text or written `5.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<At<Text>>,
    /// For tokens without the claim.
    pub default: At<Count>,
}

/// A kind of stream, as 4K or live.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassConfig {
    /// How many streams of it an account may play, a number or where it comes from.
    pub limit: ScalarOr<Count, Limit>,
    /// How long a slot outlives the last request of such a stream, if not for the policy's `ttl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<At<Time>>,
}

/// What happens to one more stream of a full account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It is refused; the refusal lists those that play.
    #[default]
    Deny,
    /// It plays, and the oldest is stopped.
    ReplaceOldest,
    /// It is refused; the refusal brings, for each that plays, what takes over from it.
    Choose,
}

/// What a new playback does to older ones of its own session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SameSession {
    /// They make room before anybody is refused, unless their players go on.
    #[default]
    Supersede,
    /// Nothing: they count like anybody's.
    Count,
}

/// What happens when the store of leases does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenStoreFails {
    /// Who plays goes on; new streams are counted by each gateway alone.
    #[default]
    Local,
    /// Everyone plays; nothing is counted.
    Open,
    /// Nobody starts who is not known here already.
    Closed,
}

/// What `local` means when the store does not answer, and what comes after.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Degraded {
    /// How many streams a gateway may have started alone; further ones have to come back later.
    pub starts_max: At<Count>,
    /// How long a stream that was started alone goes on when the store has no room for it.
    /// `0s`: it is refused at once. Left out: 15 minutes; with `closed`, which lets nobody start
    /// alone, `0s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grandfather: Option<At<TimeOrNone>>,
}

impl Default for Degraded {
    fn default() -> Self {
        let starts_max = u32::try_from(Bounds::default().starts_max).unwrap_or(u32::MAX);
        Degraded { starts_max: At::unwritten(Count(starts_max)), grandfather: None }
    }
}

fn ttl() -> At<Time> {
    At::unwritten(Time::secs(60))
}

/// What `check` proved.
pub(super) struct Checked {
    pub(super) pepper: Pepper,
    pub(super) timing: Timing,
    pub(super) bounds: Bounds,
    pub(super) status: Option<StatusCode>,
    pub(super) identity: StreamIdentity,
    pub(super) limit: Allowance,
    pub(super) classes: Vec<KindOfStream>,
}

/// A class of a policy, compiled.
pub(super) struct KindOfStream {
    pub(super) class: Class,
    pub(super) limit: Allowance,
    pub(super) ttl: Option<Duration>,
}

/// How long a slot may outlive the last request of its stream.
pub fn check_ttl(ttl: &At<Time>) -> Result<Timing, Problem> {
    Timing::of(ttl.0).map_err(|_| {
        let text = format!("a ttl of {} is out of range", ttl.value);
        ttl.problem(text).help(
            "write 3s to 10m; players are silent for as long as their buffer lasts, often 30s",
        )
    })
}

impl From<&Limit> for Allowance {
    fn from(limit: &Limit) -> Self {
        let claim = limit.claim.as_ref().map(|claim| claim.0.as_str());
        Allowance::new(claim, limit.default.0)
    }
}

impl From<&ScalarOr<Count, Limit>> for Allowance {
    fn from(limit: &ScalarOr<Count, Limit>) -> Self {
        match limit {
            ScalarOr::Value(most) => Allowance::new(None, most.0),
            ScalarOr::Full(limit) => limit.into(),
        }
    }
}

impl Config {
    /// The claims that limits come from, which sessions have to keep.
    pub fn limit_claims(&self) -> impl Iterator<Item = &str> {
        let of_classes = self.classes.iter().filter_map(|(_, class)| match &class.limit {
            ScalarOr::Value(_) => None,
            ScalarOr::Full(limit) => Some(limit),
        });
        let limits = of_classes.chain([&self.limit]);
        limits.filter_map(|limit| limit.claim.as_ref().map(|claim| claim.0.as_str()))
    }

    pub(super) fn check(&self, name: &str) -> Result<Checked, Vec<Problem>> {
        let mut problems = Vec::new();
        let pepper = self.pepper.check(name, &mut problems);
        let timing = check_ttl(&self.ttl).map_err(|problem| problems.push(problem));
        let timing = timing.and_then(|timing| {
            let Some(grandfather) = &self.degraded.grandfather else {
                let without = |_| unreachable!("no time at all is within the bounds");
                return match self.when_store_fails {
                    WhenStoreFails::Closed => {
                        timing.with_grandfather(Duration::ZERO).map_err(without)
                    }
                    WhenStoreFails::Local | WhenStoreFails::Open => Ok(timing),
                };
            };
            timing.with_grandfather(grandfather.0).map_err(|_| {
                let text = format!("a grandfather time of {} is out of range", grandfather.value);
                problems.push(grandfather.problem(text).help("write 0s to 24h"));
            })
        });
        let status = self.status.as_ref().map(|status| {
            let code = u16::try_from(status.0).ok().filter(|code| (400..500).contains(code));
            code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(|| {
                let text = format!("`{}` can't be the status of a refusal", status.value);
                status.problem(text).help("write 400 to 499; players retry 5xx")
            })
        });
        let status = status.transpose().map_err(|problem| problems.push(problem));
        let identity =
            StreamIdentity::compile(self.identity.as_ref()).map_err(|found| problems.extend(found));
        let classes = self.classes(&mut problems);
        let tokens = self.identity.iter().flat_map(|sources| sources.iter());
        let tokens = tokens.filter_map(|source| source.token());
        let secrets = tokens.flat_map(|token| [Some(&token.secret), token.also.as_ref()]);
        let others: Vec<_> = secrets.flatten().chain(self.pepper.all()).collect();
        problems.extend(self.tickets.iter().flat_map(|tickets| tickets.problems(&others)));
        problems.extend(self.origins.iter().filter(|one| !is_origin(&one.0)).map(|one| {
            let text = format!("`{}` is not an origin", one.value);
            one.problem(text).help("write scheme and host alone: `https://www.example.com`")
        }));
        match (pepper, timing, status, identity) {
            (Some(pepper), Ok(timing), Ok(status), Ok(identity)) if problems.is_empty() => {
                let starts_max = usize::try_from(self.degraded.starts_max.0).unwrap_or(usize::MAX);
                let bounds = Bounds { starts_max, ..Bounds::default() };
                let limit = (&self.limit).into();
                Ok(Checked { pepper, timing, bounds, status, identity, limit, classes })
            }
            _ => Err(problems),
        }
    }

    fn classes(&self, problems: &mut Vec<Problem>) -> Vec<KindOfStream> {
        let mut classes = Vec::new();
        for (n, (name, config)) in self.classes.iter().enumerate() {
            let ttl = config
                .ttl
                .as_ref()
                .and_then(|ttl| check_ttl(ttl).map_err(|problem| problems.push(problem)).ok());
            let (limit, ttl) = ((&config.limit).into(), ttl.map(|timing| timing.ttl()));
            match name.parse() {
                Ok(class) => classes.push(KindOfStream { class, limit, ttl }),
                Err(_) => {
                    let text = format!("`{}` can't be the name of a class", name.value);
                    problems.push(name.problem(text).help("write 1 to 16 of a-z, 0-9, _ and -"));
                }
            }
            if n == Classes::MAX {
                let text = format!("a policy has at most {} classes", Classes::MAX);
                problems.push(name.problem(text).help("make a policy of its own of the rest"));
            }
        }
        classes
    }
}

/// Whether a browser may send this as `Origin` (RFC 6454 §6.1).
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_part = |byte: u8| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || matches!(byte, b'.' | b'-' | b':')
            || matches!(byte, b'[' | b']')
    };
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{self, Environment};

    /// How long one too many goes on after an outage, by these lines of a policy.
    fn check(lines: &str, expected: Duration) {
        let pepper = "\"${PEPPER}\"";
        let text = format!("store: shared\npepper: {pepper}\nlimit: {{ default: 3 }}\n{lines}\n");
        let env = Environment::default().with("PEPPER", "a pepper of thirty-two bytes or more");
        let config: Config = yaml::parse(&text, &env).expect(lines);
        let checked = config.check("standard").unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(checked.timing.grandfather(), expected, "{lines}");
    }

    /// Under `closed` nobody starts alone, so nobody is one too many who could be spared.
    #[test]
    fn nobody_goes_on_over_the_limit_under_closed_unless_the_operator_says_so() {
        let (minute, default) = (Duration::from_secs(60), Duration::from_secs(15 * 60));
        check("", default);
        check("when_store_fails: local", default);
        check("when_store_fails: open", default);
        check("when_store_fails: closed", Duration::ZERO);
        check("when_store_fails: closed\ndegraded: { starts_max: 5 }", Duration::ZERO);
        check("when_store_fails: closed\ndegraded: { grandfather: 1m }", minute);
        check("when_store_fails: local\ndegraded: { grandfather: 0s }", Duration::ZERO);
    }
}
