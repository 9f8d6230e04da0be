//! The filter `headers`: header fields that an operator sets, adds and removes.
//!
//! It decides nothing and refuses nobody. A request is edited on its way to the upstream; an answer
//! whoever gives it: a refusal and a redirect carry the same fields, as pages rely on them there,
//! too. Names and values were read by the rules of fields, so none can become two.

use super::{Answer, Decision, Filter, Sessions, Stage, Stance};
use crate::exchange::{Exchange, Finding};
use crate::part::Parts;
use crate::problem::Problem;
use crate::request::Request;
use crate::request::written_field::{self, Place};
use crate::units::{FieldText, Text};
use crate::yaml::{At, Entries, OneOrMany};
use async_trait::async_trait;
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora::http::ResponseHeader;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which fields, in which messages.
pub(super) type Config = At<Settings>;

/// Which fields, in which messages.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Headers")]
pub struct Settings {
    /// Fields of the request that the upstream gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<At<Edits>>,
    /// Fields of every answer, refusals and redirects too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<At<Edits>>,
    /// Fields of answers that belong together.
    #[serde(default)]
    presets: Vec<At<Preset>>,
}

/// What is done to the fields: first `remove`, then `set`, then `add`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "HeaderEdits")]
struct Edits {
    /// Fields with their one value, whatever was there before.
    #[serde(default)]
    set: Entries<At<FieldText>>,
    /// Fields with values, beside what was there before.
    #[serde(default)]
    add: Entries<OneOrMany<FieldText>>,
    /// Fields that do not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remove: Option<OneOrMany<Text>>,
}

/// Fields of answers that belong together. What the upstream or the route itself says of one of
/// them counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "HeaderPreset")]
enum Preset {
    /// `X-Content-Type-Options: nosniff`, `X-Frame-Options: DENY` and `Referrer-Policy:
    /// strict-origin-when-cross-origin`.
    Security,
    /// `Strict-Transport-Security: max-age=31536000`, in answers that travel by HTTPS.
    Hsts,
    /// Takes out what tells the software behind the gateway: `Server`, `X-Powered-By`,
    /// `X-AspNet-Version`, `X-AspNetMvc-Version`.
    HideServer,
}

const SECURITY: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
];

const HSTS: [(HeaderName, &str); 1] = [(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000")];

const SERVER: [&str; 4] = ["server", "x-powered-by", "x-aspnet-version", "x-aspnetmvc-version"];

impl Preset {
    fn defaults(self) -> &'static [(HeaderName, &'static str)] {
        match self {
            Preset::Security => &SECURITY,
            Preset::Hsts => &HSTS,
            Preset::HideServer => &[],
        }
    }

    fn hidden(self) -> &'static [&'static str] {
        if self == Preset::HideServer { &SERVER } else { &[] }
    }
}

pub(super) fn build(
    config: &Config,
    parts: &Parts,
    _: Stance,
) -> Result<Box<dyn Filter>, Vec<Problem>> {
    let mut problems = Vec::new();
    if config.request.is_none() && config.response.is_none() && config.presets.is_empty() {
        let help = "write `request: { set: … }`, `response: { set: … }` or `presets: [ … ]`";
        problems.push(config.problem("`headers` changes nothing").help(help).of_absence());
    }
    let sessions = parts.all::<Sessions>().values();
    let claims = sessions.flat_map(|sessions| sessions.verifier.claims_to_headers());
    let claims: Vec<&HeaderName> = claims.map(|(_, field)| field).collect();
    let mut changes = |edits: Option<&At<Edits>>, written, removed| {
        edits.map_or_else(Changes::default, |edits| {
            Changes::compile(edits, (written, removed), &claims, &mut problems)
        })
    };
    let request = changes(config.request.as_ref(), Place::Request, Place::RequestWithout);
    let mut answer = changes(config.response.as_ref(), Place::Answer, Place::AnswerWithout);
    let presets = || config.presets.iter().map(|preset| preset.value);
    let defaults = presets().flat_map(Preset::defaults);
    let defaults = defaults.filter(|(name, _)| !answer.names(name));
    let defaults: Vec<_> =
        defaults.map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
    for hidden in presets().flat_map(Preset::hidden).map(|name| HeaderName::from_static(name)) {
        if !answer.names(&hidden) {
            answer.remove.push(hidden);
        }
    }
    match problems.is_empty() {
        true => Ok(Box::new(Headers { request, answer, defaults })),
        false => Err(problems),
    }
}

/// The filter, running.
struct Headers {
    request: Changes,
    answer: Changes,
    /// What an answer gets that does not say it already.
    defaults: Vec<(HeaderName, HeaderValue)>,
}

