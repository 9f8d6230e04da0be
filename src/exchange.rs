//! One request and its response: all that is known of it so far, in typed fields.
//!
//! Filters read it and never write it; what they find out is a `Finding` that the chain enters.

mod client_identity;
mod quota;
mod room;

pub use client_identity::ClientIdentity;
pub use quota::Quota;
pub use room::{InFlightLimit, Room};

use crate::concurrency::{Admission, IdentitySource, Outcome};
use crate::denial::{Code, Denial};
use crate::request::head::HeadSizes;
use crate::route::{Miss, RouteIndex};
use crate::session::{AccountText, Session, TokenError, Viewer};
use http::HeaderValue;
use http::uri::Scheme;
use rand::RngExt;
use std::net::IpAddr;
use std::sync::Arc;
use streamgate_lease::{Lease, LeaseText};
use tokio::time::Instant;

/// 128 random bits in hexadecimal: names one request in answers, logs and upstreams.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 32]);

impl RequestId {
    /// A new id.
    pub fn random() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bits: u128 = rand::rng().random();
        let digit = |i: usize| DIGITS[(bits >> (i * 4) & 15) as usize];
        RequestId(std::array::from_fn(digit))
    }

    /// The id as the value of a header field.
    pub fn field(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).expect("hexadecimal digits are visible ASCII")
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a filter found out: entered into the exchange when the filter lets pass.
#[derive(Debug)]
pub enum Finding {
    /// The token was verified.
    Session(Arc<Session>),
    /// The same, but its store could not be asked whether it was ended since.
    UnaskedSession(Arc<Session>),
    /// The stream may play.
    Stream(Playing),
    /// The stream may not play, unless the answer shows that a playback begins: then it is judged.
    Awaited(Account, Box<(Denial, Cause)>),
    /// So much is left of a rate.
    Quota(Quota),
    /// Nothing that was not known before, as of a filter in shadow that would have let it pass.
    Nothing,
    /// The filter of this name is in shadow and would have refused it.
    Shadow(&'static str, Code),
}

/// A stream that was let pass.
#[derive(Debug)]
pub struct Playing {
    /// The account that plays.
    pub account: Account,
    /// How the stream was admitted.
    pub admission: Admission,
    /// What the lease's id prints as.
    pub lease_text: LeaseText,
    /// How the stream was identified.
    pub rung: IdentitySource,
    /// It began with this request: the client does not know its token yet.
    pub is_new_playback: bool,
    /// The answer may show that another playback begins here, which then takes its place.
    pub awaits_answer: bool,
}

/// What stands behind a refusal, for those who count and report it.
#[derive(Clone, Debug)]
pub enum Cause {
    /// The refusal's code says it all.
    Plain,
    /// The token was not taken.
    Token(TokenError),
    /// The stream was not let in.
    Stream(Outcome, Account, IdentitySource),
    /// There are as many requests as there may be.
    Full(InFlightLimit),
}

/// The hash behind which an account hides, as it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Account(AccountText);

impl Account {
    /// The account of this viewer.
    pub fn of(viewer: &Viewer) -> Self {
        Account(*viewer.account_text())
    }

    /// The hash as the value of a header field.
    pub fn field(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).expect("hexadecimal digits are visible ASCII")
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

/// What the request asks for, as the gateway reads it: what upstreams get and logs show.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// It was not read, so nobody knows what may stand in it.
    #[default]
    Unread,
    /// The client wrote it as it is read.
    AsWritten,
    /// The path, normalised and without a stream's token, and the query.
    Rewritten(String),
}

/// All that is known of one request.
#[derive(Debug)]
pub struct Exchange {
    /// The id of the request.
    pub id: RequestId,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// Who the client is by the certificate that it has shown, where TLS ends here.
    pub client_identity: Option<Arc<ClientIdentity>>,
    /// The scheme of the URL that the client asked for.
    pub scheme: Scheme,
    /// How much room there is for it.
    pub room: Room,
    /// How large its head may be.
    pub head_sizes: HeadSizes,
    /// When the request began.
    pub began: Instant,
    /// What the request asks for.
    pub target: Target,
    /// What the upstream is asked for in its place, if the route says so.
    pub asked: Option<String>,
    /// What stands for a part of its path, where its upstream tells requests apart by that.
    pub capture: Option<u64>,
    route: Option<RouteIndex>,
    nearest: Option<RouteIndex>,
    session: Option<Arc<Session>>,
    /// The session passed by its signature alone.
    pub is_session_unasked: bool,
    account: Option<Account>,
    lease: Option<(Lease, LeaseText)>,
    /// Only the head of the answer tells whether a playback begins here.
    pub awaits_answer: bool,
    awaited: Option<Box<(Denial, Cause)>>,
    /// The status of the answer is known.
    is_answered: bool,
    stream_outcome: Option<Outcome>,
    rung: Option<IdentitySource>,
    /// The stream's token goes out with the answer.
    pub is_new_playback: bool,
    shadows: Vec<(&'static str, Code)>,
    quotas: Vec<Quota>,
    session_reason: Option<TokenError>,
    reached: Option<InFlightLimit>,
    denied: Option<Code>,
}

impl Exchange {
    /// An exchange that has just begun.
    pub fn new(client: Option<IpAddr>) -> Self {
        Exchange {
            id: RequestId::random(),
            client,
            client_identity: None,
            scheme: Scheme::HTTP,
            room: Room::Plenty,
            head_sizes: HeadSizes::default(),
            began: Instant::now(),
            target: Target::Unread,
            asked: None,
            capture: None,
            route: None,
            nearest: None,
            session: None,
            is_session_unasked: false,
            account: None,
            lease: None,
            awaits_answer: false,
            awaited: None,
            is_answered: false,
            stream_outcome: None,
            rung: None,
            is_new_playback: false,
            shadows: Vec::new(),
            quotas: Vec::new(),
            session_reason: None,
            reached: None,
            denied: None,
        }
    }

