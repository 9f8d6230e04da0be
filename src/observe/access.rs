//! The access log: one JSON line per request, written by a thread of its own.
//!
//! A request makes its line by itself, and appends it to one buffer under a short lock; nobody
//! waits for the disk (`observe/writer.rs`).

mod config;
mod told;

pub use config::{Config, Target};

use super::event::{Ended, Event};
use super::writer::{Lines, Writer};
use crate::clock;
use crate::denial::Code;
use crate::exchange::{Account, Exchange, InFlightLimit};
use serde::Serialize;
use std::borrow::Cow;

/// Room for one line, in bytes; a longer one costs another allocation.
const LINE_BYTES: usize = 768;

/// The longest path that is logged, in bytes; the rest is cut.
const PATH_BYTES_MAX: usize = 1024;

/// The longest host that is logged, in bytes, as long as a name may be; the rest is cut.
const HOST_BYTES_MAX: usize = 255;

/// The longest method that is logged, in bytes; the rest is cut.
const METHOD_BYTES_MAX: usize = 32;

/// The longest id of a peer's that is logged, in bytes; the rest is cut.
const ID_BYTES_MAX: usize = 128;

/// Where requests leave their lines; by default nowhere.
#[derive(Clone, Debug, Default)]
pub struct AccessLog(Option<Lines>);

/// One line. The names are what operators' queries rely on.
#[derive(Serialize)]
struct Line<'a> {
    ts: String,
    id: &'a str,
    listener: &'a str,
    route: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_request_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_names: Option<&'a [Box<str>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_fingerprint: Option<&'a str>,
    protocol: &'static str,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    duration_ms: f64,
    request_bytes: u64,
    response_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<std::net::SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rung: Option<&'static str>,
    /// What filters in shadow would have refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'a str>,
}

impl AccessLog {
    /// A log and the writer that someone must run.
    pub fn open() -> (AccessLog, Writer) {
        let lines = Lines::default();
        let writer = lines.writer();
        (AccessLog(Some(lines)), writer)
    }

    /// How many lines were lost so far.
    pub(super) fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, Lines::dropped)
    }

    /// Takes the events that have a line: exchanges that are over.
    pub(super) fn take(&self, event: &Event<'_>) {
        let (Some(lines), Event::ExchangeEnded(ended)) = (&self.0, event) else { return };
        // All workers share a lock, so the line is made before it is taken.
        let mut text = Vec::with_capacity(LINE_BYTES);
        serde_json::to_writer(&mut text, &line(ended)).expect("numbers, names and texts are JSON");
        text.push(b'\n');
        lines.push(&text);
    }
}

fn line<'a>(ended: &'a Ended<'a>) -> Line<'a> {
    let exchange = ended.exchange;
    let identity = ended.tls.and_then(|tls| tls.client);
    Line {
        ts: clock::rfc3339(clock::unix_ms()),
        id: exchange.id.as_str(),
        listener: ended.listener.1,
        route: ended.route.name(),
        client: exchange.client,
        client_request_id: request_id(ended),
        traceparent: told::trace(ended.head),
        tls: ended.tls.map(|tls| tls.version),
        sni: ended.tls.and_then(|tls| tls.sni),
        client_subject: identity.map(|client| &*client.subject),
        client_names: identity.map(|client| &*client.names).filter(|names| !names.is_empty()),
        client_fingerprint: identity.map(|client| &*client.fingerprint),
        protocol: told::protocol(ended.head.version),
        method: cut(ended.head.method.as_str(), METHOD_BYTES_MAX),
        host: cut(told::host(ended.head), HOST_BYTES_MAX),
        path: cut(ended.path, PATH_BYTES_MAX),
        status: ended.status,
        code: exchange.denied().map(|code| code.name()),
        reason: reason(exchange),
        duration_ms: (ended.took.as_secs_f64() * 1e6).round() / 1e3,
        request_bytes: ended.request_bytes,
        response_bytes: ended.response_bytes,
        upstream: ended.upstream.map(|(name, _)| name),
        endpoint: ended.upstream.map(|(_, endpoint)| endpoint),
        account: exchange.account().map(Account::as_str),
        lease: exchange.lease().map(|lease| lease.id().to_string()),
        decision: exchange.stream_outcome().map(|outcome| outcome.name()),
        rung: exchange.rung().map(|rung| rung.name()),
        shadow: shadow(exchange.shadows()),
        fault: ended.fault,
    }
}

/// A trusted peer's name for the request.
fn request_id<'a>(ended: &Ended<'a>) -> Option<Cow<'a, str>> {
    let id = told::request_id(ended.head).filter(|_| ended.is_peer_trusted)?;
    Some(match id {
        Cow::Borrowed(id) => cut(id, ID_BYTES_MAX).into(),
        Cow::Owned(id) => cut(&id, ID_BYTES_MAX).to_owned().into(),
    })
}

/// What the code of a refusal leaves open.
fn reason(exchange: &Exchange) -> Option<&'static str> {
    let token = exchange.session_reason().map(|reason| reason.reason());
    token.or_else(|| exchange.reached().map(InFlightLimit::name))
}

/// The codes, separated by commas; seldom more than one.
fn shadow(shadows: &[(&'static str, Code)]) -> Option<String> {
    let codes: Vec<&str> = shadows.iter().map(|(_, code)| code.name()).collect();
    (!codes.is_empty()).then(|| codes.join(","))
}

fn cut(text: &str, bytes_max: usize) -> &str {
    match text.len() > bytes_max {
        true => &text[..text.floor_char_boundary(bytes_max)],
        false => text,
    }
}
