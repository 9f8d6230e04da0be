//! Upstreams: named sets of servers, where they are, which of them is next, and how long each may
//! take.
//!
//! Which request goes to which upstream is the routes' business.

mod attempt;
mod probe;
mod grpc;
mod names;
mod pool;
mod balance;
mod endpoint;
mod health;
mod breaker;
mod eject;
mod notices;
mod window;
mod adaptive;
mod in_flight;
mod load;
mod retry;
mod written;
mod outcome;
mod peer;
mod tls;

pub use attempt::Attempt;
pub use balance::HashKey;
pub use breaker::{BreakerChange, BreakerReason, BreakerState};
pub use eject::{EjectReason, Ejection, Record};
pub use endpoint::Endpoint;
pub use health::{Answer, AwayReason, Health};
pub use in_flight::RequestClass;
pub use load::Load;
pub use names::{EndpointName, Resolved};
pub use outcome::Outcome;
pub use pool::Pool;
pub use probe::{Change, Probe};

use crate::problem::Problem;
use crate::resolve::{Found, Target};
use crate::units::{Secret, Text, Time};
use crate::yaml::At;
use arc_swap::ArcSwap;
use breaker::Breaker;
use in_flight::InFlight;
use parking_lot::Mutex;
use pool::{Mould, WEIGHTS_MAX};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tls::Identity;
use tokio::sync::mpsc;
use written::Written;

/// One upstream as the file has it.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstream")]
pub struct Config {
    /// Its servers: `name:4001`, `127.0.0.1:4001`, `[::1]:4001`, or a name without a port, whose
    /// SRV records tell servers and ports. With a weight: `name:4001 weight=3`. Those with
    /// `priority=2` are asked when none with a smaller number is well.
    #[schemars(extend("items" = {
        "type": "string",
        "description": "a text: `name:4001`, `127.0.0.1:4001`, a name without a port for its SRV \
                        records, or with a weight `name:4001 weight=3` and a priority \
                        `name:4001 priority=2`",
        "pattern": ENDPOINT_PATTERN,
    }))]
    pub endpoints: At<Vec<At<Text>>>,
    /// What it speaks.
    #[serde(default)]
    pub protocol: At<Protocol>,
    /// It is spoken to by TLS. Left out: without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<At<tls::Config>>,
    /// How the next server is chosen. Left out: `least_in_flight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<At<balance::Config>>,
    /// How long the upstream may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// How many requests may be under way to it: `1024`, or `{ max: 1024, per_endpoint: 256,
    /// adaptive: { min: 10 } }`. Left out: as many as the gateway may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<in_flight::Config>,
    /// When all requests are refused for a while, because too many of them fail. Left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<breaker::Config>,
    /// When a server is not asked for a while because of what came of requests.
    #[serde(default)]
    pub eject: eject::Config,
    /// When a request that failed is sent to another server.
    #[serde(default)]
    pub retries: retry::Config,
    /// How long a server that is new or back gets less than its share. Left out: no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Time>,
    /// Ask its servers whether they are well; left out: they are taken to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<health::Config>,
}

impl Config {
    /// What runs but is hardly meant.
    pub fn warnings(&self) -> impl Iterator<Item = Problem> {
        let bounds = self.in_flight.as_ref().and_then(in_flight::Config::warning);
        self.endpoints.value.iter().filter_map(Written::warning).chain(bounds)
    }
}

/// By what an editor underlines an endpoint that can't be right: a URL, a port alone.
const ENDPOINT_PATTERN: &str = concat!(
    r"^(?![0-9]+( |$))(\[[0-9a-fA-F:.]+(%[0-9]+)?\]|[A-Za-z0-9_.-]+)",
    r"(:[0-9]{1,5})?( (weight|priority)=[0-9]{1,7}){0,2}$|\$\{",
);

/// The protocol towards an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge (RFC 9113 §3.3).
    H2c,
    /// HTTP/2 by TLS, if the server takes it (ALPN); else HTTP/1.1.
    H2,
}

