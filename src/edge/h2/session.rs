//! One request over HTTP/2 and its answer, as Pingora asks for them.
//!
//! Pingora has a session of its own for HTTP/2, which waits for a body without end, drops interim
//! answers, and can't be told that an upstream keeps the client waiting for too long. This one has
//! the timeouts of HTTP/1.

mod seam;

use super::exchange_state::ExchangeState;
use super::wire::Wire;
use crate::edge::deadline::Deadline;
use crate::edge::reader_pace::{ReaderBounds, ReaderPace, receipts};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderName, Response, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::body_buffer::FixedBuffer;
use pingora::protocols::http::date::get_cached_date;
use pingora::{Error, ErrorType, OrErr, Result};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// Fields that speak of a connection and have no place in HTTP/2 (RFC 9113 §8.2.2).
const OF_CONNECTION: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// One request and its answer.
pub(super) struct Http2Session {
    head: RequestHeader,
    body: RecvStream,
    /// The body has ended, perhaps with trailers.
    is_read: bool,
    answer: SendResponse<Bytes>,
    answer_body: Option<SendStream<Bytes>>,
    written: Option<Box<ResponseHeader>>,
    /// The end of the answer was sent, or will never be.
    is_ended: bool,
    read_bytes: usize,
    sent_bytes: usize,
    retry: Option<FixedBuffer>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    pace: ReaderPace,
    wire: Wire,
    drain_timeout: Option<Duration>,
    /// When the client must have sent more of the body, while it is waited for.
    read_until: Option<Instant>,
    read_timer: Option<Deadline>,
    answer_timer: Option<Deadline>,
    state: Arc<ExchangeState>,
    digest: Arc<Digest>,
}

impl Http2Session {
    pub(super) fn new(
        mut head: RequestHeader,
        body: RecvStream,
        answer: SendResponse<Bytes>,
        state: ExchangeState,
        (digest, reader, wire): (Arc<Digest>, ReaderBounds, Wire),
    ) -> Self {
        let state = Arc::new(state);
        state.clone().enter(&mut head);
        Http2Session {
            head,
            body,
            is_read: false,
            answer,
            answer_body: None,
            written: None,
            is_ended: false,
            read_bytes: 0,
            sent_bytes: 0,
            retry: None,
            read_timeout: None,
            write_timeout: None,
            pace: ReaderPace::new(reader),
            wire,
            drain_timeout: None,
            read_until: None,
            read_timer: None,
            answer_timer: None,
            state,
            digest,
        }
    }

    fn has_read_all(&self) -> bool {
        self.is_read || self.body.is_end_stream()
    }

    /// The next piece of the body, `None` behind the last.
    fn poll_body(&mut self, task: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let Poll::Ready(read) = self.body.poll_data(task) else {
            return self.poll_late(task).map(Err);
        };
        self.read_until = None;
        let Some(read) = read else {
            self.is_read = true;
            return Poll::Ready(Ok(None));
        };
        Poll::Ready(read.or_err(ErrorType::ReadError, "the body over HTTP/2").map(|piece| {
            self.read_bytes += piece.len();
            if let Some(retry) = &mut self.retry {
                retry.write_to_buffer(&piece);
            }
            // It fails only where nothing is expected any more.
            let _ = self.body.flow_control().release_capacity(piece.len());
            Some(piece)
        }))
    }

    /// Ready when the client has paused for too long.
    fn poll_late(&mut self, task: &mut Context<'_>) -> Poll<Box<Error>> {
        let Some(within) = self.read_timeout else { return Poll::Pending };
        let until = *self.read_until.get_or_insert_with(|| Instant::now() + within);
        let timer = self.read_timer.get_or_insert_with(|| Deadline::new(until));
        timer.set(until);
        timer.poll(task).map(|()| Error::explain(ErrorType::ReadTimedout, "the body stalled"))
    }

    /// Ready when the client has broken the request off, or is gone.
    fn poll_gone(&mut self, task: &mut Context<'_>) -> Poll<Box<Error>> {
        let reset = match &mut self.answer_body {
            Some(body) => body.poll_reset(task),
            None => self.answer.poll_reset(task),
        };
        reset.map(|_| Error::explain(ErrorType::H2Error, "the client broke the request off"))
    }

