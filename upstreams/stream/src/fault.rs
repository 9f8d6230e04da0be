//! Misbehaviour on request, for the tests of whatever stands in front: slow, broken, silent,
//! and an echo that tells what arrived. Exists only where `Settings::faults` is on. Every sleep
//! and every hang here is what was asked for.

mod board;
mod body;
mod echo;

pub(crate) use board::{Board, count};

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, put};
use serde::Deserialize;

use crate::Service;
use crate::problem::Problem;
use body::Script;

/// Longest pause that may be asked for, in milliseconds.
const PAUSE_MS_MAX: u64 = 600_000;
/// Largest body that may be asked for, in bytes.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Largest header section that may be asked for: fields, and bytes in each value.
const FIELDS_MAX: usize = 1_000;
const FIELD_BYTES_MAX: usize = 1 << 20;

pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/faults/slow", any(slow))
        .route("/faults/status/{code}", any(status))
        .route("/faults/close", any(close))
        .route("/faults/truncate", any(truncate))
        .route("/faults/stall", any(stall))
        .route("/faults/hang", any(hang))
        .route("/faults/headers", any(headers))
        .route("/faults/echo", any(echo::echo))
        .route("/faults/echo/{*rest}", any(echo::echo))
        .route("/faults/websocket", any(echo::websocket))
        .route("/faults/health/{code}", put(health))
        .route("/faults/hits", get(board::hits).delete(board::forget_hits))
}

/// `?first_byte_ms=&bytes=&chunk_bytes=&chunk_ms=`: waits, then trickles.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Slow {
    first_byte_ms: u64,
    bytes: usize,
    chunk_bytes: usize,
    chunk_ms: u64,
    chunked: bool,
}

impl Default for Slow {
    fn default() -> Self {
        Self { first_byte_ms: 0, bytes: 1024, chunk_bytes: 256, chunk_ms: 0, chunked: false }
    }
}

async fn slow(Query(asked): Query<Slow>) -> Result<Response, Problem> {
    let first_byte = pause(asked.first_byte_ms)?;
    let between = pause(asked.chunk_ms)?;
    let bytes = size(asked.bytes)?;
    if asked.chunk_bytes == 0 {
        return Err(Problem::FaultMalformed);
    }
    tokio::time::sleep(first_byte).await;
    let script = Script::send(bytes, asked.chunk_bytes, between);
    Ok(octets(script, (!asked.chunked).then_some(bytes)))
}

#[derive(Deserialize)]
struct Status {
    retry_after: Option<u32>,
}

/// That status, to any method, with a short body where one is allowed.
async fn status(Path(code): Path<u16>, Query(asked): Query<Status>) -> Result<Response, Problem> {
    let status = final_status(code)?;
    let is_bodiless = matches!(code, 204 | 304);
    let text = if is_bodiless { String::new() } else { format!("status {code}, as asked\n") };
    let mut answer = (status, text).into_response();
    if let Some(seconds) = asked.retry_after {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(answer)
}

/// Closes the connection without a byte of an answer: the body fails before the head is flushed.
async fn close() -> Response {
    octets(Script::broken_at(0), Some(1))
}

/// `?bytes=&of=`: promises `of`, sends `bytes`, closes.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Partial {
    bytes: usize,
    of: usize,
}

impl Default for Partial {
    fn default() -> Self {
        Self { bytes: 1024, of: 4096 }
    }
}

async fn truncate(Query(asked): Query<Partial>) -> Result<Response, Problem> {
    let (bytes, of) = (size(asked.bytes)?, size(asked.of)?);
    Ok(octets(Script::broken_at(bytes), Some(of)))
}

/// `?bytes=&of=`: promises `of`, sends `bytes`, then says nothing more and stays.
async fn stall(Query(asked): Query<Partial>) -> Result<Response, Problem> {
    let (bytes, of) = (size(asked.bytes)?, size(asked.of)?);
    Ok(octets(Script::silent_at(bytes), Some(of)))
}

/// Never answers.
async fn hang() -> Response {
    std::future::pending().await
}

/// `?fields=&bytes=`: so many header fields, each with a value of so many bytes.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Headers {
    fields: usize,
    bytes: usize,
}

impl Default for Headers {
    fn default() -> Self {
        Self { fields: 10, bytes: 100 }
    }
}

async fn headers(Query(asked): Query<Headers>) -> Result<HeaderMap, Problem> {
    if asked.fields > FIELDS_MAX || asked.bytes > FIELD_BYTES_MAX {
        return Err(Problem::FaultMalformed);
    }
    let value = HeaderValue::from_str(&"a".repeat(asked.bytes)).expect("the letter a is visible");
    let named = |index| {
        let name = HeaderName::from_bytes(format!("x-fault-{index}").as_bytes());
        (name.expect("letters, digits and dashes are a name"), value.clone())
    };
    Ok((0..asked.fields).map(named).collect())
}

/// From now on `/healthz` answers with that status.
async fn health(
    State(service): State<Arc<Service>>,
    Path(code): Path<u16>,
) -> Result<StatusCode, Problem> {
    service.board.say_health(final_status(code)?);
    Ok(StatusCode::NO_CONTENT)
}

fn octets(script: Script, length: Option<usize>) -> Response {
    let mut answer = Response::new(script.into_body());
    let fields = answer.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Some(length) = length {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    answer
}

fn pause(asked_ms: u64) -> Result<Duration, Problem> {
    let fits = asked_ms <= PAUSE_MS_MAX;
    fits.then(|| Duration::from_millis(asked_ms)).ok_or(Problem::FaultMalformed)
}

fn size(asked: usize) -> Result<usize, Problem> {
    (asked <= BODY_BYTES_MAX).then_some(asked).ok_or(Problem::FaultMalformed)
}

/// A status that ends an exchange; 1xx would not.
fn final_status(code: u16) -> Result<StatusCode, Problem> {
    let status = StatusCode::from_u16(code).map_err(|_| Problem::FaultMalformed)?;
    (200..600).contains(&code).then_some(status).ok_or(Problem::FaultMalformed)
}
