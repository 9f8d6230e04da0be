//! A route's end that sends the client elsewhere.

use super::{Captures, Template};
use crate::denial::Reply;
use crate::problem::Problem;
use crate::request::{PATH_TOKEN_PREFIX, Request};
use crate::units::{Count, Text};
use crate::yaml::At;
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where to, and how.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// A path or a URL; `{name}` stands for what the route's parameter took. The query is kept.
    to: At<Text>,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "status")]
    status: At<Count>,
}

fn status() -> At<Count> {
    At::unwritten(Count(308))
}

const STATUSES: [u32; 5] = [301, 302, 303, 307, 308];

/// A redirect, compiled against its route's path.
#[derive(Debug)]
pub struct Target {
    status: StatusCode,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    /// What the parameter of this number took.
    Param(usize),
}

impl Redirect {
    /// Compiles it against the path of its route, whose parameters it may use.
    pub fn compile(&self, template: &Template) -> Result<Target, Problem> {
        let status = u16::try_from(self.status.0).unwrap_or_default();
        if !STATUSES.contains(&self.status.0) {
            let text = format!("{} is not the status of a redirect", self.status.value);
            return Err(self.status.problem(text).help("write 301, 302, 303, 307 or 308"));
        }
        let text = self.to.0.as_str();
        let is_path = text.starts_with('/') && !text.starts_with("//");
        if !is_path && !text.starts_with("https://") && !text.starts_with("http://") {
            let wrong = format!("`{text}` is neither a path nor a URL");
            return Err(self.to.problem(wrong).help("write `/path` or `https://host/path`"));
        }
        let status = StatusCode::from_u16(status).expect("one of the five");
        Ok(Target { status, parts: self.parts(template)? })
    }

    fn parts(&self, template: &Template) -> Result<Vec<Part>, Problem> {
        let mut parts = Vec::new();
        let mut rest = self.to.0.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').unwrap_or((after, ""));
            let Some(index) = template.params().position(|param| param == name) else {
                let names: Vec<&str> = template.params().collect();
                let text = format!("the route's path has no parameter `{name}`");
                let help = match crate::problem::nearest(name, names.iter().copied()) {
                    Some(meant) => format!("did you mean `{{{meant}}}`?"),
                    None => format!("there is: {}", crate::problem::listed(names.into_iter())),
                };
                return Err(self.to.problem(text).help(help));
            };
            parts.extend([Part::Text(before.to_owned()), Part::Param(index)]);
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(parts)
    }
}

impl Target {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer to a request that the route took.
    pub fn reply(&self, request: &Request<'_>, captures: &Captures) -> Reply {
        let mut to = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => to.push_str(text),
                Part::Param(i) => to.push_str(captures.text(*i, &request.path).unwrap_or("")),
            }
        }
        // A parameter that begins with a slash must not turn a path into another host.
        if to.starts_with('/') {
            to.replace_range(..to.len() - to.trim_start_matches('/').len(), "/");
        }
        // What begins below a stream's token stays below it.
        if let Some(token) = request.path_token.as_ref().filter(|_| to.starts_with('/')) {
            to.insert_str(0, token.text());
            to.insert_str(0, PATH_TOKEN_PREFIX);
        }
        if let Some(query) = request.query {
            to.push(if to.contains('?') { '&' } else { '?' });
            to.push_str(query);
        }
        let mut reply = Reply::new(self.status);
        // The path was normalised and the query came through the parser: both are visible ASCII.
        if let Ok(location) = HeaderValue::try_from(to) {
            reply.headers.push((header::LOCATION, location));
        }
        reply
    }
}
