//! What a route's upstream is asked for in place of what the client asked for: `strip`, `prefix`,
//! `path`, `host` and `query`.
//!
//! A path stays in the form that every path has here ([`normalise`]), by construction: what is cut
//! off are whole segments that the route's own path begins with, what is put in their place was
//! checked when the file was read, and parameters are whole segments, too. So no captured part can
//! become a `..`, a second slash or another host.

use super::template::Segment;
use super::{Captures, Misfit, Template};
use crate::problem::{Problem, listed, nearest};
use crate::request::{Request, normalise};
use crate::units::{FieldText, Text};
use crate::yaml::{At, Entries, OneOrMany};
use http::HeaderValue;
use http::uri::Authority;
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What the upstream is asked for. Of `strip`, `prefix` and `path` there is one.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// The beginning of the path, which is left out: `/live`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    strip: Option<At<Text>>,
    /// The beginning of the path, and what takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<At<Prefix>>,
    /// The whole path; `{name}` and `{*name}` stand for what the route's parameters took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<At<Text>>,
    /// The host that the upstream is asked for, with its port if need be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<At<FieldText>>,
    /// What becomes of the query's parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<At<QueryEdits>>,
}

/// The beginning of a path, and what takes its place.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RewritePrefix")]
struct Prefix {
    /// What the path begins with: `/live`.
    from: At<Text>,
    /// What it begins with then: `/v2/live`, or `/`.
    to: At<Text>,
}

/// What becomes of the query's parameters; names and values as they are sent.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RewriteQuery")]
struct QueryEdits {
    /// Parameters with their one value.
    #[serde(default)]
    set: Entries<At<Text>>,
    /// Parameters that do not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remove: Option<OneOrMany<Text>>,
}

/// A rewrite, compiled against the path of its route.
#[derive(Debug)]
pub struct Rewriting {
    path: PathChange,
    query: QueryChange,
    /// The host that the upstream is asked for.
    pub host: Option<HeaderValue>,
}

#[derive(Debug)]
enum PathChange {
    None,
    /// So many bytes are left out, and this is put before the rest; empty for nothing.
    Prefix(usize, String),
    Whole(Vec<Step>),
}

/// A segment of a path.
#[derive(Debug)]
enum Step {
    Text(String),
    /// What the parameter of this number took: one segment.
    Param(usize),
    /// All the rest, be it nothing.
    Rest(usize),
    /// What stands behind the rest.
    End(String),
}

#[derive(Debug, Default)]
struct QueryChange {
    without: Vec<String>,
    with: String,
}

impl Rewrite {
    /// Compiles it for a route whose path is `template`; all problems of it.
    pub fn compile(&self, template: &Template) -> Result<Rewriting, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut keep = |problem: Problem| problems.push(problem);
        let path = self.path_change(template, &mut keep);
        let host = self.host.as_ref().and_then(|host| checked_host(host).map_err(&mut keep).ok());
        let query = self.query.as_ref().map(|query| query.compile(&mut keep)).unwrap_or_default();
        match problems.is_empty() {
            true => Ok(Rewriting { path, query, host }),
            false => Err(problems),
        }
    }

    /// Whether anything is rewritten at all.
    pub fn is_empty(&self) -> bool {
        let has_path = self.strip.is_some() || self.prefix.is_some() || self.path.is_some();
        !has_path && self.host.is_none() && self.query.is_none()
    }

    fn path_change(&self, template: &Template, keep: &mut impl FnMut(Problem)) -> PathChange {
        let ways = [
            self.strip.as_ref().map(|at| ("`strip`", at.place)),
            self.prefix.as_ref().map(|at| ("`prefix`", at.place)),
            self.path.as_ref().map(|at| ("`path`", at.place)),
        ];
        let ways: Vec<_> = ways.into_iter().flatten().collect();
        if let [_, (second, place), ..] = ways.as_slice() {
            let text = format!("{second} stands beside another way to change the path");
            keep(Problem::at(*place, text).help("write one of `strip`, `prefix` and `path`"));
            return PathChange::None;
        }
        let change = match (&self.strip, &self.prefix, &self.path) {
            (Some(strip), _, _) => {
                beginning(strip, template).map(|len| PathChange::Prefix(len, String::new()))
            }
            (_, Some(prefix), _) => beginning(&prefix.from, template).and_then(|len| {
                let to = fixed(&prefix.to)?;
                Ok(PathChange::Prefix(len, if to == "/" { String::new() } else { to }))
            }),
            (_, _, Some(path)) => whole(path, template).map(PathChange::Whole),
            (None, None, None) => Ok(PathChange::None),
        };
        change.unwrap_or_else(|problem| {
            keep(problem);
            PathChange::None
        })
    }
}

