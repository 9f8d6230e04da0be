//! Routes as people read them: for `streamgate routes` and the admin port alike.

use super::{Gateway, Route};
use crate::problem::Sources;
use crate::route::Candidate;
use serde_json::{Value, json};

/// One route in words.
#[derive(Debug)]
pub struct RouteSummary {
    name: String,
    file: String,
    line: u32,
    hosts: Vec<String>,
    path: String,
    conditions: Vec<String>,
    filters: Vec<&'static str>,
    leads_to: String,
}

impl Gateway {
    /// Every route, the more specific first, as requests meet them.
    pub fn route_summaries(&self) -> Vec<RouteSummary> {
        let mut all: Vec<_> = self.table.iter().collect();
        all.sort_by(|(a, _), (b, _)| a.cmp_precedence(b));
        let all = all.into_iter();
        all.map(|(candidate, route)| RouteSummary::new(&self.sources, candidate, route)).collect()
    }
}

impl RouteSummary {
    fn new(sources: &Sources, candidate: &Candidate, route: &Route) -> Self {
        let (source, place) = sources.at(candidate.place);
        RouteSummary {
            name: candidate.name.clone(),
            file: source.file.clone(),
            line: place.line,
            hosts: candidate.hosts.iter().map(ToString::to_string).collect(),
            path: candidate.path.clone(),
            conditions: candidate.conditions.describe(),
            filters: route.chain.names().collect(),
            leads_to: route.end.describe(),
        }
    }

    /// As the admin port shows it.
    pub fn as_json(&self) -> Value {
        json!({
            "name": self.name,
            "file": self.file,
            "line": self.line,
            "hosts": self.hosts,
            "path": self.path,
            "conditions": self.conditions,
            "filters": self.filters,
            "leads_to": self.leads_to,
        })
    }

    /// A row of a table.
    pub fn as_markdown(&self) -> String {
        let any = |list: &[String]| if list.is_empty() { "any".into() } else { list.join(", ") };
        format!(
            "| {} | {} | {} | `{}` | {} | {} | {} |\n",
            self.name,
            self.line,
            any(&self.hosts),
            self.path,
            any(&self.conditions),
            self.filters.join(", "),
            self.leads_to
        )
    }
}
