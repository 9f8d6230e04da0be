//! What a route says of its streams: the policy that counts them, and what kind they are.

use crate::units::{Text, Time};
use crate::yaml::{At, ScalarOr};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of an entry of `concurrency`, or that and what kind of streams the route has.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "PolicyName")]
pub struct Config(ScalarOr<Text, Chosen>);

/// A policy, and the classes that the route's streams belong to.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Chosen {
    /// An entry of `concurrency`.
    policy: At<Text>,
    /// Classes of that policy.
    #[serde(default)]
    classes: Vec<At<Text>>,
    /// How long a slot outlives the last request of a stream of this route, over what its classes
    /// and the policy say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<At<Time>>,
}

impl Config {
    /// The policy that it names.
    pub fn policy(&self) -> &At<Text> {
        match &self.0 {
            ScalarOr::Value(policy) => policy,
            ScalarOr::Full(chosen) => &chosen.policy,
        }
    }

    pub(super) fn ttl(&self) -> Option<&At<Time>> {
        match &self.0 {
            ScalarOr::Value(_) => None,
            ScalarOr::Full(chosen) => chosen.ttl.as_ref(),
        }
    }

    pub(super) fn classes(&self) -> &[At<Text>] {
        match &self.0 {
            ScalarOr::Value(_) => &[],
            ScalarOr::Full(chosen) => &chosen.classes,
        }
    }
}
