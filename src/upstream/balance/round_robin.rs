//! Smooth weighted round robin: each endpoint in turn.

use super::{Ask, Balance, Config, Endpoint, Wanted, shares};
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(super) struct RoundRobin {
    /// Indices of endpoints in the order they are taken, each as often as its weight says.
    schedule: Vec<u16>,
    next: AtomicUsize,
}

pub(super) fn build(_: &Config, endpoints: &[Endpoint]) -> RoundRobin {
    RoundRobin { schedule: shares(endpoints), next: AtomicUsize::new(0) }
}

impl Balance for RoundRobin {
    /// The next endpoint in turn that may be asked.
    fn pick(&self, endpoints: &[Endpoint], ask: &mut Ask<'_>) -> Option<usize> {
        // A second try takes nobody's turn, or every other turn would meet the same dead endpoint;
        // and a second look for one that may be asked is the same turn once more.
        let start = match (ask.tried.is_empty(), ask.wanted) {
            (true, Wanted::Warm) => self.next.fetch_add(1, Ordering::Relaxed),
            (true, _) => self.next.load(Ordering::Relaxed).wrapping_sub(1),
            (false, _) => self.next.load(Ordering::Relaxed),
        };
        let turn =
            |i: usize| usize::from(self.schedule[start.wrapping_add(i) % self.schedule.len()]);
        (0..self.schedule.len()).map(turn).find(|&i| ask.may(endpoints, i))
    }
}
