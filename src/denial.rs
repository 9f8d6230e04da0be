//! Every *no* the gateway can say to a client, in one table.
//!
//! Clients switch on `code`, never on text, so a code is never renamed. Bodies are
//! `application/problem+json` (RFC 9457). What broke in the world and what the operator wrote wrong
//! are reported elsewhere; a filter turns them into one of these only where the client must know.

mod pages;

pub use pages::{PageConfig, Pages};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;
use streamgate_lease::StoreError;

/// Makes `Code` and its table from one row per refusal.
macro_rules! denials {
    ($($variant:ident = $status:literal $code:literal $title:literal $meaning:literal;)+) => {
        /// What is refused: one variant per row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $meaning] $variant),+ }

        impl Code {
            /// Every row, in the table's order.
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];

            /// The machine-readable name: body field, metric label and log field alike.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $code),+ }
            }

            /// The status on media and proxied routes.
            pub const fn status(self) -> u16 {
                match self { $(Code::$variant => $status),+ }
            }

            /// What a person may be shown.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title),+ }
            }

            /// When it is said, for the documentation.
            pub const fn meaning(self) -> &'static str {
                match self { $(Code::$variant => $meaning),+ }
            }
        }
    };
}

denials! {
    SessionMissing = 401 "session_missing" "Please log in"
        "The request carries no session token.";
    SessionInvalid = 401 "session_invalid" "The session is not valid"
        "The token is malformed, forged, for someone else, or two different tokens were sent.";
    SessionExpired = 401 "session_expired" "The session has expired"
        "The token was good and its time is over; refresh it or log in again.";
    SessionEnded = 401 "session_ended" "The session was ended"
        "The session was logged out or revoked.";
    SessionAmbiguous = 401 "session_ambiguous" "Two accounts are logged in"
        "Cookies with good tokens of different accounts were sent, or more than four with a token.";
    OriginRefused = 403 "origin_refused" "Another site may not do this"
        "A page of another site asks that the route's `cors` does not name, or to change a stream.";
    AddressRefused = 403 "address_refused" "This is not open to your network"
        "The client's address is one of a filter `deny`, or none of a filter `allow`.";
    ConcurrencyLimit = 409 "concurrency_limit" "Too many streams are playing"
        "The account plays as many streams as it may; the body lists them.";
    StreamTerminated = 409 "stream_terminated" "This stream was stopped"
        "Someone of the account, or its support, ended this stream. 410 on the streams API.";
    StreamExpired = 409 "stream_expired" "This stream has ended"
        "The stream ended and can't be continued; start anew. 410 on the streams API.";
    StreamTokenInvalid = 401 "stream_token_invalid" "This stream is not yours to play"
        "The stream token is forged, cut, or another login's; start at the playlist.";
    StreamTokenMissing = 409 "stream_token_missing" "Start from the playlist"
        "The request has no stream token, which the first answer to a playlist gives.";
    TicketInvalid = 401 "ticket_invalid" "This ticket is not valid"
        "The casting ticket is forged, cut, or of another policy; ask for a new one.";
    TicketExpired = 401 "ticket_expired" "This ticket came too late"
        "The casting ticket was not used in time; ask for a new one.";
    TicketRefused = 403 "ticket_refused" "The ticket is not for this"
        "A casting ticket was shown where none is taken, or outside of its own path.";
    TooManyRequests = 429 "too_many_requests" "Too many requests"
        "Reserved: the gateway never sends it. A service behind it may, as for failed logins.";
    RateLimited = 429 "rate_limited" "Too many requests"
        "The client asks more often than a filter `rate_limit` lets it; `Retry-After` says when.";
    EnforcementUnavailable = 503 "enforcement_unavailable" "Streams can't be counted right now"
        "The store of leases does not answer and the policy is to refuse then.";
    RouteNotFound = 404 "route_not_found" "There is nothing here"
        "No route of this gateway matches the host and path.";
    MethodNotAllowed = 405 "method_not_allowed" "The method is not allowed here"
        "The path exists, but not with this method; `Allow` names those that do.";
    StreamNotFound = 404 "stream_not_found" "There is no such stream"
        "The account plays no stream with this code.";
    RequestMalformed = 400 "request_malformed" "The request is malformed"
        "The request is not valid HTTP, or its path or body can't be read without ambiguity.";
    BodyTooLarge = 413 "body_too_large" "The body is too large"
        "The request's body is larger than this route takes.";
    RequestTimeout = 408 "request_timeout" "The request took too long"
        "The request's body did not arrive in time.";
    HeaderTooLarge = 431 "header_too_large" "The request's head is too large"
        "The request line or the header fields exceed their limits.";
    Misdirected = 421 "misdirected" "Connect again for this host"
        "The host asks other things of its clients than the name that the connection was made to.";
    UpstreamUnreachable = 502 "upstream_unreachable" "The service is not reachable"
        "No endpoint of the upstream accepted a connection.";
    UpstreamInvalid = 502 "upstream_invalid" "The service gave no valid answer"
        "The upstream closed the connection early or did not speak HTTP.";
    UpstreamTimeout = 504 "upstream_timeout" "The service did not answer in time"
        "The upstream's answer did not begin, or stalled, longer than its timeout.";
    UpstreamUnavailable = 503 "upstream_unavailable" "The service is not available right now"
        "The upstream's circuit breaker is open: too many requests failed; ask again later.";
    Overloaded = 503 "overloaded" "The gateway is busy"
        "There is no room for one more request or connection, here or at the upstream; ask again.";
    GatewayFault = 500 "gateway_fault" "The gateway failed"
        "A bug of the gateway; it was logged.";
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// When a client should ask again while the store is away; the breaker probes it more often.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(5);

/// When a client should ask again if the store is there and only slow.
const LATE_RETRY: Duration = Duration::from_secs(1);

/// When a client should ask again that found no room, in seconds: requests come and go within one.
/// Not all of them are told the same, or they would come back together.
const OVERLOADED_RETRY_S: RangeInclusive<u64> = 1..=3;

/// How much later than the breaker lets requests through some of them come back, in seconds.
const UNAVAILABLE_SPREAD_S: RangeInclusive<u64> = 0..=2;

/// One refusal, with what the client may learn about it.
#[derive(Clone, Debug)]
pub struct Denial(Box<Fields>);

/// Boxed: a refusal is rare, and its size would burden every result that may be one.
#[derive(Clone, Debug)]
struct Fields {
    code: Code,
    status: StatusCode,
    detail: Option<Cow<'static, str>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    extra: Map<String, Value>,
}

impl From<Code> for Denial {
    fn from(code: Code) -> Self {
        let status = StatusCode::from_u16(code.status()).expect("the table holds valid statuses");
        let (headers, extra) = (Vec::new(), Map::new());
        Denial(Box::new(Fields { code, status, detail: None, headers, extra }))
    }
}

impl Denial {
    /// The store that must decide does not answer, and the configuration says to refuse then.
    pub fn enforcement_unavailable() -> Self {
        Denial::from(Code::EnforcementUnavailable).retry_after(UNAVAILABLE_RETRY)
    }

    /// A store has failed to answer: it is away, or it is slow.
    pub fn of_store(error: &StoreError) -> Self {
        if error.is_outage() { Self::enforcement_unavailable() } else { Self::enforcement_late() }
    }

    /// The store that must decide is there and has not answered in time, so nothing is decided.
    pub fn enforcement_late() -> Self {
        Denial::from(Code::EnforcementUnavailable)
            .because("the store of leases is slow to answer; ask again")
            .retry_after(LATE_RETRY)
    }

    /// There is no room, for now.
    pub fn overloaded() -> Self {
        let seconds = rand::random_range(OVERLOADED_RETRY_S);
        Denial::from(Code::Overloaded).retry_after(Duration::from_secs(seconds))
    }

    /// The upstream is let alone for so long.
    pub fn upstream_unavailable(left: Duration) -> Self {
        let spread = Duration::from_secs(rand::random_range(UNAVAILABLE_SPREAD_S));
        Denial::from(Code::UpstreamUnavailable).retry_after(left + spread)
    }

    /// Its row of the table.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Adds a sentence that tells this case from others with the same code.
    pub fn because(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// The same refusal under another status: the streams API, or a policy for old clients.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// Whether the body has this field with this text.
    pub fn says(&self, name: &str, text: &str) -> bool {
        self.0.extra.get(name).is_some_and(|value| value == text)
    }

    /// Adds a field to the body.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.extra.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header field to the answer.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Tells the client when to come back, in whole seconds, never less than one.
    pub fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
            .with("retry_after", seconds)
    }

    /// The answer, for the request called `id`.
    pub fn reply(&self, id: &str) -> Reply {
        let mut body = Map::new();
        let kind = format!("https://errors.streamgate.dev/{}", self.0.code.name());
        body.insert("type".to_owned(), kind.into());
        body.insert("title".to_owned(), self.0.code.title().into());
        body.insert("status".to_owned(), self.0.status.as_u16().into());
        body.insert("code".to_owned(), self.0.code.name().into());
        if let Some(detail) = &self.0.detail {
            body.insert("detail".to_owned(), detail.as_ref().into());
        }
        body.insert("instance".to_owned(), format!("urn:request:{id}").into());
        body.extend(self.0.extra.clone());
        let mut reply = Reply::new(self.0.status).json("application/problem+json", &body);
        if self.0.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"streamgate\"");
            reply.headers.push((header::WWW_AUTHENTICATE, challenge));
        }
        reply.headers.extend(self.0.headers.iter().cloned());
        reply
    }
}

