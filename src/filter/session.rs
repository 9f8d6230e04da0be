//! The filter `session`: finds the token, has it verified, asks whether its session is active.
//!
//! How a token is verified is the room `session`'s knowledge; where a request shows tokens, and
//! which of several counts, that of `credentials`.

mod chosen;
mod credentials;

use super::{Decision, Fact, Filter, Halt, Stance, set_cookie};
use crate::activity::Activity;
use crate::clock;
use crate::denial::{Code, Denial};
use crate::exchange::{Cause, Exchange, Finding};
use crate::part::{Context, Part, Parts, TokenCookie};
use crate::problem::Problem;
use crate::request::{Request, cookie};
use crate::session::{self, Session, TokenError, Verifier, WhenStoreFails};
use crate::units::{SameSite, Secret};
use crate::yaml::At;
use async_trait::async_trait;
use credentials::Credentials;
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora::http::ResponseHeader;
use std::path::Path;
use std::sync::Arc;

pub(super) use chosen::Config;

/// What the filter names.
pub(super) type Entry = Sessions;

/// A compiled entry of `sessions`.
#[derive(Clone)]
pub struct Sessions {
    /// Verifies the tokens.
    pub verifier: Arc<Verifier>,
    /// Where a session must still be active, if anywhere.
    pub active_in: Option<Arc<Activity>>,
    /// The configuration of this kind of session.
    pub config: Arc<session::Config>,
}

impl Part for Sessions {
    type Config = session::Config;

    const KIND: &'static str = "session";
    const ABOUT: &'static str = "Whose logins are taken, and how they are proven.";

    fn compile(
        name: &At<String>,
        config: &session::Config,
        context: &Context<'_>,
        problems: &mut Vec<Problem>,
    ) -> Result<Self, Vec<Problem>> {
        let mut verifier = Verifier::compile(name, config, &context.claims, context.base_dir)?;
        if let Some(before) = context.before::<Self>(name) {
            verifier = verifier.adopt(&before.verifier);
        }
        problems.extend(verifier.warnings().iter().cloned());
        let active_in = match &config.active_in {
            None => None,
            Some(at) => Some((at, context.stores.find(at)?)),
        };
        if let Some((at, _)) = active_in.as_ref().filter(|(_, store)| store.is_in_process()) {
            let text = format!(
                "a memory store has no writer but this process, so no session can be active in \
                 `{}`",
                at.value
            );
            let help = "name a Redis (`REDIS_URL`), or leave `active_in` out";
            problems.push(at.problem(text).help(help).warning());
        }
        let sessions = |store| context.lasting.session_store(store);
        let activity = |store| Activity::new(&name.value, config, sessions(store));
        let active_in = active_in.map(|(_, store)| Arc::new(activity(store)));
        let (verifier, config) = (Arc::new(verifier), Arc::new(config.clone()));
        Ok(Sessions { verifier, active_in, config })
    }

    fn files(config: &session::Config) -> Vec<&Path> {
        config.key_files().collect()
    }

    fn cookies(config: &session::Config) -> Vec<TokenCookie<'_>> {
        vec![TokenCookie { name: &config.cookie.0, of_stream: None }]
    }

    fn secrets(config: &session::Config) -> Vec<(&'static str, &At<Secret>)> {
        let keys = config.keys.iter().filter_map(|key| key.secret());
        let keys = keys.map(|secret| ("a key that tokens are signed with", secret));
        let pepper = config.revocation_pepper.as_ref();
        keys.chain(pepper.map(|pepper| ("a `revocation_pepper`", pepper))).collect()
    }
}

/// The session's id, as upstreams see it.
const SESSION_FIELD: HeaderName = HeaderName::from_static("x-streamgate-session");

struct SessionFilter {
    sessions: Sessions,
    /// Claims that the upstream gets, with their header fields.
    claims: Vec<(String, HeaderName)>,
    /// A filter in shadow keeps no session alive.
    is_shadow: bool,
    /// Who shows no token is refused.
    is_required: bool,
}

pub(super) fn build(
    config: &Config,
    parts: &Parts,
    stance: Stance,
) -> Result<Box<dyn Filter>, Vec<Problem>> {
    let sessions = parts.find::<Sessions, _>(config.name())?.clone();
    let claims = sessions.verifier.claims_to_headers().to_vec();
    let (is_shadow, is_required) = (stance == Stance::Shadow, config.is_required());
    Ok(Box::new(SessionFilter { sessions, claims, is_shadow, is_required }))
}

