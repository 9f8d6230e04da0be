//! Asks the endpoints of one upstream whether they are well: round after round, side by side, each
//! on a connection of its own and in the protocol that requests use.

use super::health::{Check, Question};
use super::{Answer, Endpoint, Upstream, grpc};
use futures_util::future::join_all;
use http::Uri;
use http::uri::PathAndQuery;
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, Version};
use pingora::protocols::ALPN;
use pingora::{ErrorType, OrErr, Result};
use rand::RngExt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::timeout;

/// Endpoints that are asked at the same time.
const CHECKS_MAX: usize = 64;

/// How far a pause may be from `interval`, so that gateways don't ask in step.
const JITTER: f64 = 0.1;

/// Asks the endpoints of one upstream, round after round.
pub struct Probe {
    upstream: Arc<Upstream>,
    check: Check,
    connector: Arc<Connector>,
}

/// A verdict that changed.
#[derive(Debug)]
pub struct Change {
    /// The endpoint.
    pub endpoint: SocketAddr,
    /// The new verdict.
    pub is_well: bool,
    /// What it said.
    pub answer: Answer,
}

impl Probe {
    /// The checks to run for these upstreams, where the file asks for them.
    pub fn all(upstreams: &[Arc<Upstream>]) -> Vec<Probe> {
        // One for all: it reads the roots of the system when it is made.
        let connector = OnceLock::new();
        let probe = |upstream: &Arc<Upstream>| {
            let connector = connector.get_or_init(|| Arc::new(Connector::new(None)));
            let (check, connector) = (upstream.check.clone()?, Arc::clone(connector));
            Some(Probe { upstream: Arc::clone(upstream), check, connector })
        };
        let asked = upstreams.iter().filter(|upstream| upstream.check.is_some());
        asked.filter_map(probe).collect()
    }

    /// The upstream.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// How long to wait until the next round.
    pub fn pause(&self) -> Duration {
        let factor = rand::rng().random_range(1.0 - JITTER..=1.0 + JITTER);
        self.check.interval.mul_f64(factor)
    }

    /// Asks every endpoint once and tells what changed.
    pub async fn round(&self) -> Vec<Change> {
        let pool = self.upstream.pool();
        let mut changes = Vec::new();
        for endpoints in pool.endpoints.chunks(CHECKS_MAX) {
            let asked = join_all(endpoints.iter().map(|endpoint| self.ask(endpoint))).await;
            changes.extend(asked.into_iter().flatten());
        }
        if changes.iter().any(|change| !change.is_well) {
            // The server may have moved.
            pool.doubt.notify_waiters();
        }
        changes
    }

    async fn ask(&self, endpoint: &Endpoint) -> Option<Change> {
        let answer = timeout(self.check.timeout, self.get(endpoint)).await;
        let answer = answer.unwrap_or(Ok(Answer::Silence)).unwrap_or(Answer::Nonsense);
        let is_well = endpoint.health.enter(answer, self.check.threshold)?;
        Some(Change { endpoint: endpoint.address, is_well, answer })
    }

    async fn get(&self, endpoint: &Endpoint) -> Result<Answer> {
        let mut peer = endpoint.peer.clone();
        match self.check.question {
            // A handshake of HTTP/2 would be another question.
            Question::Tcp => peer.options.alpn = ALPN::H1,
            Question::Grpc(_) => peer.options.alpn = ALPN::H2,
            Question::Http(_) => {}
        }
        // A connection of its own each time: a kept one would not tell of a port that is closed.
        peer.options.max_h2_streams = 1;
        peer.options.idle_timeout = Some(Duration::ZERO);
        let mut session = match self.connector.get_http_session(&peer).await {
            Ok((session, _)) => session,
            Err(error) => return Ok(unconnected(error.etype())),
        };
        let is_h2 = session.as_http2().is_some();
        let answer = match &self.check.question {
            Question::Tcp => Answer::Connected,
            Question::Http(path) => {
                let head = head("GET", path, endpoint, is_h2)?;
                session.write_request_header(Box::new(head)).await?;
                session.finish_request_body().await?;
                session.read_response_header().await?;
                let status = session.response_header().map(|head| head.status.as_u16());
                status.map_or(Answer::Nonsense, Answer::Status)
            }
            Question::Grpc(service) => {
                let mut head = head("POST", &grpc::path(), endpoint, is_h2)?;
                for (name, value) in grpc::FIELDS {
                    head.insert_header(name, value)?;
                }
                session.write_request_header(Box::new(head)).await?;
                session.write_request_body(grpc::question(service), true).await?;
                session.read_response_header().await?;
                let mut message = Vec::new();
                while message.len() < grpc::ANSWER_BYTES_MAX
                    && let Some(bytes) = session.read_response_body().await?
                {
                    message.extend_from_slice(&bytes);
                }
                grpc::is_serving(&message).map_or(Answer::Nonsense, Answer::Serving)
            }
        };
        session.shutdown().await;
        Ok(answer)
    }
}

fn head(
    method: &str,
    path: &PathAndQuery,
    endpoint: &Endpoint,
    is_h2: bool,
) -> Result<RequestHeader> {
    let mut head = RequestHeader::build(method, path.as_str().as_bytes(), None)?;
    head.insert_header("user-agent", concat!("streamgate/", env!("CARGO_PKG_VERSION")))?;
    match is_h2 {
        true => {
            let uri = Uri::builder().scheme("http").authority(&*endpoint.host);
            let uri = uri.path_and_query(path.clone()).build();
            head.set_uri(uri.or_err(ErrorType::InvalidHTTPHeader, "no URL of a check")?);
            head.set_version(Version::HTTP_2);
        }
        false => head.insert_header("host", &*endpoint.host)?,
    }
    Ok(head)
}

fn unconnected(error: &ErrorType) -> Answer {
    match error {
        ErrorType::ConnectTimedout => Answer::Silence,
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::SocketError => Answer::Refusal,
        ErrorType::TLSHandshakeFailure => Answer::Stranger,
        _ => Answer::Nonsense,
    }
}
