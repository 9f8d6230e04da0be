//! What flows to a player already, a long answer or a tunnel: it flows on while nobody knows that
//! it has ended, whatever the store does.

use super::{NEWS_MAX, Node, SECOND, pass};
use crate::faults::FaultyStore;
use crate::world::{TTL, claim, holder, id};
use std::time::Duration;
use streamgate_lease::{Claim, DegradedPolicy, Timing};

/// How often a gateway asks.
const EVERY: Duration = Duration::from_secs(5);

fn goes_on(node: &Node, name: &str, alone: DegradedPolicy) -> bool {
    node.leases.may_continue(&holder("alice"), &id(name), alone)
}

/// For how long it flows on, of so long at most.
async fn flows(node: &Node, name: &str, alone: DegradedPolicy, most: Duration) -> Duration {
    let mut flowed = Duration::ZERO;
    while flowed < most && goes_on(node, name, alone) {
        pass(EVERY).await;
        flowed += EVERY;
    }
    flowed
}

#[tokio::test(start_paused = true)]
async fn with_the_store_it_holds_its_slot_for_as_long_as_it_flows() {
    let node = Node::at(&FaultyStore::new());
    node.request(&claim("tv", 1)).await;
    assert_eq!(flows(&node, "tv", DegradedPolicy::Never, TTL * 10).await, TTL * 10);
    assert_eq!((node.live().await, FaultyStore::count(&node.store.acquires)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_the_store_it_flows_on_as_the_policy_says() {
    let grace = Timing::default().grace();
    for (alone, at_least, at_most) in [
        (DegradedPolicy::Never, SECOND, TTL + EVERY),
        (DegradedPolicy::Grace, grace - EVERY, grace + EVERY),
        (DegradedPolicy::Endless, grace * 2, grace * 2),
    ] {
        let node = Node::at(&FaultyStore::new());
        node.request(&claim("tv", 1)).await;
        node.store.set_down(true);
        let flowed = flows(&node, "tv", alone, grace * 2).await;
        assert!(at_least <= flowed && flowed <= at_most, "{alone:?}: {flowed:?}");
        assert_eq!(FaultyStore::count(&node.store.acquires), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_store_was_away_it_has_its_slot_again() {
    let node = Node::at(&FaultyStore::new());
    node.request(&claim("tv", 1)).await;
    node.store.set_down(true);
    assert_eq!(flows(&node, "tv", DegradedPolicy::Grace, TTL * 3).await, TTL * 3);
    assert_eq!(node.live().await, 0, "the store has forgotten it by now");
    node.store.set_down(false);
    assert_eq!(flows(&node, "tv", DegradedPolicy::Grace, NEWS_MAX).await, EVERY * 6);
    assert_eq!(node.live().await, 1);
    assert_eq!(node.word(&claim("pc", 1)).await, "full");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_in_doubt_is_found_out_at_the_next_tick() {
    let (timing, tv) = (Timing::default(), claim("tv", 1));
    for is_true in [false, true] {
        let node = Node::at(&FaultyStore::new());
        node.request(&tv).await;
        pass(SECOND).await;
        if is_true {
            node.store.behind().terminate(&tv.holder, &tv.id, &timing).await.unwrap();
        }
        node.leases.mark_stale(&tv.holder, &tv.id);
        assert!(goes_on(&node, "tv", DegradedPolicy::Grace), "nobody knows yet");
        pass(TTL / 30).await;
        assert_eq!(goes_on(&node, "tv", DegradedPolicy::Grace), !is_true);
        assert_eq!(node.stats().lost.terminated, u64::from(is_true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_doubt_that_nobody_can_settle_ends_it() {
    for alone in [DegradedPolicy::Grace, DegradedPolicy::Endless] {
        let node = Node::at(&FaultyStore::new());
        node.request(&claim("tv", 1)).await;
        node.store.set_down(true);
        node.leases.mark_stale(&holder("alice"), &id("tv"));
        let flowed = flows(&node, "tv", alone, TTL).await;
        assert!(flowed <= TTL / 6, "{alone:?}: {flowed:?}");
    }
    let node = Node::at(&FaultyStore::new());
    node.request(&claim("tv", 1)).await;
    node.leases.mark_stale(&holder("alice"), &id("tv"));
    assert!(!goes_on(&node, "tv", DegradedPolicy::Never));
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_here_or_was_never_known_does_not_flow_on() {
    let node = Node::at(&FaultyStore::new());
    node.request(&claim("tv", 1)).await;
    node.store.set_down(true);
    for alone in [DegradedPolicy::Never, DegradedPolicy::Grace, DegradedPolicy::Endless] {
        assert!(!goes_on(&node, "pc", alone));
    }
    let _ = node.leases.release(&holder("alice"), &id("tv")).await;
    for alone in [DegradedPolicy::Never, DegradedPolicy::Grace, DegradedPolicy::Endless] {
        assert!(!goes_on(&node, "tv", alone));
    }
}

/// A tunnel may be silent for longer than a ttl. Its slot is free meanwhile, and when it speaks
/// again it has a place or it has none, but it never goes over the limit.
#[tokio::test(start_paused = true)]
async fn one_that_was_silent_for_too_long_has_its_place_or_ends() {
    for (reusable, is_taken) in [(false, false), (false, true), (true, false), (true, true)] {
        let node = Node::at(&FaultyStore::new());
        let tv = Claim { reusable, ..claim("tv", 1) };
        node.request(&tv).await;
        pass(TTL + SECOND).await;
        if is_taken {
            assert_eq!(node.word(&claim("pc", 1)).await, "new");
        }
        assert!(goes_on(&node, "tv", DegradedPolicy::Grace), "nobody knows yet");
        assert!(goes_on(&node, "tv", DegradedPolicy::Grace), "however often it is asked");
        pass(EVERY).await;
        assert_eq!(goes_on(&node, "tv", DegradedPolicy::Grace), !is_taken, "{reusable} {is_taken}");
        pass(EVERY).await;
        assert_eq!((node.live().await, node.leases.census().over_limit), (1, 0));
    }
}
