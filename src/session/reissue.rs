//! A younger token for the same login, signed in the auth service's place where the gateway holds
//! its secret, so that a player that never refreshes its cookie stays logged in while it plays.
//!
//! It proves no more than the old one did: the same account, session and claims. The time of the
//! login stays in `auth_time`, so `absolute` and the end of all sessions of an account hold for it
//! as they did before.

use super::claims::date;
use super::mint::Signer;
use super::token::Token;
use super::{Config as Sessions, Session};
use crate::problem::{Place, Problem};
use crate::request::cookie;
use crate::units::{SameSite, Text};
use crate::yaml::At;
use http::{HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How the cookie is set anew: exactly as the auth service sets it, or a browser keeps both. It is
/// always `HttpOnly`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its `Domain`; left out, it is the host's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<At<Text>>,
    #[serde(default = "everywhere")]
    pub path: At<Text>,
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

/// What signs younger tokens for one kind of session.
pub struct Reissue {
    signer: Signer,
    cookie: Box<str>,
    /// All that stands behind the cookie's value and age.
    attributes: Box<str>,
    absolute_secs: u64,
    made: AtomicU64,
}

impl fmt::Debug for Reissue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reissue").field("cookie", &self.cookie).finish_non_exhaustive()
    }
}

impl Reissue {
    /// As the file has it; `None` when no token is to be signed, or a problem was told.
    pub(super) fn compile(sessions: &Sessions) -> Option<Self> {
        let config = sessions.reissue.as_ref()?;
        let mut attributes = config.same_site.attributes(&config.path.0, config.secure);
        if let Some(domain) = &config.domain {
            attributes += "; Domain=";
            attributes += &domain.0;
        }
        Some(Reissue {
            signer: Signer::of(sessions)?,
            cookie: sessions.cookie.0.as_str().into(),
            attributes: attributes.into(),
            absolute_secs: sessions.absolute.as_ref()?.0.as_secs(),
            made: AtomicU64::new(0),
        })
    }

    /// Whether an answer already says what becomes of the cookie.
    pub fn is_settled_in(&self, answer: &HeaderMap) -> bool {
        cookie::is_set(answer, &self.cookie)
    }

    /// The `Set-Cookie` field that brings a younger token in place of `token`, from which `session`
    /// was read. `None`: it could not be better, or another key than ours signed it.
    pub fn field(&self, token: &str, session: &Session, now: u64) -> Option<HeaderValue> {
        let token =
            Token::parse(token).ok().filter(|token| self.signer.signs_as(token.algorithm))?;
        let (claims, expires_at) = self.younger(token.claims().ok()?, session, now)?;
        let text = self.signer.sign_as(token.kid.as_deref(), &claims).ok()?;
        let age_secs = expires_at.saturating_sub(now);
        let field = format!("{}={text}; Max-Age={age_secs}{}", self.cookie, self.attributes);
        let field = HeaderValue::try_from(field).ok()?;
        self.made.fetch_add(1, Relaxed);
        Some(field)
    }

    /// How many were signed so far.
    pub fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }

    /// The claims as if the token had been issued now, and when they expire.
    fn younger(
        &self,
        mut claims: Map<String, Value>,
        session: &Session,
        now: u64,
    ) -> Option<(Map<String, Value>, u64)> {
        let issued = date(&claims, "iat").ok()??;
        let expires_at = date(&claims, "exp").ok()??;
        let began_at = session.began_at()?;
        let lifetime = expires_at.checked_sub(issued)?;
        let younger = (now + lifetime).min(began_at.saturating_add(self.absolute_secs));
        if younger <= expires_at {
            return None;
        }
        if !claims.contains_key("sid") && !claims.contains_key("jti") {
            claims.insert("sid".to_owned(), session.id().into());
        }
        claims.insert("auth_time".to_owned(), began_at.into());
        claims.insert("iat".to_owned(), now.into());
        claims.insert("exp".to_owned(), younger.into());
        Some((claims, younger))
    }
}

/// What is wrong with it.
pub(super) fn problems(sessions: &Sessions) -> Vec<Problem> {
    let Some(reissue) = &sessions.reissue else { return Vec::new() };
    let mut problems = Vec::new();
    if Signer::of(sessions).is_none() {
        let text = "`reissue` needs a secret to sign with, and these keys can only verify";
        let help = "leave it out: with key pairs the auth service refreshes its tokens itself";
        problems.push(reissue.problem(text).help(help));
    }
    if sessions.absolute.is_none() {
        let text = "`reissue` needs to know how long a login counts at most";
        let help = "add `absolute: 168h`: without it a session that is used would never end";
        problems.push(reissue.problem(text).help(help));
    }
    if sessions.active_in.is_some() && sessions.idle.is_none() {
        let text = "`reissue` is in vain: the store forgets a session when its first token expires";
        let help = "add `idle: 30m`, with which uses carry it on there, too";
        problems.push(reissue.problem(text).help(help));
    }
    if !reissue.path.0.starts_with('/') || !is_value(&reissue.path.0) {
        let text = format!("`{}` cannot be the path of a cookie", reissue.path.value);
        problems.push(reissue.path.problem(text).help("write `/`, or a path below it"));
    }
    if let Some(domain) = reissue.domain.as_ref().filter(|domain| !is_domain(&domain.0)) {
        let text = format!("`{}` cannot be the domain of a cookie", domain.value);
        problems.push(domain.problem(text).help("write a host's name, as in `example.com`"));
    }
    if !reissue.secure && reissue.same_site == SameSite::None {
        let text = "browsers take a cookie with `same_site: none` only with `secure: true`";
        problems.push(reissue.problem(text).help("leave `secure` out"));
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
