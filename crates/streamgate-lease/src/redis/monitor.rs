//! Monitor: whether a store serves, found out beside the requests.
//!
//! While all is well it probes each server now and then. A request that waits for longer than it
//! should rings it, and then it asks at once, over a connection of its own: a server that answers
//! is well, and only this gateway or the way to it is slow. When the breaker of a server is open,
//! it probes once a second until the server serves again; no request has to.
//!
//! It spawns nothing: whoever waits for the next change drives it.

use super::client::Client;
use super::health::Health;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How often a server is probed while all is well.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// How often the monitor looks while something is wrong; the breakers say when to probe.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Keeps the breakers of a [`Client`]. While it is there, it has to be driven: see
/// [`next`](Self::next).
pub struct Monitor {
    client: Arc<Client>,
    told: Option<Health>,
    has_probed: bool,
}

impl Monitor {
    /// For the servers of a client; one monitor is enough.
    #[must_use]
    pub fn new(client: Arc<Client>) -> Self {
        client.alarm().set_monitored(true);
        Self { client, told: None, has_probed: false }
    }

    /// The next change. Keep waiting for it: breakers that are open close only here.
    pub async fn next(&mut self) -> Health {
        loop {
            let health = self.client.health();
            if self.has_probed && self.told.as_ref().is_none_or(|told| told.differs(&health)) {
                self.told = Some(health.clone());
                return health;
            }
            let is_well = health.failure.is_none();
            let is_news = self.client.probe(PROBE_EVERY).await;
            if is_news || !std::mem::replace(&mut self.has_probed, true) {
                self.has_probed = true;
                continue;
            }
            let pause = if is_well { PROBE_EVERY } else { LOOK_EVERY };
            // Whether it was rung or not, the next look tells.
            let _ = timeout(pause, self.client.alarm().rung()).await;
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.client.alarm().set_monitored(false);
    }
}