/// An answer that the gateway gives by itself.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status line's code.
    pub status: StatusCode,
    /// The header fields, in the order in which they are sent.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body; empty for none.
    pub body: Bytes,
}

impl Reply {
    /// An empty answer that no one may store.
    pub fn new(status: StatusCode) -> Self {
        let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Reply { status, headers: vec![no_store], body: Bytes::new() }
    }

    /// The same with a body of plain text.
    pub fn text(mut self, text: String) -> Self {
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        self.headers.push((header::CONTENT_TYPE, kind));
        self.body = Bytes::from(text);
        self
    }

    /// The same with a JSON body.
    pub fn json(mut self, kind: &'static str, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("our own values are always JSON");
        self.headers.push((header::CONTENT_TYPE, HeaderValue::from_static(kind)));
        self.body = Bytes::from(body);
        self
    }
}

/// The table for `streamgate denials --format json`.
pub fn as_json() -> Value {
    let row = |code: &Code| {
        json!({
            "code": code.name(),
            "status": code.status(),
            "title": code.title(),
            "meaning": code.meaning(),
        })
    };
    Code::ALL.iter().map(row).collect()
}

/// The table as Markdown: what `docs/denials.md` holds.
pub fn as_markdown() -> String {
    let mut page = String::from(
        "# Denials\n\nEvery code of a refusal. The body is `application/problem+json` \
         (RFC 9457);\nclients switch on `code`. This page is printed by `streamgate denials`.\n\n\
         | code | status | title | when |\n|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let (name, status) = (code.name(), code.status());
        page += &format!("| `{name}` | {status} | {} | {} |\n", code.title(), code.meaning());
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn body(denial: Denial) -> Value {
        serde_json::from_slice(&denial.reply("r1").body).expect("a denial is JSON")
    }

    #[test]
    fn codes_are_unique_and_statuses_valid() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(Denial::from(*code).0.status.as_u16() >= 400);
        }
    }

    #[test]
    fn the_body_is_a_problem_document() {
        let wait = Duration::from_millis(1200);
        let body = body(Denial::from(Code::ConcurrencyLimit).with("limit", 3).retry_after(wait));
        assert_eq!(body["code"], "concurrency_limit");
        assert_eq!(body["status"], 409);
        assert_eq!(body["limit"], 3);
        assert_eq!(body["retry_after"], 2);
        assert_eq!(body["instance"], "urn:request:r1");
    }

    #[test]
    fn an_unauthorized_client_is_challenged() {
        let reply = Denial::from(Code::SessionMissing).reply("r1");
        assert!(reply.headers.iter().any(|(name, _)| name == header::WWW_AUTHENTICATE));
    }
}
