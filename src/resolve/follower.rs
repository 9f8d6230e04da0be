//! Follows one name: looks it up when its answer has run out, keeps the last good one when that
//! fails, and tells what changed.

use super::lookup::{Known, Looked, look};
use super::{Found, LookupError, Resolver, Target};
use rand::RngExt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// What came of one look-up.
#[derive(Debug)]
pub struct Lookup {
    /// Where the name leads, by the last good answer. Empty: there was none yet.
    pub found: Arc<[Found]>,
    /// Whether that is another answer than before.
    pub is_changed: bool,
    /// Why this look-up gave nothing.
    pub error: Option<LookupError>,
    /// Whether the look-up before went otherwise: it failed and this one did not, or the reverse.
    pub is_news: bool,
    /// Addresses left out because this machine has no route to them.
    pub unrouted: Vec<IpAddr>,
    /// How many servers were left out because they are too many.
    pub surplus: usize,
}

/// Looks one name up again and again.
#[derive(Debug)]
pub struct Follower {
    target: Target,
    resolver: Resolver,
    known: Known,
    found: Arc<[Found]>,
    /// Look-ups in a row that failed; `None` before the first.
    failures: Option<u32>,
    asked_at: Instant,
    due_at: Instant,
    /// Somebody has reason to think that the answer is old.
    doubt: Arc<Notify>,
}

/// The longest wait after a failure, unless `ttl_min` is longer.
const RETRY_MAX: Duration = Duration::from_secs(5);

impl Follower {
    /// Follows `target`. Whoever notifies `doubt` has it looked up early, yet no more often than
    /// each `ttl_min`.
    pub fn new(target: Target, resolver: Resolver, doubt: Arc<Notify>) -> Self {
        let (known, found) = (Known::default(), Arc::default());
        let now = Instant::now();
        let (asked_at, due_at) = (now, now);
        Follower { target, resolver, known, found, failures: None, asked_at, due_at, doubt }
    }

    /// Waits until the name is due, looks it up, and tells what came of it. It may be dropped
    /// half-way: then the next call looks up at once.
    pub async fn next(&mut self) -> Lookup {
        self.wait().await;
        let looked = look(&self.resolver, &self.target, &mut self.known);
        let looked = timeout(self.resolver.timeout(), looked).await;
        self.asked_at = Instant::now();
        match looked.unwrap_or(Err(LookupError::Timeout)) {
            Ok(looked) => self.enter(looked),
            Err(error) => self.keep(error),
        }
    }

    async fn wait(&self) {
        tokio::select! {
            () = sleep_until(self.due_at) => {}
            () = self.doubt.notified() => {
                sleep_until(self.due_at.min(self.asked_at + self.resolver.ttl_min())).await;
            }
        }
    }

    fn enter(&mut self, looked: Looked) -> Lookup {
        let ttl = looked.ttl.clamp(self.resolver.ttl_min(), self.resolver.ttl_max());
        self.due_at = self.asked_at + ttl;
        let is_news = self.failures.replace(0) != Some(0);
        let is_changed = *self.found != *looked.found;
        if is_changed {
            self.found = looked.found.into();
        }
        let Looked { unrouted, surplus, .. } = looked;
        let found = Arc::clone(&self.found);
        Lookup { found, is_changed, error: None, is_news, unrouted, surplus }
    }

    fn keep(&mut self, error: LookupError) -> Lookup {
        let before = self.failures.unwrap_or(0);
        self.due_at = self.asked_at + self.pause(before);
        let is_news = self.failures.replace(before.saturating_add(1)).is_none_or(|n| n == 0);
        Lookup {
            found: Arc::clone(&self.found),
            is_changed: false,
            error: Some(error),
            is_news,
            unrouted: Vec::new(),
            surplus: 0,
        }
    }

    /// How long to wait after so many failures: doubled each time, and never in step with other
    /// gateways.
    fn pause(&self, failures: u32) -> Duration {
        let min = self.resolver.ttl_min();
        let pause = min.saturating_mul(1 << failures.min(10)).min(RETRY_MAX.max(min));
        pause.mul_f64(rand::rng().random_range(0.8..=1.0))
    }
}
