//! The attributes of the cookie that brings a younger token, as the operator writes them.

use crate::problem::{Place, Problem};
use crate::units::{SameSite, Text};
use crate::yaml::At;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the cookie is set: exactly as the auth service sets it, or a browser keeps both. It is
/// always `HttpOnly`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ReissueCookie")]
pub struct Config {
    /// Its `Domain`; left out, it is the host's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<At<Text>>,
    /// Its `Path`.
    #[serde(default = "everywhere")]
    pub path: At<Text>,
    /// Its `SameSite`.
    #[serde(default)]
    pub same_site: SameSite,
    /// Sent over TLS only. `false` is for development.
    #[serde(default = "yes")]
    pub secure: bool,
}

fn everywhere() -> At<Text> {
    At { value: Text("/".to_owned()), place: Place::default() }
}

fn yes() -> bool {
    true
}

impl Config {
    /// What follows the cookie's value and age.
    pub(super) fn attributes(&self) -> String {
        let mut attributes = self.same_site.attributes(&self.path.0, self.secure);
        if let Some(domain) = &self.domain {
            attributes += "; Domain=";
            attributes += &domain.0;
        }
        attributes
    }
}

/// What is wrong with the attributes.
pub(super) fn problems(cookie: &At<Config>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !cookie.path.0.starts_with('/') || !is_value(&cookie.path.0) {
        let text = format!("`{}` cannot be the path of a cookie", cookie.path.value);
        problems.push(cookie.path.problem(text).help("write `/`, or a path below it"));
    }
    if let Some(domain) = cookie.domain.as_ref().filter(|domain| !is_domain(&domain.0)) {
        let text = format!("`{}` cannot be the domain of a cookie", domain.value);
        problems.push(domain.problem(text).help("write a host's name, as in `example.com`"));
    }
    if !cookie.secure && cookie.same_site == SameSite::None {
        let text = "browsers take a cookie with `same_site: none` only with `secure: true`";
        problems.push(cookie.problem(text).help("leave `secure` out"));
    }
    problems
}

/// Whether an attribute may have this value (RFC 6265 §4.1.1, av-octet).
fn is_value(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b';')
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.strip_prefix('.').unwrap_or(text).split('.').all(is_label)
}
