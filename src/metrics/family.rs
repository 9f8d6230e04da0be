//! Registering families, and the list of them that documentation is made of.

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;

/// What every metric's name begins with.
const PREFIX: &str = "streamgate_";

/// One family as the documentation shows it.
#[derive(Clone, Debug)]
pub struct Family {
    /// The whole name, with its prefix.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// What it means, in a sentence.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: Vec<&'static str>,
}

/// A registry that remembers what was registered.
#[derive(Debug, Default)]
pub(super) struct Families {
    pub(super) registry: Registry,
    pub(super) families: Vec<Family>,
    pub(super) labelled: Vec<Box<dyn Labelled>>,
}

/// A family whose series come and go with the names of the file.
pub(super) trait Labelled: fmt::Debug + Send + Sync {
    /// Removes the series whose `label` has a value that is not kept.
    fn retain(&self, label: &str, is_kept: &dyn Fn(&str) -> bool);
}

impl<B: MetricVecBuilder + 'static> Labelled for MetricVec<B>
where
    MetricVec<B>: Collector + fmt::Debug,
{
    fn retain(&self, label: &str, is_kept: &dyn Fn(&str) -> bool) {
        for family in self.collect() {
            for series in family.get_metric() {
                let pairs = series.get_label().iter().map(|pair| (pair.name(), pair.value()));
                let labels: HashMap<&str, &str> = pairs.collect();
                if labels.get(label).is_some_and(|value| !is_kept(value)) {
                    // Somebody else may have removed it.
                    let _ = self.remove(&labels);
                }
            }
        }
    }
}

type Labels = [&'static str];

impl Families {
    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &'static str,
        labels: &Labels,
    ) -> IntCounterVec {
        let opts = self.enter(name, "counter", help, labels);
        self.register_labelled(IntCounterVec::new(opts, labels))
    }

    pub(super) fn counter(&mut self, name: &str, help: &'static str) -> IntCounter {
        let opts = self.enter(name, "counter", help, &[]);
        self.register(IntCounter::with_opts(opts))
    }

    pub(super) fn gauge(&mut self, name: &str, help: &'static str) -> IntGauge {
        let opts = self.enter(name, "gauge", help, &[]);
        self.register(IntGauge::with_opts(opts))
    }

    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &'static str,
        labels: &Labels,
    ) -> IntGaugeVec {
        let opts = self.enter(name, "gauge", help, labels);
        self.register_labelled(IntGaugeVec::new(opts, labels))
    }

    pub(super) fn float_gauges(
        &mut self,
        name: &str,
        help: &'static str,
        labels: &Labels,
    ) -> GaugeVec {
        let opts = self.enter(name, "gauge", help, labels);
        self.register_labelled(GaugeVec::new(opts, labels))
    }

    pub(super) fn histograms(
        &mut self,
        name: &str,
        help: &'static str,
        labels: &Labels,
        buckets: &[f64],
    ) -> HistogramVec {
        let opts = HistogramOpts::from(self.enter(name, "histogram", help, labels));
        self.register_labelled(HistogramVec::new(opts.buckets(buckets.to_vec()), labels))
    }

    fn enter(
        &mut self,
        name: &str,
        kind: &'static str,
        help: &'static str,
        labels: &Labels,
    ) -> Opts {
        let name = format!("{PREFIX}{name}");
        let opts = Opts::new(name.clone(), help);
        self.families.push(Family { name, kind, help, labels: labels.to_vec() });
        opts
    }

    fn register_labelled<C: Collector + Labelled + Clone + 'static>(
        &mut self,
        made: prometheus::Result<C>,
    ) -> C {
        let metric = self.register(made);
        self.labelled.push(Box::new(metric.clone()));
        metric
    }

    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let metric = made.expect("names and labels are written here, and a test makes them all");
        self.registry.register(Box::new(metric.clone())).expect("each name is written once");
        metric
    }
}

/// The list for `streamgate metrics --format json`.
pub fn as_json(families: &[Family]) -> Value {
    let row = |family: &Family| {
        json!({
            "name": family.name,
            "type": family.kind,
            "help": family.help,
            "labels": family.labels,
        })
    };
    families.iter().map(row).collect()
}

/// The list as Markdown: what `docs/metrics.md` holds.
pub fn as_markdown(families: &[Family]) -> String {
    let mut page = String::from(
        "# Metrics\n\nEvery family that `/metrics` on the admin port serves. Labels come from \
         closed sets and from names in the\nfile, never from a request. This page is printed by \
         `streamgate metrics`.\n\n| name | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for Family { name, kind, help, labels } in families {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        page += &format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "));
    }
    page
}
