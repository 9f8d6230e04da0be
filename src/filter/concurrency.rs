//! The filter `concurrency`: finds out which stream a request belongs to and has it admitted.
//!
//! How many may play, and what holds when the store is gone, is the room `concurrency`'s knowledge.

mod chosen;
mod policy;

use super::{Decision, Fact, Filter, Halt, Stance, set_cookie};
use crate::concurrency::{
    Admission, Identity, IdentitySource, MayStart, Policy, REPLACE_PARAM, Stream, StreamId,
    check_ttl, lease_field,
};
use crate::denial::{Code, Denial};
use crate::exchange::{Account, Cause, Exchange, Finding, InFlightLimit, Playing, Room};
use crate::part::Parts;
use crate::problem::Problem;
use crate::request::{Request, is_playlist};
use crate::session::Session;
use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::{About, Class, Ending, LeaseId, Replace, Ticket};

pub(super) use chosen::Config;

/// What the filter names; the streams API names it, too.
pub(super) type Entry = Arc<Policy>;

/// The account's hash and the lease, as upstreams see them.
const ACCOUNT_FIELD: HeaderName = HeaderName::from_static("x-streamgate-account");
const LEASE_FIELD: HeaderName = HeaderName::from_static("x-streamgate-lease");

/// The lease, as clients see it.
const ANSWER_FIELD: &str = "Streamgate-Lease";

struct ConcurrencyFilter {
    policy: Arc<Policy>,
    classes: Box<[Class]>,
    /// What the route says, and what comes of it.
    route_ttl: Option<Duration>,
    ttl: Duration,
    is_shadow: bool,
}

pub(super) fn build(
    config: &Config,
    parts: &Parts,
    stance: Stance,
) -> Result<Box<dyn Filter>, Vec<Problem>> {
    let policy = Arc::clone(parts.find::<Entry, _>(config.policy())?);
    let mut problems = Vec::new();
    let named = config.classes().iter().map(|name| policy.class(name));
    let classes = named.filter_map(|class| class.map_err(|wrong| problems.push(wrong)).ok());
    let classes: Box<[Class]> = classes.collect();
    let route_ttl =
        config.ttl().and_then(|ttl| check_ttl(ttl).map_err(|problem| problems.push(problem)).ok());
    let route_ttl = route_ttl.map(|timing| timing.ttl());
    if problems.is_empty() {
        let is_shadow = stance == Stance::Shadow;
        if is_shadow {
            policy.prepare_shadow();
        }
        let ttl = policy.ttl_of(&classes, route_ttl);
        Ok(Box::new(ConcurrencyFilter { policy, classes, route_ttl, ttl, is_shadow }))
    } else {
        Err(problems)
    }
}

