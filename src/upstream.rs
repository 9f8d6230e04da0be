//! Upstreams: named sets of servers, which of them is next, and how long each may take.
//!
//! Which request goes to which upstream is the routes' business.

mod health;
mod peer;

pub use health::{Change, Health, Probe};

use crate::problem::Problem;
use crate::units::{Address, Count, Text, Time};
use crate::yaml::At;
use pingora::upstreams::peer::HttpPeer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One upstream as the file has it.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its servers: `127.0.0.1:4001`, or with a weight, `127.0.0.1:4001 weight=3`.
    pub endpoints: At<Vec<At<Text>>>,
    /// What it speaks.
    #[serde(default)]
    pub protocol: Protocol,
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Ask its servers whether they are well; left out: they are taken to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<health::Config>,
}

/// The protocol towards an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    #[default]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge (RFC 9113 §3.3).
    H2c,
}

/// How long an upstream may take; each has a default, none is without end.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// To accept a connection.
    pub connect: Time,
    /// Between two reads: until the answer begins, and for every pause within it.
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

/// A running upstream.
#[derive(Debug)]
pub struct Upstream {
    pub name: Arc<str>,
    pub endpoints: Vec<Endpoint>,
    /// Indices of endpoints in the order they are taken, each as often as its weight says.
    schedule: Vec<u16>,
    next: AtomicUsize,
    probe: Option<health::Config>,
}

/// One server of an upstream.
#[derive(Debug)]
pub struct Endpoint {
    pub address: SocketAddr,
    pub weight: u32,
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
            problems.push(config.endpoints.problem(text).help(help));
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
        let schedule = schedule(&endpoints);
        Ok(Upstream {
            name: name.as_str().into(),
            endpoints,
            schedule,
            next: AtomicUsize::new(0),
            probe: config.health.clone(),
        })
    }

    /// The next endpoint in turn that is well and not among those that were `tried`. When none is
    /// well, all are taken to be: the checks may be what is broken.
    pub fn pick(&self, tried: &[usize]) -> Option<usize> {
        // A second try takes nobody's turn, or every other turn would meet the same dead endpoint.
        let start = match tried.is_empty() {
            true => self.next.fetch_add(1, Ordering::Relaxed),
            false => self.next.load(Ordering::Relaxed),
        };
        let turn = |i: usize| usize::from(self.schedule[(start + i) % self.schedule.len()]);
        let mut in_turn = (0..self.schedule.len()).map(turn).filter(|i| !tried.contains(i));
        let first = in_turn.next()?;
        if self.endpoints[first].health.is_asked() {
            return Some(first);
        }
        in_turn.find(|&i| self.endpoints[i].health.is_asked()).or(Some(first))
    }

    /// What Pingora connects to for endpoint number `index`.
    pub fn peer(&self, index: usize) -> Box<HttpPeer> {
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

/// Smooth weighted round robin (nginx's method), played through once: an endpoint of weight 3
/// beside one of weight 1 gives `a a b a`, never `a a a b`.
fn schedule(endpoints: &[Endpoint]) -> Vec<u16> {
    let total: i64 = endpoints.iter().map(|endpoint| i64::from(endpoint.weight)).sum();
    let mut credit = vec![0_i64; endpoints.len()];
    let mut order = Vec::new();
    for _ in 0..total {
        for (credit, endpoint) in credit.iter_mut().zip(endpoints) {
            *credit += i64::from(endpoint.weight);
        }
        let richest = (0..credit.len()).rev().max_by_key(|&i| credit[i]).unwrap_or(0);
        credit[richest] -= total;
        order.push(u16::try_from(richest).expect("weights bound the number of endpoints"));
    }
    order
}

#[cfg(test)]
mod tests;
