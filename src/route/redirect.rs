//! A route's end that sends the client elsewhere.
//!
//! What a client writes never chooses the host: parameters stand behind the host's slash, and a
//! path begins with one slash whatever a parameter begins with.

use super::scheme::UrlScheme;
use super::{Captures, Template};
use crate::denial::{Code, Denial, Reply};
use crate::problem::{Place, Problem};
use crate::request::{PATH_TOKEN_PREFIX, Request, without_port};
use crate::units::{Count, Text};
use crate::yaml::At;
use http::uri::Authority;
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where to, and how.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// A path or a URL; `{name}` stands for what the route's parameter took. The query is kept.
    /// Left out: the path that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<At<Text>>,
    /// The scheme; left out, the one that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scheme: Option<At<UrlScheme>>,
    /// The host, without its port; left out, the one that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<At<Text>>,
    /// The port; left out, the usual one of the scheme.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<At<Count>>,
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
    base: Base,
    /// `None`: the path that was asked for.
    parts: Option<Vec<Part>>,
}

/// What stands before the path.
#[derive(Debug)]
enum Base {
    /// Nothing: the same scheme and host.
    Same,
    /// It is part of what was written.
    Written,
    /// Scheme, host and port, as far as they change.
    Other(Option<UrlScheme>, Option<String>, Option<u16>),
}

#[derive(Debug)]
enum Part {
    Text(String),
    /// What the parameter of this number took.
    Param(usize),
    /// The same in a query, where a client's `&` must not begin another parameter.
    QueryParam(usize),
}

impl Redirect {
    /// Compiles it against the path of its route, whose parameters it may use.
    /// It stands at `place`.
    pub fn compile(&self, place: Place, template: &Template) -> Result<Target, Problem> {
        let status = u16::try_from(self.status.0).unwrap_or_default();
        if !STATUSES.contains(&self.status.0) {
            let text = format!("{} is not the status of a redirect", self.status.value);
            return Err(self.status.problem(text).help("write 301, 302, 303, 307 or 308"));
        }
        let status = StatusCode::from_u16(status).expect("one of the five");
        let mut base = self.base()?;
        let parts = match &self.to {
            None => None,
            Some(to) => {
                if check_target(to)? {
                    if let Base::Other(..) = base {
                        let text = "a URL has a scheme and a host of its own";
                        let help = "write a path in `to`, or the whole URL there and no `host`";
                        return Err(to.problem(text).help(help));
                    }
                    base = Base::Written;
                }
                Some(parts(to, template)?)
            }
        };
        if let (Base::Same, None) = (&base, &parts) {
            let text = "this leads to where the client is already";
            let help = "write `to: /path`, `scheme: https` or `host: …`";
            return Err(Problem::at(place, text).help(help).of_absence());
        }
        Ok(Target { status, base, parts })
    }

    fn base(&self) -> Result<Base, Problem> {
        if self.scheme.is_none() && self.host.is_none() && self.port.is_none() {
            return Ok(Base::Same);
        }
        let scheme = self.scheme.as_ref().map(|scheme| scheme.value);
        if let Some(host) = &self.host {
            let text = host.0.as_str();
            let parsed = text.parse::<Authority>().ok();
            let is_host = parsed.is_some_and(|authority| {
                authority.host() == text
                    && !text.is_empty()
                    && !text.contains(['{', '}', '@', '*', ','])
            });
            if !is_host {
                let help = "write `www.example.com`, without scheme, port and parameters";
                return Err(host.problem(format!("`{text}` is not a host")).help(help));
            }
        }
        let port = match &self.port {
            None => None,
            Some(port) => Some(u16::try_from(port.0).map_err(|_| {
                let text = format!("{} is not a port", port.value);
                port.problem(text).help("write one from 1 to 65535")
            })?),
        };
        Ok(Base::Other(scheme, self.host.as_ref().map(|host| host.0.clone()), port))
    }
}

/// Whether what is written is a URL; otherwise it is a path.
fn check_target(to: &At<Text>) -> Result<bool, Problem> {
    let text = to.0.as_str();
    // A line break would end the field, and browsers take a backslash for a slash.
    let is_url_byte = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`|".contains(&b);
    if !text.bytes().all(is_url_byte) {
        let wrong = "a character of this can't stand in a URL";
        return Err(to.problem(wrong).help("encode it: `%20` for a space, `%C3%A9` for `é`"));
    }
    if text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/\\") {
        return Ok(false);
    }
    let behind = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(behind) = behind else {
        let wrong = format!("`{text}` is neither a path nor a URL");
        return Err(to.problem(wrong).help("write `/path` or `https://host/path`"));
    };
    let host = &behind[..behind.find(['/', '?', '#']).unwrap_or(behind.len())];
    if host.contains('{') {
        let wrong = "a parameter can't be part of the host: a client would choose where to";
        let help = "write the host, and parameters behind its slash: `https://host/{name}`";
        return Err(to.problem(wrong).help(help));
    }
    if host.contains('@') {
        let wrong = "a name or a password can't stand in the URL of a redirect";
        return Err(to.problem(wrong).help("write `https://host/path`"));
    }
    match host.parse::<Authority>().is_ok_and(|it| !it.host().is_empty()) {
        true => Ok(true),
        false => {
            let wrong = format!("`{text}` has no host");
            Err(to.problem(wrong).help("write `https://host/path`"))
        }
    }
}