#[async_trait]
impl Filter for ConcurrencyFilter {
    fn needs(&self) -> &'static [Fact] {
        &[Fact::Session]
    }

    fn provides(&self) -> &'static [Fact] {
        &[Fact::Lease]
    }

    fn decide_at_once(&self, request: &Request<'_>, known: &Exchange) -> Option<Decision> {
        let session = known.session().expect("the chain was compiled behind `session`");
        if request.query_value(REPLACE_PARAM).is_some() {
            return None;
        }
        if let Err(denial) = self.check_ticket(request) {
            return Some(Err(denial.into()));
        }
        let id = match self.identify(request, session, MayStart::AtPlaylist) {
            Ok(Identity::Known(id)) => id,
            Ok(Identity::NewPlayback) => return None,
            Err(denial) => {
                return Some(self.unless_it_begins(request, session, denial, Cause::Plain));
            }
        };
        let admission = match self.is_shadow {
            true => self.policy.touch_in_shadow(session, &id.lease, &self.classes),
            false => self.policy.touch(session, &id.lease, &self.classes, self.ttl),
        }?;
        let mut playing = self.playing(session, admission, id, false);
        playing.awaits_answer = self.awaits_answer(request, id);
        Some(Ok(Finding::Stream(playing)))
    }

    async fn decide(&self, request: &Request<'_>, known: &Exchange) -> Decision {
        let session = known.session().expect("the chain was compiled behind `session`");
        self.check_ticket(request)?;
        let takeover = self.takeover(request)?;
        let may_start =
            if takeover.is_some() { MayStart::Explicitly } else { MayStart::AtPlaylist };
        let (id, is_new_playback) = match self.identify(request, session, may_start) {
            Ok(Identity::Known(id)) => (id, false),
            Ok(Identity::NewPlayback) => (StreamId::new_playback(), true),
            Err(denial) => {
                return self.unless_it_begins(request, session, denial, Cause::Plain);
            }
        };
        let starts = request.is_start();
        if !self.is_shadow && known.room != Room::Plenty && (starts || is_new_playback) {
            return Err(Halt::Deny(Denial::overloaded(), Cause::Full(InFlightLimit::Starts)));
        }
        let admitted = self.admit(request, session, id, is_new_playback, starts, takeover).await;
        match admitted {
            Ok(Finding::Stream(mut playing)) => {
                playing.awaits_answer = !is_new_playback && self.awaits_answer(request, id);
                Ok(Finding::Stream(playing))
            }
            Err(Halt::Deny(denial, cause)) if is_superseded(&denial) => {
                self.unless_it_begins(request, session, denial, cause)
            }
            admitted => admitted,
        }
    }

    async fn decide_by_answer(
        &self,
        request: &Request<'_>,
        answer: &ResponseHeader,
        known: &Exchange,
    ) -> Decision {
        let session = known.session().expect("the chain was compiled behind `session`");
        let has_playlist = matches!(answer.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT)
            && answer.headers.get(header::CONTENT_TYPE).is_some_and(is_playlist);
        match known.awaited() {
            // What the upstream itself refuses or sends elsewhere holds no slot and plays nothing.
            _ if !known.awaits_answer => return Ok(Finding::Nothing),
            Some((denial, cause)) if !has_playlist && answer.status.is_success() => {
                return Err(Halt::Deny(denial.clone(), cause.clone()));
            }
            _ if !has_playlist => return Ok(Finding::Nothing),
            Some(_) => {}
            // The slot of the weaker source, if this request took it, is not needed.
            None => self.failed(known).await,
        }
        // A takeover that was done with the weaker source is not done twice.
        let takeover = if known.lease().is_some() { None } else { self.takeover(request)? };
        match self.policy.gives_tokens() {
            true => {
                let id = StreamId::new_playback();
                self.admit(request, session, id, true, true, takeover).await
            }
            false => match self.identify(request, session, MayStart::Never)? {
                Identity::Known(id) => {
                    self.admit(request, session, id, false, true, takeover).await
                }
                Identity::NewPlayback => Ok(Finding::Nothing),
            },
        }
    }

    fn upstream_request(&self, fields: &mut HeaderMap, known: &Exchange) {
        if known.awaited().is_some() {
            // The answer must say what it is: 304 would not.
            fields.remove(header::IF_NONE_MATCH);
            fields.remove(header::IF_MODIFIED_SINCE);
        }
        if let Some(account) = known.account() {
            fields.insert(ACCOUNT_FIELD, account.field());
        }
        if let Some((_, text)) = known.lease_with_text() {
            fields.insert(LEASE_FIELD, HeaderValue::from_bytes(text).expect("base64url"));
        }
    }

    fn during(&self, known: &Exchange) -> Result<(), Denial> {
        let Some(lease) = known.lease() else { return Ok(()) };
        match self.policy.goes_on(lease) {
            true => Ok(()),
            false => Err(Code::StreamTerminated.into()),
        }
    }

    async fn failed(&self, known: &Exchange) {
        if let Some(lease) = known.lease() {
            self.policy.give_back(lease).await;
        }
    }

    fn response(&self, _: &HeaderMap, head: &mut ResponseHeader, known: &Exchange) {
        let Some((lease, text)) = known.lease_with_text() else { return };
        let _ = head.insert_header(ANSWER_FIELD, lease_field(lease, text));
        if known.rung() == Some(IdentitySource::Ticket) {
            // The address holds the ticket, and what the playlist names may be elsewhere.
            let _ = head.insert_header(header::REFERRER_POLICY, "no-referrer");
        }
        if !known.is_new_playback {
            return;
        }
        let cookie =
            known.session().and_then(|s| self.policy.cookie(s, &lease.id(), lease.born_at()));
        if let Some(cookie) = cookie {
            set_cookie(head, cookie);
        }
    }
}

/// Whom to replace, if the viewer says so.
type Takeover = Option<Replace>;

impl ConcurrencyFilter {
    /// A ticket is good below its own path, for streams of the policy that gave it, and takes over
    /// from nobody.
    fn check_ticket(&self, request: &Request<'_>) -> Result<(), Denial> {
        let Some(ticket) = request.ticket else { return Ok(()) };
        if ticket.policy != self.policy.name || !ticket.covers(&request.path) {
            return Err(Code::TicketRefused.into());
        }
        match request.query_value(REPLACE_PARAM) {
            None => Ok(()),
            Some(_) => {
                Err(Denial::from(Code::TicketRefused).because("a ticket takes over from nobody"))
            }
        }
    }

    /// The takeover that the viewer asks for. Another site may ask for none.
    fn takeover(&self, request: &Request<'_>) -> Result<Takeover, Halt> {
        let written = request.query_value(REPLACE_PARAM).filter(|_| !self.is_shadow);
        let Some(written) = written else { return Ok(None) };
        self.policy.check_origin(request)?;
        Ok(Some(replace(written)?))
    }

