//! How many streams an account may play at once: a policy, its leases, and what it does when the
//! account is full or the store does not answer.
//!
//! What a lease is and what renews it is in the library `streamgate-lease`. The filter
//! `concurrency` and the streams API ask here; they decide when to ask and what to send.

mod identify;
mod answer;
mod config;
mod allowance;
mod identity;
mod in_shadow;
mod waiting;
mod outcome;
mod ticket;

use allowance::Allowance;
pub use allowance::UnusableClaims;
pub use answer::{conflict, ended, lease_field, lease_json, listed};
use config::KindOfStream;
pub use config::{Config, SameSession, WhenFull, WhenStoreFails, check_ttl};
pub use identity::{
    Carry, Identity, IdentitySource, MayStart, REPLACE_PARAM, SourceConfig, StreamId,
    StreamTokenError, StreamTokenKey, Subject, TOKEN_CHARS,
};
pub use ticket::{Config as TicketsConfig, TicketKey};

use crate::denial::Code;
use crate::problem::{Problem, listed as listed_names};
use crate::session::{AccountHasher, Session, Viewer};
use crate::units::Text;
use crate::yaml::At;
use http::StatusCode;
use identity::StreamIdentity;
use in_shadow::ShadowLeases;
pub use outcome::{Admission, Outcome, Refusal};
use outcome::{late, unavailable};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::{
    About, Bounds, Claim, ClaimSource, Class, ClassLimit, Classes, DegradedPolicy, DisplacePolicy,
    Grant, Lease, LeaseId, Leases, Live, Replace, StartsExhausted, State, StoreError, Tag, Ticket,
    Timing,
};

/// A policy that routes share by naming it.
///
/// Its methods stand in three files: admission and the leases here; which stream a request belongs
/// to, and the token of a stream, in `concurrency/identify.rs`; what is only tried in
/// `concurrency/in_shadow.rs`.
pub struct Policy {
    /// The name of its entry in the file.
    pub name: Arc<str>,
    leases: Leases,
    shadow: ShadowLeases,
    hasher: AccountHasher,
    identity: StreamIdentity,
    limit: Allowance,
    classes: Vec<KindOfStream>,
    when_full: WhenFull,
    same_session: SameSession,
    when_store_fails: WhenStoreFails,
    /// What seals casting tickets, where there are any.
    tickets: Option<TicketKey>,
    /// Further origins of ours, from which browsers may change what plays.
    origins: Box<[String]>,
    /// Limits that tokens state in a form that can't be used.
    pub unusable_claims: UnusableClaims,
    /// The status of `concurrency_limit`, where old clients need another status than 409.
    status: Option<StatusCode>,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Which stream of a session is meant, and what the viewer asks for.
#[derive(Debug)]
pub struct Stream<'a> {
    /// Which stream it is.
    pub id: StreamId,
    /// What kind of stream it is: classes of the policy.
    pub classes: &'a [Class],
    /// How long its slot outlives its last request, where the route says it.
    pub ttl: Option<Duration>,
    /// What a viewer reads of it in the list: its device and title.
    pub about: About,
    /// The streams that it takes over from.
    pub replace: Replace,
    /// The viewer pressed play; it is not a player that only continues to ask.
    pub explicit_start: bool,
    /// It is a start by what is asked for, a playlist.
    pub starts: bool,
    /// Another site asks: no other stream ends for this one, whatever the policy says.
    pub is_cross_site: bool,
    /// Its id was made for this start, so nobody knows it before the answer.
    pub is_unknown: bool,
    /// The path that a new playback is started at, where the gateway makes its id.
    pub path: Option<&'a str>,
    /// What lets it play, if that is a ticket.
    pub ticket: Option<Ticket>,
    /// The answer is a redirect: the first request of the playback comes behind it.
    pub is_redirected: bool,
    /// The filter is in shadow: no other stream is replaced for this one, whatever the policy says.
    pub is_shadow: bool,
}

impl<'a> Stream<'a> {
    /// The stream as a player's own requests show it.
    pub fn of_player(id: StreamId, classes: &'a [Class]) -> Self {
        let (about, replace) = (About::default(), Replace::Nobody);
        Stream {
            id,
            classes,
            ttl: None,
            about,
            replace,
            explicit_start: false,
            starts: false,
            is_cross_site: false,
            is_unknown: false,
            path: None,
            ticket: None,
            is_redirected: false,
            is_shadow: false,
        }
    }

    fn displaces(&self, same_session: SameSession) -> DisplacePolicy {
        match same_session {
            _ if self.is_shadow || self.is_cross_site => DisplacePolicy::Nobody,
            SameSession::Supersede => DisplacePolicy::Older,
            SameSession::Count => DisplacePolicy::Marked,
        }
    }
}

