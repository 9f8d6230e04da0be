//! What a client gets of a refusal that reads something else than our JSON: a page for a browser, a
//! text, the operator's own JSON. Which one, the client's `Accept` decides; the status, the header
//! fields and the code stay.

use super::{Code, Denial, Reply};
use crate::fetch;
use crate::problem::{Problem, listed, nearest};
use crate::units::{FilePath, Text};
use crate::yaml::{At, Entries};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The largest page, in bytes.
const PAGE_BYTES_MAX: u64 = 256 * 1024;

/// How many kinds of an `Accept` are looked at.
const KINDS_MAX: usize = 32;

/// What stands for every code that has no entry of its own.
const ANY: &str = "*";

const PROBLEM: &str = "application/problem+json";

/// Bodies of a refusal beside the usual one, of which `Accept` chooses.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RefusalBodies")]
pub struct PageConfig {
    /// A file with a page, for clients that ask for `text/html`, as browsers do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    html: Option<At<FilePath>>,
    /// A text, for clients that ask for `text/plain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<At<Text>>,
    /// JSON in quotes, for clients that ask for `application/json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    json: Option<At<Text>>,
}

/// All bodies, by code.
#[derive(Debug, Default)]
pub struct Pages {
    by_code: Vec<(Code, Page)>,
    any: Option<Page>,
}

/// The bodies of one code.
#[derive(Debug, Default)]
struct Page(Vec<(Kind, Vec<Part>)>);

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Html,
    Text,
    Json,
}

impl Kind {
    fn content_type(self) -> &'static str {
        match self {
            Kind::Html => "text/html; charset=utf-8",
            Kind::Text => "text/plain; charset=utf-8",
            Kind::Json => "application/json",
        }
    }

    /// A value so that it stays text there.
    fn escaped(self, value: &str) -> String {
        match self {
            Kind::Text => value.to_owned(),
            Kind::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
            Kind::Html => value
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;")
                .replace('\'', "&#39;"),
        }
    }
}

#[derive(Debug)]
enum Part {
    Text(String),
    Value(Value),
}

/// What may stand in a body, written `%{code}`.
#[derive(Clone, Copy, Debug)]
enum Value {
    Code,
    Status,
    Title,
    Detail,
    Instance,
    RetryAfter,
}

const VALUES: [(&str, Value); 6] = [
    ("code", Value::Code),
    ("status", Value::Status),
    ("title", Value::Title),
    ("detail", Value::Detail),
    ("instance", Value::Instance),
    ("retry_after", Value::RetryAfter),
];

impl Pages {
    /// The bodies of all entries. Files are looked for in `base_dir`.
    pub fn compile(
        entries: &Entries<At<PageConfig>>,
        base_dir: &Path,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut pages = Pages::default();
        for (name, config) in entries.iter() {
            let page = config.compile(base_dir, problems);
            if name.value == ANY {
                pages.any = Some(page);
                continue;
            }
            match Code::ALL.iter().find(|code| code.name() == name.value) {
                Some(code) => pages.by_code.push((*code, page)),
                None => {
                    let names = || Code::ALL.iter().map(|code| code.name());
                    let help = match nearest(&name.value, names()) {
                        Some(meant) => format!("did you mean `{meant}`?"),
                        None => format!("write `\"*\"` for all, or one of {}", listed(names())),
                    };
                    let text = format!("`{}` is not the code of a refusal", name.value);
                    problems.push(name.problem(text).help(help));
                }
            }
        }
        pages
    }

    /// Puts the body that a client wants which `asked` with these fields in the place of the usual
    /// one.
    pub fn dress(&self, denial: &Denial, id: &str, asked: &HeaderMap, reply: &mut Reply) {
        let own = self.by_code.iter().find(|(code, _)| *code == denial.code());
        let Some(page) = own.map(|(_, page)| page).or(self.any.as_ref()) else { return };
        reply.headers.push((header::VARY, HeaderValue::from_static("Accept")));
        let Some((kind, parts)) = page.wanted(asked) else { return };
        let mut body = String::new();
        for part in parts {
            match part {
                Part::Text(text) => body.push_str(text),
                Part::Value(value) => body.push_str(&kind.escaped(&value.of(denial, id))),
            }
        }
        reply.headers.retain(|(name, _)| *name != header::CONTENT_TYPE);
        let content_type = HeaderValue::from_static(kind.content_type());
        reply.headers.push((header::CONTENT_TYPE, content_type));
        reply.body = Bytes::from(body);
    }
}

impl PageConfig {
    fn compile(&self, base_dir: &Path, problems: &mut Vec<Problem>) -> Page {
        let mut page = Page::default();
        let mut keep = |kind, parts: Result<Vec<Part>, Problem>| match parts {
            Ok(parts) => page.0.push((kind, parts)),
            Err(problem) => problems.push(problem),
        };
        if let Some(file) = &self.html {
            keep(Kind::Html, read(file, base_dir).and_then(|text| parts(&text, file)));
        }
        if let Some(text) = &self.text {
            keep(Kind::Text, parts(&text.0, text));
        }
        if let Some(json) = &self.json {
            let compiled = parts(&json.0, json).and_then(|parts| {
                match serde_json::from_str::<serde::de::IgnoredAny>(&sample(&parts)) {
                    Ok(_) => Ok(parts),
                    Err(error) => {
                        let text = format!("this is not JSON: {error}");
                        let help = "write it as in '{ \"error\": \"%{code}\" }'";
                        Err(json.problem(text).help(help))
                    }
                }
            });
            keep(Kind::Json, compiled);
        }
        page
    }
}

