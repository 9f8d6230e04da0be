//! Balancing: which endpoint of an upstream gets the next request.
//!
//! A new policy is one file in `balance/` that implements `Balance`, its `mod` line and one line in
//! the roster below. The file names it as `balance: <name>`.

mod round_robin;

use super::{Endpoint, Outcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// How the next endpoint is chosen, for the endpoints of one upstream.
pub(super) trait Balance: Debug + Send + Sync {
    /// The endpoint to ask next, none of those that were `tried` for the same request. `None` when
    /// all were.
    fn pick(&self, endpoints: &[Endpoint], tried: &[usize]) -> Option<usize>;

    /// The endpoint `index` is asked.
    fn asked(&self, _index: usize) {}

    /// What was asked of the endpoint `index` is over; called once for each `asked`.
    fn over(&self, _index: usize, _outcome: Outcome) {}
}

/// Makes the YAML variants and their construction from one line each. The first is the default.
macro_rules! policies {
    ($(#[doc = $doc:literal] $module:ident => $variant:ident,)+) => {
        /// How the next server is chosen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[schemars(rename = "Balance")]
        pub enum Config { $(#[doc = $doc] $variant,)+ }

        impl Config {
            const ALL: &'static [Config] = &[$(Config::$variant),+];

            pub(super) fn build(self, endpoints: &[Endpoint]) -> Box<dyn Balance> {
                match self { $(Config::$variant => Box::new($module::build(endpoints)),)+ }
            }
        }
    };
}

policies! {
    /// Each in turn, as often as its weight says.
    round_robin => RoundRobin,
}

impl Default for Config {
    fn default() -> Self {
        Config::ALL[0]
    }
}

impl Config {
    pub(super) fn is_default(&self) -> bool {
        *self == Config::default()
    }
}
