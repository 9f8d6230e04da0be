//! Starts whose answers never came: what the store has admitted of them is given back.

use super::{Node, SECOND, pass};
use crate::faults::FaultyStore;
use crate::world::claim;
use streamgate_lease::{Claim, ClaimSource, Grant, Timing};
use tokio::time::timeout;

/// A start that nobody but its claim knows the id of.
fn reserved() -> Claim {
    Claim { by: ClaimSource::Reservation, ..claim("tv", 1) }
}

/// What a late claim does at the store.
async fn is_done_late(node: &Node, claim: &Claim) {
    node.store.behind().acquire(claim, &Timing::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_that_gave_up_leaves_no_ghost() {
    for by in [ClaimSource::Reservation, ClaimSource::Request] {
        let node = Node::at(&FaultyStore::new());
        let claim = Claim { by, ..reserved() };
        node.store.hold_answers();
        assert!(timeout(SECOND, node.leases.hold(&claim)).await.is_err());
        assert_eq!(node.live().await, 1, "the store has admitted it");
        node.leases.abandon(&claim);
        pass(SECOND).await;
        assert_eq!((node.live().await, node.stats().given_back), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_done_late_leaves_none_either() {
    let node = Node::at(&FaultyStore::new());
    node.leases.abandon(&reserved());
    pass(SECOND * 5).await;
    is_done_late(&node, &reserved()).await;
    pass(SECOND * 2).await;
    assert_eq!(node.live().await, 0);
    // For so long nothing is on its way; then the store is not asked any more.
    pass(SECOND * 10).await;
    let asked = FaultyStore::count(&node.store.calls);
    pass(SECOND * 10).await;
    assert_eq!(FaultyStore::count(&node.store.calls), asked);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_asked_when_it_is_back() {
    let node = Node::at(&FaultyStore::new());
    is_done_late(&node, &reserved()).await;
    node.store.set_down(true);
    node.leases.abandon(&reserved());
    pass(SECOND * 5).await;
    assert_eq!(node.live().await, 1);
    node.store.set_down(false);
    pass(SECOND * 2).await;
    assert_eq!((node.live().await, node.stats().starts_left), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_nobody_heard_of_is_given_back() {
    let node = Node::at(&FaultyStore::new());
    for is_down in [false, true] {
        node.store.set_down(is_down);
        let grant = match is_down {
            false => node.leases.hold(&reserved()).await.unwrap(),
            true => node.leases.hold_locally(&reserved()).unwrap(),
        };
        let Grant::Held(lease) = grant else { panic!("there is room") };
        assert!(lease.is_reserved() && !lease.is_first());
        assert_eq!(node.stats().table_entries, 1);
        assert!(node.leases.give_back(&lease).await.unwrap());
        assert_eq!((node.live().await, node.stats().table_entries), (0, 0));
    }
    node.store.set_down(false);
    let Ok(Grant::Held(lease)) = node.leases.hold(&reserved()).await else { panic!("room") };
    assert!(matches!(node.request(&claim("tv", 1)).await, Grant::Held(_)), "its client came");
    assert!(!node.leases.give_back(&lease).await.unwrap());
    assert_eq!(node.live().await, 1);
}

#[tokio::test(start_paused = true)]
async fn who_came_meanwhile_keeps_the_slot() {
    let node = Node::at(&FaultyStore::new());
    is_done_late(&node, &reserved()).await;
    assert!(matches!(node.request(&claim("tv", 1)).await, Grant::Held(_)));
    node.leases.abandon(&reserved());
    pass(SECOND * 15).await;
    assert_eq!((node.live().await, node.stats().given_back), (1, 0));
}
