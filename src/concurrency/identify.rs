//! `impl Policy`: which stream a request belongs to, and the token that its next requests carry.

use super::Policy;
use super::identity::{Identity, MayStart, StreamId};
use crate::clock;
use crate::denial::{Code, Denial, Reply};
use crate::request::{PATH_TOKEN_PREFIX, Request, Ticket};
use crate::session::Session;
use http::{HeaderName, HeaderValue, header};
use rand::RngExt;
use serde_json::Value;
use std::sync::Arc;
use streamgate_lease::LeaseId;

impl Policy {
    /// Whether casting tickets are given for streams of this policy.
    pub fn gives_tickets(&self) -> bool {
        self.tickets.is_some()
    }

    /// The ticket of this text, if it was sealed for this policy.
    pub fn open_ticket(&self, text: &str) -> Option<Ticket> {
        self.tickets.as_ref()?.open(text)
    }

    /// The ticket for a stream of this session below `path`; `token` proves the session.
    pub fn new_ticket(
        &self,
        session: &Session,
        token: String,
        path: &str,
        (device, title): (Option<String>, Option<String>),
    ) -> Result<(String, Ticket), Denial> {
        let Some(tickets) = &self.tickets else { return Err(Code::RouteNotFound.into()) };
        let use_within = tickets.use_within().as_millis() as u64;
        let ticket = Ticket {
            policy: Arc::clone(&self.name),
            lease: rand::rng().random(),
            use_by_ms: clock::unix_ms() + use_within,
            ends_at_ms: session.expires_at() * 1000,
            path: path.to_owned(),
            token,
            device,
            title,
        };
        let sealed = tickets.seal(&ticket).map(|text| (text, ticket));
        sealed.ok_or_else(|| {
            Denial::from(Code::RequestMalformed)
                .because("the session's token is too long for a ticket, which stands in an address")
        })
    }

    /// Which stream of the session a request belongs to. Looks up and computes, never waits.
    pub fn identify(
        &self,
        request: &Request<'_>,
        session: &Session,
        may_start: MayStart,
    ) -> Result<Identity, Denial> {
        self.identity.identify(request, session, &self.viewer(session), may_start)
    }

    /// Refuses what another site has a browser ask for: a change needs the viewer's own wish.
    pub fn check_origin(&self, request: &Request<'_>) -> Result<(), Denial> {
        match request.is_our_own(&self.origins) {
            true => Ok(()),
            false => Err(Code::OriginRefused.into()),
        }
    }

    /// The stream that the session itself is.
    pub fn own_stream(&self, session: &Session) -> StreamId {
        StreamId::of_session(&self.viewer(session))
    }

    /// Whether a new playback is answered with a redirect to a path with its token.
    pub fn redirects(&self) -> bool {
        self.identity.tokens.as_ref().is_some_and(|tokens| !tokens.is_in_cookie())
    }

    /// Whether streams of this policy are given tokens.
    pub fn gives_tokens(&self) -> bool {
        self.identity.tokens.is_some()
    }

    /// The redirect to a path with a token, which starts a playback; `None` where tokens do not
    /// travel in the path. A retry of a start has the token that the start had: it was born then.
    pub fn start_redirect(
        &self,
        request: &Request<'_>,
        session: &Session,
        lease: &LeaseId,
        born_at: Option<u64>,
    ) -> Option<Reply> {
        let tokens = self.identity.tokens.as_ref()?;
        tokens.redirect(request, lease, born_at, &self.viewer(session), session)
    }

    /// The cookie that a stream's first answer sets; `None` where tokens do not travel in a cookie.
    pub fn cookie(
        &self,
        session: &Session,
        lease: &LeaseId,
        born_at: Option<u64>,
    ) -> Option<HeaderValue> {
        let tokens = self.identity.tokens.as_ref()?;
        tokens.cookie(lease, born_at, &self.viewer(session), session)
    }

    /// The cookie that makes a browser forget a stream that it ended.
    pub fn clear_cookie(&self) -> Option<HeaderValue> {
        self.identity.tokens.as_ref()?.clear_cookie()
    }

    /// Gives an app the token of the stream that it started itself: as the cookie that is returned,
    /// or in the body `shown`.
    pub fn give_token(
        &self,
        session: &Session,
        lease: &LeaseId,
        shown: &mut Value,
    ) -> Option<(HeaderName, HeaderValue)> {
        let tokens = self.identity.tokens.as_ref()?;
        if let Some(cookie) = self.cookie(session, lease, None) {
            return Some((header::SET_COOKIE, cookie));
        }
        let token = tokens.sign(lease, None, &self.viewer(session), session);
        shown["path_prefix"] = format!("{PATH_TOKEN_PREFIX}{token}").into();
        shown["token"] = token.into();
        None
    }
}
