//! What it means that a client sends nothing more.
//!
//! A client may close its side after its request and wait for the answer (RFC 9112 §9.6). One that
//! is gone looks the same, until something is written to it. So the end of what a client sends is
//! kept from Pingora, which would end the exchange, for as long as the proxy says here.

use super::deadline::Deadline;
use parking_lot::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// What the end of what a client sends is taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientEnd {
    /// The client is gone, and with it the exchange.
    #[default]
    Gone,
    /// It waits for its answer.
    Waits,
    /// It may wait for its answer; when this time has passed, it is taken for gone.
    WaitsFor(Duration),
}

/// Judges the end of one client, from the beginning of a request on.
#[derive(Debug, Default)]
pub(super) struct ClientEndWatch {
    meaning: Mutex<ClientEnd>,
    timer: Option<Deadline>,
}

impl ClientEndWatch {
    /// From now on the end is taken for this.
    pub(super) fn mean(&self, meaning: ClientEnd) {
        *self.meaning.lock() = meaning;
    }

    /// Called when the end was read: ready when the client is taken for gone.
    pub(super) fn poll_gone(&mut self, task: &mut Context<'_>) -> Poll<()> {
        match *self.meaning.lock() {
            ClientEnd::Gone => Poll::Ready(()),
            ClientEnd::Waits => Poll::Pending,
            ClientEnd::WaitsFor(time) => {
                let timer = self.timer.get_or_insert_with(|| Deadline::new(Instant::now() + time));
                timer.poll(task)
            }
        }
    }
}
