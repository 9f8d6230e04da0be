//! The filter `concurrency`: finds out which stream a request belongs to and has it admitted.
//!
//! How many may play, and what holds when the store is gone, is the room `concurrency`'s knowledge.

use super::{Decision, Fact, Filter, Halt, Parts};
use crate::concurrency::{Policy, Stream, lease_field, playback_id};
use crate::denial::{Code, Denial};
use crate::exchange::{Account, Cause, Exchange, Finding};
use crate::problem::Problem;
use crate::request::Request;
use crate::session::Session;
use crate::units::Text;
use crate::yaml::{At, Brief};
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
pub struct Config(Brief<Text, Chosen>);

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
            Brief::Value(policy) => policy,
            Brief::Full(chosen) => &chosen.policy,
        }
    }

    fn classes(&self) -> &[At<Text>] {
        match &self.0 {
            Brief::Value(_) => &[],
            Brief::Full(chosen) => &chosen.classes,
        }
    }
}

/// The account's hash and the lease, as upstreams see them.
const ACCOUNT_FIELD: HeaderName = HeaderName::from_static("x-streamgate-account");
const LEASE_FIELD: HeaderName = HeaderName::from_static("x-streamgate-lease");

/// The lease, as clients see it.
const ANSWER_FIELD: &str = "Streamgate-Lease";

/// Takes over on a media request: `oldest`, or the code of a stream.
const REPLACE_PARAM: &str = "streamgate-replace";

struct ConcurrencyFilter {
    policy: Arc<Policy>,
    classes: Box<[Class]>,
}

pub(super) fn build(config: &Config, parts: &Parts) -> Result<Box<dyn Filter>, Vec<Problem>> {
    let policy = Arc::clone(parts.policies.find(config.policy())?);
    let mut problems = Vec::new();
    let named = config.classes().iter().map(|name| policy.class(name));
    let classes = named.filter_map(|class| class.map_err(|told| problems.push(told)).ok());
    let classes = classes.collect();
    if problems.is_empty() {
        Ok(Box::new(ConcurrencyFilter { policy, classes }))
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
        let playback = playback_id(request);
        let admission = self.policy.touch(session, playback.as_deref(), &self.classes)?;
        Some(Ok(Finding::Stream(self.account(session), admission)))
    }

    async fn decide(&self, request: &Request<'_>, known: &Exchange) -> Decision {
        let session = known.session().expect("the chain was compiled behind `session`");
        let playback = playback_id(request);
        let mut stream = Stream::of_player(playback.as_deref(), &self.classes);
        if let Some(wish) = request.query_value(REPLACE_PARAM) {
            stream.replace = replace(wish)?;
            stream.anew = true;
        }
        match self.policy.admit(session, stream).await {
            Ok(admission) => Ok(Finding::Stream(self.account(session), admission)),
            Err(no) => Err(Halt::Deny(no.denial, Cause::Stream(no.outcome, self.account(session)))),
        }
    }

    fn upstream_request(&self, fields: &mut HeaderMap, known: &Exchange) {
        if let Some(account) = known.account() {
            fields.insert(ACCOUNT_FIELD, account.0.clone());
        }
        let Some(lease) = known.lease() else { return };
        let viewer = known.session().map(|session| self.policy.viewer(session));
        let field = match viewer.filter(|viewer| viewer.own_stream == lease.id()) {
            Some(viewer) => viewer.own_field(),
            None => HeaderValue::try_from(lease.id().to_string()).expect("base64url"),
        };
        fields.insert(LEASE_FIELD, field);
    }

    fn during(&self, known: &Exchange) -> Result<(), Denial> {
        let Some(lease) = known.lease() else { return Ok(()) };
        match self.policy.leases().touch(&lease.holder(), &lease.id(), &[]) {
            Some(_) => Ok(()),
            None => Err(Code::StreamTerminated.into()),
        }
    }

    fn response(&self, head: &mut ResponseHeader, known: &Exchange) {
        if let Some(lease) = known.lease() {
            let _ = head.insert_header(ANSWER_FIELD, lease_field(lease));
        }
    }
}

impl ConcurrencyFilter {
    fn account(&self, session: &Session) -> Account {
        Account(self.policy.viewer(session).account_field())
    }
}

/// Reads the wish to take over on a media request.
fn replace(wish: &str) -> Result<Replace, Denial> {
    match wish {
        "oldest" => Ok(Replace::Oldest),
        code => code.parse::<LeaseId>().map(|id| Replace::These(vec![id])).map_err(|_| {
            Denial::from(Code::RequestMalformed)
                .because("`streamgate-replace` is `oldest` or the code of a stream")
        }),
    }
}
