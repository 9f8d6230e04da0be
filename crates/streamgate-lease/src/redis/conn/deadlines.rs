//! Deadlines: what the operator lets a server take.

use std::time::Duration;

/// How long anything may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// One command, script or pipeline, waiting for its turn included. Default 50 ms.
    pub command: Duration,
    /// To connect and to be admitted by the server; and to find out which server to ask. Default
    /// 250 ms.
    pub connect: Duration,
    /// A question that somebody has to wait for anyway, as who wants to start a stream. Default
    /// 500 ms; it is never shorter than `command`.
    pub start: Duration,
}

impl Deadlines {
    /// Whether a server so far away cannot answer in time: a question needs a round trip and as
    /// much again for the server and its neighbours, a connection needs three.
    pub(crate) fn are_below(&self, round_trip: Duration) -> bool {
        self.command < round_trip * 2 || self.connect < round_trip * 3
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        let (command, connect) = (Duration::from_millis(50), Duration::from_millis(250));
        Self { command, connect, start: Duration::from_millis(500) }
    }
}
