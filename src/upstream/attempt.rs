//! One request's attempt to get an answer from an upstream: which endpoints it asks, what comes of
//! each, and when it is over.
//!
//! The proxy reports what happens on its connections; here it is decided which endpoint is next and
//! whether there is a next one. Whatever learns from outcomes hears of them here.

use super::breaker::Permit;
use super::{Outcome, Pool, Upstream};
use http::HeaderValue;
use pingora::upstreams::peer::HttpPeer;
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// As many endpoints as are usually asked for one request.
const TRIES: usize = 2;

/// The endpoints that are asked for one request. When it is dropped, it is over.
#[derive(Debug)]
pub struct Attempt {
    upstream: Arc<Upstream>,
    /// The endpoints as they were when the request began, so that an index stays what it means.
    pool: Arc<Pool>,
    /// What the request has in common with those that belong to it.
    key: Option<u64>,
    /// Endpoints asked, the current one last.
    tried: SmallVec<[usize; TRIES]>,
    /// When the first one was asked.
    began: Option<Instant>,
    /// When the current one was asked; `None` once its answer began.
    asked_at: Option<Instant>,
    /// How long its answer took to begin.
    took: Option<Duration>,
    /// What came of the current one so far.
    outcome: Outcome,
    /// On which terms the breaker let the request through; `None` once it knows what came of it.
    permit: Option<Permit>,
}

impl Attempt {
    pub(super) fn new(
        upstream: Arc<Upstream>,
        pool: Arc<Pool>,
        key: Option<u64>,
        permit: Option<Permit>,
    ) -> Self {
        let (tried, outcome) = (SmallVec::new(), Outcome::Abandoned);
        let (began, asked_at, took) = (None, None, None);
        Attempt { upstream, pool, key, tried, began, asked_at, took, outcome, permit }
    }

    /// The endpoint to ask next: one that was not tried for this request. When all were, the last
    /// one again, if only a kept connection to it turned out to be gone. `None`: there are none,
    /// because no name of the upstream has had an address yet, or because they are full.
    pub fn next_peer(&mut self) -> Option<Box<HttpPeer>> {
        let picked = self.pool.enter(&self.tried, self.key);
        let again = self.tried.last().copied().filter(|_| self.outcome == Outcome::Abandoned);
        let index = picked.or_else(|| {
            // It has its place there already.
            self.pool.endpoints[again?].load.enter();
            again
        })?;
        self.leave();
        self.tried.push(index);
        let now = Instant::now();
        self.asked_at = Some(now);
        self.began.get_or_insert(now);
        Some(self.pool.peer(index))
    }

    /// Whether no endpoint could be asked because they have as many requests as they may have.
    pub fn is_full(&self) -> bool {
        self.pool.in_flight_max().is_some() && !self.pool.endpoints.is_empty()
    }

    /// Waits before another endpoint is asked because the current one has failed.
    pub async fn back_off(&self) {
        if matches!(self.outcome, Outcome::Refused | Outcome::Failed(_)) {
            tokio::time::sleep(self.upstream.budget.pause(self.tried.len())).await;
        }
    }

    /// How much is left of the time that the upstream has for all tries; `None`: no end is set.
    pub fn time_left(&self) -> Option<Duration> {
        let total = self.upstream.total?;
        Some(total.saturating_sub(self.began.map_or(Duration::ZERO, |began| began.elapsed())))
    }

    /// How long a tunnel to this upstream may be silent.
    pub fn tunnel_idle(&self) -> Duration {
        self.upstream.tunnel
    }

    /// The current endpoint gave no answer, and the request may be repeated. Returns whether
    /// another endpoint may be asked.
    pub fn gave_nothing(&mut self, why: &'static str) -> bool {
        if let Outcome::Answered(_) = self.outcome {
            return false;
        }
        self.outcome = Outcome::Failed(why);
        self.has_another()
    }

    fn has_another(&self) -> bool {
        self.tried.len() < self.pool.endpoints.len()
            && self.time_left() != Some(Duration::ZERO)
            && self.upstream.budget.take(self.tried.len())
    }

    /// The current endpoint took no connection. Returns whether another one may be asked.
    pub fn refused(&mut self) -> bool {
        self.pool.endpoints[self.current()].health.avoid();
        // Whoever looks names up may find that the server has moved.
        self.pool.doubt.notify_waiters();
        self.outcome = Outcome::Refused;
        self.has_another()
    }

    /// The current endpoint sent the head of an answer. Returns how long that took, once per
    /// request: interim answers (1xx) are none, but for the one that opens a tunnel.
    pub fn answered(&mut self, status: u16) -> Option<Duration> {
        if (100..200).contains(&status) && status != 101 {
            return None;
        }
        assert!(!self.tried.is_empty(), "only an endpoint that was asked answers");
        self.outcome = Outcome::Answered(status);
        self.tell_breaker();
        self.took = Some(self.asked_at.take()?.elapsed());
        self.upstream.in_flight.learn(self.took.filter(|_| !self.outcome.is_failure()));
        self.took
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

    /// The cookie by which the client will be led to the current endpoint again, if the upstream
    /// gives any, the client has not brought it along, and the endpoint is worth coming back to.
    pub fn cookie(&self, is_https: bool) -> Option<HeaderValue> {
        self.upstream.hash_key()?;
        let is_worth = matches!(self.outcome, Outcome::Answered(_)) && !self.outcome.is_failure();
        let index = *self.tried.last().filter(|_| is_worth)?;
        self.pool.cookie(index, self.key, is_https)
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

    /// Tells the breaker what came of the request, once; a longer answer is not waited for.
    fn tell_breaker(&mut self) {
        let Some(breaker) = &self.upstream.breaker else { return };
        match (self.permit.take(), self.outcome) {
            (Some(permit), outcome) => breaker.enter(&permit, outcome),
            (None, Outcome::Failed(_)) => breaker.broke_off(),
            (None, _) => {}
        }
    }

    /// Nothing more will come of the current endpoint.
    fn leave(&mut self) {
        if let Some(&index) = self.tried.last() {
            let outcome = std::mem::replace(&mut self.outcome, Outcome::Abandoned);
            if self.took.is_none() && outcome.is_failure() {
                self.upstream.in_flight.learn(None);
            }
            self.pool.over(index, outcome, self.took.take());
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.tell_breaker();
        self.leave();
        self.upstream.in_flight.leave();
    }
}
