//! HTTP/2 on one connection, request beside request.
//!
//! The library (`h2`) speaks the protocol; this room drives it, so that a request is the same to
//! all rooms behind the edge as one over HTTP/1. Each stream is a task with a session of its own
//! (`h2/session.rs`), and all of them end with their connection.
//!
//! ```text
//! Driver::run                        polls the connection, and looks at its deadlines
//! ├ h2/wire.rs                       every byte; frames are read along and floods are found here
//! ├ h2/head.rs                       a head as the rooms behind know it, or a refusal
//! └ exchange                         one task for each request
//!   └ Pingora: process_new_http ─► h2/session.rs
//! ```
//!
//! A connection ends gently: `GOAWAY` says that no further request is taken, those under way get
//! their answers, and then it is closed. Floods end it at once. What holds a request up is bounded
//! as over HTTP/1: the time of the handshake and of a head by `head_timeout`, a body by
//! `body_timeout`, an answer that nobody takes by `write_timeout`, silence by `idle_timeout`.

mod budget;
mod driver;
mod exchange_state;
mod frames;
mod head;
mod session;
mod wire;

pub(super) use exchange_state::ExchangeState;

use super::downstream::DownstreamStream;
use super::h2_bounds::Settings;
use super::handshake::last_call;
use super::listener::Listener;
use super::open_connections::OpenConnections;
use super::peer::Peer;
use crate::observe::{Event, Http2Event, Observe};
use driver::Driver;
use exchange_state::Agreed;
use pingora::apps::HttpServerApp;
use pingora::protocols::{Digest, GetProxyDigest as _, GetSocketDigest as _, GetTimingDigest as _};
use pingora::server::ShutdownWatch;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};
use wire::{Flood, REASONS, Wire};

/// The HTTP/2 side of one listener.
pub(super) struct Http2<P> {
    pub(super) proxy: Arc<P>,
    pub(super) listener: Arc<Listener>,
    pub(super) observe: Observe,
    /// The connections of all listeners.
    pub(super) open: OpenConnections,
}

/// What all requests of a connection have in common.
#[derive(Clone)]
struct Connected {
    peer: Peer,
    agreed: Option<Arc<Agreed>>,
    digest: Arc<Digest>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client closed it, or is gone.
    Closed,
    /// It was silent for too long.
    Idle,
    /// The gateway stops, or the listener is closed.
    Stopping,
    /// It has carried as many requests as it may.
    Requests,
    /// It is as old as it may get.
    Age,
    /// Memory has run short.
    Memory,
    /// A head, or the beginning of the connection, did not come in time.
    HeadTimeout,
    /// The client took no bytes.
    Stalled,
    /// The client sent a flood.
    Flood(Flood),
    /// The library has ended it, for this reason of its own.
    Fault(h2::Reason),
}

impl End {
    /// As metrics name it.
    fn name(self) -> &'static str {
        match self {
            End::Closed => "closed",
            End::Idle => "idle_timeout",
            End::Stopping => "stopping",
            End::Requests => "requests",
            End::Age => "age",
            End::Memory => "memory",
            End::HeadTimeout => "head_timeout",
            End::Stalled => "write_timeout",
            End::Flood(Flood::Resets) => "resets",
            End::Flood(Flood::ControlFrames) => "control_frames",
            End::Fault(reason) => {
                let number = usize::try_from(u32::from(reason)).unwrap_or(REASONS.len());
                REASONS.get(number).copied().unwrap_or("other")
            }
        }
    }

    fn of(error: &h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_library() && error.is_go_away() => End::Fault(reason),
            _ => End::Closed,
        }
    }

    /// Whether the client is still there, and sends what nobody reads any more.
    fn is_sudden(self) -> bool {
        matches!(self, End::HeadTimeout | End::Flood(_) | End::Fault(_))
    }
}

impl<P: HttpServerApp + Send + Sync + 'static> Http2<P> {
    /// Answers the requests of one connection until it ends.
    pub(super) async fn serve(
        &self,
        stream: Box<DownstreamStream>,
        settings: &Settings,
        peer: Peer,
        shutdown: &ShutdownWatch,
    ) {
        let digest = Digest {
            ssl_digest: None,
            timing_digest: stream.get_timing_digest(),
            proxy_digest: stream.get_proxy_digest(),
            socket_digest: stream.get_socket_digest(),
        };
        let agreed = stream.handshake().map(|handshake| Arc::new(Agreed::of(handshake)));
        let connected = Connected { peer, agreed, digest: Arc::new(digest) };
        let (transport, ahead) = stream.into_parts();
        let wire = Wire::new(transport, ahead, settings);
        let end = self.speak(&wire, settings, connected, shutdown).await;
        self.tell_resets(&wire);
        self.tell(Http2Event::ConnectionEnded { how: end.name() });
        if let End::Idle | End::Stalled = end {
            let (listener, bound) = (&*self.listener.name, end.name());
            self.observe.emit(&Event::ClientTimedOut { listener, bound });
        }
        if end.is_sudden() {
            wire.linger().await;
        }
    }

    async fn speak(
        &self,
        wire: &Wire,
        settings: &Settings,
        connected: Connected,
        shutdown: &ShutdownWatch,
    ) -> End {
        let until = Instant::now() + self.listener.head_timeout;
        let mut stopping = shutdown.clone();
        let greeted = tokio::select! {
            () = last_call(&mut stopping) => return End::Stopping,
            greeted = timeout_at(until, settings.builder().handshake(wire.clone())) => greeted,
        };
        match greeted {
            Ok(Ok(connection)) => {
                Driver::new(self, connection, wire.clone(), connected, shutdown).run().await
            }
            Ok(Err(error)) => End::of(&error),
            Err(_) => {
                self.observe.emit(&Event::HeadTimedOut { listener: &self.listener.name });
                End::HeadTimeout
            }
        }
    }

    fn tell(&self, what: Http2Event) {
        self.observe.emit(&Event::Http2 { listener: &self.listener.name, what });
    }

    /// Reports the streams that were reset.
    fn tell_resets(&self, wire: &Wire) {
        let (by_client, by_gateway) = wire.take_resets();
        for (by, resets) in [("client", by_client), ("gateway", by_gateway)] {
            for (reason, number) in REASONS.into_iter().zip(resets).filter(|(_, n)| *n != 0) {
                self.tell(Http2Event::StreamsReset { by, reason, number });
            }
        }
    }
}