/// How long an upstream may take; each has a default, none is without end.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "UpstreamTimeouts")]
pub struct Timeouts {
    /// To accept a connection.
    pub connect: Time,
    /// Until the head of an answer is whole, and for every pause behind it.
    pub read: Time,
    /// For a write to make progress.
    pub write: Time,
    /// How long an unused connection is kept for the next request.
    pub idle: Time,
    /// How long a tunnel (WebSocket) may be silent, both ways.
    pub tunnel: Time,
    /// From the first server that is asked until the head of an answer is whole, all tries
    /// together. Left out: as long as each of them may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Time>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Time::secs(2),
            read: Time::secs(30),
            write: Time::secs(30),
            idle: Time::secs(60),
            tunnel: Time::secs(300),
            total: None,
        }
    }
}

/// A running upstream. What it does for one request is in `attempt.rs`, which endpoint is next in
/// `balance.rs`, where its names lead in `names.rs`.
#[derive(Debug)]
pub struct Upstream {
    /// Its name in the file.
    pub name: Arc<str>,
    written: Vec<Written>,
    /// Where each of the written endpoints leads.
    resolved: Mutex<Vec<Resolved>>,
    mould: Mould,
    pool: ArcSwap<Pool>,
    in_flight: InFlight,
    breaker: Option<Breaker>,
    check: Option<health::Check>,
    budget: retry::Budget,
    total: Option<Duration>,
    tunnel: Duration,
}

impl Config {
    /// The cookie by which its clients are led to the same server again.
    pub fn cookie(&self) -> Option<&At<Text>> {
        self.balance.as_ref()?.cookie()
    }

    /// Its secrets, each with what it is.
    pub fn secrets(&self) -> impl Iterator<Item = (&'static str, &At<Secret>)> {
        let sticky = self.balance.as_ref().and_then(|balance| balance.secret());
        sticky.map(|secret| ("the secret of a sticky cookie", secret)).into_iter()
    }

    /// The files that the entry names.
    pub fn files(&self) -> Vec<&Path> {
        self.tls.iter().flat_map(|tls| tls.files()).collect()
    }
}