impl Policy {
    /// Compiles the policy `name`; `leases` makes the leases in its store, with the policy's timing
    /// and bounds.
    pub fn compile(
        name: &At<String>,
        config: &Config,
        leases: impl FnOnce(Timing, Bounds) -> Leases,
    ) -> Result<Policy, Vec<Problem>> {
        let checked = config.check(name)?;
        let name: Arc<str> = name.as_str().into();
        Ok(Policy {
            leases: leases(checked.timing, checked.bounds),
            shadow: ShadowLeases::new(checked.timing, checked.bounds),
            hasher: AccountHasher::new(checked.pepper),
            identity: checked.identity,
            tickets: config.tickets.as_ref().map(|tickets| TicketKey::new(&name, tickets)),
            name,
            limit: checked.limit,
            classes: checked.classes,
            when_full: config.when_full,
            same_session: config.same_session,
            when_store_fails: config.when_store_fails,
            origins: config.origins.iter().map(|origin| origin.0.clone()).collect(),
            unusable_claims: UnusableClaims::default(),
            status: checked.status,
        })
    }

    /// The session's account, hashed with this policy's pepper.
    pub fn viewer<'s>(&self, session: &'s Session) -> Cow<'s, Viewer> {
        session.viewer(&self.hasher)
    }

    /// The class `name` of this policy.
    pub fn class(&self, name: &At<Text>) -> Result<Class, Problem> {
        let names = || self.classes.iter().map(|kind| kind.class.as_str());
        match self.classes.iter().find(|kind| kind.class.as_str() == name.0) {
            Some(kind) => Ok(kind.class),
            None => {
                let text = format!("policy `{}` has no class `{}`", self.name, name.value);
                let help = match listed_names(names()).as_str() {
                    "none" => "give the policy one: `classes: { 4k: { limit: 1 } }`".to_owned(),
                    all => format!("its classes: {all}"),
                };
                Err(name.problem(text).help(help))
            }
        }
    }

    /// How long the slot of a stream of these classes outlives its last request: what its route
    /// says, else the longest of its classes, else the policy's own.
    pub fn ttl_of(&self, classes: &[Class], route: Option<Duration>) -> Duration {
        let of = self.classes.iter().filter(|kind| classes.contains(&kind.class));
        let own = || self.leases.timing().ttl();
        route.or_else(|| of.filter_map(|kind| kind.ttl).max()).unwrap_or_else(own)
    }

    /// Admits a stream of these classes that this gateway knows and that is fresh, whose slot lives
    /// for so long, and notes that its player asked. At most a look-up, because the session
    /// remembers where it was found.
    pub fn touch(
        &self,
        session: &Session,
        id: &LeaseId,
        classes: &[Class],
        ttl: Duration,
    ) -> Option<Admission> {
        let lease = self.leases.touch_cached(&self.viewer(session).cached_entry, id, classes)?;
        (ttl <= lease.ttl()).then_some(Admission::Held(lease, Outcome::Renewed))
    }

    /// The first answer to a playback is an error, or the redirect to it reached nobody: gives the
    /// slot back, unless another request of the stream was let pass since. If the store does not
    /// answer, a `ttl` does it.
    pub async fn give_back(&self, lease: &Lease) {
        if lease.is_first() || lease.is_reserved() {
            let _ = self.leases.give_back(lease).await;
        }
    }

    /// Whether an answer that is being sent may go on. A look-up.
    pub fn goes_on(&self, lease: &Lease) -> bool {
        let alone = match self.when_store_fails {
            WhenStoreFails::Local => DegradedPolicy::Grace,
            WhenStoreFails::Open => DegradedPolicy::Endless,
            WhenStoreFails::Closed => DegradedPolicy::Never,
        };
        self.leases.may_continue(&lease.holder(), &lease.id(), alone)
    }

    /// Admits a stream that holds a slot, or for which there is room. Costs one round trip to the
    /// store, unless this gateway knows the stream.
    pub async fn admit(&self, session: &Session, stream: Stream<'_>) -> Result<Admission, Refusal> {
        let holder = *self.viewer(session).holder();
        let is_plain = matches!(stream.replace, Replace::Nobody) && !stream.explicit_start;
        if is_plain && let Some(admission) = self.known(session, &stream) {
            return Ok(admission);
        }
        let is_takeover = !matches!(stream.replace, Replace::Nobody);
        let is_unknown = stream.is_unknown;
        let displaces = stream.displaces(self.same_session);
        let replace = match (stream.replace, self.when_full) {
            _ if stream.is_shadow => Replace::Nobody,
            (Replace::Nobody, WhenFull::ReplaceOldest) => Replace::Oldest,
            (asked, _) => asked,
        };
        let claim = Claim {
            holder,
            id: stream.id.lease,
            limit: self.limit_of(session),
            classes: self.classes_of(session, stream.classes),
            ttl: Some(self.ttl_of(stream.classes, stream.ttl)),
            about: stream.about,
            replace,
            reusable: stream.id.source == IdentitySource::Session,
            explicit_start: stream.explicit_start,
            login: Some(Tag::of(session.id())),
            path: stream.path.map(Tag::of),
            by: if stream.is_redirected { ClaimSource::Reservation } else { ClaimSource::Request },
            displaces,
            starts: stream.starts,
            ticket: stream.ticket,
            adopt: false,
            lost: false,
        };
        if stream.is_shadow {
            return self.admit_in_shadow(claim).await;
        }
        let Some(_place) = waiting::enter() else { return Err(late()) };
        let decided = match self.leases.hold(&claim).await {
            Ok(grant) => return self.admission(grant, &claim, is_takeover),
            Err(error) if error.is_outage() => self.without_store(&claim),
            // It is slow, or it can't read what it has of this account: nobody plays by a guess.
            Err(_) => Err(late()),
        };
        // No retry knows the id of a start whose token never went out.
        if is_unknown && decided.is_err() {
            self.leases.abandon(&claim);
        }
        decided
    }

    fn admission(
        &self,
        grant: Grant,
        claim: &Claim,
        is_takeover: bool,
    ) -> Result<Admission, Refusal> {
        match grant {
            Grant::Held(lease) => {
                let outcome = match (lease.is_provisional(), lease.is_new(), is_takeover) {
                    (true, ..) => Outcome::AdmittedDegraded,
                    (_, true, true) => Outcome::Takeover,
                    (_, true, false) => Outcome::Admitted,
                    _ => Outcome::Renewed,
                };
                Ok(Admission::Held(lease, outcome))
            }
            Grant::Full(full) => {
                let mut denial = answer::full(&full, claim, self.when_full);
                if let Some(status) =
                    self.status.filter(|_| denial.code() == Code::ConcurrencyLimit)
                {
                    denial = denial.with_status(status);
                }
                Err(Refusal { denial, outcome: Outcome::Denied })
            }
            Grant::Ended(why) => Err(Refusal { denial: ended(why), outcome: Outcome::Ended }),
        }
    }

    /// The store has failed: what the policy says for that.
    fn without_store(&self, claim: &Claim) -> Result<Admission, Refusal> {
        match self.when_store_fails {
            WhenStoreFails::Local => match self.leases.hold_locally(claim) {
                Ok(grant) => self.admission(grant, claim, false),
                Err(StartsExhausted) => Err(unavailable()),
            },
            // Whoever plays by a ticket goes on; that it is used in time only the store can tell.
            WhenStoreFails::Open if claim.ticket.is_some() => match self.leases.hold_locally(claim)
            {
                Ok(grant) => self.admission(grant, claim, false),
                Err(StartsExhausted) => Err(unavailable()),
            },
            WhenStoreFails::Open => Ok(Admission::Uncounted),
            WhenStoreFails::Closed => Err(unavailable()),
        }
    }

    /// The account's limit: from the claim of its plan where the token has one, else the default.
    pub fn limit_of(&self, session: &Session) -> u32 {
        self.limit.of(session, &self.unusable_claims)
    }

    fn classes_of(&self, session: &Session, names: &[Class]) -> Classes {
        let wanted = self.classes.iter().filter(|kind| names.contains(&kind.class));
        let limit = |kind: &KindOfStream| kind.limit.of(session, &self.unusable_claims);
        let limits = wanted.map(|kind| ClassLimit { class: kind.class, limit: limit(kind) });
        Classes::new(limits).expect("a policy has no more classes than a stream may have")
    }

    /// The streams that the account plays now.
    pub async fn list(&self, session: &Session) -> Result<Vec<Live>, StoreError> {
        self.leases.list(self.viewer(session).holder()).await
    }

    /// Notes the state that a player declares; `false` when its stream is not live.
    pub async fn declare(
        &self,
        session: &Session,
        id: &LeaseId,
        state: State,
    ) -> Result<bool, StoreError> {
        self.leases.state(self.viewer(session).holder(), id, state).await
    }

    /// Gives a stream's slot back.
    pub async fn release(&self, session: &Session, id: &LeaseId) -> Result<(), StoreError> {
        self.leases.release(self.viewer(session).holder(), id).await
    }

    /// Ends another stream of the account; `false` when it plays none with this code.
    pub async fn terminate(&self, session: &Session, code: &LeaseId) -> Result<bool, StoreError> {
        self.leases.terminate(self.viewer(session).holder(), code).await
    }

    /// The leases themselves, for the admin port and the metrics.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }
}