/// A path without parameters, in the one form that paths have here.
fn fixed(written: &At<Text>) -> Result<String, Problem> {
    let text = written.0.as_str();
    if text.contains(['{', '}']) {
        let wrong = "parameters stand in `path` alone";
        return Err(written.problem(wrong).help("write `path: \"/a/{name}/{*rest}\"` instead"));
    }
    let told = |Misfit { text, help }| written.problem(text).help(help);
    Template::parse(text).map_err(told)?;
    match text.strip_suffix('/').filter(|bare| !bare.is_empty()) {
        Some(bare) => {
            let help = format!("write `{bare}`: whole segments are meant");
            Err(written.problem("the slash at the end is part of the rest").help(help))
        }
        None => Ok(text.to_owned()),
    }
}

/// How long the beginning `written` is, which every path of the route has.
fn beginning(written: &At<Text>, template: &Template) -> Result<usize, Problem> {
    let text = fixed(written)?;
    if text == "/" {
        return Err(written.problem("`/` is no beginning to leave out").help("write `/live`"));
    }
    let mut segments = template.segments.iter();
    let is_there = text[1..].split('/').all(|part| {
        segments.next().is_some_and(|own| matches!(own, Segment::Exact(exact) if exact == part))
    });
    match is_there {
        true => Ok(text.len()),
        false => {
            let wrong = format!("the route takes paths that do not begin with `{text}`");
            let help = "write what the route's own `path` begins with, without parameters";
            Err(written.problem(wrong).help(help))
        }
    }
}

/// The segments of the whole path.
fn whole(written: &At<Text>, template: &Template) -> Result<Vec<Step>, Problem> {
    let told = |Misfit { text, help }| written.problem(text).help(help);
    let parsed = Template::parse(&written.0).map_err(told)?;
    if parsed.shape.has_patterns() {
        let text = "what a parameter must look like stands in the route's own path";
        return Err(written.problem(text).help("write `{name}` alone here"));
    }
    let end = Some(parsed.shape.suffix()).filter(|end| !end.is_empty());
    let names = || template.params();
    let number = |name: &str, is_rest: bool| {
        let own = template.segments.iter().find_map(|segment| match segment {
            Segment::Param(own) if own == name => Some(false),
            Segment::CatchAll(own) if own == name => Some(true),
            _ => None,
        });
        match own {
            Some(kind) if kind == is_rest => {
                Ok(names().position(|other| other == name).expect("it was just found"))
            }
            Some(kind) => {
                let is = if kind { "the rest" } else { "one segment" };
                let right = if kind { format!("{{*{name}}}") } else { format!("{{{name}}}") };
                let wrong = format!("the parameter `{name}` takes {is}");
                Err(written.problem(wrong).help(format!("write `{right}`")))
            }
            None => {
                let wrong = format!("the route's path has no parameter `{name}`");
                let help = match nearest(name, names()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("there is: {}", listed(names())),
                };
                Err(written.problem(wrong).help(help))
            }
        }
    };
    let steps = parsed.segments.iter().map(|segment| match segment {
        Segment::Exact(text) => Ok(Step::Text(text.clone())),
        Segment::Param(name) => number(name, false).map(Step::Param),
        Segment::CatchAll(name) => number(name, true).map(Step::Rest),
    });
    steps.chain(end.map(|end| Ok(Step::End(end.to_owned())))).collect()
}

fn checked_host(host: &At<FieldText>) -> Result<HeaderValue, Problem> {
    let value = host.value.value();
    let text = value.to_str().unwrap_or_default();
    let is_plain = text.bytes().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
    });
    let parsed = text.parse::<Authority>().ok();
    let parsed = parsed.filter(|it| is_plain && !it.host().is_empty() && !text.ends_with(':'));
    match parsed {
        Some(_) => Ok(value.clone()),
        None => {
            let help = "write `origin.example` or `origin.example:8080`, without scheme and path";
            Err(host.problem("this is not a host").help(help))
        }
    }
}

