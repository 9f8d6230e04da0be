//! The settings of a stream service. Parsed values only; `main.rs` reads flags and environment.

use std::fmt;
use std::str::FromStr;

use crate::clock::Clock;

/// How the service behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Live events under `/live/{event}/`; any other name is a 404.
    pub events: Vec<Name>,
    /// On-demand titles under `/vod/{title}/`; any other name is a 404.
    pub titles: Vec<Name>,
    /// Whether `/faults/…` exists. Never on in production: it hangs and breaks on request.
    pub faults: bool,
    /// What this replica calls itself in `/healthz` and `/faults/echo`.
    pub replica: String,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Settings {
    /// The events `final` and `derby`, the title `replay`, no faults, the machine's clock.
    fn default() -> Self {
        let name = |text: &str| Name(text.to_owned());
        Self {
            events: vec![name("final"), name("derby")],
            titles: vec![name("replay")],
            faults: false,
            replica: "stream".to_owned(),
            clock: Clock::Wall,
        }
    }
}

/// Characters that a name may have at most.
const NAME_CHARS_MAX: usize = 64;

/// The name of an event or a title: 1 to 64 of `a-z`, `0-9`, `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

/// Why a text is not a name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a name: 1 to {NAME_CHARS_MAX} of a-z, 0-9 and - are")]
pub struct NameError(String);

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = (1..=NAME_CHARS_MAX).contains(&text.len());
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if fits && text.chars().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError(text.chars().take(NAME_CHARS_MAX).collect()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}