    /// Has the stream admitted. A new playback whose token travels in the path is redirected to it.
    async fn admit(
        &self,
        request: &Request<'_>,
        session: &Session,
        id: StreamId,
        is_new_playback: bool,
        starts: bool,
        takeover: Takeover,
    ) -> Decision {
        let mut stream = Stream::of_player(id, &self.classes);
        stream.ttl = self.route_ttl;
        stream.is_shadow = self.is_shadow;
        stream.starts = starts;
        stream.is_cross_site = request.is_cross_site();
        stream.is_unknown = is_new_playback;
        stream.path = is_new_playback.then_some(&*request.path);
        stream.is_redirected = is_new_playback && self.policy.redirects();
        if let Some(ticket) = request.ticket {
            let (use_by, ends_at) = (ticket.use_by_ms, ticket.ends_at_ms);
            stream.ticket = Some(Ticket { use_by, ends_at });
            stream.about = About::new(ticket.device.as_deref(), ticket.title.as_deref());
        }
        stream.explicit_start = takeover.is_some();
        stream.replace = takeover.unwrap_or_default();
        let admission = self.policy.admit(session, stream).await.map_err(|no| {
            Halt::Deny(no.denial, Cause::Stream(no.outcome, self.account(session), id.source))
        })?;
        let (lease, born_at) = match &admission {
            Admission::Held(lease, _) => (lease.id(), lease.born_at()),
            Admission::Uncounted => (id.lease, None),
        };
        let id = StreamId { lease, ..id };
        let found = Finding::Stream(self.playing(session, admission, id, is_new_playback));
        let begun = is_new_playback
            .then(|| self.policy.start_redirect(request, session, &lease, born_at))
            .flatten();
        match begun {
            Some(reply) => Err(Halt::Answered(reply, Box::new(found))),
            None => Ok(found),
        }
    }

    /// Whether the answer may show that a request of this stream begins another playback, which
    /// will have a token.
    fn awaits_answer(&self, request: &Request<'_>, id: StreamId) -> bool {
        !self.is_shadow
            && id.source != IdentitySource::StreamToken
            && self.policy.gives_tokens()
            && request.may_be_start()
    }

    /// The refusal, which waits for the answer where only that tells whether a playback begins.
    fn unless_it_begins(
        &self,
        request: &Request<'_>,
        session: &Session,
        denial: Denial,
        cause: Cause,
    ) -> Decision {
        let is_left_open = denial.code() == Code::StreamTokenMissing || is_superseded(&denial);
        if self.is_shadow || !is_left_open || !request.may_be_start() {
            return Err(Halt::Deny(denial, cause));
        }
        Ok(Finding::Awaited(self.account(session), Box::new((denial, cause))))
    }

    /// Which stream it is. In shadow no client is given a token, so none is missed either.
    fn identify(
        &self,
        request: &Request<'_>,
        session: &Session,
        may_start: MayStart,
    ) -> Result<Identity, Denial> {
        if let Some(ticket) = request.ticket {
            let lease = LeaseId::from_bytes(ticket.lease);
            return Ok(Identity::Known(StreamId { lease, source: IdentitySource::Ticket }));
        }
        if !self.is_shadow {
            return self.policy.identify(request, session, may_start);
        }
        match self.policy.identify(request, session, MayStart::Never) {
            Err(missing) if missing.code() == Code::StreamTokenMissing => {
                Ok(Identity::Known(self.policy.own_stream(session)))
            }
            identified => identified,
        }
    }

    fn playing(
        &self,
        session: &Session,
        admission: Admission,
        id: StreamId,
        is_new_playback: bool,
    ) -> Playing {
        let viewer = self.policy.viewer(session);
        let (account, lease_text) = (Account::of(&viewer), viewer.text_of(&id.lease));
        let (rung, awaits_answer) = (id.source, false);
        Playing { account, admission, lease_text, rung, is_new_playback, awaits_answer }
    }

    fn account(&self, session: &Session) -> Account {
        Account::of(&self.policy.viewer(session))
    }
}

/// Whether the stream may begin anew by a playlist.
fn is_superseded(denial: &Denial) -> bool {
    denial.code() == Code::StreamTerminated && denial.says("why", Ending::Superseded.as_str())
}

/// Reads whom a media request takes over from.
fn replace(written: &str) -> Result<Replace, Denial> {
    match written {
        "oldest" => Ok(Replace::Oldest),
        // What is no code at all names no stream either.
        code => code.parse::<LeaseId>().map(|id| Replace::These(vec![id])).map_err(|_| {
            Denial::from(Code::StreamNotFound)
                .because("`streamgate-replace` is `oldest` or the code of a stream")
        }),
    }
}
