//! Which stream a request belongs to: the rungs that a policy tries, the strongest first.
//!
//! A stream token is the gateway's own word. The id of a playback is a hint *within* a verified
//! session. The session itself is always there, and then one login plays one stream.

use super::Policy;
use super::carrier::{Carrier, is_first, redirect};
use super::identity::{self, Settings, Step};
use super::playback::playback_id;
use super::stream_token::{Bearer, Signet, Unsealed};
use crate::clock;
use crate::denial::{Code, Denial, Reply};
use crate::problem::Problem;
use crate::request::{PATH_TOKEN_PREFIX, Request};
use crate::session::{Session, Viewer};
use crate::yaml::At;
use http::{HeaderName, HeaderValue, header};
use rand::RngExt;
use serde_json::Value;
use streamgate_lease::LeaseId;

/// By what a stream was told from others: the label `rung`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rung {
    StreamToken,
    PlaybackId,
    Session,
}

impl Rung {
    /// Every rung, for the metrics.
    pub const ALL: [Rung; 3] = [Rung::StreamToken, Rung::PlaybackId, Rung::Session];

    pub const fn name(self) -> &'static str {
        match self {
            Rung::StreamToken => "stream_token",
            Rung::PlaybackId => "playback_id",
            Rung::Session => "session",
        }
    }
}

/// A stream, and by what it was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId {
    pub lease: LeaseId,
    pub rung: Rung,
}

/// Which stream a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    Of(StreamId),
    /// None yet: it is the first of a playback, which gets a token.
    Newborn,
}

/// Whether a request may begin a playback of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// Tokens are read, and none is given.
    Never,
    /// A playlist without a token begins one.
    AtPlaylist,
    /// The viewer starts anew: a cookie of the playback before does not hold it back.
    Anew,
}

/// The rungs of one policy.
#[derive(Debug)]
pub(super) struct Ladder {
    tokens: Option<Tokens>,
    takes_playback_id: bool,
    takes_session: bool,
}

#[derive(Debug)]
struct Tokens {
    signet: Signet,
    lifetime_secs: u64,
    carrier: Carrier,
}

impl Ladder {
    /// Left out, it is the id of the playback, then the session.
    pub(super) fn compile(written: Option<&At<Vec<At<Step>>>>) -> Result<Self, Vec<Problem>> {
        let Some(written) = written else {
            return Ok(Ladder { tokens: None, takes_playback_id: true, takes_session: true });
        };
        let problems = identity::problems(written);
        if !problems.is_empty() {
            return Err(problems);
        }
        let steps = || written.iter().map(|step| &step.value);
        Ok(Ladder {
            tokens: steps().find_map(Step::token).map(Tokens::new),
            takes_playback_id: steps().any(|step| matches!(step, Step::PlaybackId)),
            takes_session: steps().any(|step| matches!(step, Step::Session)),
        })
    }

    /// The rungs below the token.
    fn below(&self, request: &Request<'_>, session: &Session, viewer: &Viewer) -> Option<StreamId> {
        if self.takes_playback_id
            && let Some(id) = playback_id(request)
        {
            let lease = LeaseId::of(session.id(), Some(&id));
            return Some(StreamId { lease, rung: Rung::PlaybackId });
        }
        let own = StreamId { lease: viewer.own_stream, rung: Rung::Session };
        self.takes_session.then_some(own)
    }
}

impl Tokens {
    fn new(settings: &Settings) -> Self {
        let also = settings.also.as_ref().map(|secret| secret.reveal().as_bytes());
        Tokens {
            signet: Signet::new(settings.secret.reveal().as_bytes(), also),
            lifetime_secs: settings.lifetime.0.as_secs(),
            carrier: Carrier::new(settings),
        }
    }

    fn seal(&self, lease: &LeaseId, viewer: &Viewer, session: &Session) -> String {
        let expires_at = clock::unix_seconds() + self.lifetime_secs;
        self.signet.seal(lease, expires_at, bearer(viewer, session))
    }

