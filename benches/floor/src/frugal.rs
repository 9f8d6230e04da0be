//! An experiment in memory: between two requests a connection holds its socket and nothing else.
//! Pingora as it comes waits for the next request inside the future of the whole exchange.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

/// An HTTP/1.1 app around another that is only called once a request has begun to arrive.
pub(crate) struct Frugal<A> {
    inner: Arc<A>,
}

impl<A> Frugal<A> {
    pub(crate) fn new(inner: A) -> Self {
        Self { inner: Arc::new(inner) }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Frugal<A> {
    async fn process_new(
        self: &Arc<Self>,
        mut stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let mut kept = None;
        loop {
            stream.try_peek(&mut [0]).await.ok()?;
            let mut session = ServerSession::new_http1(stream);
            session.set_keepalive(Some(60));
            if let Some(kept) = kept {
                HttpPersistentSettings::apply_to_session(kept, &mut session);
            }
            let reused = self.inner.process_new_http(session, shutdown).await?;
            (stream, kept) = reused.consume();
        }
    }
}
