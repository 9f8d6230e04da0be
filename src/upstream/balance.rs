//! Balancing: which endpoint of a group gets the next request.
//!
//! A new policy is one file in `balance/` that implements `Balance`, its `mod` line and one line in
//! the roster below. The file names it as `balance: <name>`, or as `balance: { <name>: … }` if it
//! has settings. It looks at one group of endpoints and at nothing that takes a lock; which group
//! it is, and what holds when none of its endpoints is well, `pool.rs` says.

mod least_in_flight;
mod round_robin;
mod hash;
mod sticky;
mod shares;

pub use hash::HashKey;
pub(super) use shares::shares;

use super::Endpoint;
use crate::problem::Problem;
use crate::units::{Secret, Text};
use crate::yaml::At;
use http::HeaderValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// How the next endpoint is chosen among those of one group.
pub(super) trait Balance: Debug + Send + Sync {
    /// The endpoint to ask next, one of those that may be asked. `None` when there is none.
    fn pick(&self, endpoints: &[Endpoint], ask: &mut Ask<'_>) -> Option<usize>;

    /// The cookie that the answer of endpoint number `index` brings to a client whose request had
    /// this `key`. `None`: none.
    fn cookie(&self, _index: usize, _key: Option<u64>, _is_https: bool) -> Option<HeaderValue> {
        None
    }
}

/// What others have to know of the settings of a policy.
trait Settings {
    /// What is wrong with them.
    fn problem(&self) -> Option<Problem> {
        None
    }

    /// By what requests belong together; `None` where that plays no part.
    fn key(&self) -> Option<HashKey> {
        None
    }

    /// The name of the cookie that answers bring.
    fn cookie(&self) -> Option<&At<Text>> {
        None
    }

    /// The secret that the policy has.
    fn secret(&self) -> Option<&At<Secret>> {
        None
    }
}

/// What one request asks for.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    /// Endpoints of the whole pool that were tried for the same request.
    pub(super) tried: &'a [usize],
    /// The number of the group's first endpoint in the pool.
    pub(super) first: usize,
    /// By what requests belong together, where the policy hashes and the request has it.
    pub(super) key: Option<u64>,
    /// How many requests an endpoint may have under way.
    pub(super) in_flight_max: Option<u32>,
    pub(super) wanted: Wanted,
    pub(super) draw: Draw,
}

/// Which endpoints are looked for, the first of these that is found in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Those that are well; of those that warm up, a part of the requests.
    Warm,
    /// Those that are well.
    Well,
    /// None of the pool is well, so all are taken to be.
    Any,
}

impl Ask<'_> {
    /// Whether endpoint number `index` of the group may be asked.
    fn may(&mut self, endpoints: &[Endpoint], index: usize) -> bool {
        if self.tried.contains(&(self.first + index)) {
            return false;
        }
        if self.in_flight_max.is_some_and(|max| max <= endpoints[index].load.in_flight()) {
            return false;
        }
        let health = &endpoints[index].health;
        match self.wanted {
            Wanted::Warm => health.is_asked() && health.takes(|| self.draw.next()),
            Wanted::Well => health.is_asked(),
            Wanted::Any => true,
        }
    }
}

/// Chance that comes from a seed (splitmix64, Steele and others 2014), in a few instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Draw(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        // The high half is as even as the remainder, and needs no division.
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

/// Spreads the bits of a number over all of it.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Makes the YAML variants and their construction from one line each.
macro_rules! policies {
    ($($(#[$about:meta])+ $module:ident => $variant:ident $(($settings:ty))?,)+) => {
        /// How the next server is chosen.
        #[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[schemars(rename = "Balance")]
        pub enum Config { $($(#[$about])+ $variant $(($settings))?,)+ }

        impl Config {
            pub(super) fn build(&self, endpoints: &[Endpoint]) -> Box<dyn Balance> {
                match self {
                    $(Config::$variant { .. } => Box::new($module::build(self, endpoints)),)+
                }
            }

            /// The settings of a policy that has any.
            fn settings(&self) -> Option<&dyn Settings> {
                match self {
                    $($(Config::$variant(settings) => {
                        let settings: &$settings = settings;
                        Some(settings)
                    })?)+
                    _ => None,
                }
            }
        }
    };
}

policies! {
    /// The one with fewer requests under way, of two that are drawn as often as their weights say.
    #[default]
    least_in_flight => LeastInFlight,
    /// Each in turn, as often as its weight says.
    round_robin => RoundRobin,
    /// Requests that belong together reach the same one.
    hash => Hash(hash::Config),
    /// A client is led to the one that has answered it before, by a cookie.
    sticky => Sticky(sticky::Config),
}

impl Config {
    pub(super) fn problems(&self) -> Option<Problem> {
        self.settings()?.problem()
    }

    /// By what requests belong together; `None` where that plays no part.
    pub(super) fn key(&self) -> Option<HashKey> {
        self.settings()?.key()
    }

    /// The name of the cookie that answers bring.
    pub fn cookie(&self) -> Option<&At<Text>> {
        self.settings()?.cookie()
    }

    /// The secret that it has.
    pub fn secret(&self) -> Option<&At<Secret>> {
        self.settings()?.secret()
    }
}

#[cfg(test)]
mod tests;