    fn open(&self, text: &str, viewer: &Viewer, session: &Session) -> Result<StreamId, Denial> {
        let now = clock::unix_seconds();
        let mut opened = self.signet.open(text, bearer(viewer, session), now);
        // While a pepper is being changed, what another gateway sealed may bear the other name.
        if let (Err(Unsealed::Invalid), Some(other)) = (opened, viewer.holder().other()) {
            let account = other.to_string();
            let bearer = Bearer { account: account.as_bytes(), session: session.id() };
            opened = self.signet.open(text, bearer, now);
        }
        let code = match opened {
            Ok(lease) => return Ok(StreamId { lease, rung: Rung::StreamToken }),
            Err(Unsealed::Invalid) => Code::StreamTokenInvalid,
            Err(Unsealed::Expired) => Code::StreamExpired,
        };
        let denial = Denial::from(code);
        // A browser would send it again and again.
        Err(match self.carrier.forget() {
            Some(cookie) => denial.with_header(header::SET_COOKIE, cookie),
            None => denial,
        })
    }
}

fn bearer<'a>(viewer: &'a Viewer, session: &'a Session) -> Bearer<'a> {
    Bearer { account: viewer.account_text(), session: session.id() }
}

impl Policy {
    /// Which stream of the session a request belongs to. Looks up and computes, never waits.
    pub fn identify(
        &self,
        request: &Request<'_>,
        session: &Session,
        birth: Birth,
    ) -> Result<Identity, Denial> {
        let viewer = self.viewer(session);
        if let Some(tokens) = &self.ladder.tokens {
            let begins = birth != Birth::Never && is_first(request);
            let is_anew = birth == Birth::Anew && matches!(tokens.carrier, Carrier::Cookie { .. });
            match tokens.carrier.find(request) {
                Some(text) if !(begins && is_anew) => {
                    return tokens.open(text, &viewer, session).map(Identity::Of);
                }
                _ if begins => return Ok(Identity::Newborn),
                _ => {}
            }
        }
        let below = self.ladder.below(request, session, &viewer);
        below.map(Identity::Of).ok_or_else(|| Code::StreamTokenMissing.into())
    }

    /// The stream that the session itself is.
    pub fn own_stream(&self, session: &Session) -> StreamId {
        StreamId { lease: self.viewer(session).own_stream, rung: Rung::Session }
    }

    /// A playback that nobody has a name for yet.
    pub fn newborn() -> StreamId {
        let lease = LeaseId::from_bytes(rand::rng().random());
        StreamId { lease, rung: Rung::StreamToken }
    }

    /// Whether streams of this policy are given tokens.
    pub fn gives_tokens(&self) -> bool {
        self.ladder.tokens.is_some()
    }

    /// The answer that begins a playback whose token travels in the path; `None`: it doesn't.
    pub fn begin(
        &self,
        request: &Request<'_>,
        session: &Session,
        lease: &LeaseId,
    ) -> Option<Reply> {
        let tokens = self.ladder.tokens.as_ref()?;
        let is_in_path = matches!(tokens.carrier, Carrier::Path);
        is_in_path.then(|| {
            let token = tokens.seal(lease, &self.viewer(session), session);
            redirect(&token, request)
        })
    }

    /// The cookie that a stream's answers carry on; `None`: the token travels otherwise.
    pub fn cookie(&self, session: &Session, lease: &LeaseId) -> Option<HeaderValue> {
        let tokens = self.ladder.tokens.as_ref()?;
        if let Carrier::Path = tokens.carrier {
            return None;
        }
        let token = tokens.seal(lease, &self.viewer(session), session);
        tokens.carrier.keep(&token, tokens.lifetime_secs)
    }

    /// What makes a browser forget the stream that it ended.
    pub fn forget_cookie(&self) -> Option<HeaderValue> {
        self.ladder.tokens.as_ref()?.carrier.forget()
    }

    /// Hands an app the token of the stream that it started itself: in the body, or as a cookie.
    pub fn hand_over(
        &self,
        session: &Session,
        lease: &LeaseId,
        shown: &mut Value,
    ) -> Option<(HeaderName, HeaderValue)> {
        let tokens = self.ladder.tokens.as_ref()?;
        if let Some(cookie) = self.cookie(session, lease) {
            return Some((header::SET_COOKIE, cookie));
        }
        let token = tokens.seal(lease, &self.viewer(session), session);
        shown["path_prefix"] = format!("{PATH_TOKEN_PREFIX}{token}").into();
        shown["token"] = token.into();
        None
    }
}
