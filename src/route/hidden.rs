//! What a route takes from others without a word, and seldom is meant to: the paths of its host,
//! as a host beats every path, and the methods that a more specific route does not take.
//!
//! Both are as documented, and both surprise: who wrote `method: GET` expects 405 for the rest, and
//! who wrote `/hls/{*rest}` expects those requests. So `check` warns of them.

use super::template::{Host, Segment, Template};
use super::{Candidate, Wanted};
use crate::problem::Problem;
use std::collections::{BTreeMap, HashMap};

/// Hosts that one route is compared with. More of them would say the same again.
const HOSTS_MAX: usize = 64;

/// Routes that one warning names.
const NAMES_MAX: usize = 3;

/// A warning for each route that takes what another seems to ask for.
pub fn hidden(candidates: &[&Candidate]) -> Vec<Problem> {
    let trees = Trees::of(candidates);
    let (mut by_host, mut by_method) = (BTreeMap::new(), BTreeMap::new());
    for candidate in candidates.iter().copied() {
        if let Some((host, taker)) = trees.takes_host_of(candidate) {
            by_host.entry(taker).or_insert_with(|| (host, Vec::new())).1.push(candidate);
        }
        if let Some(taker) = trees.takes_methods_of(candidate) {
            by_method.entry(taker).or_insert_with(Vec::new).push(candidate);
        }
    }
    let hosts = by_host.into_iter().map(|(taker, (host, lost))| {
        let (taker, first) = (candidates[taker], lost[0]);
        let text = format!(
            "a host beats every path: requests of `{host}` for `{}` take route `{}`, not {}",
            first.path,
            taker.name,
            names(&lost)
        );
        let help = format!("if they are to take it, write `host: {host}` in its `match`, too");
        Problem::at(taker.place, text).help(help).warning()
    });
    let methods = by_method.into_iter().map(|(taker, lost)| {
        let taker = candidates[taker];
        let text = format!(
            "route `{}` takes what `method` keeps from {}: it is not refused with 405",
            taker.name,
            names(&lost)
        );
        let help = "leave `method` out there, so that its filters hold for all methods, or write \
                    here which methods are meant";
        Problem::at(taker.place, text).help(help).warning()
    });
    hosts.chain(methods).collect()
}

/// `route x (line 3)`, or several.
fn names(routes: &[&Candidate]) -> String {
    let named = routes.iter().take(NAMES_MAX);
    let named: Vec<String> = named
        .map(|route| format!("{}` (line {})", route.name, route.place.line_in_words()))
        .collect();
    let named = match named.as_slice() {
        [one] => format!("route `{one}"),
        many => {
            let many: Vec<String> = many.iter().map(|route| format!("`{route}")).collect();
            format!("routes {}", many.join(", "))
        }
    };
    match routes.len().saturating_sub(NAMES_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// The routes by host and path, as a request meets them.
struct Trees<'c> {
    candidates: &'c [&'c Candidate],
    any: Tree<'c>,
    by_host: BTreeMap<&'c Host, Tree<'c>>,
}

#[derive(Default)]
struct Tree<'c> {
    exact: HashMap<&'c str, Tree<'c>>,
    param: Option<Box<Tree<'c>>>,
    /// Routes that end here, and that take all the rest from here.
    here: Vec<usize>,
    rest: Vec<usize>,
}

