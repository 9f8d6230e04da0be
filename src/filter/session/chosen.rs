//! Whose logins a route takes, and whether it must be one.

use crate::units::Text;
use crate::yaml::{At, ScalarOr};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of an entry of `sessions`, or that and whether everybody must have such a session.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "SessionName")]
pub struct Config(ScalarOr<Text, Chosen>);

/// A kind of session, and whether everybody must have one.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SessionChosen")]
struct Chosen {
    /// An entry of `sessions`.
    name: At<Text>,
    /// Whether a request without a token is refused. One whose token proves nothing always is.
    #[serde(default = "yes")]
    required: bool,
}

fn yes() -> bool {
    true
}

impl Config {
    /// The kind of session.
    pub(super) fn name(&self) -> &At<Text> {
        match &self.0 {
            ScalarOr::Value(name) => name,
            ScalarOr::Full(chosen) => &chosen.name,
        }
    }

    pub(super) fn is_required(&self) -> bool {
        match &self.0 {
            ScalarOr::Value(_) => true,
            ScalarOr::Full(chosen) => chosen.required,
        }
    }
}