impl Upstream {
    /// Compiles the upstream `name`; tells all problems. No name is looked up yet, and
    /// files are beside the configuration, in `base_dir`.
    pub fn compile(
        name: &At<String>,
        config: &Config,
        base_dir: &Path,
    ) -> Result<Upstream, Vec<Problem>> {
        let mut problems = Vec::new();
        let identity = config.tls.as_ref();
        let identity = identity.map(|tls| Identity::compile(tls, config.protocol.value, base_dir));
        let identity = identity.transpose().map_err(|told| problems.extend(told)).ok().flatten();
        let written = written(name, config, &mut problems);
        problems.extend(config.balance.as_ref().and_then(|balance| balance.problems()));
        if config.protocol.value == Protocol::H2 && config.tls.is_none() {
            let text = "`protocol: h2` is agreed on by TLS, and this upstream has none";
            let help = "add `tls: { name: … }`, or write `h2c` for HTTP/2 without TLS";
            problems.push(config.protocol.problem(text).help(help));
        }
        let protocol = config.protocol.value;
        let check = config.health.as_ref().map(|health| health.compile(protocol)).transpose();
        let check = check.map_err(|problem| problems.push(problem)).ok().flatten();
        let in_flight = config.in_flight.as_ref().map_or_else(Default::default, |bounds| {
            bounds.compile().unwrap_or_else(|problem| {
                problems.push(problem);
                InFlight::default()
            })
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        let known = |it: &Written| match it.target {
            Target::Address(address) => {
                Resolved { found: [Found::at(address)].into(), ..Resolved::default() }
            }
            _ => Resolved::default(),
        };
        let resolved: Vec<Resolved> = written.iter().map(known).collect();
        let mould = Mould::new(name, config, identity);
        let pool = mould.pool(names::servers(&written, &resolved), None);
        let (name, pool) = (name.as_str().into(), ArcSwap::from_pointee(pool));
        let resolved = Mutex::new(resolved);
        Ok(Upstream {
            name,
            written,
            resolved,
            mould,
            pool,
            in_flight,
            breaker: config.breaker.map(Breaker::new),
            check,
            budget: retry::Budget::new(config.retries),
            total: config.timeouts.total.map(|total| total.0),
            tunnel: config.timeouts.tunnel.0,
        })
    }

    /// Begins to ask this upstream for an answer to one request, if it takes any. Where room gets
    /// narrow, `class` says what it is; where requests are told apart by a key, `key` says it.
    pub fn attempt(
        self: &Arc<Self>,
        class: impl FnOnce() -> RequestClass,
        key: impl FnOnce(&HashKey) -> Option<u64>,
    ) -> Result<Attempt, Refusal> {
        if !self.in_flight.enter(class) {
            return Err(Refusal::Full);
        }
        let pool = self.pool();
        let permit = self.breaker.as_ref().map(|breaker| breaker.admit(|| pool.has_endpoint()));
        let permit = permit.transpose().map_err(|left| {
            self.in_flight.leave();
            Refusal::Open(left)
        })?;
        let key = self.hash_key().and_then(key);
        self.budget.earn();
        Ok(Attempt::new(Arc::clone(self), pool, key, permit))
    }

    /// How many requests may be under way at this moment; `None`: as many as come.
    pub fn in_flight_limit(&self) -> Option<u32> {
        self.in_flight.limit()
    }

    /// The state of its breaker, and why and for how long none is let through; `None`: it has none.
    pub fn breaker(&self) -> Option<(BreakerState, Option<(BreakerReason, Duration)>)> {
        self.breaker.as_ref().map(Breaker::state)
    }

    /// Changes of its breaker, for one who tells them.
    pub fn take_breaker_changes(&self) -> Option<mpsc::Receiver<BreakerChange>> {
        self.breaker.as_ref()?.take_changes()
    }

    /// Ejections of its endpoints, for one who tells them.
    pub fn take_ejections(&self) -> Option<mpsc::Receiver<Ejection>> {
        self.mould.ejections.take()
    }

    /// Requests that were not sent to another endpoint because the budget was spent.
    pub fn retries_refused(&self) -> u64 {
        self.budget.refused()
    }

    /// By what its requests belong together, where that plays a part.
    pub fn hash_key(&self) -> Option<&HashKey> {
        self.mould.key()
    }

    /// Its endpoints at this moment.
    pub fn pool(&self) -> Arc<Pool> {
        self.pool.load_full()
    }
}

/// Why a request is not sent to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many are under way as may be.
    Full,
    /// Its breaker lets none through, for so long.
    Open(Duration),
}

/// The endpoints as they are written.
fn written(name: &At<String>, config: &Config, problems: &mut Vec<Problem>) -> Vec<Written> {
    let mut all: Vec<Written> = Vec::new();
    for written in &config.endpoints.value {
        match Written::parse(written) {
            Ok(new) if all.iter().any(|known| known.target == new.target) => problems.push(
                written
                    .problem(format!("endpoint `{}` stands here twice", new.name))
                    .help("give it a weight instead: `… weight=2`"),
            ),
            Ok(new) => all.push(new),
            Err(problem) => problems.push(problem),
        }
    }
    if config.endpoints.is_empty() {
        let text = format!("upstream `{}` has no endpoints", name.value);
        let help = "write at least one: `[\"127.0.0.1:4001\"]`";
        problems.push(config.endpoints.problem(text).help(help).of_absence());
    }
    let sum: u64 = all.iter().map(|written| u64::from(written.weight)).sum();
    if u64::from(WEIGHTS_MAX) < sum {
        let text = format!("the weights add up to {sum}; at most {WEIGHTS_MAX} are possible");
        problems.push(config.endpoints.problem(text).help("divide them all by the same number"));
    }
    all
}

#[cfg(test)]
mod tests;
