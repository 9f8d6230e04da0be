//! Routes: which request goes where. Their YAML, their precedence, their conflicts.
//!
//! What happens on a route, the chain of filters and its end, is put together by `gateway`.

mod condition;
mod considered;
mod encoded_slash;
mod method;
mod misfit;
mod pattern;
mod redirect;
mod respond;
mod rewrite;
mod extension;
mod scheme;
mod table;
mod hidden;
mod shape;
mod template;
mod value;

pub use condition::{Conditions, Wanted};
pub use considered::{Considered, Lost};
pub use encoded_slash::EncodedSlash;
pub use hidden::hidden;
pub use method::AskedMethod;
pub use misfit::Misfit;
pub use redirect::{Redirect, Target};
pub use respond::Respond;
pub use rewrite::{Rewrite, Rewriting};
pub use scheme::UrlScheme;
pub use shape::Shape;
pub use table::{Found, Miss, RouteIndex, Table};
pub use template::{Host, PARAMS_MAX, Template};

use crate::problem::{Place, Problem};
use crate::units::Text;
use crate::yaml::{At, Entries, OneOrMany};
use extension::Extension;
use http::{HeaderName, Method};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use value::{FieldValue, QueryValue};

/// Which requests a route takes. All that is written must hold.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// `tv.example.com`, or `*.example.com` for every host below it; one or a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<OneOrMany<Text>>,
    /// `/live/{event}/{*file}`: `{name}` takes one segment, `{*name}` all the rest, be it nothing.
    #[schemars(extend("pattern" = r"^/[^ ?#\\^<>|]*$|\$\{"))]
    path: At<Text>,
    /// One method or a list. `GET` includes `HEAD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<OneOrMany<AskedMethod>>,
    /// The scheme of the URL that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scheme: Option<At<UrlScheme>>,
    /// What the path must end with behind its last dot: `ts`; one or a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extension: Option<OneOrMany<Extension>>,
    /// Header fields with the value they must have; `"*"`: any value.
    #[serde(default)]
    header: Entries<At<FieldValue>>,
    /// Query parameters with the value they must have; `"*"`: any value.
    #[serde(default)]
    query: Entries<At<QueryValue>>,
}

/// A route's `match`, compiled: what the table files it under.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The name of the route.
    pub name: String,
    /// Where its path was written, to be named in conflicts.
    pub place: Place,
    /// Empty: any host.
    pub hosts: Vec<Host>,
    /// The path, compiled.
    pub template: Template,
    /// The path as it was written.
    pub path: String,
    /// Method, header and query.
    pub conditions: Conditions,
}

impl Candidate {
    /// More specific first, as requests meet them: host, then path, then conditions.
    pub fn cmp_precedence(&self, other: &Candidate) -> Ordering {
        let host = |candidate: &Candidate| match candidate.hosts.first() {
            Some(Host::Exact(_)) => 0,
            Some(Host::Below(_)) => 1,
            None => 2,
        };
        let (ours, theirs) = (self.conditions.count(), other.conditions.count());
        host(self)
            .cmp(&host(other))
            .then_with(|| self.hosts.cmp(&other.hosts))
            .then_with(|| self.template.cmp_shape(&other.template))
            .then_with(|| theirs.cmp(&ours))
    }
}

/// Methods that the edge refuses before any route is asked.
const NEVER_PROXIED: [Method; 2] = [Method::CONNECT, Method::TRACE];

impl Match {
    /// The path as it was written.
    pub fn path(&self) -> &At<Text> {
        &self.path
    }

