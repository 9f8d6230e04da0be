//! Why each route takes a request or does not: for people who ask what the gateway would do.
//!
//! It shares no code with the search in `table.rs`: each candidate is compared by itself, from its
//! host to its method. The tests compare the two.

use super::{Candidate, RouteIndex, Table};
use crate::request::Request;
use http::Method;
use std::fmt;

/// One route, and what came of it for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    /// The name of the route.
    pub route: String,
    /// The first reason why the route lost; `None`: it is the one that takes the request.
    pub lost: Option<Lost>,
}

/// Why a route does not take a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The host is another.
    Host,
    /// The path is another.
    Path,
    /// A part of the path has another form.
    Shape,
    /// It was asked by another scheme.
    Scheme,
    /// The path ends with another extension.
    Extension,
    /// A header field is missing or has another value.
    Header(String),
    /// A query parameter is missing or has another value.
    Query(String),
    /// The method is another.
    Method,
    /// It matches, and so does a more specific route.
    LessSpecific,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Host => f.write_str("the host differs"),
            Lost::Path => f.write_str("the path differs"),
            Lost::Shape => f.write_str("a part of the path has another form"),
            Lost::Scheme => f.write_str("the scheme differs"),
            Lost::Extension => f.write_str("the extension differs"),
            Lost::Header(name) => write!(f, "the header field `{name}` differs"),
            Lost::Query(name) => write!(f, "the query parameter `{name}` differs"),
            Lost::Method => f.write_str("the method differs"),
            Lost::LessSpecific => f.write_str("another route is more specific"),
        }
    }
}

impl<R> Table<R> {
    /// Every route, the more specific first, with the reason why it lost, if the method were this
    /// one.
    pub fn considered(&self, request: &Request<'_>, method: &Method) -> Vec<Considered> {
        let taken = self.find_for(request, method).ok().map(|found| found.index);
        let mut all: Vec<(RouteIndex, &Candidate)> = self.indexed().collect();
        all.sort_by(|(_, a), (_, b)| a.cmp_precedence(b));
        let consider = |(index, candidate): (RouteIndex, &Candidate)| {
            let lost = match lost(candidate, request, method) {
                None if taken == Some(index) => None,
                None => Some(Lost::LessSpecific),
                lost => lost,
            };
            assert!(lost.is_none() == (taken == Some(index)), "the search takes what matches");
            Considered { route: candidate.name.clone(), lost }
        };
        all.into_iter().map(consider).collect()
    }
}

/// The first thing in which the request differs from what the route wants.
fn lost(candidate: &Candidate, request: &Request<'_>, method: &Method) -> Option<Lost> {
    let hosts = &candidate.hosts;
    if !hosts.is_empty() && !hosts.iter().any(|host| host.serves(&request.host)) {
        return Some(Lost::Host);
    }
    if !candidate.template.matches(&request.path) {
        return Some(Lost::Path);
    }
    if !candidate.template.fits(&request.path) {
        return Some(Lost::Shape);
    }
    let conditions = &candidate.conditions;
    if !conditions.is_asked_by(request) {
        return Some(Lost::Scheme);
    }
    if !conditions.ends(&request.path) {
        return Some(Lost::Extension);
    }
    let header =
        conditions.headers.iter().find(|(name, wanted)| !wanted.holds(request.header(name)));
    if let Some((name, _)) = header {
        return Some(Lost::Header(name.to_string()));
    }
    let query =
        conditions.query.iter().find(|(name, wanted)| !wanted.holds(request.query_value(name)));
    if let Some((name, _)) = query {
        return Some(Lost::Query(name.clone()));
    }
    (!conditions.allows(method)).then_some(Lost::Method)
}
