//! The edge: listeners, the connections that they accept, and heads before there is a route. No
//! routing and no policy.
//!
//! `server` binds a listener and accepts for it; [`Edge::process_new`] is where an accepted
//! connection arrives and where its protocol is chosen. Today every connection speaks HTTP/1
//! without TLS (`edge/h1.rs`). Another protocol gets a file beside `h1.rs`, and `process_new` picks
//! it by what the handshake agreed on; its settings belong to `edge/config.rs`. Who the client is
//! gets decided in `edge/client.rs`, whatever the protocol. What a sound head is, is in
//! `request/head.rs`.

mod config;
mod client;
mod h1;
mod peer;
mod listener;
mod in_flight;
mod downstream;
mod head_state;
mod answer_clock;
mod request_line;
mod underscores;
mod deadline;

pub use answer_clock::AnswerClock;
pub use client::Client;
pub use config::Config;
pub use downstream::DownstreamStream;
pub use head_state::head_was_read;
pub use in_flight::{Guard, InFlight};
pub use listener::Listener;
pub use peer::Peer;
pub use underscores::Underscores;

use crate::observe::Observe;
use async_trait::async_trait;
use h1::Http1;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use std::sync::Arc;

/// One listener's connections, and the proxy that answers their requests.
pub struct Edge<P> {
    http1: Http1<P>,
}

impl<P> Edge<P> {
    /// The edge of `listener`; it starts nothing.
    pub fn new(proxy: P, listener: Arc<Listener>, observe: Observe, in_flight: InFlight) -> Self {
        let proxy = Arc::new(proxy);
        Edge { http1: Http1 { proxy, listener, observe, in_flight } }
    }
}

#[async_trait]
impl<P: HttpServerApp + Send + Sync + 'static> ServerApp for Edge<P> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        self.http1.serve(stream, shutdown).await;
        // The connection is used up: Pingora is not asked to wait for another request on it.
        None
    }

    async fn cleanup(&self) {
        self.http1.proxy.http_cleanup().await;
    }
}
