//! The edge: listeners, the connections that they accept, and heads before there is a route. No
//! routing and no policy.
//!
//! `server` binds a listener and accepts for it; [`Edge::process_new`] is where an accepted
//! connection arrives and where its protocol is chosen. In its order: the PROXY protocol says whose
//! connection it is (`edge/arrival.rs`), TLS secures it (`edge/handshake.rs`, with what is in
//! `edge/tls.rs`), and HTTP/2 (`edge/h2.rs`) or HTTP/1 (`edge/h1.rs`) is spoken on it, as the
//! handshake agreed or as the first bytes show. Who the client is gets decided in `edge/client.rs`,
//! whatever the protocol. What a sound head is, is in `request/head.rs`.

mod config;
mod socket;
mod client;
mod carrier;
mod h1;
mod h2;
mod h2_bounds;
mod handshake;
mod arrival;
mod proxy_header;
mod peer;
mod listener;
pub mod tls;
mod trust;
mod connections;
mod in_flight;
mod open_connections;
mod downstream;
mod transport;
mod client_end;
mod receipt;
mod reader_pace;
mod head_config;
mod head_state;
mod answer_clock;
mod request_line;
mod underscores;
mod deadline;

pub use answer_clock::AnswerClock;
pub use arrival::Refusal;
pub use carrier::{answer_clock, handshake, slow_reader};
pub use client::Client;
pub use client_end::ClientEnd;
pub use config::Config;
pub use downstream::DownstreamStream;
pub use h1::LAST_REQUEST_WITHIN;
pub use h2_bounds::{Config as Http2Config, Settings as Http2Settings};
pub use head_config::HeadConfig;
pub use head_state::{Opened, head_was_read};
pub use in_flight::{Guard, InFlight};
pub use listener::Listener;
pub use open_connections::{Memory, OpenConnections};
pub use peer::Peer;
pub use proxy_header::{Beginning, ProxyHeader};
pub use reader_pace::SlowClient;
pub use receipt::Receipt;
pub use socket::SocketConfig;
pub use transport::Handshake;
pub use trust::{TrustedName, TrustedPeer, TrustedPeers};
pub use underscores::Underscores;

use crate::observe::{Event, Observe};
use async_trait::async_trait;
use h1::Http1;
use h2::Http2;
use handshake::Failure;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use std::future::poll_fn;
use std::sync::Arc;

/// One listener's connections, and the proxy that answers their requests.
pub struct Edge<P> {
    http1: Http1<P>,
    http2: Http2<P>,
}

impl<P> Edge<P> {
    /// The edge of `listener`; it starts nothing.
    pub fn new(proxy: P, listener: Arc<Listener>, observe: Observe, open: OpenConnections) -> Self {
        let proxy = Arc::new(proxy);
        let http2 = Http2 {
            proxy: Arc::clone(&proxy),
            listener: Arc::clone(&listener),
            observe: observe.clone(),
            open: open.clone(),
        };
        Edge { http1: Http1 { proxy, listener, observe, open }, http2 }
    }

    /// Closes a connection that gets no request answered.
    fn refuse(&self, failure: impl Into<Failure>) {
        let Failure { refusal, why } = failure.into();
        let (listener, reason) = (&*self.http1.listener.name, refusal.name());
        let why = why.as_ref();
        self.http1.observe.emit(&Event::ConnectionRefused { listener, reason, why });
    }

    /// Secures a connection, where the listener speaks TLS.
    async fn secure(
        &self,
        stream: Box<DownstreamStream>,
        peer: Peer,
        shutdown: &ShutdownWatch,
    ) -> Result<(Box<DownstreamStream>, Peer), Option<Failure>> {
        let listener = &self.http1.listener;
        let Some(tls) = &listener.tls else { return Ok((stream, peer)) };
        // Boxed, so that a plain connection does not hold the room for a handshake.
        let stream = Box::pin(handshake::secure(stream, tls, shutdown)).await?;
        if let Some(handshake) = stream.handshake() {
            let Handshake { version, is_resumed, .. } = handshake;
            let listener = &*listener.name;
            self.http1.observe.emit(&Event::HandshakeDone { listener, version, is_resumed });
        }
        Ok((stream, peer.over_tls()))
    }
}

impl<P: HttpServerApp + Send + Sync + 'static> Edge<P> {
    /// Speaks with a client that has got through, in the protocol of its choice.
    async fn serve(&self, mut stream: Box<DownstreamStream>, peer: Peer, shutdown: &ShutdownWatch) {
        if let Some(settings) = &self.http1.listener.http2 {
            let within = self.http1.listener.head_timeout;
            // Boxed, so that a connection of HTTP/1 does not hold the room for it.
            match Box::pin(handshake::speaks_http2(&mut stream, within, shutdown)).await {
                Some(false) => {}
                Some(true) => {
                    return Box::pin(self.http2.serve(stream, settings, peer, shutdown)).await;
                }
                None => return poll_fn(|task| stream.poll_goodbye(task)).await,
            }
        }
        self.http1.serve(stream, peer, shutdown).await;
    }
}

/// An open connection, as it is reported: it is over when this is dropped.
struct Open<'a> {
    observe: &'a Observe,
    listener: &'a str,
}

impl<'a> Open<'a> {
    fn report<P>(http1: &'a Http1<P>) -> Self {
        let (observe, listener) = (&http1.observe, &*http1.listener.name);
        observe.emit(&Event::ConnectionOpened { listener });
        Open { observe, listener }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.observe.emit(&Event::ConnectionClosed { listener: self.listener });
    }
}

#[async_trait]
impl<P: HttpServerApp + Send + Sync + 'static> ServerApp for Edge<P> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let listener = &*self.http1.listener;
        let mut stream = Box::new(DownstreamStream::new(stream, listener.reader));
        let Some(_open_in_all) = self.http1.open.enter() else {
            self.refuse(Refusal::ProcessFull);
            // Where memory has run out, there is none for a word.
            if !self.http1.open.is_closed() {
                arrival::turn_away(&mut stream, listener).await;
            }
            return None;
        };
        let Some(_place) = listener.connections.enter() else {
            self.refuse(Refusal::Full);
            arrival::turn_away(&mut stream, listener).await;
            return None;
        };
        let _open = Open::report(&self.http1);
        let peer = Peer::at(stream.address());
        let peer = match arrival::meet(&mut stream, peer, listener, shutdown).await {
            Ok(peer) => peer,
            Err(reason) => {
                reason.into_iter().for_each(|reason| self.refuse(reason));
                return None;
            }
        };
        let _of_client = match arrival::place(peer, listener) {
            Ok(place) => place,
            Err(reason) => {
                self.refuse(reason);
                arrival::turn_away(&mut stream, listener).await;
                return None;
            }
        };
        match self.secure(stream, peer, shutdown).await {
            Ok((stream, peer)) => self.serve(stream, peer, shutdown).await,
            Err(failure) => failure.into_iter().for_each(|failure| self.refuse(failure)),
        }
        // The connection is used up: Pingora is not asked to wait for another request on it.
        None
    }

    async fn cleanup(&self) {
        self.http1.proxy.http_cleanup().await;
    }
}