impl<'c> Trees<'c> {
    fn of(candidates: &'c [&'c Candidate]) -> Self {
        let mut by_host: BTreeMap<&Host, Tree<'_>> = BTreeMap::new();
        let mut any = Tree::default();
        for (index, candidate) in candidates.iter().enumerate() {
            if candidate.hosts.is_empty() {
                any.insert(&candidate.template, index);
            }
            for host in &candidate.hosts {
                by_host.entry(host).or_default().insert(&candidate.template, index);
            }
        }
        Trees { candidates, any, by_host }
    }

    /// A catch-all of a host that takes all that `lost`, whose hosts are more, asks for there.
    fn takes_host_of(&self, lost: &Candidate) -> Option<(&'c Host, usize)> {
        let narrower = self.by_host.iter().filter(|(host, _)| is_wider(lost, host));
        narrower.take(HOSTS_MAX).find_map(|(host, tree)| {
            let taker = self.first(tree, lost, |taker| {
                let (ours, theirs) = (&taker.conditions.methods, &lost.conditions.methods);
                let takes_all = || theirs.iter().all(|method| ours.contains(method));
                ours.is_empty() || (!theirs.is_empty() && takes_all())
            })?;
            let is_meant = self.candidates[taker].template.is_same_shape(&lost.template);
            (!is_meant).then_some((*host, taker))
        })
    }

    /// The route behind `lost` that takes every method, and so those that `lost` does not.
    fn takes_methods_of(&self, lost: &Candidate) -> Option<usize> {
        if lost.conditions.methods.is_empty() {
            return None;
        }
        let takes_any = |taker: &Candidate| taker.conditions.methods.is_empty();
        let mut trees = self.behind(&lost.hosts).into_iter();
        let taker = trees.find_map(|tree| self.first(tree, lost, takes_any))?;
        // Beside a route of the same path, `method` chooses between the two.
        let is_meant = self.candidates[taker].template.is_same_shape(&lost.template);
        (!is_meant).then_some(taker)
    }

    /// The trees in which a request for one of `hosts` is looked for, in that order.
    fn behind(&self, hosts: &[Host]) -> Vec<&Tree<'c>> {
        let wider = hosts.iter().take(HOSTS_MAX).flat_map(|host| {
            let (Host::Exact(name) | Host::Below(name)) = host;
            let suffixes = name.match_indices('.').map(|(at, _)| Host::Below(name[at..].into()));
            let suffixes = suffixes.filter(move |suffix| suffix != host);
            suffixes.filter_map(|suffix| self.by_host.get(&suffix)).collect::<Vec<_>>()
        });
        let own = hosts.iter().take(HOSTS_MAX).filter_map(|host| self.by_host.get(host));
        own.chain(wider).chain([&self.any]).collect()
    }

    /// The most specific route of `tree` that takes every path of `lost`, asks for nothing that
    /// `lost` does not ask for, and `is_it`.
    fn first(
        &self,
        tree: &Tree<'_>,
        lost: &Candidate,
        is_it: impl Fn(&Candidate) -> bool,
    ) -> Option<usize> {
        let takers = tree.takers(&lost.template).into_iter().filter(|index| {
            let taker = self.candidates[*index];
            !std::ptr::eq(taker, lost) && asks_no_more(taker, lost) && is_it(taker)
        });
        takers.min_by(|a, b| self.candidates[*a].cmp_precedence(self.candidates[*b]))
    }
}

impl<'c> Tree<'c> {
    fn insert(&mut self, template: &'c Template, index: usize) {
        let mut node = self;
        for segment in &template.segments {
            node = match segment {
                Segment::Exact(text) => node.exact.entry(text).or_default(),
                Segment::Param(_) => node.param.get_or_insert_default(),
                Segment::CatchAll(_) => return node.rest.push(index),
            };
        }
        node.here.push(index);
    }

    /// The routes that take every path of `template`.
    fn takers(&self, template: &Template) -> Vec<usize> {
        let (mut nodes, mut found) = (vec![self], Vec::new());
        for segment in &template.segments {
            found.extend(nodes.iter().flat_map(|node| &node.rest));
            let mut below = Vec::new();
            for node in nodes {
                match segment {
                    Segment::Exact(text) => {
                        below.extend(node.exact.get(text.as_str()));
                        below.extend(node.param.as_deref());
                    }
                    Segment::Param(_) => below.extend(node.param.as_deref()),
                    Segment::CatchAll(_) => {}
                }
            }
            nodes = below;
        }
        found.extend(nodes.iter().flat_map(|node| node.here.iter().chain(&node.rest)));
        found
    }
}

/// Whether `candidate` takes requests of `host`, too, without naming it.
fn is_wider(candidate: &Candidate, host: &Host) -> bool {
    let is_below = |suffix: &str| match host {
        Host::Exact(name) => name.ends_with(suffix),
        Host::Below(narrow) => narrow.len() > suffix.len() && narrow.ends_with(suffix),
    };
    let has_wider = candidate.hosts.iter().any(|other| match other {
        Host::Below(suffix) => is_below(suffix),
        Host::Exact(_) => false,
    });
    !candidate.hosts.contains(host) && (candidate.hosts.is_empty() || has_wider)
}

/// Whether each field and query parameter that `taker` asks for is asked for by `lost`.
fn asks_no_more(taker: &Candidate, lost: &Candidate) -> bool {
    let (ours, theirs) = (&taker.conditions, &lost.conditions);
    let ends = |one: &String| ours.extensions.contains(one);
    let is_wider = ours.extensions.is_empty()
        || (!theirs.extensions.is_empty() && theirs.extensions.iter().all(ends));
    is_wider
        && ours.shape.holds(&theirs.shape)
        && ours.scheme.is_none_or(|scheme| theirs.scheme == Some(scheme))
        && ours.headers.iter().all(|asked| theirs.headers.iter().any(|other| is_met(asked, other)))
        && ours.query.iter().all(|asked| theirs.query.iter().any(|other| is_met(asked, other)))
}

