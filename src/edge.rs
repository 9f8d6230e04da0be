//! The edge: connections before there is a request, and heads before there is a route.
//!
//! Pingora bounds a single read, not a whole head; here the whole head has a deadline. What a sound
//! head is, is in `edge/head.rs`. No routing and no policy.

pub mod bind;
pub mod head;

use crate::observe::Observe;
use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::server::ShutdownWatch;
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::sync::Notify;

/// One listener's name and patience.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its place in the file.
    pub number: usize,
    pub name: Arc<str>,
    /// How long the head of a request may take.
    pub head_timeout: Duration,
    /// How long a connection is kept open between two requests.
    pub idle_timeout: Duration,
    /// How long a client may pause while it sends a body.
    pub body_timeout: Duration,
    /// How long a client may take no bytes of an answer.
    pub write_timeout: Duration,
}

/// A body that comes more slowly than this, in bytes per second, is not waited for.
const BODY_RATE_MIN: u64 = 1_024;

impl Listener {
    /// Whether so many bytes of a body should have taken less time.
    pub fn is_late(&self, body_bytes: u64, took: Duration) -> bool {
        took > self.body_timeout + Duration::from_secs(body_bytes / BODY_RATE_MIN)
    }
}

/// How many requests one connection may carry; closing now and then gives its memory back.
const REQUESTS_PER_CONNECTION_MAX: u32 = 1_000;

thread_local! {
    /// Whether the exchange that is being polled on this thread has read its head. The edge looks
    /// at it before and after every poll, so it never speaks of another exchange.
    static HEAD_WAS_READ: Cell<bool> = const { Cell::new(false) };
}

/// Tells the edge that the head is here: its deadline no longer applies.
pub fn head_was_read() {
    HEAD_WAS_READ.set(true);
}

/// Wraps the proxy of one listener.
pub struct Edge<P> {
    proxy: Arc<P>,
    listener: Arc<Listener>,
    observe: Observe,
    options: HttpServerOptions,
    in_flight: InFlight,
}

impl<P: HttpServerApp> Edge<P> {
    pub fn new(proxy: P, listener: Arc<Listener>, observe: Observe, in_flight: InFlight) -> Self {
        let mut options = HttpServerOptions::default();
        options.keepalive_request_limit = Some(REQUESTS_PER_CONNECTION_MAX);
        Edge { proxy: Arc::new(proxy), listener, observe, options, in_flight }
    }
}

#[async_trait]
impl<P: HttpServerApp + Send + Sync + 'static> HttpServerApp for Edge<P> {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        // Between two requests a connection may be idle first; the head's own time comes on top.
        let is_first =
            session.get_keepalive_reuses_remaining() == Some(REQUESTS_PER_CONNECTION_MAX);
        let idle = if is_first { Duration::ZERO } else { self.listener.idle_timeout };
        let mut exchange = self.proxy.process_new_http(session, shutdown);
        // Shared by all that end in the same 10 ms, and not even set for a head that is there.
        let mut deadline = pin!(pingora::prelude::sleep(idle + self.listener.head_timeout));
        let mut under_way = None;
        poll_fn(|task| {
            HEAD_WAS_READ.set(false);
            let polled = exchange.as_mut().poll(task);
            if polled.is_ready() || under_way.is_some() {
                return polled;
            }
            if HEAD_WAS_READ.get() {
                under_way = Some(self.in_flight.enter());
                return Poll::Pending;
            }
            ready!(deadline.as_mut().poll(task));
            self.observe.head_timed_out(&self.listener.name);
            Poll::Ready(None)
        })
        .await
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.proxy.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

/// How many requests are being answered; the drain waits for none.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    now: AtomicU64,
    changed: Notify,
}

/// One request that is being answered: counted as long as it lives, however it ends.
pub struct Guard(Arc<Count>);

impl InFlight {
    pub fn enter(&self) -> Guard {
        self.0.now.fetch_add(1, Ordering::Relaxed);
        Guard(Arc::clone(&self.0))
    }

    pub fn now(&self) -> u64 {
        self.0.now.load(Ordering::Acquire)
    }

    /// Waits until no request is being answered.
    pub async fn none(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.now() == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.0.now.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_its_time_and_a_second_for_every_kib() {
        let secs = Duration::from_secs;
        let listener = Listener {
            number: 0,
            name: "edge".into(),
            head_timeout: secs(15),
            idle_timeout: secs(75),
            body_timeout: secs(30),
            write_timeout: secs(60),
        };
        assert!(!listener.is_late(1, secs(30)));
        assert!(listener.is_late(1, secs(31)), "a byte now and then does not keep it open");
        assert!(!listener.is_late(100 * 1_024, secs(130)));
        assert!(listener.is_late(100 * 1_024, secs(131)));
    }
}
