//! What an operator writes about one kind of session, and what may be wrong with it.
//!
//! What may be wrong with lifetimes, keys, claims and reissue is said in their own files; the
//! verifier collects all of it.

use super::keys::key_source;
use super::reissue_cookie;
use super::token::claims;
use crate::problem::{Place, Problem};
use crate::units::{Count, Secret, Text, Time};
use crate::yaml::{At, Entries};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The most keys that one kind of session may be configured with.
const KEYS_MAX: usize = 16;

/// The most tokens that may be remembered.
const REMEMBER_MAX: u32 = 1_000_000;

/// One kind of session: who issues its tokens, and how they are checked.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Session")]
pub struct Config {
    /// What `iss` must be, exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<At<Text>>,
    /// What `aud` must be, or have among its members, exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<At<Text>>,
    /// The keys that tokens may be signed with. Several are for changing them.
    pub keys: At<Vec<At<key_source::Config>>>,
    /// The store that knows which sessions are still active; left out, the token alone decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_in: Option<At<Text>>,
    /// What holds while that store cannot be asked.
    #[serde(default)]
    pub when_store_fails: WhenStoreFails,
    /// How long a session may go unused before it ends; left out, it lives as long as the auth
    /// service says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<At<Time>>,
    /// How long a login counts at most, measured from `auth_time` or `iat`, however often its
    /// token is refreshed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute: Option<At<Time>>,
    /// Gives browsers a younger token when theirs is past half its life. Left out, only the auth
    /// service signs tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reissue: Option<At<reissue_cookie::Config>>,
    /// At least 32 bytes. With it all sessions of an account can be ended at once; the account is
    /// hashed with it (HMAC-SHA-256) before it reaches the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_pepper: Option<At<Secret>>,
    /// The cookie that holds the token.
    #[serde(default = "default_cookie")]
    pub cookie: At<Text>,
    /// Takes a `sub` that is a whole number, as its digits; otherwise it must be a text.
    #[serde(default)]
    pub numeric_sub: bool,
    /// Claims that upstreams get as headers: the claim, then the header.
    #[serde(default)]
    pub claims_to_headers: Entries<At<Text>>,
    /// How many verified tokens are remembered.
    #[serde(default = "default_remember")]
    pub remember: At<Count>,
}

/// What becomes of a verified session while the store that knows whether it was ended is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenStoreFails {
    /// It counts: the signature still proves the login, only a logout is not seen.
    #[default]
    Open,
    /// It does not: nobody plays until the store answers.
    Closed,
}

fn default_cookie() -> At<Text> {
    At { value: Text("session".to_owned()), place: Place::default() }
}

fn default_remember() -> At<Count> {
    At { value: Count(100_000), place: Place::default() }
}

/// `revocation` is in `lifetime.rs`.
impl Config {
    /// The files that hold a key.
    pub fn key_files(&self) -> impl Iterator<Item = &Path> {
        self.keys.iter().filter_map(|key| match &key.value {
            key_source::Config::Pem(pem) => Some(pem.file.0.as_path()),
            _ => None,
        })
    }

    /// What is wrong with what only this file knows of.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(1..=KEYS_MAX).contains(&self.keys.len()) {
            let text = format!("a session needs 1 to {KEYS_MAX} keys, and has {}", self.keys.len());
            let help = "add `- hs256: …`, `- pem: …` or `- jwks: …`";
            problems.push(self.keys.problem(text).help(help).of_absence());
        }
        for text in [&self.issuer, &self.audience].into_iter().flatten() {
            if text.0.is_empty() {
                let why = "an empty text is not what a token says";
                problems.push(text.problem(why).help("leave it out if it shall not be checked"));
            }
        }
        if !is_name(&self.cookie.0) {
            let text = format!("`{}` cannot be the name of a cookie", self.cookie.value);
            problems.push(self.cookie.problem(text).help("use letters, digits, `-` and `_`"));
        }
        if REMEMBER_MAX < self.remember.0 {
            let text = format!("at most {REMEMBER_MAX} tokens are remembered");
            problems.push(self.remember.problem(text).help("each takes about 2 KiB"));
        }
        problems
    }

    /// What can run but is probably not meant.
    pub(super) fn warnings(&self) -> Vec<Problem> {
        let mut warnings = Vec::new();
        let is_public =
            |key: &&At<key_source::Config>| matches!(key.value, key_source::Config::Jwks(_));
        let Some(set) = self.keys.iter().find(is_public) else { return warnings };
        if self.issuer.is_none() {
            let text = "without `issuer` a token from any issuer with these keys is accepted";
            warnings.push(set.problem(text).help("add `issuer: …`").warning());
        }
        if self.audience.is_none() {
            let text = "without `audience` a token that was made for another service is accepted";
            warnings.push(set.problem(text).help("add `audience: …`").warning());
        }
        warnings
    }

    /// What the claims of a token must say. `claims` are kept, beside those that go into headers.
    pub(super) fn rules(&self, claims: &[&str]) -> claims::Rules {
        let mapped = self.claims_to_headers.iter().map(|(claim, _)| claim.as_str());
        let mut kept: Vec<Box<str>> =
            claims.iter().copied().chain(mapped).map(Into::into).collect();
        kept.sort();
        kept.dedup();
        let text = |text: &At<Text>| text.0.as_str().into();
        claims::Rules {
            issuer: self.issuer.as_ref().map(text),
            audience: self.audience.as_ref().map(text),
            absolute_secs: self.absolute.as_ref().map(|absolute| absolute.0.as_secs()),
            numeric_sub: self.numeric_sub,
            kept: kept.into(),
        }
    }
}

/// Whether a cookie may have this name (RFC 9110, token).
fn is_name(text: &str) -> bool {
    http::HeaderName::from_bytes(text.as_bytes()).is_ok()
}
