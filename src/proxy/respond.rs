//! Reading a small body and sending an answer of our own, without losing the client's connection.

use super::context::Ctx;
use crate::denial::{Code, Denial, Reply};
use crate::edge::{DownstreamStream, Receipt};
use crate::filter::Halt;
use crate::request::head;
use crate::streams::Call;
use http::{StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::prelude::timeout;
use pingora::proxy::Session as Downstream;
use pingora::{ErrorType, Result};
use std::time::Duration;
use tokio::time::Instant;

/// A body larger than this is not read to its end only to keep the connection.
const DRAIN_BYTES_MAX: u64 = 64 * 1024;

/// How long the rest of such a body is waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may need to a client that has closed its side, and the receipt back; how
/// often it is looked for.
const RECEIPT_WITHIN: Duration = Duration::from_millis(500);
const RECEIPT_EVERY: Duration = Duration::from_millis(10);

/// How long we listen on after the last answer of a connection. Closing at once would reset it, and
/// a client that still sends would lose the answer (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);

/// Sends what `halt` says in the place of an upstream's answer, and returns its status. A slot that
/// was reserved for a client which did not live to hear of it is given back.
pub(super) async fn with(downstream: &mut Downstream, ctx: &mut Ctx, halt: Halt) -> Result<u16> {
    let reply = ctx.halted(halt, &downstream.req_header().headers).await;
    let status = reply.status.as_u16();
    let is_last_word = !downstream.as_downstream_mut().is_body_done();
    let sent = send(downstream, reply, ctx).await;
    if ctx.holds_reservation() {
        let is_heard = sent.is_ok() && (is_last_word || is_heard(downstream).await);
        if !is_heard {
            ctx.went_unheard().await;
        }
    }
    ctx.count_sent(sent?);
    Ok(status)
}

/// Whether the client that was just answered is there, as far as its system tells. Only where it
/// has closed its side is it waited for.
async fn is_heard(downstream: &mut Downstream) -> bool {
    if DownstreamStream::of(downstream).is_none() {
        return true;
    }
    if downstream.as_downstream_mut().finish_body().await.is_err() {
        return false;
    }
    let ask = || DownstreamStream::of(downstream).map_or(Receipt::Taken, DownstreamStream::receipt);
    let began = Instant::now();
    while ask() == Receipt::Awaited && began.elapsed() < RECEIPT_WITHIN {
        tokio::time::sleep(RECEIPT_EVERY).await;
    }
    ask() != Receipt::Refused
}

/// Sends `reply`. The connection lives on, unless a body would have to be read that is large, that
/// the client still holds back (`Expect: 100-continue`), or whose end is doubtful.
/// The route's filters have their say about its head. Returns how many bytes of a body were sent.
async fn send(downstream: &mut Downstream, reply: Reply, ctx: &Ctx) -> Result<usize> {
    let is_unread = !downstream.as_downstream_mut().is_body_done();
    match is_unread && downstream.get_keepalive().is_some() {
        true if is_worth_draining(downstream) => {
            downstream.as_downstream_mut().set_close_on_response_before_downstream_finish(false);
        }
        true => downstream.set_keepalive(None),
        false => {}
    }
    let sent = write(downstream, reply, ctx).await?;
    if is_unread && downstream.req_header().version < Version::HTTP_2 {
        dispose(downstream).await;
    }
    Ok(sent)
}

/// Reads what is left of the body, to keep the connection or to end it gently.
async fn dispose(downstream: &mut Downstream) {
    if downstream.get_keepalive().is_some() {
        let drained = timeout(DRAIN_TIMEOUT, discard(downstream, DRAIN_BYTES_MAX)).await;
        if matches!(drained, Ok(true)) {
            return;
        }
        downstream.set_keepalive(None);
    }
    downstream.as_downstream_mut().shutdown().await;
    // However it ends, the connection is over.
    let _ = timeout(LINGER, discard(downstream, u64::MAX)).await;
}

/// Reads the body to its end; `false` when there are more than `max` bytes, or it broke.
async fn discard(downstream: &mut Downstream, max: u64) -> bool {
    let mut left = max;
    loop {
        match downstream.as_downstream_mut().read_request_body().await {
            Ok(None) => return true,
            Ok(Some(chunk)) if chunk.len() as u64 <= left => left -= chunk.len() as u64,
            Ok(Some(_)) | Err(_) => return false,
        }
    }
}

async fn write(downstream: &mut Downstream, reply: Reply, ctx: &Ctx) -> Result<usize> {
    let mut head = ResponseHeader::build(reply.status, Some(reply.headers.len() + 1))?;
    for (name, value) in reply.headers {
        head.append_header(name, value)?;
    }
    ctx.finish(&downstream.req_header().headers, &mut head);
    if reply.status != StatusCode::NO_CONTENT {
        head.insert_header(header::CONTENT_LENGTH, reply.body.len())?;
    }
    let has_body = !reply.body.is_empty() && downstream.req_header().method != http::Method::HEAD;
    downstream.write_response_header(Box::new(head), !has_body).await?;
    if !has_body {
        return Ok(0);
    }
    let bytes = reply.body.len();
    downstream.write_response_body(Some(reply.body), true).await?;
    Ok(bytes)
}

fn is_worth_draining(downstream: &Downstream) -> bool {
    let parts = downstream.req_header().as_ref();
    // A chunked body announces nothing; it is read as far as the limit.
    head::announced(parts).is_some_and(|bytes| bytes <= DRAIN_BYTES_MAX)
        && !parts.headers.contains_key(header::EXPECT)
}

/// The answer to a call of the streams API, whose body must come `within` this time.
pub(super) async fn to_call(
    downstream: &mut Downstream,
    call: Call,
    within: Duration,
) -> std::result::Result<Reply, Halt> {
    let body = read_body(downstream, Call::BODY_BYTES_MAX, within).await?;
    call.answer(&body).await
}

/// The whole body of a request for the gateway itself, at most `max` bytes.
async fn read_body(
    downstream: &mut Downstream,
    max: usize,
    within: Duration,
) -> std::result::Result<Vec<u8>, Denial> {
    let read = timeout(within, read_to_end(downstream, max)).await;
    read.unwrap_or_else(|_| Err(Code::RequestTimeout.into()))
}

async fn read_to_end(
    downstream: &mut Downstream,
    max: usize,
) -> std::result::Result<Vec<u8>, Denial> {
    let is_held_back = downstream.req_header().headers.contains_key(header::EXPECT);
    if is_held_back && downstream.as_downstream_mut().write_continue_response().await.is_err() {
        return Err(Denial::from(Code::RequestMalformed).because("the client went away"));
    }
    let mut body = Vec::new();
    loop {
        match downstream.as_downstream_mut().read_request_body().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() > max => {
                return Err(Code::BodyTooLarge.into());
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(error) if *error.etype() == ErrorType::ReadTimedout => {
                return Err(Code::RequestTimeout.into());
            }
            Err(_) => return Err(Denial::from(Code::RequestMalformed).because("a broken body")),
        }
    }
}
