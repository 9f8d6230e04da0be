//! One request's attempt to get an answer from an upstream: which endpoints it asks, what comes of
//! each, and when it is over.
//!
//! The proxy reports what happens on its connections; here it is decided which endpoint is next and
//! whether there is a next one. Whatever learns from outcomes hears of them here.

use super::{Outcome, Pool, Upstream};
use pingora::upstreams::peer::HttpPeer;
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How many endpoints are asked for one request.
const TRIES_MAX: usize = 2;

/// The endpoints that are asked for one request. When it is dropped, it is over.
#[derive(Debug)]
pub struct Attempt {
    upstream: Arc<Upstream>,
    /// The endpoints as they were when the request began, so that an index stays what it means.
    pool: Arc<Pool>,
    /// What the request has in common with those that belong to it.
    key: Option<u64>,
    /// Endpoints asked, the current one last.
    tried: SmallVec<[usize; TRIES_MAX]>,
    /// When the current one was asked; `None` once its answer began.
    asked_at: Option<Instant>,
    /// What came of the current one so far.
    outcome: Outcome,
}

impl Attempt {
    pub(super) fn new(upstream: Arc<Upstream>, pool: Arc<Pool>, key: Option<u64>) -> Self {
        let (tried, outcome) = (SmallVec::new(), Outcome::Abandoned);
        Attempt { upstream, pool, key, tried, asked_at: None, outcome }
    }

    /// The endpoint to ask next: one that was not tried for this request. When all were, the last
    /// one again: that happens only when a kept connection turned out to be gone. `None`: there are
    /// none, because no name of the upstream has had an address yet.
    pub fn next_peer(&mut self) -> Option<Box<HttpPeer>> {
        let index = self.pool.pick(&self.tried, self.key).or(self.tried.last().copied())?;
        self.leave();
        self.pool.endpoints[index].load.enter();
        self.tried.push(index);
        self.asked_at = Some(Instant::now());
        Some(self.pool.peer(index))
    }

    /// The current endpoint took no connection. Returns whether another one may be asked.
    pub fn refused(&mut self) -> bool {
        self.pool.endpoints[self.current()].health.avoid();
        // Whoever looks names up may find that the server has moved.
        self.pool.doubt.notify_waiters();
        self.outcome = Outcome::Refused;
        self.tried.len() < TRIES_MAX.min(self.pool.endpoints.len())
    }

    /// The current endpoint sent the head of an answer. Returns how long that took, once per
    /// request: interim answers (1xx) are none, but for the one that opens a tunnel.
    pub fn answered(&mut self, status: u16) -> Option<Duration> {
        if (100..200).contains(&status) && status != 101 {
            return None;
        }
        assert!(!self.tried.is_empty(), "only an endpoint that was asked answers");
        self.outcome = Outcome::Answered(status);
        Some(self.asked_at.take()?.elapsed())
    }

    /// The current endpoint gave no valid answer, or broke off. Returns which one it is, if one was
    /// asked at all.
    pub fn failed(&mut self, why: &'static str) -> Option<SocketAddr> {
        // One that took no connection is known to have failed already.
        if self.outcome != Outcome::Refused {
            self.outcome = Outcome::Failed(why);
        }
        Some(self.endpoint()?.1)
    }

    /// The name of the upstream.
    pub fn upstream(&self) -> &str {
        &self.upstream.name
    }

    /// The upstream's name and the address of the current endpoint; `None` before the first.
    pub fn endpoint(&self) -> Option<(&str, SocketAddr)> {
        let index = *self.tried.last()?;
        Some((&self.upstream.name, self.pool.endpoints[index].address))
    }

    fn current(&self) -> usize {
        *self.tried.last().expect("an endpoint was asked before anything came of it")
    }

    /// Nothing more will come of the current endpoint.
    fn leave(&mut self) {
        if let Some(&index) = self.tried.last() {
            self.outcome = Outcome::Abandoned;
            self.pool.endpoints[index].load.leave();
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.leave();
        self.upstream.leave();
    }
}
