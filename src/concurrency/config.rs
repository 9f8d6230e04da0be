//! A concurrency policy as the file has it.

use crate::problem::Problem;
use crate::units::{Count, Secret, Text, Time};
use crate::yaml::At;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamgate_lease::{Pepper, Timing};

/// How many streams an account may play, and what happens beyond.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The store that all gateways share.
    pub store: At<Text>,
    /// At least 32 bytes. Account ids are hashed with it (HMAC-SHA-256) before they reach the
    /// store, a log or an upstream.
    pub pepper: At<Secret>,
    pub limit: Limit,
    /// How long a slot outlives the last request of its stream.
    #[serde(default = "ttl")]
    pub ttl: At<Time>,
    #[serde(default)]
    pub when_full: WhenFull,
    #[serde(default)]
    pub when_store_fails: WhenStoreFails,
    /// The HTTP status of `concurrency_limit` for clients that can't take 409.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<At<Count>>,
}

/// Where an account's limit comes from.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The token's claim that holds it, a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<At<Text>>,
    /// For tokens without the claim.
    pub default: At<Count>,
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

fn ttl() -> At<Time> {
    At::unwritten(Time::secs(60))
}

/// What `check` proved.
pub(super) struct Checked {
    pub(super) pepper: Pepper,
    pub(super) timing: Timing,
    pub(super) status: Option<StatusCode>,
}

impl Config {
    pub(super) fn check(&self, name: &str) -> Result<Checked, Vec<Problem>> {
        let mut problems = Vec::new();
        let pepper = Pepper::new(self.pepper.reveal().as_bytes());
        if pepper.is_err() {
            let text = format!("the pepper of policy `{name}` is shorter than 32 bytes");
            problems.push(self.pepper.problem(text).help("make one: `openssl rand -hex 32`"));
        }
        let timing = Timing::of(self.ttl.0).map_err(|_| {
            let text = format!("a ttl of {} is out of range", self.ttl.value);
            problems.push(self.ttl.problem(text).help(
                "write 3s to 10m; players are silent for as long as their buffer lasts, often 30s",
            ));
        });
        let status = self.status.as_ref().map(|status| {
            let code = u16::try_from(status.0).ok().filter(|code| (400..500).contains(code));
            code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(|| {
                let text = format!("`{}` can't be the status of a refusal", status.value);
                status.problem(text).help("write 400 to 499; players retry 5xx")
            })
        });
        match (pepper, timing, status.transpose()) {
            (Ok(pepper), Ok(timing), Ok(status)) => Ok(Checked { pepper, timing, status }),
            (.., status) => {
                problems.extend(status.err());
                Err(problems)
            }
        }
    }
}
