//! The edge: connections before there is a request, and heads before there is a route.
//!
//! Pingora bounds a single read, not a whole head, and waits for the next request inside the future
//! of a whole exchange, some 20 KiB per silent client. Here a connection waits with its socket and
//! nothing else; when the first byte is there, the head has a deadline. What a sound head is, is in
//! `edge/head.rs`. No routing and no policy.

pub mod bind;
pub mod head;
mod in_flight;

pub use in_flight::InFlight;

use crate::observe::Observe;
use async_trait::async_trait;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream, ServerApp};
use pingora::prelude::timeout;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use std::cell::Cell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How many requests one connection may carry; closing now and then gives its memory back.
const REQUESTS_PER_CONNECTION_MAX: u32 = 1_000;

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
}

thread_local! {
    /// Whether the exchange that is being polled on this thread has read its head. A poll is one
    /// synchronous call, so no other exchange can come between.
    static IS_HEAD_READ: Cell<bool> = const { Cell::new(false) };
}

/// Tells the edge that the head is here: its deadline no longer applies.
pub fn head_was_read() {
    IS_HEAD_READ.set(true);
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

    /// Waits for the first byte of a request; `None` when the client or the gateway is done, or
    /// nobody came in time.
    async fn first_byte(
        &self,
        stream: &mut Stream,
        within: Duration,
        shutdown: &ShutdownWatch,
    ) -> Option<()> {
        let mut shutdown = shutdown.clone();
        let mut byte = [0];
        tokio::select! {
            biased;
            peeked = timeout(within, stream.try_peek(&mut byte)) => peeked.ok()?.ok().map(|_| ()),
            // An error means that the gateway is gone, which is as final.
            _ = shutdown.wait_for(|is_over| *is_over) => None,
        }
    }
}

impl<P: HttpServerApp + Send + Sync + 'static> Edge<P> {
    /// One request and its answer; `None` when the connection ends with it.
    async fn exchange(
        &self,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let _guard = self.in_flight.enter();
        let mut exchange = self.proxy.process_new_http(session, shutdown);
        // Polled until the head is read, which the proxy tells from within.
        let head = poll_fn(|context| {
            IS_HEAD_READ.set(false);
            match exchange.as_mut().poll(context) {
                Poll::Ready(ended) => Poll::Ready(Some(ended)),
                Poll::Pending if IS_HEAD_READ.get() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        match timeout(self.listener.head_timeout, head).await {
            Ok(Some(ended)) => ended,
            Ok(None) => exchange.await,
            Err(_) => {
                self.observe.head_timed_out(&self.listener.name);
                None
            }
        }
    }
}

#[async_trait]
impl<P: HttpServerApp + Send + Sync + 'static> ServerApp for Edge<P> {
    async fn process_new(
        self: &Arc<Self>,
        mut stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let mut kept: Option<HttpPersistentSettings> = None;
        loop {
            // A connection that was opened for nothing is closed sooner than one that was of use.
            let within = match kept {
                None => self.listener.head_timeout,
                Some(_) => self.listener.idle_timeout,
            };
            self.first_byte(&mut stream, within, shutdown).await?;
            let mut session = ServerSession::new_http1(stream);
            match kept {
                Some(kept) => kept.apply_to_session(&mut session),
                None => {
                    session.set_keepalive_reuses_remaining(Some(REQUESTS_PER_CONNECTION_MAX));
                }
            }
            session.set_keepalive(Some(self.listener.idle_timeout.as_secs().max(1)));
            (stream, kept) = self.exchange(session, shutdown).await?.consume();
        }
    }

    async fn cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}
