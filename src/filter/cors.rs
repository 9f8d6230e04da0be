//! The filter `cors`: whose pages may ask from another site, and read the answers.
//!
//! A browser asks first (a preflight: `OPTIONS` with the method that it announces). The answer
//! comes from here, before sessions and limits, which a preflight can't meet: it brings no
//! credentials. It takes the route of the request that it announces. Every answer then says who may
//! read it, a refusal and a redirect, too; what the upstream says of that is taken out, as two
//! answers to one question are none.

use super::{Answer, Decision, Filter, Halt, Stage, Stance};
use crate::denial::{Code, Denial, Reply};
use crate::exchange::{Exchange, Finding};
use crate::part::Parts;
use crate::problem::Problem;
use crate::request::Request;
use crate::route::AskedMethod;
use crate::units::{Origin, Text, TimeOrNone};
use crate::yaml::{At, OneOrMany};
use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Whose pages may ask, and for what.
pub(super) type Config = At<Settings>;

/// Whose pages may ask, and for what.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cors")]
pub struct Settings {
    /// Whose pages may read answers: `https://app.example`, `https://*.app.example` for every host
    /// below it, or `"*"` for any.
    origins: OneOrMany<Origin>,
    /// Whether the browser may send cookies. With `"*"` it may not.
    #[serde(default = "no")]
    #[schemars(with = "bool")]
    credentials: At<bool>,
    /// The methods that pages may use; left out, those that the route takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    methods: Option<OneOrMany<AskedMethod>>,
    /// The header fields that pages may send; left out, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    allow_headers: Option<OneOrMany<Text>>,
    /// The header fields of answers that pages may read, beside those that every page may read and
    /// those that the gateway itself sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expose_headers: Option<OneOrMany<Text>>,
    /// How long a browser may remember the answer to a preflight. `0s`: not at all.
    #[serde(default = "max_age")]
    max_age: TimeOrNone,
    /// Whether pages see how long a request took (`Timing-Allow-Origin`).
    #[serde(default)]
    timing: bool,
    /// Whether pages of the internet may ask a gateway of a private network.
    #[serde(default)]
    private_network: bool,
}

fn no() -> At<bool> {
    At::unwritten(false)
}

/// No browser remembers it for longer than a day, and some for no longer than two hours.
fn max_age() -> TimeOrNone {
    TimeOrNone(Duration::from_secs(2 * 60 * 60))
}

/// What the gateway itself tells a player in header fields.
const EXPOSED: [&str; 2] = ["Streamgate-Lease", "Retry-After"];

/// The names of the fields that a preflight may ask for, together, in bytes.
const ASKED_BYTES_MAX: usize = 2 * 1024;

const ASKED_PRIVATE: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const TIMING: HeaderName = HeaderName::from_static("timing-allow-origin");

pub(super) fn build(
    config: &Config,
    _: &Parts,
    _: Stance,
) -> Result<Box<dyn Filter>, Vec<Problem>> {
    let mut problems = Vec::new();
    let origins = config.origins.whole();
    problems.extend(check_origins(origins, &config.credentials));
    let methods: Vec<Method> =
        config.methods.iter().flat_map(|all| all.whole().iter()).map(|m| m.0.clone()).collect();
    let allowed = config.allow_headers.as_ref().map(|all| names(all, Star::Refused, &mut problems));
    let star = match config.credentials.value {
        true => Star::Refused,
        false => Star::Any,
    };
    let exposed = config.expose_headers.as_ref().map(|all| names(all, star, &mut problems));
    let exposed = EXPOSED.map(str::to_owned).into_iter().chain(exposed.unwrap_or_default());
    if !problems.is_empty() {
        return Err(problems);
    }
    let max_age = config.max_age.0.as_secs();
    Ok(Box::new(Cors {
        origins: origins.iter().map(|origin| origin.value.clone()).collect(),
        credentials: config.credentials.value,
        methods,
        allowed: allowed.map(|names| names.into_iter().map(|n| n.to_ascii_lowercase()).collect()),
        exposed: HeaderValue::try_from(exposed.collect::<Vec<String>>().join(", "))
            .expect("names of fields are visible ASCII"),
        max_age: HeaderValue::from(max_age),
        timing: config.timing,
        private_network: config.private_network,
    }))
}

fn check_origins(origins: &At<Vec<At<Origin>>>, credentials: &At<bool>) -> Option<Problem> {
    let any = origins.iter().find(|origin| origin.value == Origin::Any);
    match any {
        _ if origins.is_empty() => {
            let help = "write `origins: [\"https://app.example\"]`, or leave `cors` out";
            Some(origins.problem("no page may ask").help(help).of_absence())
        }
        Some(_) if credentials.value => {
            let text = "with `\"*\"` no browser sends or shows what belongs to a login";
            let help = "name the origins, as `https://app.example` or `https://*.app.example`";
            Some(credentials.problem(text).help(help))
        }
        Some(any) if 1 < origins.len() => {
            Some(any.problem("`\"*\"` is every origin").help("remove the others, or this one"))
        }
        _ => None,
    }
}

/// What `"*"` in a list of fields is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Star {
    /// All fields.
    Any,
    /// To a browser, a field of that name.
    Refused,
}

/// The names of a list of header fields.
fn names(all: &OneOrMany<Text>, star: Star, problems: &mut Vec<Problem>) -> Vec<String> {
    let is_name = |text: &str| HeaderName::from_bytes(text.as_bytes()).is_ok();
    let mut names = Vec::new();
    for written in all.whole().iter() {
        let text = written.0.as_str();
        match (text == "*", is_name(text)) {
            (true, _) if star == Star::Refused => {
                let wrong = "`\"*\"` is the name of one field where logins are sent along";
                let help = "leave `allow_headers` out to allow any; `expose_headers` needs names";
                problems.push(written.problem(wrong).help(help));
            }
            (_, true) => names.push(text.to_owned()),
            (_, false) => {
                let wrong = format!("`{text}` is not the name of a header field");
                problems.push(written.problem(wrong).help("use letters, digits and `-`"));
            }
        }
    }
    names
}

