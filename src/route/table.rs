//! Finds the one route for a request: a tree of path segments per host.
//!
//! Exact host before wildcard before none; then exact segments before parameters before catch-all;
//! then more conditions before fewer. The order in the file never matters.

use super::template::{Host, PARAMS_MAX, Segment, Template};
use super::{Candidate, Captures};
use crate::denial::{Code, Denial};
use crate::request::Request;
use foldhash::HashMap;
use http::{HeaderValue, Method, header};

/// Why no route was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Miss {
    /// No route takes this host and path.
    NoRoute,
    /// The path exists with other methods; the most specific route of those.
    Method(Vec<Method>, RouteIndex),
}

impl From<Miss> for Denial {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::NoRoute => Code::RouteNotFound.into(),
            Miss::Method(allowed, _) => {
                let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
                let allow = HeaderValue::try_from(names.join(", ")).expect("methods are tokens");
                Denial::from(Code::MethodNotAllowed).with_header(header::ALLOW, allow)
            }
        }
    }
}

/// Which route of a table: what a request remembers of the route that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteIndex(usize);

/// The route that a request takes.
#[derive(Debug)]
pub struct Found<'t, R> {
    /// Which of the routes it is.
    pub index: RouteIndex,
    /// What the route leads to.
    pub route: &'t R,
    /// What the parts in braces of its path matched.
    pub captures: Captures,
}

/// All routes, ready to be searched. `R` is what a route leads to. Why a route was not taken is
/// explained by `considered.rs`.
#[derive(Debug)]
pub struct Table<R> {
    exact: HashMap<String, Node>,
    /// By suffix; looked up from the longest to the shortest.
    below: HashMap<String, Node>,
    any: Node,
    candidates: Vec<(Candidate, R)>,
}

#[derive(Debug, Default)]
struct Node {
    exact: HashMap<String, Node>,
    param: Option<Box<Node>>,
    /// Routes that end here, more conditions first; indices into `candidates`.
    here: Vec<usize>,
    /// Routes that take all the rest from here.
    rest: Vec<usize>,
}

/// What a search carries along.
struct Search<'s, 'r, R> {
    table: &'s Table<R>,
    request: &'s Request<'r>,
    /// That of the request, or the one that it announces.
    method: &'s Method,
    captures: Captures,
    allowed: Vec<Method>,
    /// The first route that only the method has kept from being taken.
    nearest: Option<usize>,
}

impl<R> Table<R> {
    /// Builds the tree. That no two candidates tie was checked by whoever compiled them.
    pub fn new(candidates: Vec<(Candidate, R)>) -> Self {
        let mut table = Table {
            exact: HashMap::default(),
            below: HashMap::default(),
            any: Node::default(),
            candidates,
        };
        let mut order: Vec<usize> = (0..table.candidates.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(table.candidates[i].0.conditions.count()));
        for index in order {
            let candidate = &table.candidates[index].0;
            let (hosts, template) = (candidate.hosts.clone(), candidate.template.clone());
            if hosts.is_empty() {
                table.any.insert(&template, index);
            }
            for host in hosts {
                let root = match host {
                    Host::Exact(name) => table.exact.entry(name).or_default(),
                    Host::Below(suffix) => table.below.entry(suffix).or_default(),
                };
                root.insert(&template, index);
            }
        }
        table
    }

    /// Every route with what it leads to, in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = (&Candidate, &R)> {
        self.candidates.iter().map(|(candidate, route)| (candidate, route))
    }

    /// Every route with its index.
    pub(super) fn indexed(&self) -> impl Iterator<Item = (RouteIndex, &Candidate)> {
        self.iter().enumerate().map(|(index, (candidate, _))| (RouteIndex(index), candidate))
    }

    /// What the route `index` of this table leads to.
    pub fn get(&self, index: RouteIndex) -> &R {
        &self.candidates[index.0].1
    }

    /// The most specific route that matches.
    pub fn find(&self, request: &Request<'_>) -> Result<Found<'_, R>, Miss> {
        self.find_for(request, request.method)
    }

    /// The most specific route that matches, if the method were this one.
    pub fn find_for(&self, request: &Request<'_>, method: &Method) -> Result<Found<'_, R>, Miss> {
        let (captures, allowed) = (Captures::default(), Vec::new());
        let mut search = Search { table: self, request, method, captures, allowed, nearest: None };
        let host = request.host.as_ref();
        let exact = self.exact.get(host).into_iter();
        let suffixes = host.match_indices('.').map(|(at, _)| &host[at..]);
        // Most configurations name no wildcard: then nothing is looked up for any suffix.
        let below = suffixes.filter_map(|suffix| match self.below.is_empty() {
            true => None,
            false => self.below.get(suffix),
        });
        let found = exact.chain(below).chain([&self.any]).find_map(|root| search.descend(root, 1));
        match (found, search.nearest) {
            (Some(index), _) => {
                let (index, captures) = (RouteIndex(index), search.captures);
                Ok(Found { index, route: self.get(index), captures })
            }
            (None, None) => Err(Miss::NoRoute),
            (None, Some(nearest)) => Err(Miss::Method(search.allowed, RouteIndex(nearest))),
        }
    }
}

impl Node {
    fn insert(&mut self, template: &Template, index: usize) {
        let mut node = self;
        for segment in &template.segments {
            node = match segment {
                Segment::Exact(text) => node.exact.entry(text.clone()).or_default(),
                Segment::Param(_) => node.param.get_or_insert_default(),
                Segment::CatchAll(_) => return node.rest.push(index),
            };
        }
        node.here.push(index);
    }
}

impl<R> Search<'_, '_, R> {
    /// The route below `node` for the path from byte `start` on. `start` is one past the end when
    /// no segment is left. Steps back where a longer match failed only by its conditions.
    fn descend(&mut self, node: &Node, start: usize) -> Option<usize> {
        let path = self.request.path.as_ref();
        if start > path.len() {
            return self.choose(&node.here).or_else(|| self.take_rest(node, path.len()));
        }
        let end = path[start..].find('/').map_or(path.len(), |at| start + at);
        if let Some(child) = node.exact.get(&path[start..end])
            && let Some(found) = self.descend(child, end + 1)
        {
            return Some(found);
        }
        if let Some(child) = &node.param
            && end > start
        {
            self.captures.push(start, end);
            if let Some(found) = self.descend(child, end + 1) {
                return Some(found);
            }
            self.captures.pop();
        }
        self.take_rest(node, start)
    }

    fn take_rest(&mut self, node: &Node, start: usize) -> Option<usize> {
        if node.rest.is_empty() {
            return None;
        }
        let found = self.choose(&node.rest)?;
        let suffix = self.table.candidates[found].0.template.shape.suffix();
        self.captures.push(start, self.request.path.len() - suffix.len());
        Some(found)
    }

    /// The first of `indices` whose conditions hold; remembers methods that would have been right.
    fn choose(&mut self, indices: &[usize]) -> Option<usize> {
        for &index in indices {
            let candidate = &self.table.candidates[index].0;
            let conditions = &candidate.conditions;
            let fits = conditions.hold_but_for_method(self.request);
            if !fits || !candidate.template.fits(&self.request.path) {
                continue;
            }
            if conditions.allows(self.method) {
                return Some(index);
            }
            let new = conditions.methods.iter().filter(|m| !self.allowed.contains(m)).cloned();
            let new: Vec<Method> = new.collect();
            self.allowed.extend(new);
            self.nearest.get_or_insert(index);
        }
        None
    }
}

const _: () = assert!(PARAMS_MAX <= 8, "`Captures` has room for eight");
