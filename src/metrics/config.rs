//! What is counted of changes of the configuration, and what they take out of the metrics.

use super::Metrics;
use super::family::Families;
use crate::clock;
use prometheus::{IntCounterVec, IntGauge};

/// The families of the configuration that runs.
#[derive(Debug)]
pub(crate) struct ConfigMetrics {
    generation: IntGauge,
    applied: IntGauge,
    is_good: IntGauge,
    reloads: IntCounterVec,
}

impl ConfigMetrics {
    pub(super) fn new(f: &mut Families) -> Self {
        let all = ConfigMetrics {
            generation: f.gauge(
                "config_generation",
                "How many configurations have run in this process, this one included.",
            ),
            applied: f.gauge(
                "config_applied_timestamp_seconds",
                "When the configuration that runs was taken.",
            ),
            is_good: f.gauge(
                "config_last_reload_successful",
                "1 if the configuration that was read last is the one that runs.",
            ),
            reloads: f.counters(
                "config_reloads_total",
                "Configurations that were read again: `applied`, or `rejected` for mistakes.",
                &["result"],
            ),
        };
        all.runs(1);
        all
    }

    /// Another configuration was taken; so many have run, this one included.
    pub(crate) fn was_applied(&self, generation: u64) {
        self.reloads.with_label_values(&["applied"]).inc();
        self.runs(generation);
    }

    /// A file has mistakes, and nothing was changed.
    pub(crate) fn was_rejected(&self) {
        self.reloads.with_label_values(&["rejected"]).inc();
        self.is_good.set(0);
    }

    fn runs(&self, generation: u64) {
        self.generation.set(generation as i64);
        self.applied.set(clock::unix_seconds() as i64);
        self.is_good.set(1);
    }
}

/// Labels whose values are names of the file, each with the names that there are.
pub(crate) type Names<'a> = [(&'static str, Vec<&'a str>)];

impl Metrics {
    /// Removes the series of all names that no configuration has any more.
    pub(crate) fn retain(&self, names: &Names<'_>) {
        for (label, kept) in names {
            for family in &self.labelled {
                family.retain(label, &|value| kept.contains(&value));
            }
        }
    }
}
