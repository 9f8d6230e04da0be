//! The clock of an answer: how long an upstream may keep a client waiting.
//!
//! Pingora bounds each read from an upstream, so an upstream that sends a byte now and then could
//! keep a request for ever; and it takes one bound for an answer and for the tunnel that an answer
//! may open. So the proxy sets this clock, which belongs to the client's connection. While an
//! exchange waits for its upstream, Pingora polls the client's stream, too, to see it go away: when
//! the clock has run out, that read fails, the exchange ends, and [`AnswerClock::has_run_out`]
//! tells the proxy why.

use super::deadline::Deadline;
use parking_lot::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// One connection's clock; it stands still until it is set.
#[derive(Debug, Default)]
pub struct AnswerClock(Mutex<State>);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Still,
    /// The head of the answer must be whole by then.
    Head(Instant),
    /// The answer must go on by then; bytes that the client takes give as much time anew.
    Pause(Duration, Instant),
    RunOut,
}

impl AnswerClock {
    /// The request begins to be sent: the head of its answer must be whole within this time.
    pub fn wait_for_head(&self, within: Duration) {
        *self.0.lock() = State::Head(Instant::now() + within);
    }

    /// More of the request is sent: if the head is still waited for, it has this time again.
    pub fn request_goes_on(&self, within: Duration) {
        let mut state = self.0.lock();
        if let State::Head(_) = *state {
            *state = State::Head(Instant::now() + within);
        }
    }

    /// The answer has begun, and may pause so long from now on.
    pub fn wait_for_more(&self, within: Duration) {
        *self.0.lock() = State::Pause(within, Instant::now() + within);
    }

    /// Nothing is waited for any more.
    pub fn stop(&self) {
        *self.0.lock() = State::Still;
    }

    /// Whether it ended the exchange.
    pub fn has_run_out(&self) -> bool {
        matches!(*self.0.lock(), State::RunOut)
    }

    /// The client took bytes.
    pub(super) fn answer_flows(&self) {
        let mut state = self.0.lock();
        if let State::Pause(within, _) = *state {
            *state = State::Pause(within, Instant::now() + within);
        }
    }

    /// Ready when it has run out. `timer` is made when there is something to wait for.
    pub(super) fn poll(&self, timer: &mut Option<Deadline>, task: &mut Context<'_>) -> Poll<()> {
        let at = match *self.0.lock() {
            State::Still => return Poll::Pending,
            State::RunOut => return Poll::Ready(()),
            State::Head(at) | State::Pause(_, at) => at,
        };
        let timer = timer.get_or_insert_with(|| Deadline::new(at));
        timer.set(at);
        timer.poll(task).map(|()| *self.0.lock() = State::RunOut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    const SECOND: Duration = Duration::from_secs(1);

    async fn rings_after(clock: &AnswerClock, timer: &mut Option<Deadline>) -> Duration {
        let began = Instant::now();
        poll_fn(|task| clock.poll(timer, task)).await;
        assert!(clock.has_run_out());
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_from_the_last_byte_of_the_request() {
        let (clock, mut timer) = (AnswerClock::default(), None);
        clock.wait_for_head(3 * SECOND);
        clock.request_goes_on(5 * SECOND);
        clock.answer_flows();
        assert_eq!(rings_after(&clock, &mut timer).await, 5 * SECOND);
        clock.wait_for_head(SECOND);
        assert_eq!(rings_after(&clock, &mut timer).await, SECOND, "the timer is used again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_its_time_takes_none_from_the_upstream() {
        let (clock, mut timer) = (AnswerClock::default(), None);
        clock.wait_for_more(3 * SECOND);
        tokio::time::advance(2 * SECOND).await;
        clock.answer_flows();
        clock.request_goes_on(9 * SECOND);
        assert_eq!(rings_after(&clock, &mut timer).await, 3 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_stands_still_never_rings() {
        let (clock, mut timer) = (AnswerClock::default(), None);
        clock.wait_for_head(SECOND);
        clock.stop();
        clock.request_goes_on(SECOND);
        let wait = tokio::time::timeout(9 * SECOND, rings_after(&clock, &mut timer));
        assert!(wait.await.is_err());
    }
}