fn read(file: &At<FilePath>, base_dir: &Path) -> Result<String, Problem> {
    let shown = file.0.display();
    let bytes = fetch::file(&base_dir.join(&file.0), PAGE_BYTES_MAX).map_err(|error| {
        let help = "name a file beside the configuration, of 256 KiB or less";
        file.problem(format!("`{shown}` can't be read: {error}")).help(help)
    })?;
    String::from_utf8(bytes)
        .map_err(|_| file.problem(format!("`{shown}` is not UTF-8")).help("save it as UTF-8"))
}

/// The text with its values, which stands in or at `written`.
fn parts<T>(text: &str, written: &At<T>) -> Result<Vec<Part>, Problem> {
    let (mut parts, mut rest, mut plain) = (Vec::new(), text, String::new());
    while let Some((before, behind)) = rest.split_once("%{") {
        plain.push_str(before);
        let name = behind.split_once('}').map(|(name, _)| name);
        // Styles have such marks of their own: `50%{color:red}`.
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let Some(name) = name.filter(|name| is_name(name)) else {
            plain.push_str("%{");
            rest = behind;
            continue;
        };
        let Some((_, value)) = VALUES.iter().find(|(known, _)| *known == name) else {
            let text = format!("nothing is called `{name}` in a refusal");
            let help = format!("there is: {}", listed(VALUES.iter().map(|(name, _)| *name)));
            return Err(written.problem(text).help(help));
        };
        parts.extend([Part::Text(std::mem::take(&mut plain)), Part::Value(*value)]);
        rest = behind.split_once('}').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    parts.push(Part::Text(plain));
    Ok(parts)
}

/// A text as it may become: all values but the status belong into quotes, and one may be empty.
fn sample(parts: &[Part]) -> String {
    let text = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Value(Value::Status) => "0".to_owned(),
        Part::Value(_) => "a".to_owned(),
    };
    parts.iter().map(text).collect()
}

impl Page {
    /// The body that the client likes best; `None`: the usual one.
    fn wanted(&self, asked: &HeaderMap) -> Option<&(Kind, Vec<Part>)> {
        let accept = asked.get_all(header::ACCEPT).into_iter().filter_map(|it| it.to_str().ok());
        let kinds: Vec<(&str, u16)> =
            accept.flat_map(|list| list.split(',')).take(KINDS_MAX).map(kind).collect();
        let usual = liking(&kinds, PROBLEM);
        let mut best: Option<(u16, &(Kind, Vec<Part>))> = None;
        for body in &self.0 {
            let plain = body.0.content_type().split(';').next().unwrap_or_default();
            let liked = liking(&kinds, plain);
            // Who has no preference gets what every client of ours understands.
            if usual < liked && best.is_none_or(|(most, _)| most < liked) {
                best = Some((liked, body));
            }
        }
        best.map(|(_, body)| body)
    }
}

/// One kind of an `Accept`, with its weight in thousandths (RFC 9110 §12.4.2).
fn kind(text: &str) -> (&str, u16) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    let weight = weight.map_or(Some(1.0), |text| text.parse::<f32>().ok());
    (name, (weight.unwrap_or(0.0).clamp(0.0, 1.0) * 1_000.0) as u16)
}

/// How much a client likes a kind: by the most specific entry that has it.
fn liking(kinds: &[(&str, u16)], wanted: &str) -> u16 {
    let family = wanted.split('/').next().unwrap_or_default();
    let is_family =
        |name: &str| name.strip_suffix("/*").is_some_and(|own| own.eq_ignore_ascii_case(family));
    let find = |is: &dyn Fn(&str) -> bool| kinds.iter().find(|(name, _)| is(name));
    let found = find(&|name| name.eq_ignore_ascii_case(wanted))
        .or_else(|| find(&is_family))
        .or_else(|| find(&|name| name == "*/*"));
    found.map_or(0, |(_, weight)| *weight)
}

impl Value {
    fn of(self, denial: &Denial, id: &str) -> String {
        match self {
            Value::Code => denial.code().name().to_owned(),
            Value::Status => denial.0.status.as_u16().to_string(),
            Value::Title => denial.code().title().to_owned(),
            Value::Detail => denial.0.detail.as_deref().unwrap_or_default().to_owned(),
            Value::Instance => format!("urn:request:{id}"),
            Value::RetryAfter => {
                denial.0.extra.get("retry_after").map(|it| it.to_string()).unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(kinds: &[Kind]) -> Page {
        Page(kinds.iter().map(|kind| (*kind, Vec::new())).collect())
    }

    fn check(kinds: &[Kind], accept: &str, expected: Option<Kind>) {
        let mut asked = HeaderMap::new();
        if !accept.is_empty() {
            asked.insert(header::ACCEPT, HeaderValue::from_str(accept).expect("a value"));
        }
        let found = page(kinds).wanted(&asked).map(|(kind, _)| *kind);
        assert_eq!(found, expected, "{accept}");
    }

    #[test]
    fn the_client_chooses() {
        let all = [Kind::Html, Kind::Text, Kind::Json];
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        check(&all, browser, Some(Kind::Html));
        check(&[Kind::Text], browser, None);
        check(&all, "", None);
        check(&all, "*/*", None);
        check(&all, "application/problem+json", None);
        check(&all, "application/json", Some(Kind::Json));
        check(&all, "application/*", None);
        check(&all, "text/plain", Some(Kind::Text));
        check(&all, "TEXT/HTML", Some(Kind::Html));
        check(&all, "text/*;q=0.5, text/html;q=0.1, */*;q=0", Some(Kind::Text));
        check(&all, "text/html;q=0", None);
        check(&all, "text/html;q=x, ,;", None);
        check(&all, "image/avif", None);
    }

    #[test]
    fn values_stay_text() {
        assert_eq!(Kind::Html.escaped("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
        assert_eq!(Kind::Json.escaped("a\"b\n"), "a\\\"b\\n");
    }
}