impl QueryEdits {
    fn compile(&self, keep: &mut impl FnMut(Problem)) -> QueryChange {
        let is_sent = |text: &str, not: &[char]| {
            text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains(not)
        };
        let mut change = QueryChange::default();
        let mut name = |text: &str, problem: &dyn Fn(String) -> Problem| {
            if text.is_empty() || !is_sent(text, &['#', '&', '=', '"', '<', '>']) {
                keep(problem(format!("`{text}` can't be the name of a query's parameter")));
            } else if change.without.iter().any(|known| decoded(known) == decoded(text)) {
                keep(problem(format!("the parameter `{text}` stands here twice")));
            } else {
                change.without.push(text.to_owned());
            }
        };
        let help = "write each once, as it is sent: `%20` for a space, `%26` for `&`";
        for removed in self.remove.iter().flat_map(|all| all.whole().iter()) {
            name(&removed.0, &|text| removed.problem(text).help(help));
        }
        for (set, _) in self.set.iter() {
            name(&set.value, &|text| set.problem(text).help(help));
        }
        for (set, value) in self.set.iter() {
            // The value is not repeated: it may come from a variable.
            if !is_sent(&value.0, &['#', '&', '"', '<', '>']) {
                let text = format!("this value of `{}` can't stand in a query", set.value);
                keep(value.problem(text).help(help));
            }
            if !change.with.is_empty() {
                change.with.push('&');
            }
            change.with.push_str(&format!("{}={}", set.value, value.0));
        }
        change
    }
}

/// The name of a parameter as servers read it.
fn decoded(name: &str) -> Cow<'_, [u8]> {
    match name.contains('+') {
        true => Cow::Owned(percent_decode_str(&name.replace('+', " ")).collect()),
        false => percent_decode_str(name).into(),
    }
}

impl QueryChange {
    fn apply(&self, query: Option<&str>) -> String {
        let mut kept = String::new();
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        // The upstream decodes names, so `%76` is `v` here, too.
        let passes = |pair: &&str| {
            let name = decoded(pair.split('=').next().unwrap_or(pair));
            !self.without.iter().any(|known| decoded(known) == name)
        };
        for pair in pairs.filter(passes).chain(Some(self.with.as_str())) {
            if !kept.is_empty() && !pair.is_empty() {
                kept.push('&');
            }
            kept.push_str(pair);
        }
        kept
    }

    fn is_empty(&self) -> bool {
        self.without.is_empty() && self.with.is_empty()
    }
}

impl Rewriting {
    /// The target that the upstream gets for a request that the route took; `None`: its own.
    pub fn target(&self, request: &Request<'_>, captures: &Captures) -> Option<String> {
        let path = request.path.as_ref();
        let mut target = match &self.path {
            PathChange::None if self.query.is_empty() => return None,
            PathChange::None => path.to_owned(),
            PathChange::Prefix(len, to) => {
                let rest = path.get(*len..).unwrap_or_default();
                if to.is_empty() && rest.is_empty() {
                    "/".to_owned()
                } else {
                    format!("{to}{rest}")
                }
            }
            PathChange::Whole(steps) => joined(steps, path, captures),
        };
        assert!(
            request.has_encoded_slash || normalise(&target).is_ok_and(|normal| normal == target),
            "a rewritten path is in the form that every path has"
        );
        let query = match self.query.is_empty() {
            true => request.query.map(str::to_owned),
            false => Some(self.query.apply(request.query)).filter(|query| !query.is_empty()),
        };
        if let Some(query) = query {
            target.push('?');
            target.push_str(&query);
        }
        Some(target)
    }
}

fn joined(steps: &[Step], path: &str, captures: &Captures) -> String {
    let mut target = String::new();
    for step in steps {
        let text = match step {
            Step::Text(text) => text,
            Step::End(text) => {
                target.push_str(text);
                continue;
            }
            Step::Param(number) | Step::Rest(number) => {
                captures.text(*number, path).unwrap_or_default()
            }
        };
        // A rest that is nothing has a slash before it where the client wrote one.
        let is_nothing = matches!(step, Step::Rest(_)) && text.is_empty();
        if !is_nothing || path.ends_with('/') {
            target.push('/');
        }
        target.push_str(text);
    }
    if target.is_empty() { "/".to_owned() } else { target }
}

#[cfg(test)]
mod tests;