/// What is done to the fields of one message, in this order.
#[derive(Debug, Default)]
struct Changes {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

impl Changes {
    fn compile(
        edits: &At<Edits>,
        (written, removed): (Place, Place),
        claims: &[&HeaderName],
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut changes = Changes::default();
        let mut keep = |problem: Problem| problems.push(problem);
        let mut named: Vec<HeaderName> = Vec::new();
        let mut name = |text: &At<String>, place: Place| {
            let name = written_field::name(text, place).map_err(&mut keep).ok()?;
            let is_claim = claims.iter().any(|claim| {
                claim.as_str() == name.as_str().replace('_', "-") && place == Place::Request
            });
            if is_claim {
                let why = format!("`{}` says a claim of the session's token", text.value);
                keep(text.problem(why).help("remove it: see `claims_to_headers` of the session"));
                return None;
            }
            if named.contains(&name) {
                let why = format!("the header field `{name}` stands here twice");
                keep(text.problem(why).help("remove one of the two"));
                return None;
            }
            named.push(name.clone());
            Some(name)
        };
        for text in edits.remove.iter().flat_map(|all| all.whole().iter()) {
            let text = At { value: text.0.clone(), place: text.place };
            changes.remove.extend(name(&text, removed));
        }
        for (text, value) in edits.set.iter() {
            let name = name(text, written);
            changes.set.extend(name.map(|name| (name, value.value.value().clone())));
        }
        for (text, values) in edits.add.iter() {
            let Some(name) = name(text, written) else { continue };
            let values = values.whole().iter().map(|value| value.value.value().clone());
            changes.add.extend(values.map(|value| (name.clone(), value)));
        }
        let is_empty = named.is_empty();
        if is_empty && problems.is_empty() {
            let help = "write `set: { name: value }`, `add: { name: value }` or `remove: [ name ]`";
            problems.push(edits.problem("nothing is changed here").help(help).of_absence());
        }
        changes
    }

    /// Whether it says what becomes of the field `name`.
    fn names(&self, name: &HeaderName) -> bool {
        let written = self.set.iter().chain(&self.add).map(|(written, _)| written);
        written.chain(&self.remove).any(|other| other == name)
    }
}

#[async_trait]
impl Filter for Headers {
    fn decide_at_once(&self, _: &Request<'_>, _: &Exchange) -> Option<Decision> {
        Some(Ok(Finding::Nothing))
    }

    async fn decide(&self, _: &Request<'_>, _: &Exchange) -> Decision {
        Ok(Finding::Nothing)
    }

    fn upstream_request(&self, fields: &mut HeaderMap, _: &Exchange) {
        for name in &self.request.remove {
            fields.remove(name);
        }
        for (name, value) in &self.request.set {
            fields.insert(name, value.clone());
        }
        for (name, value) in &self.request.add {
            fields.append(name, value.clone());
        }
    }

    fn finishes(&self) -> Option<Stage> {
        Some(Stage::Headers)
    }

    fn finish(&self, answer: &mut Answer<'_>, known: &Exchange) {
        let Answer { head, is_own, .. } = answer;
        let is_private = is_private(head);
        // What the gateway says of its own answer is true, and who keeps a viewer's cookie for all
        // gives it to the next one: that stays.
        let stays = |head: &ResponseHeader, name: &HeaderName| {
            let is_kept = *is_own || (is_private && name == header::CACHE_CONTROL);
            is_kept && head.headers.contains_key(name)
        };
        for name in &self.answer.remove {
            if !stays(head, name) {
                head.remove_header(name);
            }
        }
        // Names and values are valid, so none of these fails.
        for (name, value) in &self.answer.set {
            if !stays(head, name) {
                let _ = head.insert_header(name, value);
            }
        }
        for (name, value) in &self.answer.add {
            if !stays(head, name) {
                let _ = head.append_header(name, value);
            }
        }
        for (name, value) in &self.defaults {
            let is_told = head.headers.contains_key(name);
            let is_in_vain = name == header::STRICT_TRANSPORT_SECURITY && !is_https(known);
            if !is_told && !is_in_vain {
                let _ = head.insert_header(name, value);
            }
        }
    }
}

/// Whether the answer brings a cookie and says that no cache may keep it.
fn is_private(head: &ResponseHeader) -> bool {
    let mut controls = head.headers.get_all(header::CACHE_CONTROL).into_iter();
    head.headers.contains_key(header::SET_COOKIE)
        && controls.any(|value| value.as_bytes().eq_ignore_ascii_case(b"no-store"))
}

/// A browser listens to some fields only where nobody on the way can have written them.
fn is_https(known: &Exchange) -> bool {
    known.scheme == Scheme::HTTPS
}
