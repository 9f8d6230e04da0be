//! One entry of `listeners` in `gateway.yaml`, and what it compiles to.

use super::listener::Listener;
use crate::units::{Address, Text, Time};
use crate::yaml::At;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One address where clients connect.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Listener")]
pub struct Config {
    /// Names it in logs and metrics.
    pub name: At<Text>,
    pub(crate) address: At<Address>,
    /// How long the head of a request may take.
    #[serde(default = "head_timeout")]
    pub head_timeout: Time,
    /// How long a connection is kept open between two requests.
    #[serde(default = "idle_timeout")]
    pub idle_timeout: Time,
    /// How long a client may pause while it sends a body, and how long the body may take in all,
    /// plus a second for every KiB of it.
    #[serde(default = "body_timeout")]
    pub body_timeout: Time,
    /// How long a client may take no bytes of an answer.
    #[serde(default = "write_timeout")]
    pub write_timeout: Time,
}

fn head_timeout() -> Time {
    Time::secs(15)
}

fn idle_timeout() -> Time {
    Time::secs(75)
}

fn body_timeout() -> Time {
    Time::secs(30)
}

fn write_timeout() -> Time {
    Time::secs(60)
}

impl Config {
    /// The listener that this entry describes; `number` is its place in the file.
    pub fn compile(&self, number: usize) -> Listener {
        Listener {
            number,
            name: self.name.0.as_str().into(),
            address: self.address.0,
            head_timeout: self.head_timeout.0,
            idle_timeout: self.idle_timeout.0,
            body_timeout: self.body_timeout.0,
            write_timeout: self.write_timeout.0,
        }
    }
}
