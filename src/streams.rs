//! The streams API: what an account plays, to start, keep, end and take over.
//!
//! `GET /streams` · `PUT /streams/{id}` · `POST /streams/{id}/heartbeat` · `DELETE /streams/{id}`
//! or `POST /streams/{id}/end` · `POST /streams/{code}/terminate` · `POST /streams/tickets`.
//! `{id}` is a playback's own id, or `current`: the stream that this request itself belongs to, by
//! its stream token, the id of its playback or its session.

mod body;

use crate::clock;
use crate::concurrency::{
    Admission, Identity, IdentitySource, MayStart, Policy, Refusal, Stream, StreamId, conflict,
    lease_field, lease_json, listed,
};
use crate::denial::{Code, Denial, Reply};
use crate::exchange::{Account, Cause};
use crate::filter::Halt;
use crate::request::{PATH_TOKEN_PREFIX, Request};
use crate::route::Captures;
use crate::session::Session;
use body::{Heartbeat, Start, TicketFor};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::sync::Arc;
use streamgate_lease::{About, Lease, LeaseId, Replace, StoreError};

/// A call whose method and path are known to be good; its body is not read yet.
#[derive(Debug)]
pub struct Call {
    policy: Arc<Policy>,
    session: Arc<Session>,
    verb: Verb,
    /// The stream that the request itself belongs to, if something in it identifies one.
    own: Option<StreamId>,
}

#[derive(Debug)]
enum Verb {
    List,
    Start(StreamId),
    Heartbeat(StreamId),
    End(StreamId),
    Terminate(LeaseId),
    /// With the token that proves the session, unless that was forgotten a moment ago.
    Ticket(Option<Token>),
}

/// The token of a session. It does not print.
struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Verb {
    fn is_change(&self) -> bool {
        match self {
            Verb::List => false,
            Verb::Start(_)
            | Verb::Heartbeat(_)
            | Verb::End(_)
            | Verb::Terminate(_)
            | Verb::Ticket(_) => true,
        }
    }
}

/// The lease, as clients see it.
const LEASE_FIELD: HeaderName = HeaderName::from_static("streamgate-lease");

/// The longest id of a playback, in bytes.
const ID_BYTES_MAX: usize = 128;

impl Call {
    /// The largest body that any call takes.
    pub const BODY_BYTES_MAX: usize = 16 * 1024;

    /// Reads the call from its method and from the path behind the route's prefix.
    pub fn read(
        request: &Request<'_>,
        captures: &Captures,
        policy: &Arc<Policy>,
        session: &Arc<Session>,
        token: impl FnOnce() -> Option<String>,
    ) -> Result<Call, Denial> {
        let own = match policy.identify(request, session, MayStart::Never) {
            Ok(Identity::Known(id)) => Some(id),
            Ok(Identity::NewPlayback) => None,
            Err(missing) if missing.code() == Code::StreamTokenMissing => None,
            Err(denial) => return Err(conflict(denial)),
        };
        let rest = captures.last(&request.path).unwrap_or_default();
        let segments: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
        let verb = match (request.method, segments.as_slice()) {
            (&Method::POST, ["tickets"]) if policy.gives_tickets() => {
                Verb::Ticket(token().map(Token))
            }
            (method, segments) => verb(method, segments, &PathNames { policy, session, own })?,
        };
        if verb.is_change() {
            policy.check_origin(request)?;
        }
        let (policy, session) = (Arc::clone(policy), Arc::clone(session));
        Ok(Call { policy, session, verb, own })
    }

    /// Does what the call asks, and answers it.
    pub async fn answer(&self, body: &[u8]) -> Result<Reply, Halt> {
        match &self.verb {
            Verb::List => Ok(self.list().await?),
            Verb::Start(id) => self.start(*id, body).await,
            Verb::Heartbeat(id) => self.heartbeat(*id, body).await,
            Verb::End(id) => {
                self.policy.release(&self.session, &id.lease).await.map_err(store_failed)?;
                let mut reply = Reply::new(StatusCode::NO_CONTENT);
                let forget = self.policy.clear_cookie().filter(|_| self.own == Some(*id));
                reply.headers.extend(forget.map(|cookie| (header::SET_COOKIE, cookie)));
                Ok(reply)
            }
            Verb::Terminate(code) => {
                let ended = self.policy.terminate(&self.session, code).await;
                if !ended.map_err(store_failed)? {
                    return Err(Code::StreamNotFound.into());
                }
                Ok(Reply::new(StatusCode::NO_CONTENT))
            }
            Verb::Ticket(token) => Ok(self.ticket(token.as_ref(), body)?),
        }
    }

    /// A ticket for a device that has neither the session's cookie nor its header. It takes no slot
    /// before it is used.
    fn ticket(&self, token: Option<&Token>, body: &[u8]) -> Result<Reply, Denial> {
        let asked = TicketFor::read(body)?;
        let path = asked.path()?;
        let Some(Token(token)) = token else { return Err(Denial::enforcement_late()) };
        let about = (asked.device.clone(), asked.title.clone());
        let (text, ticket) = self.policy.new_ticket(&self.session, token.clone(), path, about)?;
        let prefix = format!("{PATH_TOKEN_PREFIX}{text}");
        let shown = json!({
            "code": LeaseId::from_bytes(ticket.lease).to_string(),
            "ticket": text,
            "path_prefix": prefix,
            "path": format!("{prefix}{path}"),
            "use_by": clock::rfc3339(ticket.use_by_ms),
            "ends_at": clock::rfc3339(ticket.ends_at_ms),
        });
        Ok(Reply::new(StatusCode::CREATED).json("application/json", &shown))
    }

