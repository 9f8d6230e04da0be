//! An endpoint as the file has it: `name:8080`, with a weight and a priority or without.

use crate::problem::Problem;
use crate::resolve::Target;
use crate::units::{Count, Text};
use crate::yaml::{At, Scalar};
use std::sync::Arc;

/// One entry of `endpoints`.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) target: Target,
    pub(super) weight: u32,
    pub(super) priority: u32,
    /// The target as text.
    pub(super) name: Arc<str>,
}

impl Written {
    pub(super) fn parse(written: &At<Text>) -> Result<Self, Problem> {
        let (target, words) = options(&written.0);
        let [weight, priority] = [("weight", 3), ("priority", 2)].map(|(name, example)| {
            let named = words.iter().filter(|(word, _)| *word == name);
            let values: Vec<&str> = named.map(|(_, value)| *value).collect();
            let value = match values[..] {
                [] => Ok(Count(1)),
                [value] => Count::read(value),
                _ => Err(String::new()),
            };
            value.map_err(|_| {
                let help = format!("write a whole number from 1 on: `{target} {name}={example}`");
                written.problem(format!("`{}` has no valid {name}", written.0)).help(help)
            })
        });
        let (weight, priority) = (weight?, priority?);
        if let Some((scheme, rest)) = target.split_once("://") {
            return Err(url(written, scheme, rest));
        }
        let parsed = Target::parse(target).map_err(|why| {
            let help = match target {
                words if words.contains(' ') => {
                    "a weight is written `… weight=3`, a priority `… priority=2`".to_owned()
                }
                _ => why,
            };
            written.problem(format!("`{target}` is not an endpoint")).help(help)
        })?;
        let name = parsed.to_string().into();
        Ok(Written { target: parsed, weight: weight.0, priority: priority.0, name })
    }
}

impl Written {
    /// What runs but is hardly meant: a name of one word without a port.
    pub(super) fn warning(written: &At<Text>) -> Option<Problem> {
        let Target::Service(name) = Written::parse(written).ok()?.target else { return None };
        let name = name.as_str();
        if name.starts_with('_') || name.contains('.') {
            return None;
        }
        let text =
            format!("`{name}` has no port, so the SRV records of `_http._tcp.{name}` tell it");
        let help = format!("write `{name}:8080` if it is a host, else `_http._tcp.{name}`");
        Some(written.problem(text).help(help).warning())
    }
}

/// The target, and what is said of it behind: `weight=3`. Words that nobody knows stay with the
/// target, which then is none.
fn options(written: &str) -> (&str, Vec<(&str, &str)>) {
    let (mut target, mut words) = (written, Vec::new());
    while let Some((before, word)) = target.rsplit_once(' ')
        && let Some((name @ ("weight" | "priority"), value)) = word.split_once('=')
    {
        words.push((name, value));
        target = before;
    }
    (target, words)
}

/// Somebody wrote a URL: an endpoint is a server, and its protocol is the upstream's.
fn url(written: &At<Text>, scheme: &str, rest: &str) -> Problem {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let has_port = authority.rsplit(']').next().is_some_and(|end| end.contains(':'));
    let (text, help) = match scheme {
        "https" | "h2" | "wss" => (
            format!("`{}` is a URL, and an endpoint is a server", written.0),
            format!(
                "write `{}`, and beside `endpoints` who it has to be: `tls: {{ name: … }}`; \
                 without that, plain HTTP is sent",
                with_port(authority, has_port, "443")
            ),
        ),
        "http" | "ws" if authority.len() < rest.len() && !rest.ends_with(authority) => (
            format!("`{}` is a URL, and an endpoint is a server", written.0),
            format!("leave out scheme and path: `{}`", with_port(authority, has_port, "80")),
        ),
        _ => (
            format!("`{}` is a URL, and an endpoint is a server", written.0),
            format!("leave out the scheme: `{}`", with_port(authority, has_port, "80")),
        ),
    };
    written.problem(text).help(help)
}

fn with_port(authority: &str, has_port: bool, port: &str) -> String {
    match has_port {
        true => authority.to_owned(),
        false => format!("{authority}:{port}"),
    }
}
