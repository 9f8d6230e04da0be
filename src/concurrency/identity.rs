//! Which stream a request belongs to: the sources of identity that a policy tries, the strongest
//! first.
//!
//! A stream token was signed by the gateway and proves the stream. The player's own id is only a
//! hint *within* a verified session. The session itself is always there; where it is the identity,
//! one login plays one stream.

mod config;
mod playback_id;
mod stream_token;
mod token_transport;

pub use config::{Carry, SourceConfig};
pub use stream_token::{StreamTokenError, StreamTokenKey, Subject, TOKEN_CHARS};
pub use token_transport::REPLACE_PARAM;

use crate::clock;
use crate::denial::{Code, Denial, Reply};
use crate::problem::Problem;
use crate::request::Request;
use crate::session::{Session, Viewer};
use crate::yaml::At;
use config::Settings;
use http::{HeaderValue, header};
use playback_id::playback_id;
use rand::RngExt;
use streamgate_lease::LeaseId;
use token_transport::{TokenTransport, redirect};

/// How a stream was identified: the value of the metric label and log field `rung`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentitySource {
    /// By the token that the gateway signed when the stream began.
    StreamToken,
    /// By the id that the player sends.
    PlaybackId,
    /// By the session alone.
    Session,
    /// By a casting ticket.
    Ticket,
}

impl IdentitySource {
    /// Every source, for the metrics.
    pub const ALL: [IdentitySource; 4] = [
        IdentitySource::StreamToken,
        IdentitySource::PlaybackId,
        IdentitySource::Session,
        IdentitySource::Ticket,
    ];

    /// The value of the label and the log field.
    pub const fn name(self) -> &'static str {
        match self {
            IdentitySource::StreamToken => "stream_token",
            IdentitySource::PlaybackId => "playback_id",
            IdentitySource::Session => "session",
            IdentitySource::Ticket => "ticket",
        }
    }
}

/// A stream, and how it was identified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId {
    /// The lease that the stream holds or asks for.
    pub lease: LeaseId,
    /// How the stream was identified.
    pub source: IdentitySource,
}

impl StreamId {
    /// A playback that begins now. Its id is random, and its token will carry it.
    pub fn new_playback() -> Self {
        let lease = LeaseId::from_bytes(rand::rng().random());
        StreamId { lease, source: IdentitySource::StreamToken }
    }

    /// The playback that the player calls `id`, within this session.
    pub fn of_playback(session: &Session, id: &str) -> Self {
        let lease = LeaseId::of(session.id(), Some(id));
        StreamId { lease, source: IdentitySource::PlaybackId }
    }

    /// The one stream of a session whose players send no id.
    pub(super) fn of_session(viewer: &Viewer) -> Self {
        StreamId { lease: viewer.own_stream, source: IdentitySource::Session }
    }
}

/// Which stream a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// To a stream that something in the request identifies.
    Known(StreamId),
    /// To none yet: the request is the first of a playback, which will be given a token.
    NewPlayback,
}

/// Whether a request without a stream token may start a playback of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayStart {
    /// No: tokens are read, and none is given.
    Never,
    /// Yes, if it asks for a playlist and has no token.
    AtPlaylist,
    /// Yes, because the viewer pressed play. A cookie of the playback before is not used.
    Explicitly,
}

/// How one policy identifies streams: its sources, compiled.
#[derive(Debug)]
pub(super) struct StreamIdentity {
    /// `None`: the policy gives no tokens.
    pub(super) tokens: Option<StreamTokens>,
    takes_playback_id: bool,
    takes_session: bool,
}

impl StreamIdentity {
    /// Where the file has no `identity`, the player's id is tried, then the session.
    pub(super) fn compile(
        written: Option<&At<Vec<At<SourceConfig>>>>,
    ) -> Result<Self, Vec<Problem>> {
        let Some(written) = written else {
            return Ok(StreamIdentity {
                tokens: None,
                takes_playback_id: true,
                takes_session: true,
            });
        };
        let problems = config::problems(written);
        if !problems.is_empty() {
            return Err(problems);
        }
        let sources = || written.iter().map(|source| &source.value);
        Ok(StreamIdentity {
            tokens: sources().find_map(SourceConfig::token).map(StreamTokens::new),
            takes_playback_id: sources().any(|one| matches!(one, SourceConfig::PlaybackId)),
            takes_session: sources().any(|one| matches!(one, SourceConfig::Session)),
        })
    }

    /// Tries the sources in order.
    pub(super) fn identify(
        &self,
        request: &Request<'_>,
        session: &Session,
        viewer: &Viewer,
        may_start: MayStart,
    ) -> Result<Identity, Denial> {
        if let Some(tokens) = &self.tokens {
            let drops_cookie = may_start == MayStart::Explicitly && tokens.is_in_cookie();
            let found = tokens.transport.found(request);
            let has_none = found.is_empty() || (drops_cookie && request.is_start());
            if !has_none {
                return tokens.verify_one(&found, viewer, session).map(Identity::Known);
            }
            if may_start != MayStart::Never && request.is_start() {
                return Ok(Identity::NewPlayback);
            }
        }
        let weaker = self.without_token(request, session, viewer);
        weaker.map(Identity::Known).ok_or_else(|| Code::StreamTokenMissing.into())
    }

