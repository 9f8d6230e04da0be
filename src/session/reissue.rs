//! A younger token for the same login. The gateway signs it in place of the auth service, whose
//! secret it must hold for that, so that a player that never refreshes its cookie stays logged in
//! while it plays.
//!
//! It proves no more than the old token: the same account, session and claims. The time of the
//! login stays in `auth_time`, so `absolute` and the end of all sessions of an account hold for it
//! as they did for the old one.

use super::config::Config;
use super::mint::Signer;
use super::token::Token;
use super::token::claims::date;
use super::{Session, reissue_cookie};
use crate::problem::Problem;
use crate::request::cookie;
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What signs younger tokens for one kind of session.
pub struct Reissue {
    signer: Signer,
    cookie: Box<str>,
    /// What follows the cookie's value and age.
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
    /// As the file has it; `None` when no token is to be signed, or `problems` says why not.
    pub(super) fn compile(sessions: &Config) -> Option<Self> {
        let attributes = sessions.reissue.as_ref()?.attributes();
        Some(Reissue {
            signer: Signer::of(sessions)?,
            cookie: sessions.cookie.0.as_str().into(),
            attributes: attributes.into(),
            absolute_secs: sessions.absolute.as_ref()?.0.as_secs(),
            made: AtomicU64::new(0),
        })
    }

    /// Whether an answer already sets the cookie.
    pub fn is_settled_in(&self, answer: &HeaderMap) -> bool {
        cookie::is_set(answer, &self.cookie)
    }

    /// The `Set-Cookie` field with a younger token in place of `token`, from which `session` was
    /// read. `None`: a new token would not live longer, or another key than ours signed the old
    /// one.
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

    /// The number of tokens that were signed so far.
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
        let has_name = |name| claims.get(name).is_some_and(|value| !value.is_null());
        if !has_name("sid") && !has_name("jti") {
            claims.insert("sid".to_owned(), session.id().into());
        }
        claims.insert("auth_time".to_owned(), began_at.into());
        claims.insert("iat".to_owned(), now.into());
        claims.insert("exp".to_owned(), younger.into());
        Some((claims, younger))
    }
}

/// What is wrong with the entry `reissue`.
pub(super) fn problems(sessions: &Config) -> Vec<Problem> {
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
    problems.extend(reissue_cookie::problems(reissue));
    problems
}