/// The filter, running.
struct Cors {
    origins: Vec<Origin>,
    credentials: bool,
    /// Empty: those that the route takes.
    methods: Vec<Method>,
    /// In lower case; `None`: any.
    allowed: Option<Vec<String>>,
    exposed: HeaderValue,
    max_age: HeaderValue,
    timing: bool,
    private_network: bool,
}

impl Cors {
    fn takes_any(&self) -> bool {
        self.origins == [Origin::Any]
    }

    /// The origin that may read the answer, as the answer names it.
    fn allows(&self, asked: &HeaderMap) -> Option<HeaderValue> {
        let mut origins = asked.get_all(header::ORIGIN).into_iter();
        // Two of them are nobody's: each reader could take another one.
        let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
        if self.takes_any() {
            return Some(HeaderValue::from_static("*"));
        }
        let is_covered = self.origins.iter().any(|one| one.covers(origin.as_bytes()));
        is_covered.then(|| origin.clone())
    }

    /// The answer to a preflight that announces a request with this `method`.
    fn preflight(&self, asked: &HeaderMap, method: &Method) -> Result<Reply, Denial> {
        let refused = |why: &'static str| Denial::from(Code::OriginRefused).because(why);
        if self.allows(asked).is_none() {
            return Err(refused("the page's origin is not among the `origins` of this route"));
        }
        let is_head_for_get = *method == Method::HEAD && self.methods.contains(&Method::GET);
        let is_listed = self.methods.is_empty() || self.methods.contains(method);
        if !(is_listed || is_head_for_get) || matches!(*method, Method::TRACE | Method::CONNECT) {
            return Err(refused("pages of other sites may not use this method here"));
        }
        let fields = self.fields(asked).ok_or_else(|| {
            refused("pages of other sites may not send one of these header fields here")
        })?;
        let mut reply = Reply::new(StatusCode::NO_CONTENT);
        let method = HeaderValue::from_str(method.as_str()).expect("a method is a token");
        reply.headers.push((header::ACCESS_CONTROL_ALLOW_METHODS, method));
        if let Some(fields) = fields {
            reply.headers.push((header::ACCESS_CONTROL_ALLOW_HEADERS, fields));
        }
        reply.headers.push((header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone()));
        if self.private_network && asked.contains_key(ASKED_PRIVATE) {
            reply.headers.push((ALLOW_PRIVATE, HeaderValue::from_static("true")));
        }
        let vary = "Access-Control-Request-Method, Access-Control-Request-Headers";
        reply.headers.push((header::VARY, HeaderValue::from_static(vary)));
        Ok(reply)
    }

    /// The fields that the announced request may bring: those that are asked for, if all of them
    /// may. `None`: one of them may not.
    fn fields(&self, asked: &HeaderMap) -> Option<Option<HeaderValue>> {
        let mut told = String::new();
        for line in asked.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            for name in line.to_str().ok()?.split(',').map(str::trim) {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                let is_listed = |names: &Vec<String>| names.iter().any(|one| one == name.as_str());
                if !self.allowed.as_ref().is_none_or(is_listed) {
                    return None;
                }
                if !told.is_empty() {
                    told.push_str(", ");
                }
                told.push_str(name.as_str());
            }
        }
        if ASKED_BYTES_MAX < told.len() {
            return None;
        }
        Some((!told.is_empty()).then(|| HeaderValue::try_from(told).expect("names and commas")))
    }
}

#[async_trait]
impl Filter for Cors {
    fn decide_at_once(&self, request: &Request<'_>, _: &Exchange) -> Option<Decision> {
        let Some(method) = request.announced_method() else { return Some(Ok(Finding::Nothing)) };
        Some(match self.preflight(request.headers, &method) {
            Ok(reply) => Err(Halt::Reply(reply)),
            Err(denial) => Err(denial.into()),
        })
    }

    async fn decide(&self, _: &Request<'_>, _: &Exchange) -> Decision {
        Ok(Finding::Nothing)
    }

    fn response(&self, _: &HeaderMap, head: &mut ResponseHeader, _: &Exchange) {
        let is_its =
            |name: &&HeaderName| name.as_str().starts_with("access-control-") || **name == TIMING;
        let told: Vec<HeaderName> = head.headers.keys().filter(is_its).cloned().collect();
        for name in told {
            head.remove_header(&name);
        }
    }

    fn finishes(&self) -> Option<Stage> {
        Some(Stage::Cors)
    }

    fn finish(&self, answer: &mut Answer<'_>, _: &Exchange) {
        let head = &mut *answer.head;
        // Names and values are valid, so none of these fails.
        if !self.takes_any() && !varies_by_origin(&head.headers) {
            let _ = head.append_header(header::VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = self.allows(answer.asked) else { return };
        if self.timing {
            let _ = head.insert_header(TIMING, origin.clone());
        }
        let _ = head.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            let _ = head.insert_header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        let exposed = self.exposed.clone();
        let _ = head.insert_header(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }

    fn takes_preflights(&self) -> bool {
        true
    }
}

fn varies_by_origin(fields: &HeaderMap) -> bool {
    let lines = fields.get_all(header::VARY).into_iter();
    let mut names = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    names.any(|name| {
        let name = name.trim_ascii();
        name == b"*" || name.eq_ignore_ascii_case(b"origin")
    })
}
