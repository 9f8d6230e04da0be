//! Entries that nothing names: they are allowed, and seldom meant.

use crate::config::{Config, Service};
use crate::filter;
use crate::problem::Problem;
use crate::yaml::At;

/// A warning for each upstream, session, policy and store that no other part of the file names.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let routes = || config.routes.iter();
    let filters = || routes().flat_map(|route| &route.filters);
    let upstreams = routes().filter_map(|route| Some(route.upstream.as_ref()?.0.as_str()));
    let sessions = filters().filter_map(|filter| match filter.bare() {
        filter::Config::Session(name) => Some(name.0.as_str()),
        _ => None,
    });
    let limits = filters().filter_map(|filter| match filter.bare() {
        filter::Config::Concurrency(config) => Some(config.policy().0.as_str()),
        _ => None,
    });
    let served = routes().filter_map(|route| {
        let Service::Streams(name) = &route.service.as_ref()?.value;
        Some(name.0.as_str())
    });
    let asked = config.sessions.iter().filter_map(|(_, s)| Some(s.active_in.as_ref()?.0.as_str()));
    let counting = config.concurrency.iter().map(|(_, policy)| policy.store.0.as_str());
    let sections = [
        ("upstream", config.upstreams.places(), upstreams.collect::<Vec<_>>()),
        ("session", config.sessions.places(), sessions.collect()),
        ("policy", config.concurrency.places(), limits.chain(served).collect()),
        ("store", config.stores.places(), asked.chain(counting).collect()),
    ];
    let unused = sections.into_iter().flat_map(|(kind, entries, named)| {
        entries
            .into_iter()
            .filter(move |entry| !named.contains(&entry.value.as_str()))
            .map(move |entry| warning(kind, entry))
    });
    unused.collect()
}

fn warning(kind: &str, entry: &At<String>) -> Problem {
    let text = format!("nothing names the {kind} `{}`", entry.value);
    entry.problem(text).help("name it, or remove it").warning()
}
