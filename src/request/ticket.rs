//! A ticket: stands for a session in an address, for devices that have neither cookie nor header.
//! What it says, as it was sealed and opened; who seals and opens it is the room `concurrency`'s
//! knowledge.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What stands before a ticket's text in the place of a stream's token; no such token begins so.
pub const TICKET_MARK: &str = "tk1~";

/// An opened ticket. It does not print.
#[derive(Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(PartialEq))]
pub struct Ticket {
    /// The policy that gave it: what opened it says so.
    #[serde(skip, default = "nobody")]
    pub policy: Arc<str>,
    /// The stream that it is for.
    #[serde(rename = "l")]
    pub lease: [u8; 16],
    /// Its first use must come before this moment, in unix milliseconds.
    #[serde(rename = "u")]
    pub use_by_ms: u64,
    /// When its session expires, in unix milliseconds.
    #[serde(rename = "e")]
    pub ends_at_ms: u64,
    /// Below which it is good: a path, normalised.
    #[serde(rename = "p")]
    pub path: String,
    /// The token of the session that it stands for. It is verified each time, as if it was sent.
    #[serde(rename = "t")]
    pub token: String,
    /// What a viewer reads of the stream in the list.
    #[serde(rename = "d")]
    pub device: Option<String>,
    /// The same.
    #[serde(rename = "n")]
    pub title: Option<String>,
}

fn nobody() -> Arc<str> {
    "".into()
}

impl Ticket {
    /// Whether it is good for this normalised path: its own, or one below it.
    pub fn covers(&self, path: &str) -> bool {
        let behind = path.strip_prefix(self.path.as_str());
        behind.is_some_and(|rest| {
            rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/')
        })
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_good_below_its_path_and_nowhere_else() {
        for (path, asked, expected) in [
            ("/live/final/", "/live/final/a.ts", true),
            ("/live/final/", "/live/final/", true),
            ("/live/final/", "/live/final", false),
            ("/live/final", "/live/final/a.ts", true),
            ("/live/final", "/live/final", true),
            ("/live/final", "/live/finals/a.ts", false),
            ("/film.mp4", "/film.mp4", true),
            ("/film.mp4", "/film.mp4.key", false),
            ("/", "/anything", true),
            ("/live/", "/", false),
        ] {
            let ticket = Ticket {
                policy: nobody(),
                lease: [7; 16],
                use_by_ms: 1,
                ends_at_ms: 2,
                path: path.to_owned(),
                token: "s3cr3t".to_owned(),
                device: None,
                title: None,
            };
            assert_eq!(ticket.covers(asked), expected, "{path} {asked}");
            assert_eq!(format!("{ticket:?}"), "Ticket(***)");
        }
    }
}
