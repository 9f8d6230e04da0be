//! Reading a small body and sending an answer of our own, without losing the client's connection.

use crate::denial::{Code, Denial, Reply};
use http::{StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session as Downstream;
use pingora::{ErrorType, Result};

/// A body larger than this is not read to its end only to keep the connection.
const DRAIN_BYTES_MAX: u64 = 64 * 1024;

/// Sends `reply`. The connection lives on, unless a body would have to be read that is large, or
/// that the client still holds back (`Expect: 100-continue`).
pub(super) async fn send(downstream: &mut Downstream, reply: Reply) -> Result<()> {
    if !downstream.as_downstream_mut().is_body_empty() && !is_worth_draining(downstream) {
        downstream.set_keepalive(None);
    }
    let mut head = ResponseHeader::build(reply.status, Some(reply.headers.len() + 1))?;
    for (name, value) in reply.headers {
        head.append_header(name, value)?;
    }
    if reply.status != StatusCode::NO_CONTENT {
        head.insert_header(header::CONTENT_LENGTH, reply.body.len())?;
    }
    let has_body = !reply.body.is_empty() && downstream.req_header().method != http::Method::HEAD;
    downstream.write_response_header(Box::new(head), !has_body).await?;
    if has_body {
        downstream.write_response_body(Some(reply.body), true).await?;
    }
    Ok(())
}

fn is_worth_draining(downstream: &Downstream) -> bool {
    let headers = &downstream.req_header().headers;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse::<u64>().ok());
    // A chunked body has no announced end; Pingora's drain has a time limit for it.
    length.unwrap_or(0) <= DRAIN_BYTES_MAX && !headers.contains_key(header::EXPECT)
}

/// The whole body of a request for the gateway itself, at most `max` bytes.
pub(super) async fn read_body(
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
