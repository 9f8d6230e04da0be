//! The access log: one JSON line per request, written by a thread of its own.
//!
//! A request writes its line by itself, and appends it to one buffer under a short lock; nobody
//! waits for the disk. When the reader of the log is too slow, lines are dropped and counted.

mod config;

pub use config::{Config, Target};

use super::event::{Ended, Event};
use crate::clock;
use crate::denial::Code;
use crate::exchange::Account;
use crate::metrics::Metrics;
use parking_lot::{Condvar, Mutex};
use serde::Serialize;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

/// How much may wait to be written, in bytes.
const BUFFER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long a line waits at most before it is written.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// Room for one line, in bytes; a longer one costs another allocation.
const LINE_BYTES: usize = 768;

/// The longest path that is logged, in bytes; the rest is cut.
const PATH_BYTES_MAX: usize = 1024;

/// The longest id of a peer's that is logged, in bytes; the rest is cut.
const ID_BYTES_MAX: usize = 128;

/// Where requests leave their lines; by default nowhere.
#[derive(Clone, Debug, Default)]
pub struct AccessLog(Option<Arc<Shared>>);

/// The other end of a log: writes the lines that requests left.
#[derive(Debug)]
pub struct Writer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    stopped: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    is_stopped: bool,
}

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
    client_request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
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
        let shared = Arc::new(Shared::default());
        (AccessLog(Some(Arc::clone(&shared))), Writer(shared))
    }

    /// Takes the events that have a line: exchanges that are over.
    pub(super) fn take(&self, event: &Event<'_>, metrics: &Metrics) {
        let (Some(shared), Event::ExchangeEnded(ended)) = (&self.0, event) else { return };
        // All workers share the lock, so the line is written before it is taken.
        let mut text = Vec::with_capacity(LINE_BYTES);
        serde_json::to_writer(&mut text, &line(ended)).expect("numbers, names and texts are JSON");
        text.push(b'\n');
        let mut waiting = shared.waiting.lock();
        if waiting.lines.len() >= BUFFER_BYTES_MAX {
            return metrics.access_log_dropped.inc();
        }
        waiting.lines.extend_from_slice(&text);
    }
}

fn line<'a>(ended: &'a Ended<'a>) -> Line<'a> {
    let exchange = ended.exchange;
    Line {
        ts: clock::rfc3339(clock::unix_ms()),
        id: exchange.id.as_str(),
        listener: ended.listener.1,
        route: ended.route.name(),
        client: exchange.client,
        client_request_id: ended.client_request_id.as_deref().map(|id| cut(id, ID_BYTES_MAX)),
        traceparent: ended.traceparent,
        method: ended.method.as_str(),
        host: ended.host,
        path: cut(ended.path, PATH_BYTES_MAX),
        status: ended.status,
        code: exchange.denied().map(|code| code.name()),
        reason: exchange.session_reason().map(|reason| reason.reason()),
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

impl Writer {
    /// Writes to `out` until it is stopped, then what is left. Blocks: run it on its own thread.
    pub fn run(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut lines = Vec::new();
        loop {
            let is_last = {
                let mut waiting = self.0.waiting.lock();
                if !waiting.is_stopped {
                    self.0.stopped.wait_for(&mut waiting, FLUSH_EVERY);
                }
                std::mem::swap(&mut lines, &mut waiting.lines);
                waiting.is_stopped
            };
            out.write_all(&lines)?;
            out.flush()?;
            lines.clear();
            if is_last {
                return Ok(());
            }
        }
    }

    /// A handle that stops `run`.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.0))
    }
}

/// Stops a writer after it has written what is left.
#[derive(Debug)]
pub struct Stopper(Arc<Shared>);

impl Stopper {
    /// Asks the writer to end.
    pub fn stop(&self) {
        self.0.waiting.lock().is_stopped = true;
        self.0.stopped.notify_one();
    }
}
