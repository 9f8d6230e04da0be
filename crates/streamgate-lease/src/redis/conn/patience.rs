//! Patience: waiting for a server by the server's time. What this process loses while its own
//! thread has no processor is not held against the server.
//!
//! A wait is cut into slices. Each slice counts for what it should have taken and not for what it
//! took, so a timer that fires late costs the server nothing.

use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Slices of one wait.
const SLICES: u32 = 10;
const SLICE_MIN: Duration = Duration::from_millis(1);
/// A wait ends after so many times its limit by the clock, however late its own timers were.
const LATENESS_MAX: u32 = 4;

/// Waits for a future for `limit`. Between two slices `may_go_on` is asked, which hears how much of
/// the limit is used up. None: the limit is used up, or the wait may not go on.
pub(crate) async fn wait_while<T>(
    limit: Duration,
    mut future: Pin<&mut (impl Future<Output = T> + Send)>,
    mut may_go_on: impl FnMut(Duration) -> bool,
) -> Option<T> {
    let ends_at = Instant::now() + limit * LATENESS_MAX;
    let slice = (limit / SLICES).max(SLICE_MIN);
    let mut used = Duration::ZERO;
    while used < limit && Instant::now() < ends_at {
        let this = slice.min(limit - used);
        if let Ok(output) = timeout(this, future.as_mut()).await {
            return Some(output);
        }
        used += this;
        if !may_go_on(used) {
            return None;
        }
    }
    None
}

/// Waits for a future for `limit`.
pub(crate) async fn wait<T>(limit: Duration, future: impl Future<Output = T> + Send) -> Option<T> {
    wait_while(limit, std::pin::pin!(future), |_| true).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use tokio::time::{advance, sleep};

    const LIMIT: Duration = Duration::from_millis(500);

    #[tokio::test(start_paused = true)]
    async fn a_wait_takes_its_limit() {
        let began = Instant::now();
        assert_eq!(wait(LIMIT, ready(7)).await, Some(7));
        assert_eq!(wait(LIMIT, pending::<()>()).await, None);
        // A timer of tokio is up to a millisecond late.
        assert!(began.elapsed() <= LIMIT + SLICE_MIN * SLICES * 2, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_lateness_of_ones_own_thread_is_not_counted() {
        let began = Instant::now();
        // Between two slices the thread has no processor for longer than the whole limit.
        let waited = wait(LIMIT, sleep(LIMIT * 2));
        let stall = async {
            tokio::task::yield_now().await;
            advance(LIMIT * 3 / 2).await;
            pending::<()>().await;
        };
        let answered = tokio::select! { waited = waited => waited.is_some(), () = stall => false };
        assert!(answered, "it was given up after {:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_even_if_every_timer_is_late() {
        let began = Instant::now();
        let waited = wait(LIMIT, pending::<()>());
        let stall = async {
            loop {
                tokio::task::yield_now().await;
                advance(LIMIT).await;
            }
        };
        tokio::select! { waited = waited => assert!(waited.is_none()), () = stall => {} }
        assert!(began.elapsed() <= LIMIT * (LATENESS_MAX + 2), "{:?}", began.elapsed());
    }
}