    async fn list(&self) -> Result<Reply, Denial> {
        let live = self.policy.list(&self.session).await.map_err(store_failed)?;
        let current = self.own.as_ref().map(|own| &own.lease);
        let streams: Vec<Value> = live.iter().map(|live| listed(live, current)).collect();
        let limit = self.policy.limit_of(&self.session);
        let shown = json!({ "limit": limit, "active": streams.len(), "streams": streams });
        Ok(Reply::new(StatusCode::OK).json("application/json", &shown))
    }

    async fn start(&self, id: StreamId, body: &[u8]) -> Result<Reply, Halt> {
        let asked = Start::read(body)?;
        let stream = Stream {
            about: About::new(asked.device.as_deref(), asked.title.as_deref()),
            replace: asked.replace()?,
            explicit_start: true,
            starts: true,
            is_unknown: id.source == IdentitySource::StreamToken && self.own != Some(id),
            ..Stream::of_player(id, &[])
        };
        match self.admit(stream).await? {
            Admission::Held(lease, _) if lease.is_new() => {
                Ok(self.begun(StatusCode::CREATED, id, &lease))
            }
            Admission::Held(lease, _) => Ok(self.begun(StatusCode::OK, id, &lease)),
            Admission::Uncounted => Err(Denial::enforcement_unavailable().into()),
        }
    }

    /// The answer to a start, with the token that media requests show. A session's own stream has
    /// none: it may play again after it ended, and a token is for one playback.
    fn begun(&self, status: StatusCode, id: StreamId, lease: &Lease) -> Reply {
        let mut shown = lease_json(lease);
        let carried = match id.source {
            IdentitySource::Session => None,
            _ => self.policy.give_token(&self.session, &id.lease, &mut shown),
        };
        let mut reply = held(status, lease, &shown);
        reply.headers.extend(carried);
        reply
    }

    async fn heartbeat(&self, id: StreamId, body: &[u8]) -> Result<Reply, Halt> {
        let state = Heartbeat::read(body)?.state();
        let declared = self.policy.declare(&self.session, &id.lease, state).await;
        let is_live = declared.map_err(store_failed)?;
        // A session's own stream that is gone was stopped or fell silent: a beat does not start it
        // again. A playback's id may still regain the slot it held.
        if !is_live && id.source == IdentitySource::Session {
            return Err(conflict(Code::StreamExpired.into()).into());
        }
        match self.admit(Stream::of_player(id, &[])).await? {
            Admission::Held(lease, _) => Ok(held(StatusCode::OK, &lease, &lease_json(&lease))),
            Admission::Uncounted => Err(Denial::enforcement_unavailable().into()),
        }
    }

    async fn admit(&self, stream: Stream<'_>) -> Result<Admission, Halt> {
        let source = stream.id.source;
        let admitted = self.policy.admit(&self.session, stream).await;
        admitted.map_err(|Refusal { denial, outcome }| {
            let account = Account::of(&self.policy.viewer(&self.session));
            Halt::Deny(conflict(denial), Cause::Stream(outcome, account, source))
        })
    }
}

/// What the names of streams in a path mean for this request.
struct PathNames<'a> {
    policy: &'a Policy,
    session: &'a Session,
    own: Option<StreamId>,
}

impl PathNames<'_> {
    fn find(&self, text: &str) -> Result<StreamId, Denial> {
        match (text, self.own) {
            ("current", Some(own)) => Ok(own),
            ("current", None) => Err(Code::StreamTokenMissing.into()),
            (text, _) => Ok(StreamId::of_playback(self.session, &playback(text)?)),
        }
    }

    /// The same for a start: where streams have tokens, a request without one begins a playback.
    fn begin(&self, text: &str) -> Result<StreamId, Denial> {
        let is_nameless = self.own.is_none_or(|own| own.source == IdentitySource::Session);
        match text {
            "current" if is_nameless && self.policy.gives_tokens() => Ok(StreamId::new_playback()),
            text => self.find(text),
        }
    }
}

fn verb(method: &Method, segments: &[&str], names: &PathNames<'_>) -> Result<Verb, Denial> {
    let id = |text: &str| names.find(text);
    match (method, segments) {
        (&Method::GET | &Method::HEAD, []) => Ok(Verb::List),
        (&Method::PUT, [text]) => names.begin(text).map(Verb::Start),
        (&Method::DELETE, [text]) => id(text).map(Verb::End),
        (&Method::POST, [text, "end"]) => id(text).map(Verb::End),
        (&Method::POST, [text, "heartbeat"]) => id(text).map(Verb::Heartbeat),
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
    if ID_BYTES_MAX < id.len() {
        return Err(malformed());
    }
    Ok(id.into_owned())
}

fn held(status: StatusCode, lease: &Lease, shown: &Value) -> Reply {
    let mut reply = Reply::new(status).json("application/json", shown);
    reply.headers.push((LEASE_FIELD, lease_field(lease, &lease.id().text())));
    reply
}

/// Only the store knows every stream of an account, so without it a list or an ending is refused.
fn store_failed(error: StoreError) -> Denial {
    Denial::of_store(&error)
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
