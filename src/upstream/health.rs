//! Whether an endpoint is well: asked with a GET every few seconds, remembered as one bit.

use super::Upstream;
use crate::fetch;
use crate::units::{Count, Text, Time};
use crate::yaml::At;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How an upstream's servers are asked.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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
pub struct Health(AtomicBool);

impl Default for Health {
    fn default() -> Self {
        Health(AtomicBool::new(true))
    }
}

impl Health {
    pub fn is_well(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the verdict; tells whether it changed.
    pub fn mark(&self, is_well: bool) -> bool {
        self.0.swap(is_well, Ordering::Relaxed) != is_well
    }
}

/// Asks the endpoints of one upstream, round after round.
#[derive(Debug)]
pub struct Probe {
    upstream: Arc<Upstream>,
    config: Config,
    /// Answers in a row that contradict the verdict, per endpoint.
    contradictions: Vec<u32>,
}

/// A verdict that changed.
#[derive(Debug)]
pub struct Change {
    pub endpoint: std::net::SocketAddr,
    pub is_well: bool,
}

impl Probe {
    pub(super) fn new(upstream: Arc<Upstream>, config: Config) -> Self {
        let contradictions = vec![0; upstream.endpoints.len()];
        Probe { upstream, config, contradictions }
    }

    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// How long to wait between two rounds.
    pub fn interval(&self) -> std::time::Duration {
        self.config.interval.0
    }

    /// Asks every endpoint once and tells what changed.
    pub async fn round(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (endpoint, contradictions) in
            self.upstream.endpoints.iter().zip(&mut self.contradictions)
        {
            let url = format!("http://{}{}", endpoint.address, self.config.path.0);
            let is_well = fetch::is_well(&url, self.config.timeout.0).await;
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
