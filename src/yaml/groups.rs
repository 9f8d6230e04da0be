//! Routes that have something in common: a group says it once, under `with`, for all its `routes`.
//!
//! A group is taken apart before anything is made of the file: each of its routes then is as if it
//! had been written out, and every mistake has its place.

use super::tree::{Node, Tree};
use super::{At, NODES_MAX};
use crate::problem::{Place, Problem, listed, nearest};

const ROUTES: &str = "routes";
const WITH: &str = "with";
const MATCH: &str = "match";
const FILTERS: &str = "filters";

/// What belongs into a route's `match`.
pub const OF_MATCH: [&str; 6] = ["host", "scheme", "method", "extension", "header", "query"];

/// Where a route leads. One that says it itself gets none of the group's.
const ENDS: [&str; 4] = ["upstream", "service", "redirect", "respond"];

/// All else that a route may get of its group.
pub const OF_ROUTE: [&str; 12] = [
    FILTERS,
    "upstream",
    "service",
    "redirect",
    "respond",
    "rewrite",
    "starts",
    "timeouts",
    "max_body",
    "encoded_slash",
    "websocket",
    "forward_token",
];

type Entries = Vec<(At<String>, Node)>;

/// Puts the routes of all groups in the place of the groups; what is wrong with groups.
pub(super) fn expand(root: &mut Node) -> Vec<Problem> {
    let Tree::Mapping(sections) = &mut root.value else { return Vec::new() };
    let routes = sections.iter_mut().filter(|(key, _)| key.value == ROUTES);
    let (mut problems, mut left) = (Vec::new(), NODES_MAX);
    for (_, routes) in routes {
        let Tree::List(items) = &mut routes.value else { continue };
        if !items.iter().any(|item| with(item).is_some()) {
            continue;
        }
        for item in std::mem::take(items) {
            match with(&item) {
                None => items.push(item),
                Some(place) => items.extend(taken_apart(item, place, &mut left, &mut problems)),
            }
        }
    }
    problems
}

/// Where a node says that it is a group.
fn with(node: &Node) -> Option<Place> {
    let Tree::Mapping(entries) = &node.value else { return None };
    entries.iter().find(|(key, _)| key.value == WITH).map(|(key, _)| key.place)
}

/// The routes of a group whose `with` stands there. So many parts are `left` that groups may unfold
/// to.
fn taken_apart(
    group: Node,
    place: Place,
    left: &mut usize,
    problems: &mut Vec<Problem>,
) -> Vec<Node> {
    let Tree::Mapping(entries) = group.value else { return Vec::new() };
    let (mut common, mut routes) = (Vec::new(), None);
    for (key, node) in entries {
        match (key.value.as_str(), node.value) {
            (WITH, Tree::Mapping(entries)) => common = entries,
            (ROUTES, Tree::List(items)) => routes = Some(items),
            (WITH, other) => {
                let text = format!("`with` must be a mapping, and is {}", other.kind());
                problems.push(key.problem(text).help("write `with: { host: …, filters: [ … ] }`"));
            }
            (ROUTES, other) => {
                let text = format!("`routes` must be a list, and is {}", other.kind());
                problems.push(key.problem(text).help("write the routes of the group as a list"));
                routes = Some(Vec::new());
            }
            (name, _) => {
                let text = format!("a group has `with` and `routes`, and no `{name}`");
                let help = "put what all its routes have under `with`, the rest into each of them";
                problems.push(key.problem(text).help(help));
            }
        }
    }
    common.retain(|(key, _)| is_known(key, problems));
    let Some(mut routes) = routes else {
        let help = "write `routes: [ … ]` beside `with`";
        problems.push(Problem::at(place, "the group has no routes").help(help));
        return Vec::new();
    };
    routes.retain(|route| match with(route) {
        None => true,
        Some(place) => {
            let text = "a group in a group";
            let help = "write both parts of `with` into one, or use an anchor: `*name`";
            problems.push(Problem::at(place, text).help(help));
            false
        }
    });
    let size: usize = common.iter().map(|(_, node)| size(node)).sum();
    let Some(rest) = left.checked_sub(size.saturating_mul(routes.len())) else {
        let text = format!("with its groups the file unfolds to more than {NODES_MAX} parts");
        let help = "let routes have less in common, or fewer of them have it";
        problems.push(Problem::at(place, text).help(help));
        return Vec::new();
    };
    *left = rest;
    for route in &mut routes {
        if let Tree::Mapping(own) = &mut route.value {
            inherit(own, &common);
        }
    }
    routes
}

/// How many parts there are.
fn size(node: &Node) -> usize {
    match &node.value {
        Tree::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Tree::Mapping(entries) => 1 + entries.iter().map(|(_, entry)| size(entry)).sum::<usize>(),
        Tree::Nothing | Tree::Value(_) | Tree::Broken => 1,
    }
}

/// Whether a route can have this of its group.
fn is_known(key: &At<String>, problems: &mut Vec<Problem>) -> bool {
    let all = || OF_MATCH.into_iter().chain(OF_ROUTE);
    if all().any(|known| known == key.value) {
        return true;
    }
    let text = format!("`{}` is nothing that routes have in common", key.value);
    let help = match nearest(&key.value, all()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("possible here: {}", listed(all())),
    };
    problems.push(key.problem(text).help(help));
    false
}

/// Adds to a route what it does not say itself. Filters of the group come first.
fn inherit(own: &mut Entries, common: &[(At<String>, Node)]) {
    let has_end = own.iter().any(|(key, _)| ENDS.contains(&key.value.as_str()));
    for (key, node) in common {
        let name = key.value.as_str();
        if OF_MATCH.contains(&name) {
            let matched = own.iter_mut().find(|(own, _)| own.value == MATCH);
            if let Some((_, At { value: Tree::Mapping(asked), .. })) = matched
                && !asked.iter().any(|(own, _)| own.value == name)
            {
                asked.push((key.clone(), node.clone()));
            }
            continue;
        }
        match own.iter_mut().find(|(own, _)| own.value == name) {
            None if has_end && ENDS.contains(&name) => {}
            None => own.push((key.clone(), node.clone())),
            Some((_, At { value: Tree::List(later), .. })) if name == FILTERS => {
                if let Tree::List(first) = &node.value {
                    later.splice(0..0, first.iter().cloned());
                }
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_unfold_to_no_more_than_aliases_may() {
        let yaml = |routes: usize, filters: usize| {
            let filters = "a, ".repeat(filters);
            let routes = "{ name: a }, ".repeat(routes);
            format!("routes: [ {{ with: {{ filters: [ {filters} ] }}, routes: [ {routes} ] }} ]")
        };
        for (routes, filters, is_good) in [(100, 999, true), (100, 1_001, false)] {
            let mut root = super::super::tree::read(&yaml(routes, filters)).expect("good YAML");
            assert_eq!(expand(&mut root).is_empty(), is_good, "{routes} {filters}");
        }
    }
}
