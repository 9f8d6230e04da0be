//! A store that comes back meets everybody at once; the renewer sees to it that it can bear it.

use super::{Node, SECOND, pass};
use crate::faults::FaultyStore;
use crate::world::{holder, id};
use streamgate_lease::Claim;

const STREAMS: u64 = 4_000;
/// A thirtieth of a ttl.
const TICK_SECONDS: u64 = 2;

#[tokio::test(start_paused = true)]
async fn after_an_outage_a_tick_renews_a_quarter_and_four_ticks_all() {
    let node = Node::at(&FaultyStore::new());
    let claims: Vec<_> =
        (0..STREAMS).map(|n| Claim::new(holder(&n.to_string()), id("tv"), 1)).collect();
    for claim in &claims {
        assert_eq!(node.word(claim).await, "new");
    }
    let watch = async |seconds: u64| {
        for _ in 0..seconds {
            for claim in &claims {
                node.word(claim).await;
            }
            pass(SECOND).await;
        }
        FaultyStore::count(&node.store.renewals)
    };
    node.store.set_down(true);
    // Long enough for everybody to be due, short enough for nobody to expire.
    let before = watch(40).await;
    node.store.set_down(false);
    let mut last = before;
    for tick in 1..=4 {
        let so_far = watch(TICK_SECONDS).await;
        assert!(so_far - last <= STREAMS / 4, "tick {tick}: {} renewals", so_far - last);
        last = so_far;
    }
    let renewed = watch(TICK_SECONDS).await - before;
    assert!((STREAMS..STREAMS + STREAMS / 4).contains(&renewed), "{renewed} in five ticks");
    assert_eq!(node.stats().table_entries, STREAMS);
    assert_eq!(node.stats().lost.gone + node.stats().lost.refused, 0, "nobody was too late");
}

/// Those whose server is down are due at every tick and use up its share; but the next tick begins
/// where the last one ended, so everybody else is renewed in time and never has to ask himself.
#[tokio::test(start_paused = true)]
async fn who_cannot_be_renewed_keeps_nobody_else_from_it() {
    let node = Node::at(&FaultyStore::new());
    let claims: Vec<_> =
        (0..STREAMS / 2).map(|n| Claim::new(holder(&n.to_string()), id("tv"), 1)).collect();
    for claim in &claims {
        assert_eq!(node.word(claim).await, "new");
    }
    let asked = FaultyStore::count(&node.store.acquires);
    node.store.set_half_down(true);
    let is_there = |claim: &&Claim| !node.store.is_away(&claim.holder);
    assert!(claims.iter().filter(is_there).count() < claims.len() * 2 / 3);
    for _ in 0..100 {
        for claim in &claims {
            node.word(claim).await;
        }
        pass(SECOND).await;
    }
    assert_eq!(FaultyStore::count(&node.store.acquires), asked, "nobody had to ask himself");
}
