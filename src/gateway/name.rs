//! Names the operator chose: unique where they must be, and fit to be labels of metrics.

use crate::config::Config;
use crate::problem::Problem;
use crate::units::{Secret, Text};
use crate::yaml::At;

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 64;

/// Every name that is unfit or stands twice.
pub(super) fn check_all(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let listeners: Vec<&At<Text>> = config.listeners.iter().map(|l| &l.name).collect();
    let routes: Vec<&At<Text>> = config.routes.iter().map(|route| &route.name).collect();
    problems.extend(twice("listener", &listeners));
    problems.extend(twice("route", &routes));
    problems.extend(listeners.iter().chain(&routes).filter_map(|name| unfit(&name.0, name)));
    let entries = [
        config.stores.places(),
        config.sessions.places(),
        config.concurrency.places(),
        config.upstreams.places(),
    ];
    problems.extend(entries.iter().flatten().filter_map(|name| unfit(&name.value, name)));
    problems
}

fn unfit<T>(name: &str, at: &At<T>) -> Option<Problem> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let fits = !name.is_empty()
        && name.len() <= NAME_CHARS_MAX
        && name.chars().all(is_fit)
        && !name.starts_with('_');
    (!fits).then(|| {
        at.problem(format!("`{name}` is not a name")).help(format!(
            "use up to {NAME_CHARS_MAX} letters, digits, `-`, `.` and `_`, which must not be first"
        ))
    })
}

fn twice(kind: &str, names: &[&At<Text>]) -> Vec<Problem> {
    let repeated = names.iter().enumerate().filter_map(|(i, name)| {
        let first = names[..i].iter().find(|earlier| earlier.0 == name.0)?;
        let line = first.place.line;
        let text = format!("{kind} `{}` has the name of the one on line {line}", name.value);
        Some(name.problem(text).help("give it another name"))
    });
    repeated.collect()
}

/// Policies that would count the same leases without saying so: an account's key in the store is
/// made of the pepper and the account alone.
pub(super) fn same_counts(config: &Config) -> Vec<Problem> {
    let policies: Vec<_> = config.concurrency.iter().collect();
    let shared = policies.iter().enumerate().filter_map(|(i, (name, policy))| {
        let (first, pepper) = policies[..i].iter().find_map(|(first, earlier)| {
            let there = earlier.pepper.all();
            let is_there = |pepper: &&At<Secret>| there.iter().any(|one| one.value == pepper.value);
            let pepper = policy.pepper.all().into_iter().find(is_there)?;
            (earlier.store.value == policy.store.value).then_some((first, pepper))
        })?;
        let text = format!(
            "policies `{}` and `{}` have the same store and pepper, so they would count the same \
             leases",
            first.value, name.value
        );
        Some(pepper.problem(text).help("give one of them another pepper"))
    });
    shared.collect()
}