fn parts(to: &At<Text>, template: &Template) -> Result<Vec<Part>, Problem> {
    let mut parts = Vec::new();
    let mut is_query = false;
    let mut rest = to.0.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').unwrap_or((after, ""));
        let Some(index) = template.params().position(|param| param == name) else {
            let names: Vec<&str> = template.params().collect();
            let text = format!("the route's path has no parameter `{name}`");
            let help = match crate::problem::nearest(name, names.iter().copied()) {
                Some(meant) => format!("did you mean `{{{meant}}}`?"),
                None => format!("there is: {}", crate::problem::listed(names.into_iter())),
            };
            return Err(to.problem(text).help(help));
        };
        is_query |= before.contains('?');
        let param = if is_query { Part::QueryParam(index) } else { Part::Param(index) };
        parts.extend([Part::Text(before.to_owned()), param]);
        rest = behind;
    }
    parts.push(Part::Text(rest.to_owned()));
    let is_closed = |part: &Part| matches!(part, Part::Text(text) if text.contains('}'));
    match parts.iter().any(is_closed) {
        true => Err(to.problem("a `}` without its `{`").help("write `{name}` for a parameter")),
        false => Ok(parts),
    }
}

impl Target {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer to a request that the route took. Where it would lead here again, for ever, there
    /// is nothing here.
    pub fn reply(&self, request: &Request<'_>, captures: &Captures) -> Result<Reply, Denial> {
        let mut to = self.path(request, captures);
        if self.leads_back(request, &to) {
            let why = "the route would send the client to where it is already";
            return Err(Denial::from(Code::RouteNotFound).because(why));
        }
        // What begins below a stream's token stays below it, at its own host alone.
        let is_own_host = matches!(self.base, Base::Same | Base::Other(_, None, _));
        if let Some(token) = request.path_token.as_ref().filter(|_| is_own_host) {
            to.insert_str(0, token.text());
            to.insert_str(0, PATH_TOKEN_PREFIX);
        }
        if let Base::Other(other, host, port) = &self.base {
            let host = host.as_deref().unwrap_or(without_port(request.authority));
            let scheme = other.unwrap_or(UrlScheme::asked(request.is_https)).as_str();
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            // A client of HTTP/1.0 may name no host, and is sent to the path alone.
            if !host.is_empty() {
                to.insert_str(0, &format!("{scheme}://{host}{port}"));
            }
        }
        if let Some(query) = request.query {
            to.push(if to.contains('?') { '&' } else { '?' });
            to.push_str(query);
        }
        let mut reply = Reply::new(self.status);
        // The path was normalised and the query came through the parser: both are visible ASCII.
        let location = HeaderValue::try_from(to).expect("what is written was checked, too");
        reply.headers.push((header::LOCATION, location));
        Ok(reply)
    }

    /// Whether the request asked for what it would be sent to.
    fn leads_back(&self, request: &Request<'_>, path: &str) -> bool {
        if path != request.path {
            return false;
        }
        let Base::Other(other, host, port) = &self.base else {
            return matches!(self.base, Base::Same);
        };
        let asked = UrlScheme::asked(request.is_https);
        let scheme = other.unwrap_or(asked);
        let behind = &request.authority[without_port(request.authority).len()..];
        let asked_port = behind.trim_start_matches(':').parse().unwrap_or(asked.usual_port());
        scheme == asked
            && host.as_ref().is_none_or(|host| host.eq_ignore_ascii_case(&request.host))
            && port.unwrap_or(scheme.usual_port()) == asked_port
    }

    fn path(&self, request: &Request<'_>, captures: &Captures) -> String {
        let Some(parts) = &self.parts else { return request.path.clone().into_owned() };
        let mut to = String::new();
        for part in parts {
            match part {
                Part::Text(text) => to.push_str(text),
                Part::Param(i) => to.push_str(captures.text(*i, &request.path).unwrap_or("")),
                Part::QueryParam(i) => {
                    let text = captures.text(*i, &request.path).unwrap_or("");
                    to.push_str(&text.replace('&', "%26").replace('+', "%2B").replace(';', "%3B"));
                }
            }
        }
        // A parameter that begins with a slash must not turn a path into another host.
        if to.starts_with('/') {
            to.replace_range(..to.len() - to.trim_start_matches('/').len(), "/");
        }
        to
    }
}
