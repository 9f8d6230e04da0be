//! The filter `concurrency`: finds out which stream a request belongs to and has it admitted.
//!
//! How many may play, and what holds when the store is gone, is the room `concurrency`'s knowledge.

use super::{Decision, Fact, Filter, Halt, Stance, set_cookie};
use crate::concurrency::{
    self, Admission, Carry, Identity, MayStart, Policy, REPLACE_PARAM, SourceConfig, Stream,
    StreamId, is_first, lease_field,
};
use crate::denial::{Code, Denial};
use crate::exchange::{Account, Cause, Exchange, Finding, Playing};
use crate::part::{Context, Part, Parts, TokenCookie};
use crate::problem::{Place, Problem};
use crate::request::Request;
use crate::session::Session;
use crate::units::{Secret, Text};
use crate::yaml::{At, Entries, ScalarOr};
use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::ResponseHeader;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use streamgate_lease::{Class, LeaseId, Replace};

/// The name of an entry of `concurrency`, or that and what kind of streams the route has.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "PolicyName")]
pub struct Config(ScalarOr<Text, Chosen>);

/// A policy, and the classes that the route's streams belong to.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Chosen {
    /// An entry of `concurrency`.
    policy: At<Text>,
    /// Classes of that policy.
    #[serde(default)]
    classes: Vec<At<Text>>,
}

impl Config {
    /// The policy that it names.
    pub fn policy(&self) -> &At<Text> {
        match &self.0 {
            ScalarOr::Value(policy) => policy,
            ScalarOr::Full(chosen) => &chosen.policy,
        }
    }

    fn classes(&self) -> &[At<Text>] {
        match &self.0 {
            ScalarOr::Value(_) => &[],
            ScalarOr::Full(chosen) => &chosen.classes,
        }
    }
}

/// What the filter names; the streams API names it, too.
pub(super) type Entry = Arc<Policy>;

impl Part for Arc<Policy> {
    type Config = concurrency::Config;

    const KIND: &'static str = "policy";
    const ABOUT: &'static str = "How many streams an account may play.";

    fn compile(
        name: &At<String>,
        config: &concurrency::Config,
        context: &Context<'_>,
        _problems: &mut Vec<Problem>,
    ) -> Result<Self, Vec<Problem>> {
        let store = context.stores.find(&config.store)?;
        let leases = |timing, bounds| context.lasting.leases(name, store, timing, bounds);
        Policy::compile(name, config, leases).map(Arc::new)
    }

    /// Policies that would count the same leases without saying so: an account's key in the store
    /// is made of the pepper and the account alone.
    fn check_all(all: &Entries<concurrency::Config>) -> Vec<Problem> {
        let policies: Vec<_> = all.iter().collect();
        let shared = policies.iter().enumerate().filter_map(|(i, (name, policy))| {
            let (first, pepper) = policies[..i].iter().find_map(|(first, earlier)| {
                let pepper = same_pepper(policy, earlier)?;
                (earlier.store.value == policy.store.value).then_some((first, pepper))
            })?;
            let text = format!(
                "policies `{}` and `{}` have the same store and pepper, so they would count the \
                 same leases",
                first.value, name.value
            );
            Some(pepper.problem(text).help("give one of them another pepper"))
        });
        shared.collect()
    }

    fn claims(config: &concurrency::Config) -> Vec<&str> {
        config.limit_claims().collect()
    }

    fn cookies(config: &concurrency::Config) -> Vec<TokenCookie<'_>> {
        let cookies = sources(config).filter_map(|source| {
            let token = source.token()?;
            let name = token.cookie_name()?;
            let written = token.cookie.as_ref().map(|cookie| cookie.name.place);
            let written = written.filter(|place| *place != Place::default());
            Some(TokenCookie { name, of_stream: Some(written.unwrap_or(source.place)) })
        });
        cookies.collect()
    }

    fn takes_path_tokens(config: &concurrency::Config) -> bool {
        let mut tokens = sources(config).filter_map(|source| source.token());
        tokens.any(|token| token.carry == Carry::Path)
    }
}

fn sources(config: &concurrency::Config) -> impl Iterator<Item = &At<SourceConfig>> {
    config.identity.iter().flat_map(|sources| sources.iter())
}

