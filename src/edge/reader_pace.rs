//! How fast a client takes what is sent to it, measured only while it is waited for: an answer that
//! pauses, or a tunnel in which nothing happens, says nothing of its client.
//!
//! A client may take nothing for `write_timeout`, and in each such time of waiting it must take
//! `write_rate` a second. What it takes is what its system says it has: the kernel holds megabytes
//! for a client that was fast once, and takes more from the gateway only when a third of that is
//! free, so a slow client would look like one that is gone. The kernel is asked now and then, and
//! only about a client that is waited for; a plain request costs no reading of the clock.

use super::deadline::Deadline;
use pingora::protocols::SocketDigest;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// How often the kernel is asked in the time in which a client may take nothing.
const LOOKS: u32 = 4;

/// What bounds a client that takes an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReaderBounds {
    /// How long it may take nothing.
    pub(super) timeout: Duration,
    /// How many bytes it must take in a second, in each such time of waiting.
    pub(super) rate: u64,
}

#[cfg(test)]
impl ReaderBounds {
    /// For tests of other things.
    pub(super) const UNBOUNDED: ReaderBounds =
        ReaderBounds { timeout: Duration::from_secs(3_600), rate: 0 };
}

/// A client takes too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowClient {
    /// Nothing, for too long.
    Stalled,
    /// Too few bytes a second.
    Slow,
}

/// One client, while it is sent something.
#[derive(Debug)]
pub(super) struct ReaderPace {
    bounds: ReaderBounds,
    /// What was taken since the rate was looked at last, in bytes.
    taken: u64,
    /// How long it was waited for in that time, the present wait not included.
    waited: Duration,
    wait: Option<Wait>,
    timer: Option<Deadline>,
    slow: Option<SlowClient>,
}

/// A wait that goes on.
#[derive(Debug)]
struct Wait {
    since: Instant,
    /// When the client is known to have taken something.
    taken_at: Instant,
    next_look: Instant,
    /// The bytes that its system has, as of the last look.
    receipts: Option<u64>,
}

impl ReaderPace {
    pub(super) fn new(bounds: ReaderBounds) -> Self {
        ReaderPace { bounds, taken: 0, waited: Duration::ZERO, wait: None, timer: None, slow: None }
    }

    pub(super) fn bounds(&self) -> ReaderBounds {
        self.bounds
    }

    /// So many bytes were taken at once, or none is taken now: then it is ready when that has gone
    /// on for too long. `receipts` asks how many bytes the client's system has.
    pub(super) fn poll(
        &mut self,
        taken: Poll<usize>,
        receipts: impl Fn() -> Option<u64>,
        task: &mut Context<'_>,
    ) -> Poll<Result<(), SlowClient>> {
        let pace = match taken {
            Poll::Ready(bytes) => {
                self.taken += bytes as u64;
                let Some(wait) = self.wait.take() else { return Poll::Ready(Ok(())) };
                self.waited += wait.since.elapsed();
                Poll::Ready(self.judge(Duration::ZERO))
            }
            Poll::Pending => self.wait_on(receipts, task).map(Err),
        };
        if let Poll::Ready(Err(slow)) = pace {
            self.slow = Some(slow);
        }
        pace
    }

    /// How the client was too slow, if it was.
    pub(super) fn slow(&self) -> Option<SlowClient> {
        self.slow
    }

    fn wait_on(
        &mut self,
        receipts: impl Fn() -> Option<u64>,
        task: &mut Context<'_>,
    ) -> Poll<SlowClient> {
        let every = self.bounds.timeout / LOOKS;
        loop {
            let wait = self.wait.get_or_insert_with(|| {
                let now = Instant::now();
                Wait { since: now, taken_at: now, next_look: now + every, receipts: None }
            });
            let timer = self.timer.get_or_insert_with(|| Deadline::new(wait.next_look));
            timer.set(wait.next_look);
            ready!(timer.poll(task));
            let (now, seen) = (Instant::now(), receipts());
            wait.next_look = now + every;
            match (wait.receipts, seen) {
                // What it took before is not known, so this time does not count.
                (None, Some(_)) => (wait.since, wait.taken_at) = (now, now),
                (Some(before), Some(after)) if before < after => {
                    wait.taken_at = now;
                    self.taken += after - before;
                }
                _ => {}
            }
            wait.receipts = seen;
            if self.bounds.timeout <= now - wait.taken_at {
                return Poll::Ready(SlowClient::Stalled);
            }
            let waits = now - wait.since;
            if let Err(slow) = self.judge(waits) {
                return Poll::Ready(slow);
            }
        }
    }

