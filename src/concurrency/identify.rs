//! `impl Policy`: which stream a request belongs to, and the token that its next requests carry.

use super::Policy;
use super::identity::{Identity, MayStart, StreamId};
use crate::denial::{Code, Denial, Reply};
use crate::request::{PATH_TOKEN_PREFIX, Request};
use crate::session::Session;
use http::{HeaderName, HeaderValue, header};
use serde_json::Value;
use streamgate_lease::LeaseId;

impl Policy {
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
