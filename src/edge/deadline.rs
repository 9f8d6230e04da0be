//! A deadline that is moved before every request and seldom passes.
//!
//! Moving it to a later time does not touch the timer, so it costs an assignment. When the timer
//! fires too early, it is set again, to the time that the deadline has by then.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::{Instant, Sleep, sleep_until};

/// One connection's deadline.
#[derive(Debug)]
pub(super) struct Deadline {
    at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    pub(super) fn new(at: Instant) -> Self {
        Deadline { at, timer: Box::pin(sleep_until(at)) }
    }

    /// Moves the deadline to `at`.
    pub(super) fn set(&mut self, at: Instant) {
        self.at = at;
        if at < self.timer.deadline() {
            self.timer.as_mut().reset(at);
        }
    }

    /// Moves the deadline to `at`, unless it is earlier.
    pub(super) fn bring_forward(&mut self, at: Instant) {
        self.set(self.at.min(at));
    }

    /// Whether it has passed.
    pub(super) fn has_passed(&self) -> bool {
        self.at <= Instant::now()
    }

    /// Ready once the deadline has passed.
    pub(super) fn poll(&mut self, task: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(task));
            if self.at <= self.timer.deadline() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_comes_where_it_was_last_set() {
        let began = Instant::now();
        let mut deadline = Deadline::new(began + 10 * SECOND);
        for set in [20, 75, 80, 81] {
            deadline.set(began + set * SECOND);
            poll_fn(|task| deadline.poll(task)).await;
            assert_eq!(Instant::now() - began, set * SECOND);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_may_be_moved_to_an_earlier_time() {
        let began = Instant::now();
        let mut deadline = Deadline::new(began + 75 * SECOND);
        deadline.set(began + 15 * SECOND);
        poll_fn(|task| deadline.poll(task)).await;
        assert_eq!(Instant::now() - began, 15 * SECOND);
    }
}
