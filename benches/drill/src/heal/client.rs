//! A client that asks again and again, and counts what it gets.

use crate::clients::Player;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// No answer is waited for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What clients got.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) answers: u64,
    /// Another status than 200, or no answer at all.
    pub(crate) failed: u64,
    pub(crate) slowest: Duration,
}

impl Seen {
    pub(crate) fn add(&mut self, other: &Seen) {
        self.answers += other.answers;
        self.failed += other.failed;
        self.slowest = self.slowest.max(other.slowest);
    }
}

/// Asks from `first` on, each time after `every` or as soon as the answer is there.
pub(crate) async fn ask(edge: SocketAddr, first: Instant, every: Duration, end: Instant) -> Seen {
    let mut player = Player::nobody(edge, "/media/segment");
    let (mut seen, mut due) = (Seen::default(), first);
    while due < end {
        sleep_until(due).await;
        let began = Instant::now();
        // Nothing is asked again here: what the gateway does not mend is a failure.
        let status = timeout(PATIENCE, player.exchange()).await;
        seen.failed += u64::from(!matches!(status, Ok(Ok(200))));
        seen.answers += 1;
        seen.slowest = seen.slowest.max(began.elapsed());
        due = (due + every).max(Instant::now());
    }
    seen
}
