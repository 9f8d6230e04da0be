//! What the edge and the proxy both need of one request over HTTP/2. Over HTTP/1 it belongs to the
//! connection (`DownstreamStream`); here each request has its own, and its head carries it.

use crate::edge::answer_clock::AnswerClock;
use crate::edge::reader_pace::SlowClient;
use crate::edge::tls::Credentials;
use crate::edge::transport::Handshake;
use pingora::http::RequestHeader;
use pingora::proxy::Session as Downstream;
use std::sync::{Arc, OnceLock};

/// One request over HTTP/2.
#[derive(Debug, Default)]
pub(in crate::edge) struct ExchangeState {
    /// How long the client may be kept waiting by its upstream.
    pub(in crate::edge) answer_clock: AnswerClock,
    /// What client and gateway agreed on, where there is TLS.
    pub(super) agreed: Option<Arc<Agreed>>,
    /// How the client was too slow to take its answer, if it was.
    pub(super) slow: OnceLock<SlowClient>,
}

/// What `Handshake` tells, for as long as the connection lives.
#[derive(Debug)]
pub(super) struct Agreed {
    version: &'static str,
    sni: Option<Box<str>>,
    credentials: Arc<Credentials>,
    is_resumed: bool,
}

impl Agreed {
    pub(super) fn of(handshake: Handshake<'_>) -> Self {
        let Handshake { version, sni, credentials, is_resumed } = handshake;
        let (sni, credentials) = (sni.map(Into::into), Arc::clone(credentials));
        Agreed { version, sni, credentials, is_resumed }
    }
}

impl ExchangeState {
    /// The state of a request that came by HTTP/2.
    pub(in crate::edge) fn of(downstream: &Downstream) -> Option<&Self> {
        downstream.req_header().extensions.get::<Arc<Self>>().map(|state| &**state)
    }

    pub(in crate::edge) fn slow_reader(&self) -> Option<SlowClient> {
        self.slow.get().copied()
    }

    /// The client takes too little.
    pub(super) fn is_slow(&self, slow: SlowClient) {
        // It is found out once: the answer ends with it.
        let _ = self.slow.set(slow);
    }

    pub(super) fn enter(self: Arc<Self>, head: &mut RequestHeader) {
        head.extensions_mut().insert(self);
    }

    pub(in crate::edge) fn handshake(&self) -> Option<Handshake<'_>> {
        self.agreed.as_ref().map(|agreed| Handshake {
            version: agreed.version,
            sni: agreed.sni.as_deref(),
            credentials: &agreed.credentials,
            is_resumed: agreed.is_resumed,
        })
    }
}