    /// Compiles it for the route `name`; returns all problems.
    pub fn compile(&self, name: &str) -> Result<Candidate, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut keep = |problem: Problem| problems.push(problem);
        let hosts = self.hosts(&mut keep);
        let methods = self.methods(&mut keep);
        let extensions = self.extensions(&mut keep);
        let headers = self.headers(&mut keep);
        let query = self.query(&mut keep);
        let template = Template::parse(&self.path.0);
        let template = template.map_err(|wrong| keep(misfit(&self.path, wrong))).ok();
        match template {
            Some(template) if problems.is_empty() => Ok(Candidate {
                name: name.to_owned(),
                place: self.path.place,
                hosts,
                conditions: Conditions {
                    shape: template.shape.clone(),
                    methods,
                    scheme: self.scheme.as_ref().map(|scheme| scheme.value),
                    extensions,
                    headers,
                    query,
                },
                template,
                path: self.path.0.clone(),
            }),
            _ => Err(problems),
        }
    }

    /// What may be meant so, and seldom is.
    pub fn warnings(&self) -> Option<Problem> {
        let (text, help) = pattern::doubtful(&self.path.0)?;
        Some(self.path.problem(text).help(help).warning())
    }

    fn hosts(&self, keep: &mut impl FnMut(Problem)) -> Vec<Host> {
        let mut hosts = Vec::new();
        for text in listed("host", self.host.as_ref(), keep) {
            match Host::parse(&text.0) {
                Ok(host) if hosts.contains(&host) => keep(twice(text, "host", &host.to_string())),
                Ok(host) => hosts.push(host),
                Err(wrong) => keep(misfit(text, wrong)),
            }
        }
        hosts
    }

    fn methods(&self, keep: &mut impl FnMut(Problem)) -> Vec<Method> {
        let mut methods = Vec::new();
        for asked in listed("method", self.method.as_ref(), keep) {
            let method = &asked.0;
            if NEVER_PROXIED.contains(method) {
                let text = format!("`{method}` is refused at the edge: this never matches");
                keep(asked.problem(text).help("remove it"));
            } else if methods.contains(method) {
                keep(twice(asked, "method", method.as_str()));
            } else {
                methods.push(method.clone());
            }
        }
        methods
    }

    fn extensions(&self, keep: &mut impl FnMut(Problem)) -> Vec<String> {
        let mut extensions: Vec<String> = Vec::new();
        for written in listed("extension", self.extension.as_ref(), keep) {
            let text = written.as_str();
            match extensions.iter().any(|known| known == text) {
                true => keep(twice(written, "extension", text)),
                false => extensions.push(text.to_owned()),
            }
        }
        extensions
    }

    fn headers(&self, keep: &mut impl FnMut(Problem)) -> Vec<(HeaderName, Wanted)> {
        let mut headers: Vec<(HeaderName, Wanted)> = Vec::new();
        for (name, value) in self.header.iter() {
            match HeaderName::from_bytes(name.as_bytes()) {
                Ok(field) if headers.iter().any(|(other, _)| *other == field) => {
                    keep(twice(name, "header field", field.as_str()));
                }
                Ok(field) if field.as_str().contains('_') => keep(
                    name.problem(
                        "fields with `_` in their name are dropped or refused at the edge",
                    )
                    .help(format!("write `{}`", name.replace('_', "-"))),
                ),
                Ok(field) => headers.push((field, Wanted::parse(&value.0, true))),
                Err(_) => keep(
                    name.problem(format!("`{}` is not the name of a header field", name.value))
                        .help("use letters, digits and `-`"),
                ),
            }
        }
        headers
    }

    fn query(&self, keep: &mut impl FnMut(Problem)) -> Vec<(String, Wanted)> {
        // Queries are compared as they are sent, so a text that can't be sent is never met.
        let is_sent = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        let pairs = self.query.iter().filter_map(|(name, value)| {
            let wrong = match (is_sent(name), is_sent(&value.text)) {
                (true, true) => {
                    let wanted = Wanted::parse(&value.text, value.is_secret);
                    return Some((name.value.clone(), wanted));
                }
                (false, _) => name.problem(format!("`{}` can't stand in a query", name.value)),
                // The value is not repeated: it may come from a variable.
                (true, false) => {
                    value.problem(format!("this value of `{}` can't stand in a query", name.value))
                }
            };
            keep(wrong.help("write it as it is sent: `%20` for a space"));
            None
        });
        pairs.collect()
    }
}

/// What was written under `key`. A list without items would take nothing.
fn listed<'m, T>(
    key: &str,
    written: Option<&'m OneOrMany<T>>,
    keep: &mut impl FnMut(Problem),
) -> &'m [At<T>] {
    if let Some(empty) = written.map(OneOrMany::whole).filter(|list| list.is_empty()) {
        let text = format!("an empty `{key}` takes no request at all");
        let help = format!("leave `{key}` out to take any");
        keep(empty.problem(text).help(help).of_absence());
    }
    written.map_or(&[], |written| written.whole())
}

fn misfit(text: &At<Text>, wrong: Misfit) -> Problem {
    text.problem(wrong.text).help(wrong.help)
}

fn twice<T>(at: &At<T>, what: &str, name: &str) -> Problem {
    at.problem(format!("the {what} `{name}` stands here twice")).help("remove one of the two")
}

/// Every pair of routes between which no rule decides.
pub fn conflicts(candidates: &[Candidate]) -> Vec<Problem> {
    let mut sorted: Vec<&Candidate> = candidates.iter().collect();
    sorted.sort_by(|a, b| a.template.cmp_shape(&b.template).then(a.place.cmp(&b.place)));
    let groups = sorted.chunk_by(|a, b| a.template.is_same_shape(&b.template));
    let pairs = groups.flat_map(|group| {
        group.iter().enumerate().flat_map(|(i, first)| {
            group[i + 1..].iter().filter_map(|second| conflict(first, second))
        })
    });
    pairs.collect()
}

fn conflict(first: &Candidate, second: &Candidate) -> Option<Problem> {
    let share_host = match (first.hosts.is_empty(), second.hosts.is_empty()) {
        (true, true) => true,
        (false, false) => first.hosts.iter().any(|host| second.hosts.contains(host)),
        _ => false,
    };
    let is_tie = share_host
        && first.conditions.count() == second.conditions.count()
        && !first.conditions.exclude(&second.conditions);
    is_tie.then(|| {
        let text = format!(
            "route `{}` takes the same requests as route `{}` on line {}, and nothing decides \
             between them",
            second.name,
            first.name,
            first.place.line_in_words()
        );
        Problem::at(second.place, text)
            .help("give one of them another path, host, or one more condition")
            .of_absence()
    })
}

/// The parts of a path that a template's parameters took, as byte ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    ranges: [(u32, u32); 8],
    count: u8,
}

impl Captures {
    fn push(&mut self, start: usize, end: usize) {
        let at = usize::from(self.count);
        self.ranges[at] = (start as u32, end as u32);
        self.count += 1;
    }

    fn pop(&mut self) {
        self.count -= 1;
    }

    /// The text of the last parameter.
    pub fn last<'p>(&self, path: &'p str) -> Option<&'p str> {
        self.text(usize::from(self.count).checked_sub(1)?, path)
    }

    /// The text of parameter number `index` in `path`, the one that was matched.
    pub fn text<'p>(&self, index: usize, path: &'p str) -> Option<&'p str> {
        let (start, end) = *self.ranges[..usize::from(self.count)].get(index)?;
        path.get(start as usize..end as usize)
    }
}

#[cfg(test)]
mod tests;
