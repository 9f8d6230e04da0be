//! Smooth weighted round robin (nginx's method): an endpoint of weight 3 beside one of weight 1
//! gives `a a b a`, never `a a a b`.

use super::{Balance, Endpoint};
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(super) struct RoundRobin {
    /// Indices of endpoints in the order they are taken, each as often as its weight says.
    schedule: Vec<u16>,
    next: AtomicUsize,
}

pub(super) fn build(endpoints: &[Endpoint]) -> RoundRobin {
    RoundRobin { schedule: schedule(endpoints), next: AtomicUsize::new(0) }
}

impl Balance for RoundRobin {
    /// The next endpoint in turn that is well. When none is well, all are taken to be: the checks
    /// may be what is broken.
    fn pick(&self, endpoints: &[Endpoint], tried: &[usize]) -> Option<usize> {
        // A second try takes nobody's turn, or every other turn would meet the same dead endpoint.
        let start = match tried.is_empty() {
            true => self.next.fetch_add(1, Ordering::Relaxed),
            false => self.next.load(Ordering::Relaxed),
        };
        let turn = |i: usize| usize::from(self.schedule[(start + i) % self.schedule.len()]);
        let mut in_turn = (0..self.schedule.len()).map(turn).filter(|i| !tried.contains(i));
        let first = in_turn.next()?;
        if endpoints[first].health.is_asked() {
            return Some(first);
        }
        in_turn.find(|&i| endpoints[i].health.is_asked()).or(Some(first))
    }
}

/// The whole schedule, played through once.
fn schedule(endpoints: &[Endpoint]) -> Vec<u16> {
    let total: i64 = endpoints.iter().map(|endpoint| i64::from(endpoint.weight)).sum();
    let mut credit = vec![0_i64; endpoints.len()];
    let mut order = Vec::new();
    for _ in 0..total {
        for (credit, endpoint) in credit.iter_mut().zip(endpoints) {
            *credit += i64::from(endpoint.weight);
        }
        let richest = (0..credit.len()).rev().max_by_key(|&i| credit[i]).unwrap_or(0);
        credit[richest] -= total;
        order.push(u16::try_from(richest).expect("weights bound the number of endpoints"));
    }
    order
}
