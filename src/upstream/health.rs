//! Whether an endpoint is well: asked with a GET every few seconds, remembered as one bit; and
//! whether it is passed over for a while because it took no connection.

use super::Upstream;
use crate::fetch::{FetchError, Fetcher, Link};
use crate::units::{Count, Text, Time};
use crate::yaml::At;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How an upstream's servers are asked.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "HealthCheck")]
pub struct Config {
    /// Answers 2xx while the server is well.
    pub path: At<Text>,
    /// Between two questions.
    #[serde(default = "interval")]
    pub interval: Time,
    /// How long an answer may take.
    #[serde(default = "timeout")]
    pub timeout: Time,
    /// So many answers of the other kind in a row change the verdict.
    #[serde(default = "threshold")]
    pub threshold: Count,
}

fn interval() -> Time {
    Time::secs(5)
}

fn timeout() -> Time {
    Time::secs(1)
}

fn threshold() -> Count {
    Count(2)
}

/// The verdict on one endpoint. New ones are taken to be well.
#[derive(Debug)]
pub struct Health {
    is_well: AtomicBool,
    began: Instant,
    /// Until when it is passed over, in ms since it began; 0: it is not.
    avoided_until_ms: AtomicU64,
}

/// How long an endpoint that took no connection is passed over, while there are others.
const AVOIDED_FOR: Duration = Duration::from_secs(5);

impl Default for Health {
    fn default() -> Self {
        let (is_well, avoided_until_ms) = (AtomicBool::new(true), AtomicU64::new(0));
        Health { is_well, began: Instant::now(), avoided_until_ms }
    }
}

impl Health {
    /// What the checks say.
    pub fn is_well(&self) -> bool {
        self.is_well.load(Ordering::Relaxed)
    }

    /// Sets the verdict; tells whether it changed.
    pub fn mark(&self, is_well: bool) -> bool {
        self.avoided_until_ms.store(0, Ordering::Relaxed);
        self.is_well.swap(is_well, Ordering::Relaxed) != is_well
    }

    /// It took no connection: for a while others are asked.
    pub fn avoid(&self) {
        let until = self.now_ms() + AVOIDED_FOR.as_millis() as u64;
        self.avoided_until_ms.store(until, Ordering::Relaxed);
    }

    /// Whether it is asked when it is its turn.
    pub fn is_asked(&self) -> bool {
        let until = self.avoided_until_ms.load(Ordering::Relaxed);
        self.is_well() && (until == 0 || self.now_ms() >= until)
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

/// Asks the endpoints of one upstream, round after round.
#[derive(Debug)]
pub struct Probe {
    upstream: Arc<Upstream>,
    config: Config,
    /// Per endpoint: how it is asked, and answers in a row that contradict the verdict.
    endpoints: Vec<(Option<Fetcher>, u32)>,
}

/// An answer longer than this is no answer to a question about health.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A verdict that changed.
#[derive(Debug)]
pub struct Change {
    /// The endpoint.
    pub endpoint: std::net::SocketAddr,
    /// Whether it is well now.
    pub is_well: bool,
}

impl Probe {
    pub(super) fn new(upstream: Arc<Upstream>, config: Config) -> Self {
        let fetcher = |endpoint: &super::Endpoint| {
            let link = Link::parse(&format!("http://{}{}", endpoint.address, config.path.0), true);
            link.ok().and_then(|link| Fetcher::open(&link).ok())
        };
        let endpoints = upstream.endpoints.iter().map(|e| (fetcher(e), 0)).collect();
        Probe { upstream, config, endpoints }
    }

    /// The upstream whose endpoints are checked.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// How long to wait between two rounds.
    pub fn interval(&self) -> Duration {
        self.config.interval.0
    }

    /// Asks every endpoint once and tells what changed.
    pub async fn round(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (endpoint, (fetcher, contradictions)) in
            self.upstream.endpoints.iter().zip(&mut self.endpoints)
        {
            let is_well = match fetcher {
                Some(fetcher) => is_well(fetcher, self.config.timeout.0).await,
                None => true,
            };
            if is_well == endpoint.health.is_well() {
                *contradictions = 0;
                continue;
            }
            *contradictions += 1;
            if *contradictions >= self.config.threshold.0 {
                *contradictions = 0;
                endpoint.health.mark(is_well);
                changes.push(Change { endpoint: endpoint.address, is_well });
            }
        }
        changes
    }
}

async fn is_well(fetcher: &Fetcher, within: Duration) -> bool {
    match tokio::time::timeout(within, fetcher.get(ANSWER_BYTES_MAX)).await {
        Ok(Ok(_)) => true,
        Ok(Err(FetchError::Status(status))) => (200..300).contains(&status),
        Ok(Err(_)) | Err(_) => false,
    }
}