/// The pepper of `policy` that `earlier` has, too.
fn same_pepper<'p>(
    policy: &'p concurrency::Config,
    earlier: &concurrency::Config,
) -> Option<&'p At<Secret>> {
    let there = earlier.pepper.all();
    let is_there = |pepper: &&At<Secret>| there.iter().any(|one| one.value == pepper.value);
    policy.pepper.all().into_iter().find(is_there)
}

/// The account's hash and the lease, as upstreams see them.
const ACCOUNT_FIELD: HeaderName = HeaderName::from_static("x-streamgate-account");
const LEASE_FIELD: HeaderName = HeaderName::from_static("x-streamgate-lease");

/// The lease, as clients see it.
const ANSWER_FIELD: &str = "Streamgate-Lease";

struct ConcurrencyFilter {
    policy: Arc<Policy>,
    classes: Box<[Class]>,
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
    let classes = named.filter_map(|class| class.map_err(|told| problems.push(told)).ok());
    let classes = classes.collect();
    if problems.is_empty() {
        let is_shadow = stance == Stance::Shadow;
        if is_shadow {
            policy.prepare_shadow();
        }
        Ok(Box::new(ConcurrencyFilter { policy, classes, is_shadow }))
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
        let id = match self.identify(request, session, MayStart::AtPlaylist) {
            Ok(Identity::Known(id)) => id,
            Ok(Identity::NewPlayback) => return None,
            Err(denial) => return Some(Err(denial.into())),
        };
        let admission = match self.is_shadow {
            true => self.policy.touch_in_shadow(session, &id.lease, &self.classes),
            false => self.policy.touch(session, &id.lease, &self.classes),
        }?;
        Some(Ok(Finding::Stream(self.playing(session, admission, id, false))))
    }

    async fn decide(&self, request: &Request<'_>, known: &Exchange) -> Decision {
        let session = known.session().expect("the chain was compiled behind `session`");
        let wish = request.query_value(REPLACE_PARAM).filter(|_| !self.is_shadow);
        let may_start = if wish.is_some() { MayStart::Explicitly } else { MayStart::AtPlaylist };
        let (id, is_new_playback) = match self.identify(request, session, may_start)? {
            Identity::Known(id) => (id, false),
            Identity::NewPlayback => (StreamId::new_playback(), true),
        };
        let mut stream = Stream::of_player(id, &self.classes);
        stream.is_shadow = self.is_shadow;
        stream.starts = is_first(request);
        stream.is_cross_site = request.is_cross_site();
        stream.path = is_new_playback.then_some(&*request.path);
        stream.is_redirected = is_new_playback && self.policy.redirects();
        if let Some(wish) = wish {
            self.policy.check_origin(request)?;
            stream.replace = replace(wish)?;
            stream.explicit_start = true;
        }
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

    fn upstream_request(&self, fields: &mut HeaderMap, known: &Exchange) {
        if let Some(account) = known.account() {
            fields.insert(ACCOUNT_FIELD, account.field());
        }
        if let Some((_, text)) = known.lease_told() {
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
        let Some((lease, text)) = known.lease_told() else { return };
        let _ = head.insert_header(ANSWER_FIELD, lease_field(lease, text));
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

impl ConcurrencyFilter {
    /// Which stream it is. In shadow no client is given a token, so none is missed either.
    fn identify(
        &self,
        request: &Request<'_>,
        session: &Session,
        may_start: MayStart,
    ) -> Result<Identity, Denial> {
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
        Playing { account, admission, lease_text, rung: id.source, is_new_playback }
    }

    fn account(&self, session: &Session) -> Account {
        Account::of(&self.policy.viewer(session))
    }
}

/// Reads the wish to take over on a media request.
fn replace(wish: &str) -> Result<Replace, Denial> {
    match wish {
        "oldest" => Ok(Replace::Oldest),
        // What is no code at all names no stream either.
        code => code.parse::<LeaseId>().map(|id| Replace::These(vec![id])).map_err(|_| {
            Denial::from(Code::StreamNotFound)
                .because("`streamgate-replace` is `oldest` or the code of a stream")
        }),
    }
}
