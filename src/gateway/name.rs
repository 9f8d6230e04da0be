//! Names the operator chose: unique where they must be, and fit to be labels of metrics.

use crate::config::Config;
use crate::problem::Problem;
use crate::units::Text;
use crate::yaml::At;
use std::collections::HashMap;

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
    let entries = [config.stores.places(), config.sections.places(), config.upstreams.places()];
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
    let mut known: HashMap<&str, String> = HashMap::with_capacity(names.len());
    let repeated = names.iter().filter_map(|name| {
        let Some(line) = known.get(name.0.as_str()) else {
            known.insert(&name.0, name.place.line_in_words());
            return None;
        };
        let text = format!("{kind} `{}` has the name of the one on line {line}", name.value);
        Some(name.problem(text).help("give it another name"))
    });
    repeated.collect()
}