    /// What comes next of the request; an error also when the upstream is too slow.
    fn poll_event(&mut self, is_read: bool, task: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let event = match is_read || self.has_read_all() {
            true => self.poll_gone(task).map(Err),
            false => self.poll_body(task),
        };
        if event.is_ready() {
            return event;
        }
        let clock = self.state.answer_clock.poll(&mut self.answer_timer, task);
        clock.map(|()| Error::e_explain(ErrorType::ReadTimedout, "the upstream is too slow"))
    }

    async fn send(&mut self, mut data: Bytes, end: bool) -> Result<()> {
        let Some(body) = self.answer_body.as_mut().filter(|_| !self.is_ended) else {
            return match self.is_ended {
                true => Ok(()),
                false => Error::e_explain(ErrorType::H2Error, "a body before its head"),
            };
        };
        while !data.is_empty() {
            body.reserve_capacity(data.len());
            let (pace, wire) = (&mut self.pace, &self.wire);
            let socket = self.digest.socket_digest.as_deref();
            let granted = poll_fn(|task| {
                let capacity = body.poll_capacity(task);
                let taken = match &capacity {
                    Poll::Ready(Some(Ok(granted))) => Poll::Ready((*granted).min(data.len())),
                    Poll::Ready(_) => Poll::Ready(0),
                    Poll::Pending => Poll::Pending,
                };
                // Where the connection could be written to, the client gives this answer no room.
                let ask = || wire.is_blocked().then(|| receipts(socket)).flatten();
                match ready!(pace.poll(taken, ask, task)) {
                    Ok(()) => capacity.map(Ok),
                    Err(slow) => Poll::Ready(Err(slow)),
                }
            });
            let granted = match granted.await {
                Ok(Some(Ok(granted))) => granted.min(data.len()),
                Ok(Some(Err(_)) | None) => {
                    return Error::e_explain(ErrorType::WriteError, "the client is gone");
                }
                Err(slow) => {
                    self.state.is_slow(slow);
                    return Error::e_explain(ErrorType::WriteTimedout, "the client is too slow");
                }
            };
            let piece = data.split_to(granted);
            let is_last = end && data.is_empty();
            self.sent_bytes += piece.len();
            body.send_data(piece, is_last).or_err(ErrorType::WriteError, "over HTTP/2")?;
            self.is_ended |= is_last;
            self.state.answer_clock.answer_flows();
        }
        match end {
            true => self.end(),
            false => Ok(()),
        }
    }

    /// Ends an answer that has begun.
    fn end(&mut self) -> Result<()> {
        match &mut self.answer_body {
            Some(body) if !self.is_ended => {
                self.is_ended = true;
                let sent = body.send_data(Bytes::new(), true);
                sent.or_err(ErrorType::WriteError, "the end over HTTP/2")
            }
            _ => Ok(()),
        }
    }

    fn send_head(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        let is_interim = head.status.is_informational();
        if self.is_ended || !is_interim && self.written.is_some() {
            return Ok(());
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Error::e_explain(ErrorType::InvalidHTTPHeader, "101 over HTTP/2");
        }
        if !is_interim {
            head.insert_header(header::DATE, get_cached_date())?;
        }
        for name in &OF_CONNECTION {
            head.remove_header(name);
        }
        head.set_version(Version::HTTP_2);
        let response = Response::from_parts(head.as_owned_parts(), ());
        if is_interim {
            let sent = self.answer.send_informational(response);
            return sent.or_err(ErrorType::WriteError, "an interim answer over HTTP/2");
        }
        let sent = self.answer.send_response(response, end);
        self.answer_body = Some(sent.or_err(ErrorType::WriteError, "a head over HTTP/2")?);
        self.written = Some(head);
        self.is_ended |= end;
        self.state.answer_clock.answer_flows();
        Ok(())
    }

    /// Breaks the answer off, so that nobody takes it for a whole one.
    fn break_off(&mut self) {
        if !self.is_ended {
            self.is_ended = true;
            self.answer.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}

impl Drop for Http2Session {
    fn drop(&mut self) {
        self.break_off();
    }
}