    /// Enters the route that the request takes.
    pub fn enter(&mut self, route: RouteIndex) {
        assert!(self.route.is_none(), "a request is judged once and takes one route");
        self.route = Some(route);
    }

    /// The route that was entered, in the table of the gateway that judged the request.
    pub fn route(&self) -> Option<RouteIndex> {
        self.route
    }

    /// Notes that no route takes the request.
    pub fn missed(&mut self, miss: &Miss) {
        self.nearest = match miss {
            Miss::NoRoute => None,
            Miss::Method(_, nearest) => Some(*nearest),
        };
    }

    /// The route that would take the request with another method, where no route takes it.
    pub fn nearest(&self) -> Option<RouteIndex> {
        self.nearest
    }

    /// Enters what a filter found out.
    pub fn learn(&mut self, finding: Finding) {
        match finding {
            Finding::Session(session) => self.session = Some(session),
            Finding::UnaskedSession(session) => {
                self.session = Some(session);
                self.is_session_unasked = true;
            }
            Finding::Nothing => {}
            Finding::Quota(quota) => self.quotas.push(quota),
            Finding::Awaited(account, refusal) => {
                self.account = Some(account);
                self.awaits_answer = true;
                self.awaited = Some(refusal);
            }
            Finding::Shadow(filter, code) => self.shadows.push((filter, code)),
            Finding::Stream(playing) => {
                self.account = Some(playing.account);
                self.rung = Some(playing.rung);
                self.is_new_playback = playing.is_new_playback;
                self.awaits_answer = playing.awaits_answer;
                match playing.admission {
                    Admission::Held(lease, outcome) => {
                        self.lease = Some((lease, playing.lease_text));
                        self.stream_outcome = Some(outcome);
                    }
                    Admission::Uncounted => {
                        self.stream_outcome = Some(Outcome::AdmittedFailOpen);
                    }
                }
            }
        }
    }

    /// Remembers what was refused and why.
    pub fn note(&mut self, code: Code, cause: Cause) {
        self.denied = Some(code);
        match cause {
            Cause::Plain => {}
            Cause::Token(reason) => self.session_reason = Some(reason),
            Cause::Full(limit) => self.reached = Some(limit),
            Cause::Stream(outcome, account, rung) => {
                self.stream_outcome = Some(outcome);
                self.rung = Some(rung);
                self.account = Some(account);
            }
        }
    }

    /// The session, once it is verified.
    pub fn session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref()
    }

    /// Why the request is refused, unless its answer shows that a playback begins.
    pub fn awaited(&self) -> Option<&(Denial, Cause)> {
        self.awaited.as_deref()
    }

    /// The lease of the stream, once it is admitted.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref().map(|(lease, _)| lease)
    }

    /// The lease, and its id as upstreams and clients get it.
    pub fn lease_with_text(&self) -> Option<&(Lease, LeaseText)> {
        self.lease.as_ref()
    }

    /// The status of the answer is known, interim answers (1xx) apart.
    pub fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Notes the status of the answer, 0 where the client went away before there was one. True if
    /// it is the first of the request, interim answers (1xx) apart, and an error.
    pub fn fails_with(&mut self, status: u16) -> bool {
        let is_interim = (100..200).contains(&status) && status != 101;
        if is_interim || std::mem::replace(&mut self.is_answered, true) {
            return false;
        }
        !(100..400).contains(&status)
    }

    /// The account that was asked about, if a stream was judged.
    pub fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// How the decision about the stream ended.
    pub fn stream_outcome(&self) -> Option<Outcome> {
        self.stream_outcome
    }

    /// By what the stream was identified.
    pub fn rung(&self) -> Option<IdentitySource> {
        self.rung
    }

    /// Filters in shadow that would have refused it, and how.
    pub fn shadows(&self) -> &[(&'static str, Code)] {
        &self.shadows
    }

    /// What is left of the rates that the request was charged to.
    pub fn quotas(&self) -> &[Quota] {
        &self.quotas
    }

    /// Why the session was not accepted.
    pub fn session_reason(&self) -> Option<TokenError> {
        self.session_reason
    }

    /// The limit for which there was no room.
    pub fn reached(&self) -> Option<InFlightLimit> {
        self.reached
    }

    /// The code of the refusal, if there is one.
    pub fn denied(&self) -> Option<Code> {
        self.denied
    }
}
