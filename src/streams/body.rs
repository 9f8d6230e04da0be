//! The bodies of calls, read strictly: a misspelt field is an error, not ignored.

use crate::denial::{Code, Denial};
use crate::request::normalise;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use streamgate_lease::State;

/// The longest label in a ticket, and the longest path, in bytes: both stand in an address.
const LABEL_BYTES_MAX: usize = 512;
const PATH_BYTES_MAX: usize = 1024;

/// `PUT`: what starts, and which streams it takes over from.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    pub(super) title: Option<String>,
    pub(super) device: Option<String>,
    #[serde(default)]
    pub(super) replace: Vec<String>,
}

/// `tickets`: what the ticket is for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TicketFor {
    /// What it is good below.
    #[serde(default)]
    path: String,
    pub(super) title: Option<String>,
    pub(super) device: Option<String>,
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

impl TicketFor {
    pub(super) fn read(body: &[u8]) -> Result<Self, Denial> {
        let asked: Self = json(body, "the body is not `{path, title, device}`")?;
        let is_long =
            |text: &Option<String>| text.as_ref().is_some_and(|text| LABEL_BYTES_MAX < text.len());
        if is_long(&asked.title) || is_long(&asked.device) {
            let why = "`title` and `device` of a ticket have at most 512 bytes";
            return Err(Denial::from(Code::RequestMalformed).because(why));
        }
        Ok(asked)
    }

    /// The path, as requests have it when they are read.
    pub(super) fn path(&self) -> Result<&str, Denial> {
        let is_plain = !self.path.contains(['?', '#']) && self.path.len() <= PATH_BYTES_MAX;
        match normalise(&self.path) {
            Ok(normal) if is_plain && normal == self.path => Ok(&self.path),
            _ => Err(Denial::from(Code::RequestMalformed)
                .because("`path` is not a path as `/live/final/`, without a query")),
        }
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