#[async_trait]
impl Filter for SessionFilter {
    fn provides(&self) -> &'static [Fact] {
        match self.is_required {
            true => &[Fact::Login, Fact::Session],
            false => &[Fact::Login],
        }
    }

    fn decide_at_once(&self, request: &Request<'_>, _known: &Exchange) -> Option<Decision> {
        let shown = match Credentials::read(request, &self.sessions.config.cookie.0) {
            Ok(shown) if !self.is_required && shown.holds_no_token() => {
                return Some(Ok(Finding::Nothing));
            }
            Ok(shown) if shown.is_empty() => return Some(Err(Code::SessionMissing.into())),
            Ok(shown) => shown,
            Err(halt) => return Some(Err(halt)),
        };
        let session = self.sessions.verifier.remembered(shown.only()?)?;
        match &self.sessions.active_in {
            None => Some(Ok(Finding::Session(session))),
            Some(activity) => match activity.was_active(&session)? {
                true => {
                    self.note_use(activity, &session);
                    Some(Ok(Finding::Session(session)))
                }
                false => Some(Err(Code::SessionEnded.into())),
            },
        }
    }

    async fn decide(&self, request: &Request<'_>, known: &Exchange) -> Decision {
        let shown = Credentials::read(request, &self.sessions.config.cookie.0)?;
        let session = match shown.prove(&self.sessions.verifier).await {
            Ok(session) => session,
            Err(halt) => return Err(self.refused(halt, &shown, request, known).await),
        };
        let Some(activity) = &self.sessions.active_in else { return Ok(Finding::Session(session)) };
        match activity.is_active(&session).await {
            Ok(true) => {
                self.note_use(activity, &session);
                Ok(Finding::Session(session))
            }
            Ok(false) => Err(Code::SessionEnded.into()),
            // The signature still proves the login; what can't be seen is a logout since.
            Err(_) if self.sessions.config.when_store_fails == WhenStoreFails::Open => {
                Ok(Finding::UnaskedSession(session))
            }
            Err(error) => Err(Denial::of_store(&error).into()),
        }
    }

    fn during(&self, known: &Exchange) -> Result<(), Denial> {
        let (Some(activity), Some(session)) = (&self.sessions.active_in, known.session()) else {
            return Ok(());
        };
        match activity.may_go_on(session) {
            true => Ok(()),
            false => Err(Code::SessionEnded.into()),
        }
    }

    fn response(&self, asked: &HeaderMap, head: &mut ResponseHeader, known: &Exchange) {
        let (Some(reissue), Some(session)) = (self.sessions.verifier.reissue(), known.session())
        else {
            return;
        };
        let now = clock::unix_seconds();
        // Most are young, and nothing more is looked at for them.
        if !session.is_past_half_life(now) {
            return;
        }
        // One of which a logout may not have been seen is not carried on.
        if known.is_session_unasked || reissue.is_settled_in(&head.headers) {
            return;
        }
        // An app that sends the token itself has no use for a cookie, which would soon differ. Of
        // several cookies it is the one that proved the session.
        let verifier = &self.sessions.verifier;
        let is_its = |token: &&str| {
            verifier.remembered(token).is_some_and(|proven| Arc::ptr_eq(&proven, session))
        };
        let name = &self.sessions.config.cookie.0;
        let Some(token) = cookie::values(asked, name).find(is_its) else { return };
        if session.is_reissue_due(now)
            && let Some(field) = reissue.field(token, session, now)
        {
            set_cookie(head, field);
        }
    }

    fn upstream_request(&self, fields: &mut HeaderMap, known: &Exchange) {
        let Some(session) = known.session() else { return };
        if let Some(id) = session.id_field() {
            fields.insert(SESSION_FIELD, id);
        }
        for (claim, field) in &self.claims {
            match session.claim(claim) {
                Some(serde_json::Value::String(text)) => set(fields, field, text),
                Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
                    set(fields, field, &value.to_string());
                }
                _ => {}
            }
        }
    }
}

/// Sets a field whose text came from a verified token; text that no field may hold is left out.
fn set(fields: &mut HeaderMap, field: &HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        fields.insert(field.clone(), value);
    }
}

impl SessionFilter {
    fn note_use(&self, activity: &Activity, session: &Arc<Session>) {
        if !self.is_shadow {
            activity.touch(session);
        }
    }

    /// The refusal of a request that proves no session. A cookie of ours that proves nothing any
    /// more is forgotten, or the next login might write another one beside it: only the one that is
    /// the host's alone, and not because another site has the browser ask.
    async fn refused(
        &self,
        halt: Halt,
        shown: &Credentials<'_>,
        request: &Request<'_>,
        known: &Exchange,
    ) -> Halt {
        let verifier = &self.sessions.verifier;
        match halt {
            Halt::Deny(denial, Cause::Token(why))
                if request.is_our_own(&[]) && shown.is_worth_forgetting(verifier, why).await =>
            {
                let field = forgotten(&self.sessions.config.cookie.0, &known.scheme);
                Halt::Deny(denial.with_header(header::SET_COOKIE, field), Cause::Token(why))
            }
            halt => halt,
        }
    }
}

/// What makes a browser forget the cookie `name` that is the host's alone. `Secure` is what names
/// with a prefix need, and what is not taken over plain HTTP.
fn forgotten(name: &str, scheme: &Scheme) -> HeaderValue {
    let is_secure = *scheme == Scheme::HTTPS || name.starts_with("__");
    let field = format!("{name}=; Max-Age=0{}", SameSite::Lax.attributes("/", is_secure));
    HeaderValue::try_from(field).expect("a name that was checked, and our own words")
}

/// A token's refusal under the code that clients know.
fn refusal(reason: TokenError) -> Halt {
    let code = match reason {
        TokenError::Expired => Code::SessionExpired,
        TokenError::KeysUnavailable => Code::EnforcementUnavailable,
        _ => Code::SessionInvalid,
    };
    Halt::Deny(code.into(), Cause::Token(reason))
}
