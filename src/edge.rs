//! The edge: connections before there is a request, and heads before there is a route.
//!
//! Pingora bounds a single read, not a whole head, and waits for the next request inside the future
//! of a whole exchange, some 20 KiB per silent client. Here a connection waits with its socket and
//! nothing else; when the first byte is there, the head has a deadline. What a sound head is, is in
//! `request/head.rs`. No routing and no policy.

mod config;
mod listener;
mod in_flight;
mod wire;
mod deadline;

pub use config::Config;
pub use in_flight::InFlight;
pub use listener::Listener;

use crate::denial::Code;
use crate::observe::Observe;
use async_trait::async_trait;
use deadline::Deadline;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use tokio::time::Instant;
use wire::Wire;

/// How many requests one connection may carry; closing now and then gives its memory back.
const REQUESTS_MAX: u32 = 1_000;

/// How far the exchange has got that is being polled on this thread.
#[derive(Clone, Copy)]
enum Head {
    Unread,
    Read,
    /// Pingora could not read it, or would not take it.
    Refused(Code),
}

thread_local! {
    /// A poll is one synchronous call, so no other exchange can come between.
    static HEAD: Cell<Head> = const { Cell::new(Head::Unread) };
}

/// Tells the edge that the head is here: its deadline no longer applies.
pub fn head_was_read() {
    HEAD.set(Head::Read);
}

/// Wraps the proxy of one listener.
pub struct Edge<P> {
    proxy: Arc<P>,
    listener: Arc<Listener>,
    observe: Observe,
    in_flight: InFlight,
}

impl<P> Edge<P> {
    pub fn new(proxy: P, listener: Arc<Listener>, observe: Observe, in_flight: InFlight) -> Self {
        Edge { proxy: Arc::new(proxy), listener, observe, in_flight }
    }
}

impl<P: HttpServerApp + Send + Sync + 'static> Edge<P> {
    /// One request and its answer; `None` when the connection ends with it.
    async fn exchange(
        &self,
        session: ServerSession,
        shutdown: &ShutdownWatch,
        deadline: &mut Deadline,
    ) -> Option<ReusedHttpStream> {
        let mut exchange = self.proxy.process_new_http(session, shutdown);
        let mut is_first_poll = true;
        let mut under_way = None;
        poll_fn(|task| {
            HEAD.set(if under_way.is_some() { Head::Read } else { Head::Unread });
            let polled = exchange.as_mut().poll(task);
            match HEAD.get() {
                Head::Refused(code) => self.observe.head_refused(&self.listener.name, code),
                Head::Read if under_way.is_none() => under_way = Some(self.in_flight.enter()),
                Head::Unread | Head::Read => {}
            }
            if polled.is_ready() || under_way.is_some() {
                return polled;
            }
            // Not even set for a head that is there whole.
            if std::mem::take(&mut is_first_poll) {
                deadline.set(Instant::now() + self.listener.head_timeout);
            }
            ready!(deadline.poll(task));
            self.observe.head_timed_out(&self.listener.name);
            Poll::Ready(None)
        })
        .await
    }
}

#[async_trait]
impl<P: HttpServerApp + Send + Sync + 'static> ServerApp for Edge<P> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let mut wire = Box::new(Wire::new(stream));
        let mut kept: Option<HttpPersistentSettings> = None;
        let mut stopping = shutdown.clone();
        // Registered once per connection, not once per request.
        let mut is_over = pin!(async {
            // An error means that the gateway is gone, which is as final.
            let _ = stopping.wait_for(|is_over| *is_over).await;
        });
        // A connection that was opened for nothing is closed sooner than one that was of use.
        let mut deadline = Deadline::new(Instant::now() + self.listener.head_timeout);
        loop {
            poll_fn(|task| match wire.poll_begun(task) {
                Poll::Ready(begun) => Poll::Ready(begun.ok()),
                _ if is_over.as_mut().poll(task).is_ready() => Poll::Ready(None),
                _ => deadline.poll(task).map(|()| None),
            })
            .await?;
            let mut session = ServerSession::new_http1(wire);
            match kept {
                Some(kept) => kept.apply_to_session(&mut session),
                None => session.set_keepalive_reuses_remaining(Some(REQUESTS_MAX)),
            }
            // Pingora takes this for the time until the head begins, which is over.
            session.set_keepalive(Some(self.listener.idle_timeout.as_secs().max(1)));
            let stream;
            (stream, kept) = self.exchange(session, shutdown, &mut deadline).await?.consume();
            wire = stream.into_any().downcast().expect("Pingora gives back what it was given");
            deadline.set(Instant::now() + self.listener.idle_timeout);
        }
    }

    async fn cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}
