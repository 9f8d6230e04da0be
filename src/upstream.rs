//! Upstreams: named sets of servers, which of them is next, and how long each may take.
//!
//! Which request goes to which upstream is the routes' business.

mod attempt;
mod balance;
mod health;
mod peer;

pub use attempt::{Attempt, Outcome};
pub use health::{Change, Health, Probe};

use crate::problem::Problem;
use crate::units::{Address, Count, Text, Time};
use crate::yaml::At;
use balance::Balance;
use pingora::upstreams::peer::HttpPeer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// One upstream as the file has it.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstream")]
pub struct Config {
    /// Its servers: `127.0.0.1:4001`, or with a weight, `127.0.0.1:4001 weight=3`.
    #[schemars(extend("items" = {
        "type": "string",
        "description": "a text: `127.0.0.1:4001`, or with a weight `127.0.0.1:4001 weight=3`",
        "pattern": ENDPOINT_PATTERN,
    }))]
    pub endpoints: At<Vec<At<Text>>>,
    /// What it speaks.
    #[serde(default)]
    pub protocol: Protocol,
    /// How the next server is chosen.
    #[serde(default, skip_serializing_if = "balance::Config::is_default")]
    pub balance: balance::Config,
    /// How long the upstream may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// How many requests may be under way to it. Left out: as many as the gateway may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<Count>,
    /// Ask its servers whether they are well; left out: they are taken to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<health::Config>,
}

/// By what an editor underlines an endpoint that can't be right: a URL, a port alone.
const ENDPOINT_PATTERN: &str = concat!(
    r"^(?![0-9]+( |$))(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)",
    r"(:[0-9]{1,5})?( weight=[0-9]{1,7})?$|\$\{",
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
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Time::secs(2),
            read: Time::secs(30),
            write: Time::secs(30),
            idle: Time::secs(60),
        }
    }
}

/// The sum of all weights of one upstream; bounds the size of its schedule.
const WEIGHTS_MAX: u32 = 1_000;

/// A running upstream. What it does for one request is in `attempt.rs`, which endpoint is next in
/// `balance.rs`.
#[derive(Debug)]
pub struct Upstream {
    /// Its name in the file.
    pub name: Arc<str>,
    /// Its addresses.
    pub endpoints: Vec<Endpoint>,
    balance: Box<dyn Balance>,
    /// Attempts that are under way; counted only where there is a bound.
    in_flight: AtomicU32,
    in_flight_max: Option<u32>,
    probe: Option<health::Config>,
}

/// One server of an upstream.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of the requests.
    pub weight: u32,
    /// Whether it is well.
    pub health: Health,
    /// Cloned for every request: building one anew would cost more.
    peer: HttpPeer,
}

impl Upstream {
    /// Compiles the upstream `name`; tells all problems.
    pub fn compile(name: &At<String>, config: &Config) -> Result<Upstream, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for written in &config.endpoints.value {
            match endpoint(name, written, config) {
                Ok(new) if endpoints.iter().any(|known| known.address == new.address) => {
                    problems.push(
                        written
                            .problem(format!("endpoint `{}` stands here twice", new.address))
                            .help("give it a weight instead: `… weight=2`"),
                    );
                }
                Ok(endpoint) => endpoints.push(endpoint),
                Err(problem) => problems.push(problem),
            }
        }
        if config.endpoints.is_empty() {
            let text = format!("upstream `{}` has no endpoints", name.value);
            let help = "write at least one: `[\"127.0.0.1:4001\"]`";
            problems.push(config.endpoints.problem(text).help(help).of_absence());
        }
        let sum: u32 = endpoints.iter().map(|endpoint| endpoint.weight).sum();
        if sum > WEIGHTS_MAX {
            let text = format!("the weights add up to {sum}; at most {WEIGHTS_MAX} are possible");
            problems
                .push(config.endpoints.problem(text).help("divide them all by the same number"));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let balance = config.balance.build(&endpoints);
        Ok(Upstream {
            name: name.as_str().into(),
            endpoints,
            balance,
            in_flight: AtomicU32::new(0),
            in_flight_max: config.in_flight.map(|max| max.0),
            probe: config.health.clone(),
        })
    }

    /// Begins to ask this upstream for an answer to one request; `None` if it has no room for it.
    pub fn attempt(self: &Arc<Self>) -> Option<Attempt> {
        if let Some(max) = self.in_flight_max {
            let one_more = |now: u32| (now < max).then_some(now + 1);
            self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        }
        Some(Attempt::new(Arc::clone(self)))
    }

    /// An attempt is over.
    fn leave(&self) {
        if self.in_flight_max.is_some() {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The endpoint to ask next, none of those that were `tried`.
    fn pick(&self, tried: &[usize]) -> Option<usize> {
        let picked = self.balance.pick(&self.endpoints, tried);
        assert!(picked.is_none_or(|index| !tried.contains(&index)), "no endpoint is picked twice");
        picked
    }

    /// What Pingora connects to for endpoint number `index`.
    fn peer(&self, index: usize) -> Box<HttpPeer> {
        Box::new(self.endpoints[index].peer.clone())
    }

    /// The checks to run for this upstream, if the file asks for them.
    pub fn probe(self: &Arc<Self>) -> Option<Probe> {
        self.probe.clone().map(|config| Probe::new(Arc::clone(self), config))
    }
}

fn endpoint(name: &At<String>, written: &At<Text>, config: &Config) -> Result<Endpoint, Problem> {
    use crate::yaml::Scalar;
    let (address, weight) = match written.0.split_once(" weight=") {
        Some((address, weight)) => (address, Count::read(weight)),
        None => (written.0.as_str(), Ok(Count(1))),
    };
    let weight = weight.map_err(|_| {
        written
            .problem(format!("`{}` has no valid weight", written.0))
            .help("write a whole number from 1 on: `127.0.0.1:4001 weight=3`")
    })?;
    let address = Address::read(address).map_err(|_| {
        let help = match address {
            url if url.contains("://") => "leave out the scheme: `127.0.0.1:4001`".to_owned(),
            words if words.contains(' ') => "a weight is written `… weight=3`".to_owned(),
            _ => format!("write {}", Address::EXPECTED),
        };
        written.problem(format!("`{address}` is not an address")).help(help)
    })?;
    let peer = peer::template(name, address.0, config.protocol, &config.timeouts);
    Ok(Endpoint { address: address.0, weight: weight.0, health: Health::default(), peer })
}

#[cfg(test)]
mod tests;