    /// Looks at the rate, once there was enough time to judge it. `waits`: so long goes the present
    /// wait, if one goes on.
    fn judge(&mut self, waits: Duration) -> Result<(), SlowClient> {
        let waited = self.waited + waits;
        if waited < self.bounds.timeout {
            return Ok(());
        }
        let is_slow = (self.taken as f64) < self.bounds.rate as f64 * waited.as_secs_f64();
        (self.taken, self.waited) = (0, Duration::ZERO);
        if let Some(wait) = &mut self.wait {
            wait.since = Instant::now();
        }
        if is_slow { Err(SlowClient::Slow) } else { Ok(()) }
    }
}

/// How many bytes the client's system says it has, where there is one that says it.
pub(super) fn receipts(socket: Option<&SocketDigest>) -> Option<u64> {
    socket.and_then(SocketDigest::tcp_info).map(|info| info.tcpi_bytes_acked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace() -> ReaderPace {
        ReaderPace::new(ReaderBounds { timeout: 60 * SECOND, rate: 100 })
    }

    /// Waits for a client of which the kernel says this, for so long at most: what it is taken for,
    /// and how long that took.
    async fn waits(
        pace: &mut ReaderPace,
        receipts: impl Fn() -> Option<u64>,
        longest: Duration,
    ) -> Option<(SlowClient, Duration)> {
        let began = Instant::now();
        let wait = poll_fn(|task| pace.poll(Poll::Pending, &receipts, task));
        let slow = tokio::time::timeout(longest, wait).await.ok()?;
        Some((slow.expect_err("it is pending or slow"), began.elapsed()))
    }

    async fn takes(pace: &mut ReaderPace, bytes: usize) -> Result<(), SlowClient> {
        poll_fn(|task| pace.poll(Poll::Ready(bytes), || None, task)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_noticed_in_time() {
        let found = waits(&mut pace(), || None, 999 * SECOND).await;
        assert_eq!(found, Some((SlowClient::Stalled, 60 * SECOND)));
        // What it took before the first look is not known.
        let found = waits(&mut pace(), || Some(7), 999 * SECOND).await;
        assert_eq!(found, Some((SlowClient::Stalled, 75 * SECOND)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_kernel_still_holds_is_taken_slowly_and_that_is_no_stall() {
        let began = Instant::now();
        let by_rate = |rate: u64| move || Some(began.elapsed().as_secs() * rate);
        assert_eq!(waits(&mut pace(), by_rate(200), 3_600 * SECOND).await, None);
        let began = Instant::now();
        let slowly = move || Some(began.elapsed().as_secs() * 10);
        let found = waits(&mut pace(), slowly, 999 * SECOND).await;
        assert_eq!(found, Some((SlowClient::Slow, 75 * SECOND)));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_are_taken_now_and_then_count_against_the_time_that_was_waited() {
        let mut slow = pace();
        assert_eq!(waits(&mut slow, || None, 50 * SECOND).await, None);
        assert_eq!(takes(&mut slow, 1).await, Ok(()), "it is too early to say");
        // A pause of the upstream is nobody's fault.
        tokio::time::advance(3_600 * SECOND).await;
        assert_eq!(takes(&mut slow, 1).await, Ok(()));
        let found = waits(&mut slow, || None, 50 * SECOND).await;
        assert_eq!(found, Some((SlowClient::Slow, 15 * SECOND)), "65 s in all");
        let mut fair = pace();
        for _ in 0..50 {
            assert_eq!(waits(&mut fair, || None, 50 * SECOND).await, None);
            assert_eq!(takes(&mut fair, 10_000).await, Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_never_waited_for_is_never_slow() {
        let mut pace = pace();
        for _ in 0..100 {
            tokio::time::advance(600 * SECOND).await;
            takes(&mut pace, 1).await.expect("it is not slow");
        }
        assert!(pace.timer.is_none(), "no clock was read");
    }
}
