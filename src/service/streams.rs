//! The streams API: what an account plays, to start, keep, end and take over.
//!
//! `GET /streams` · `PUT /streams/{id}` · `POST /streams/{id}/heartbeat` · `DELETE /streams/{id}`
//! or `POST /streams/{id}/end` · `POST /streams/{code}/terminate`. `{id}` is a playback's own id,
//! or `current`: the stream that this request itself belongs to.

mod body;

use crate::concurrency::{
    Admission, Policy, Refusal, Stream, conflict, lease_field, lease_json, listed, playback_id,
    unavailable,
};
use crate::denial::{Code, Denial, Reply};
use crate::exchange::{Account, Cause};
use crate::filter::Halt;
use crate::request::Request;
use crate::route::Captures;
use crate::session::Session;
use body::{Beat, Start};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::sync::Arc;
use streamgate_lease::{About, Lease, LeaseId, Replace, StoreError};

/// A call that was understood, before its body is read.
#[derive(Debug)]
pub struct Call {
    policy: Arc<Policy>,
    session: Arc<Session>,
    verb: Verb,
    /// The playback that the request itself belongs to.
    own: Option<String>,
}

#[derive(Debug)]
enum Verb {
    List,
    /// Each with the playback's id; `None` is the session's own stream.
    Start(Option<String>),
    Beat(Option<String>),
    End(Option<String>),
    Terminate(LeaseId),
}

/// The lease, as clients see it.
const LEASE_FIELD: HeaderName = HeaderName::from_static("streamgate-lease");

/// The longest id of a playback, in bytes.
const ID_BYTES_MAX: usize = 128;

impl Call {
    /// The largest body that any call takes.
    pub const BODY_BYTES_MAX: usize = 16 * 1024;

    /// Understands the call from its method and the path behind the route's prefix.
    pub fn read(
        request: &Request<'_>,
        captures: &Captures,
        policy: &Arc<Policy>,
        session: &Arc<Session>,
    ) -> Result<Call, Denial> {
        let own = playback_id(request).map(|id| id.into_owned());
        let rest = captures.last(&request.path).unwrap_or_default();
        let segments: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
        let verb = verb(request.method, &segments, own.as_ref())?;
        let (policy, session) = (Arc::clone(policy), Arc::clone(session));
        Ok(Call { policy, session, verb, own })
    }

    /// Carries it out.
    pub async fn answer(&self, body: &[u8]) -> Result<Reply, Halt> {
        match &self.verb {
            Verb::List => Ok(self.list().await?),
            Verb::Start(id) => self.start(id.as_deref(), body).await,
            Verb::Beat(id) => self.beat(id.as_deref(), body).await,
            Verb::End(id) => {
                let id = self.lease_id(id.as_deref());
                self.policy.release(&self.session, &id).await.map_err(lost)?;
                Ok(Reply::new(StatusCode::NO_CONTENT))
            }
            Verb::Terminate(code) => {
                match self.policy.terminate(&self.session, code).await.map_err(lost)? {
                    true => Ok(Reply::new(StatusCode::NO_CONTENT)),
                    false => Err(Code::StreamNotFound.into()),
                }
            }
        }
    }

    fn lease_id(&self, playback: Option<&str>) -> LeaseId {
        self.policy.lease_id(&self.session, playback)
    }

    async fn list(&self) -> Result<Reply, Denial> {
        let live = self.policy.list(&self.session).await.map_err(lost)?;
        let current = self.lease_id(self.own.as_deref());
        let streams: Vec<Value> = live.iter().map(|live| listed(live, Some(&current))).collect();
        let limit = self.policy.limit_of(&self.session);
        let shown = json!({ "limit": limit, "active": streams.len(), "streams": streams });
        Ok(Reply::new(StatusCode::OK).json("application/json", &shown))
    }

