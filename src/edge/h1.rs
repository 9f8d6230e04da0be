//! HTTP/1 on one connection, request after request.
//!
//! Pingora bounds a single read, not a whole head, and waits for the next request inside the future
//! of a whole exchange, some 20 KiB per silent client. Here a connection waits with its socket and
//! nothing else; when the first byte has come, the head has a deadline.
//!
//! The head is read by Pingora, inside of the future that is polled here, and Pingora reports it
//! only to a phase of the proxy. The report comes back through a thread-local, [`HeadState`],
//! within one poll:
//!
//! ```text
//! Http1::exchange                    enters what this exchange had reached, Unread or Read, and
//! │                                  the peer that its connection is with
//! └ Pingora: process_new_http        is polled
//!   ├ the head is not whole yet      ─► nothing is set: the deadline goes on
//!   ├ the head can't be parsed: Pingora writes its own 400 or 405
//!   │ └ DownstreamStream::poll_write ─► not Read: sends our refusal, sets Refused(code)
//!   └ the head is good
//!     ├ proxy: early_request_filter  ─► edge::head_was_read() sets Read, counts the request as
//!     │                                under way, and returns the peer
//!     └ the answer is written
//!       └ DownstreamStream::poll_write  is Read: the bytes pass
//! Http1::exchange                    gets what is set now: Read ends the deadline, and the request
//!                                    is under way to the end of the exchange; Refused is reported
//! ```
//!
//! A poll is one synchronous call: no other exchange of this thread is polled before it returns.
//! Each exchange sets its own state before its poll, so it never finds that of another.

use super::deadline::Deadline;
use super::downstream::DownstreamStream;
use super::handshake::LAST_CALL;
use super::head_state::{self, HeadState};
use super::listener::Listener;
use super::open_connections::OpenConnections;
use super::peer::Peer;
use crate::observe::{Event, Observe};
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// How long a connection stays open for one last request when its listener closes. Whoever sends it
/// at that moment would find the connection closed, and would not know what became of it.
pub const LAST_REQUEST_WITHIN: Duration = LAST_CALL;

/// The HTTP/1 side of one listener.
pub(super) struct Http1<P> {
    pub(super) proxy: Arc<P>,
    pub(super) listener: Arc<Listener>,
    pub(super) observe: Observe,
    /// Those of all listeners.
    pub(super) open: OpenConnections,
}

impl<P: HttpServerApp + Send + Sync + 'static> Http1<P> {
    /// Answers the requests of one connection until it ends.
    pub(super) async fn serve(
        &self,
        mut stream: Box<DownstreamStream>,
        peer: Peer,
        shutdown: &ShutdownWatch,
    ) {
        let mut settings: Option<HttpPersistentSettings> = None;
        let mut stopping = shutdown.clone();
        // Registered once per connection, not once per request.
        let mut is_over = pin!(async {
            // An error means that the gateway is gone, which is as final.
            let _ = stopping.wait_for(|is_over| *is_over).await;
        });
        let (mut is_last, mut is_old, mut served) = (false, false, 0);
        let old_at = Instant::now() + self.listener.age();
        // A connection that was opened for nothing is closed sooner than one that was of use.
        let mut deadline = Deadline::new(Instant::now() + self.listener.head_timeout);
        loop {
            let has_begun = poll_fn(|task| match stream.poll_begun(task) {
                Poll::Ready(begun) => Poll::Ready(begun.is_ok()),
                _ => {
                    if !is_last && is_over.as_mut().poll(task).is_ready() {
                        is_last = true;
                        deadline.bring_forward(Instant::now() + LAST_REQUEST_WITHIN);
                    }
                    deadline.poll(task).map(|()| false)
                }
            });
            if !has_begun.await {
                self.tell_silence(&deadline, is_last, served);
                poll_fn(|task| stream.poll_goodbye(task)).await;
                return;
            }
            let mut session = ServerSession::new_http1(stream);
            if let Some(settings) = settings {
                settings.apply_to_session(&mut session);
            }
            served += 1;
            // Pingora reads from the head whether the client wants to go on, and heeds this first.
            let reuses = self.is_spent(served, is_old).then_some(0);
            session.set_keepalive_reuses_remaining(reuses);
            // Pingora would wait this long for the head to begin, but it has begun already.
            session.set_keepalive(Some(self.listener.idle_timeout.as_secs().max(1)));
            let ended = self.exchange(session, peer, shutdown, &mut deadline).await;
            let Some((reused, next)) = ended.map(ReusedHttpStream::consume) else { return };
            settings = next;
            stream = reused.into_any().downcast().expect("Pingora gives back what it was given");
            let now = Instant::now();
            is_old = old_at <= now;
            deadline.set(now + self.listener.idle_timeout);
        }
    }

    /// Tells that no request has begun, if that took too long: the client may have closed, and the
    /// gateway may be about to.
    fn tell_silence(&self, deadline: &Deadline, is_last: bool, served: u32) {
        if deadline.has_passed() && !is_last {
            let bound = if served == 0 { "head_timeout" } else { "idle_timeout" };
            let listener = &*self.listener.name;
            self.observe.emit(&Event::ClientTimedOut { listener, bound });
        }
    }

    /// Whether the answer to this request, the so-manieth, is the last on its connection.
    fn is_spent(&self, served: u32, is_old: bool) -> bool {
        let reason = match () {
            () if self.listener.requests_per_connection <= served => "requests",
            () if is_old => "age",
            () if self.open.is_memory_short() => "memory",
            () => return false,
        };
        let listener = &*self.listener.name;
        self.observe.emit(&Event::ConnectionRecycled { listener, reason });
        true
    }

    /// One request and its answer; `None` when the connection ends with it.
    async fn exchange(
        &self,
        session: ServerSession,
        peer: Peer,
        shutdown: &ShutdownWatch,
        deadline: &mut Deadline,
    ) -> Option<ReusedHttpStream> {
        let mut exchange = self.proxy.process_new_http(session, shutdown);
        let mut is_first_poll = true;
        let mut under_way = None;
        let listener = &*self.listener.name;
        poll_fn(|task| {
            let is_read = under_way.is_some();
            let state = if is_read { HeadState::Read } else { HeadState::Unread };
            let _entered = head_state::enter(state, peer);
            let polled = exchange.as_mut().poll(task);
            match HeadState::get() {
                HeadState::Refused(code) => {
                    self.observe.emit(&Event::HeadRefused { listener, code });
                }
                HeadState::Read if under_way.is_none() => {
                    under_way = Some(head_state::take_guard())
                }
                HeadState::Unread | HeadState::Read => {}
            }
            if polled.is_ready() || under_way.is_some() {
                return polled;
            }
            // A head that arrives whole needs no deadline, so none is set before the first poll.
            if std::mem::take(&mut is_first_poll) {
                deadline.set(Instant::now() + self.listener.head_timeout);
            }
            ready!(deadline.poll(task));
            self.observe.emit(&Event::HeadTimedOut { listener });
            Poll::Ready(None)
        })
        .await
    }
}

#[cfg(test)]
mod tests;