/// Whether what meets `theirs` meets `ours`.
fn is_met<K: PartialEq>(ours: &(K, Wanted), theirs: &(K, Wanted)) -> bool {
    ours.0 == theirs.0 && (ours.1 == Wanted::Present || ours.1 == theirs.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::tests::candidates;

    fn check(routes: &[&str], expected: &[&str]) {
        let rows: String = routes.iter().map(|row| format!("  - {{ {row} }}\n")).collect();
        let yaml = format!("routes:\n{rows}");
        let candidates = candidates(&yaml);
        let found = hidden(&candidates.iter().collect::<Vec<_>>());
        let found: Vec<String> = found.iter().map(|problem| problem.text.clone()).collect();
        assert_eq!(found.len(), expected.len(), "{yaml}{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}");
        }
    }

    const HLS: &str = "name: hls, match: { path: '/hls/{*rest}' }";
    const APP: &str = "name: app, match: { host: tv.example, path: '/{*rest}' }";

    #[test]
    fn a_host_that_takes_the_paths_of_others_is_found() {
        let says = "`tv.example` for `/hls/{*rest}` take route `app`, not route `hls` (line 2)";
        check(&[HLS, APP], &[says]);
        check(&["name: hls, match: { host: '*.example', path: '/hls/x' }", APP], &["not route"]);
        let wild = "name: app, match: { host: '*.tv.example', path: '/{*rest}' }";
        check(&["name: hls, match: { host: '*.example', path: '/hls/x' }", wild], &["not route"]);
        let get = "name: app, match: { host: tv.example, path: '/{*rest}', method: GET }";
        check(&["name: hls, match: { path: '/hls/x', method: GET }", get], &["not route"]);
        let other = "name: vod, match: { path: '/vod/{*rest}' }";
        check(&[HLS, other, APP], &["not routes `hls` (line 2), `vod` (line 3)"]);
    }

    #[test]
    fn a_host_that_takes_what_it_should_is_left_alone() {
        // The same path: a default for all other hosts.
        check(&["name: all, match: { path: '/{*rest}' }", APP], &[]);
        // The host has a route of its own for the path.
        check(&[HLS, APP, "name: own, match: { host: tv.example, path: '/hls/{*rest}' }"], &[]);
        // It names the host, too.
        let both = "name: hls, match: { host: [tv.example, a.example], path: '/hls/{*rest}' }";
        check(&[both, APP], &[]);
        // It takes only a part of the requests.
        check(&[HLS, "name: app, match: { host: a, path: '/{*r}', header: { x: '1' } }"], &[]);
        check(&[HLS, "name: app, match: { host: a, path: '/{*r}', method: GET }"], &[]);
        check(&[HLS, "name: app, match: { host: a, path: '/vod/{*r}' }"], &[]);
    }

    const LIVE: &str = "name: live, match: { path: '/live/{*rest}', method: GET }";
    const ALL: &str = "name: all, match: { path: '/{*rest}' }";

    #[test]
    fn a_route_that_takes_refused_methods_is_found() {
        let says = "`all` takes what `method` keeps from route `live` (line 2)";
        check(&[LIVE, ALL], &[says]);
        check(&["name: x, match: { path: '/a/x', method: GET }", ALL], &["route `x`"]);
        let host = "name: x, match: { host: tv.example, path: '/a/x', method: GET }";
        check(&[host, ALL], &["route `x`"]);
        check(&[host, "name: w, match: { host: '*.example', path: '/{*r}' }"], &["route `x`"]);
        let many: Vec<String> = (0..5)
            .map(|i| format!("name: r{i}, match: {{ path: '/r{i}', method: GET }}"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).chain([ALL]).collect();
        check(&many, &["routes `r0` (line 2), `r1` (line 3), `r2` (line 4) and 2 more"]);
    }

    #[test]
    fn methods_that_are_meant_so_are_left_alone() {
        // The same path: `method` chooses between the two.
        check(&[LIVE, "name: rest, match: { path: '/live/{*rest}' }"], &[]);
        check(&[LIVE, "name: rest, match: { path: '/live/{*rest}' }", ALL], &[]);
        // The other one says which methods it takes.
        check(&[LIVE, "name: all, match: { path: '/{*rest}', method: [GET, POST] }"], &[]);
        check(&[LIVE, "name: b, match: { path: '/{*r}', header: { x: '1' } }"], &[]);
        check(&[LIVE, "name: b, match: { host: a, path: '/live/x' }"], &[]);
    }
}