    async fn start(&self, playback: Option<&str>, body: &[u8]) -> Result<Reply, Halt> {
        let wish = Start::read(body)?;
        let stream = Stream {
            playback,
            classes: &[],
            about: About::new(wish.device.as_deref(), wish.title.as_deref()),
            replace: wish.replace()?,
            anew: true,
        };
        match self.admit(stream).await? {
            Admission::Held(lease, _) if lease.is_new() => Ok(held(StatusCode::CREATED, &lease)),
            Admission::Held(lease, _) => Ok(held(StatusCode::OK, &lease)),
            Admission::Uncounted => Err(unavailable().into()),
        }
    }

    async fn beat(&self, playback: Option<&str>, body: &[u8]) -> Result<Reply, Halt> {
        let state = Beat::read(body)?.state();
        let id = self.lease_id(playback);
        let is_live = self.policy.declare(&self.session, &id, state).await.map_err(lost)?;
        // A session's own stream that is gone was stopped or fell silent: a beat does not start it
        // again. A playback's id may still regain the slot it held.
        if !is_live && playback.is_none() {
            return Err(conflict(Code::StreamExpired.into()).into());
        }
        match self.admit(Stream::of_player(playback, &[])).await? {
            Admission::Held(lease, _) => Ok(held(StatusCode::OK, &lease)),
            Admission::Uncounted => Err(unavailable().into()),
        }
    }

    async fn admit(&self, stream: Stream<'_>) -> Result<Admission, Halt> {
        let admitted = self.policy.admit(&self.session, stream).await;
        admitted.map_err(|Refusal { denial, outcome }| {
            let account = Account(self.policy.viewer(&self.session).account_field());
            Halt::Deny(conflict(denial), Cause::Stream(outcome, account))
        })
    }
}

fn verb(method: &Method, segments: &[&str], own: Option<&String>) -> Result<Verb, Denial> {
    let id = |text: &str| match text {
        "current" => Ok(own.cloned()),
        text => playback(text).map(Some),
    };
    match (method, segments) {
        (&Method::GET | &Method::HEAD, []) => Ok(Verb::List),
        (&Method::PUT, [text]) => id(text).map(Verb::Start),
        (&Method::DELETE, [text]) => id(text).map(Verb::End),
        (&Method::POST, [text, "end"]) => id(text).map(Verb::End),
        (&Method::POST, [text, "heartbeat"]) => id(text).map(Verb::Beat),
        (&Method::POST, [code, "terminate"]) => {
            // What is no code at all names no stream either.
            code.parse().map(Verb::Terminate).map_err(|_| Code::StreamNotFound.into())
        }
        (_, []) => Err(allow("GET, HEAD")),
        (_, [_]) => Err(allow("PUT, DELETE")),
        (_, [_, "end" | "heartbeat" | "terminate"]) => Err(allow("POST")),
        _ => Err(Code::RouteNotFound.into()),
    }
}

fn allow(methods: &'static str) -> Denial {
    let methods = HeaderValue::from_static(methods);
    Denial::from(Code::MethodNotAllowed).with_header(header::ALLOW, methods)
}

/// The id that a path's segment spells.
fn playback(segment: &str) -> Result<String, Denial> {
    let malformed = || Denial::from(Code::RequestMalformed).because("the stream's id is not valid");
    let id = percent_decode_str(segment).decode_utf8().map_err(|_| malformed())?;
    match id.len() <= ID_BYTES_MAX {
        true => Ok(id.into_owned()),
        false => Err(malformed()),
    }
}

fn held(status: StatusCode, lease: &Lease) -> Reply {
    let mut reply = Reply::new(status).json("application/json", &lease_json(lease));
    reply.headers.push((LEASE_FIELD, lease_field(lease)));
    reply
}

/// Lists and endings are the store's alone to know.
fn lost(_: StoreError) -> Denial {
    unavailable()
}

impl Start {
    /// Whom to replace; a code that can't be one names no stream.
    fn replace(&self) -> Result<Replace, Denial> {
        let codes = self.replace.iter().map(|code| code.parse::<LeaseId>());
        let codes: Result<Vec<LeaseId>, _> = codes.collect();
        match codes {
            Ok(codes) if codes.is_empty() => Ok(Replace::Nobody),
            Ok(codes) => Ok(Replace::These(codes)),
            Err(_) => Err(Code::StreamNotFound.into()),
        }
    }
}
