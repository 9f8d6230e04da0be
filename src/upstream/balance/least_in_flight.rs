//! Power of two choices: of two endpoints that are drawn, the one with fewer requests under way.
//!
//! Drawing two is nearly as good as looking at all of them, and gateways that know nothing of one
//! another do not all run to the same idle endpoint (Mitzenmacher, *The Power of Two Choices in
//! Randomized Load Balancing*, 2001). A slow endpoint has more under way, so it gets less. Weights
//! say how often an endpoint is drawn, and how many requests under way are as many as another's.

use super::{Ask, Balance, Config, Endpoint, shares};

/// So often it is drawn in vain before the endpoints are looked at one after another.
const DRAWS_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct LeastInFlight {
    /// Indices of endpoints, each as often as its weight says.
    shares: Vec<u16>,
}

pub(super) fn build(_: &Config, endpoints: &[Endpoint]) -> LeastInFlight {
    LeastInFlight { shares: shares(endpoints) }
}

impl Balance for LeastInFlight {
    fn pick(&self, endpoints: &[Endpoint], ask: &mut Ask<'_>) -> Option<usize> {
        if let [_] = endpoints {
            return ask.may(endpoints, 0).then_some(0);
        }
        let one = self.draw(endpoints, ask, None)?;
        let Some(other) = self.draw(endpoints, ask, Some(one)) else { return Some(one) };
        // Equal ones go as they are drawn: first by weight.
        Some(if is_less_busy(&endpoints[other], &endpoints[one]) { other } else { one })
    }
}

impl LeastInFlight {
    /// One that may be asked, by weight; when luck has it that none is met, the next in order.
    fn draw(&self, endpoints: &[Endpoint], ask: &mut Ask<'_>, but: Option<usize>) -> Option<usize> {
        for _ in 0..DRAWS_MAX {
            let drawn = usize::from(self.shares[ask.draw.below(self.shares.len())]);
            if but != Some(drawn) && ask.may(endpoints, drawn) {
                return Some(drawn);
            }
        }
        let (from, all) = (ask.draw.below(endpoints.len()), endpoints.len());
        let mut in_order = (0..all).map(|i| (from + i) % all);
        in_order.find(|&i| but != Some(i) && ask.may(endpoints, i))
    }
}

/// Whether `one` has less under way than `other`, each for its weight.
pub(super) fn is_less_busy(one: &Endpoint, other: &Endpoint) -> bool {
    let under_way = |endpoint: &Endpoint| u64::from(endpoint.load.in_flight());
    under_way(one) * u64::from(other.weight) < under_way(other) * u64::from(one.weight)
}
