//! The filter `session`: finds the token, has it verified, asks whether its session is active.
//!
//! How a token is verified is the room `session`'s knowledge.

use super::{Decision, Fact, Filter, Halt, Parts, Sessions};
use crate::denial::Code;
use crate::exchange::{Cause, Exchange, Finding};
use crate::problem::Problem;
use crate::request::Request;
use crate::session::{Refused, Session, WhenStoreFails};
use crate::units::Text;
use crate::yaml::At;
use async_trait::async_trait;
use http::{HeaderName, HeaderValue, header};
use pingora::http::RequestHeader;
use std::sync::Arc;

/// The name of an entry of `sessions`.
pub(super) type Config = At<Text>;

/// The session's id, as upstreams see it.
const SESSION_FIELD: &str = "X-Streamgate-Session";

struct SessionFilter {
    sessions: Sessions,
    /// Claims that the upstream is told, with their header fields.
    claims: Vec<(String, HeaderName)>,
}

pub(super) fn build(config: &Config, parts: &Parts) -> Result<Box<dyn Filter>, Vec<Problem>> {
    let sessions = parts.sessions.find(config)?.clone();
    let claims = sessions.verifier.claims_to_headers().to_vec();
    Ok(Box::new(SessionFilter { sessions, claims }))
}

#[async_trait]
impl Filter for SessionFilter {
    fn provides(&self) -> &'static [Fact] {
        &[Fact::Session]
    }

    async fn decide(&self, request: &Request<'_>, _known: &Exchange) -> Decision {
        let token = self.token(request)?;
        let verifier = &self.sessions.verifier;
        let session = match verifier.remembered(token) {
            Some(session) => session,
            None => verifier.verify(token).await.map_err(refusal)?,
        };
        self.check_active(&session).await?;
        Ok(Finding::Session(session))
    }

    fn upstream_request(&self, head: &mut RequestHeader, known: &Exchange) {
        let Some(session) = known.session() else { return };
        if let Some(id) = session.id_field() {
            // Inserting fails only for names that are none.
            let _ = head.insert_header(SESSION_FIELD, id.clone());
        }
        for (claim, field) in &self.claims {
            match session.claim(claim) {
                Some(serde_json::Value::String(text)) => set(head, field, text),
                Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
                    set(head, field, &value.to_string());
                }
                _ => {}
            }
        }
    }
}

/// Sets a field whose text came from a verified token; text that no field may hold is left out.
fn set(head: &mut RequestHeader, field: &HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        // Only a name that isn't one could fail, and this one is.
        let _ = head.insert_header(field.clone(), value);
    }
}

impl SessionFilter {
    /// The one token of the request: from the cookie, else `Authorization: Bearer`. Two different
    /// ones are refused, whichever is good: who may choose can smuggle (RFC 6750 §2).
    fn token<'r>(&self, request: &Request<'r>) -> Result<&'r str, Halt> {
        let cookie = &self.sessions.config.cookie.0;
        let mut found: Option<&'r str> = None;
        let cookies = request.headers.get_all(header::COOKIE).into_iter();
        let cookies = cookies.filter_map(|field| field.to_str().ok()).flat_map(|f| f.split(';'));
        let cookies = cookies.filter_map(|pair| pair.trim().split_once('='));
        let named = cookies.filter(|(name, _)| name == cookie).map(|(_, value)| value);
        let bearer = request.headers.get_all(header::AUTHORIZATION).into_iter();
        let bearer = bearer.filter_map(|field| field.to_str().ok()).filter_map(bearer_token);
        for token in named.chain(bearer) {
            if found.is_some_and(|other| other != token) {
                return Err(refusal(Refused::Malformed("two different tokens")));
            }
            found = Some(token);
        }
        found.filter(|token| !token.is_empty()).ok_or_else(|| Code::SessionMissing.into())
    }

    /// A verified token whose session was logged out or revoked is of no use.
    async fn check_active(&self, session: &Arc<Session>) -> Result<(), Halt> {
        let Some(store) = &self.sessions.active_in else { return Ok(()) };
        match store.is_active(session.id()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Code::SessionEnded.into()),
            // The signature still proves the login; what can't be seen is a logout since.
            Err(_) if self.sessions.config.when_store_fails == WhenStoreFails::Open => Ok(()),
            Err(_) => Err(crate::concurrency::unavailable().into()),
        }
    }
}

fn bearer_token(field: &str) -> Option<&str> {
    let (scheme, token) = field.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A token's refusal under the code that clients know.
fn refusal(reason: Refused) -> Halt {
    let code = match reason {
        Refused::Expired => Code::SessionExpired,
        Refused::KeysUnavailable => Code::EnforcementUnavailable,
        _ => Code::SessionInvalid,
    };
    Halt::Deny(code.into(), Cause::Token(reason))
}
