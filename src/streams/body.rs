//! The bodies of calls, read strictly: a misspelt field is an error, not ignored.

use crate::denial::{Code, Denial};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use streamgate_lease::State;

/// `PUT`: what starts, and which streams it takes over from.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    pub(super) title: Option<String>,
    pub(super) device: Option<String>,
    #[serde(default)]
    pub(super) replace: Vec<String>,
}

/// `heartbeat`: what the player declares.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Heartbeat {
    #[serde(default)]
    state: Declared,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Declared {
    #[default]
    Playing,
    Paused,
}

impl Start {
    pub(super) fn read(body: &[u8]) -> Result<Self, Denial> {
        json(body, "the body is not `{title, device, replace: [code…]}`")
    }
}

impl Heartbeat {
    pub(super) fn read(body: &[u8]) -> Result<Self, Denial> {
        json(body, "the body is not `{state: playing|paused}`")
    }

    pub(super) fn state(&self) -> State {
        match self.state {
            Declared::Playing => State::Playing,
            Declared::Paused => State::Paused,
        }
    }
}

/// An empty body asks for the defaults.
fn json<T: DeserializeOwned + Default>(body: &[u8], why: &'static str) -> Result<T, Denial> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|_| Denial::from(Code::RequestMalformed).because(why))
}
