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
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How long a connection may stay open between two requests, in seconds.
pub const IDLE_SECS: u64 = 75;

/// How long the head of a request may take from its connection's beginning.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// How many requests one connection may carry; closing now and then gives its memory back.
const REQUESTS_PER_CONNECTION_MAX: u32 = 1_000;

tokio::task_local! {
    /// Told by the proxy once the head of the request has been read.
    static HEAD_READ: Arc<Notify>;
}

/// Tells the edge that the head is here: its deadline no longer applies.
pub fn head_was_read() {
    // Outside an edge, in a subrequest, there is no deadline to lift.
    let _ = HEAD_READ.try_with(|read| read.notify_one());
}

/// Wraps the proxy of one listener.
pub struct Edge<P> {
    proxy: Arc<P>,
    listener: Arc<str>,
    observe: Observe,
    options: HttpServerOptions,
    in_flight: InFlight,
}

impl<P: HttpServerApp> Edge<P> {
    pub fn new(proxy: P, listener: Arc<str>, observe: Observe, in_flight: InFlight) -> Self {
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
        let idle = Duration::from_secs(if is_first { 0 } else { IDLE_SECS });
        let read = Arc::new(Notify::new());
        let exchange =
            HEAD_READ.scope(Arc::clone(&read), self.proxy.process_new_http(session, shutdown));
        tokio::pin!(exchange);
        let deadline = tokio::time::sleep(idle + HEAD_TIMEOUT);
        tokio::pin!(deadline);
        tokio::select! {
            biased;
            ended = &mut exchange => return ended,
            () = read.notified() => {}
            () = &mut deadline => {
                self.observe.head_timed_out(&self.listener);
                return None;
            }
        }
        let _guard = self.in_flight.enter();
        exchange.await
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