    /// The stream by the sources that are weaker than a token.
    fn without_token(
        &self,
        request: &Request<'_>,
        session: &Session,
        viewer: &Viewer,
    ) -> Option<StreamId> {
        if self.takes_playback_id
            && let Some(id) = playback_id(request)
        {
            return Some(StreamId::of_playback(session, &id));
        }
        self.takes_session.then(|| StreamId::of_session(viewer))
    }
}

/// The stream tokens of one policy: what signs them, how long they are good, how they travel.
#[derive(Debug)]
pub(super) struct StreamTokens {
    key: StreamTokenKey,
    lifetime_secs: u64,
    transport: TokenTransport,
}

impl StreamTokens {
    fn new(settings: &Settings) -> Self {
        let also = settings.also.as_ref().map(|secret| secret.reveal().as_bytes());
        StreamTokens {
            key: StreamTokenKey::new(settings.secret.reveal().as_bytes(), also),
            lifetime_secs: settings.lifetime.0.as_secs(),
            transport: TokenTransport::new(settings),
        }
    }

    /// Whether the tokens travel in a cookie, and not in the path.
    pub(super) fn is_in_cookie(&self) -> bool {
        matches!(self.transport, TokenTransport::Cookie { .. })
    }

    /// A new token for this lease of this session.
    pub(super) fn sign(
        &self,
        lease: &LeaseId,
        born_at: Option<u64>,
        viewer: &Viewer,
        session: &Session,
    ) -> String {
        let born_secs = born_at.map_or_else(clock::unix_seconds, |ms| ms / 1000);
        let expires_at = born_secs + self.lifetime_secs;
        self.key.sign(lease, expires_at, subject(viewer, session))
    }

    /// The redirect to a path with a new token; `None` where tokens do not travel in the path.
    pub(super) fn redirect(
        &self,
        request: &Request<'_>,
        lease: &LeaseId,
        born_at: Option<u64>,
        viewer: &Viewer,
        session: &Session,
    ) -> Option<Reply> {
        if self.is_in_cookie() {
            return None;
        }
        Some(redirect(&self.sign(lease, born_at, viewer, session), request))
    }

    /// The cookie with a new token; `None` where tokens do not travel in a cookie.
    pub(super) fn cookie(
        &self,
        lease: &LeaseId,
        born_at: Option<u64>,
        viewer: &Viewer,
        session: &Session,
    ) -> Option<HeaderValue> {
        if !self.is_in_cookie() {
            return None;
        }
        self.transport.set(&self.sign(lease, born_at, viewer, session), self.lifetime_secs)
    }

    /// What makes a browser forget the cookie; `None` where tokens do not travel in a cookie.
    pub(super) fn clear_cookie(&self) -> Option<HeaderValue> {
        self.transport.clear()
    }

    /// The stream that the first good one of these tokens names; else what is wrong with the first.
    fn verify_one(
        &self,
        found: &[&str],
        viewer: &Viewer,
        session: &Session,
    ) -> Result<StreamId, Denial> {
        let mut refused = None;
        for text in found {
            match self.verify(text, viewer, session) {
                Ok(id) => return Ok(id),
                Err(denial) => refused = refused.or(Some(denial)),
            }
        }
        Err(refused.unwrap_or_else(|| Code::StreamTokenMissing.into()))
    }

    /// The stream that the token names, if it is good and of this session.
    fn verify(&self, text: &str, viewer: &Viewer, session: &Session) -> Result<StreamId, Denial> {
        let now = clock::unix_seconds();
        let mut verified = self.key.verify(text, subject(viewer, session), now);
        // While a pepper is being changed, another gateway may have signed for the other name.
        if let (Err(StreamTokenError::Invalid), Some(other)) = (verified, viewer.holder().other()) {
            let account = other.to_string();
            let subject = Subject { account: account.as_bytes(), session: session.id() };
            verified = self.key.verify(text, subject, now);
        }
        let code = match verified {
            Ok(lease) => return Ok(StreamId { lease, source: IdentitySource::StreamToken }),
            Err(StreamTokenError::Invalid) => Code::StreamTokenInvalid,
            Err(StreamTokenError::Expired) => Code::StreamExpired,
        };
        let denial = Denial::from(code);
        // Without this, a browser would send the bad cookie again and again.
        Err(match self.clear_cookie() {
            Some(cookie) => denial.with_header(header::SET_COOKIE, cookie),
            None => denial,
        })
    }
}

fn subject<'a>(viewer: &'a Viewer, session: &'a Session) -> Subject<'a> {
    Subject { account: viewer.account_text(), session: session.id() }
}
