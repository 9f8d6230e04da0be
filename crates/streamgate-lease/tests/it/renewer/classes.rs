//! Classes on one node: what it answers by itself, what its renewer keeps, what it counts alone.

use super::{NEWS_MAX, Node, SECOND, pass, word};
use crate::faults::FaultyStore;
use crate::world::{classed, holder, id};
use streamgate_lease::{Claim, Grant, Replace};

#[tokio::test(start_paused = true)]
async fn a_touch_answers_for_no_class_that_the_lease_does_not_hold() {
    let node = Node::at(&FaultyStore::new());
    let (hd, uhd) = (classed("tv", 2, ""), classed("tv", 2, "4k=1"));
    let of = |claim: &Claim| claim.classes.iter().map(|of| of.class).collect::<Vec<_>>();
    let touch = |claim: &Claim| node.leases.touch(&claim.holder, &claim.id, &of(claim)).is_some();
    assert_eq!(node.word(&hd).await, "new");
    assert!(touch(&hd));
    assert!(!touch(&uhd), "only the store knows whether there is room");
    assert_eq!(node.word(&uhd).await, "held");
    assert!(touch(&uhd) && touch(&hd));
    assert_eq!(FaultyStore::count(&node.store.acquires), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_refused_a_class_plays_on_without_it() {
    let node = Node::at(&FaultyStore::new());
    assert_eq!(node.word(&classed("pad", 2, "4k=1")).await, "new");
    assert_eq!(node.word(&classed("tv", 2, "")).await, "new");
    for _ in 0..60 {
        assert_eq!(node.word(&classed("tv", 2, "4k=1")).await, "full");
        assert!(node.knows("tv") && node.knows("pad"));
        pass(SECOND * 2).await;
    }
    assert_eq!(node.live().await, 2);
    assert_eq!(FaultyStore::count(&node.store.acquires), 62, "the plain requests asked nobody");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_forgot_is_told_of_the_classes_again() {
    let node = Node::at(&FaultyStore::new());
    assert_eq!(node.word(&classed("tv", 2, "live=2")).await, "new");
    assert_eq!(node.word(&classed("tv", 2, "4k=1")).await, "held");
    node.store.forget_all();
    node.plays(&classed("tv", 2, ""), NEWS_MAX).await;
    let live = node.store.behind().list(&holder("alice")).await.unwrap();
    let names: Vec<_> = live[0].classes.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["4k", "live"]);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_classes_are_counted_here_and_told_later() {
    let node = Node::at(&FaultyStore::new());
    assert_eq!(node.word(&classed("tv", 3, "")).await, "new");
    node.store.set_down(true);
    assert_eq!(node.word(&classed("pad", 3, "4k=1")).await, "provisional");
    match node.request(&classed("tv", 3, "4k=1")).await {
        Grant::Full(full) => {
            assert_eq!(full.class.map(|class| class.to_string()).as_deref(), Some("4k"));
            assert_eq!(full.live.len(), 2);
        }
        grant => panic!("pad has the only one: {grant:?}"),
    }
    assert_eq!(node.word(&classed("tv", 3, "")).await, "held", "it keeps what it had");
    let takeover = Claim { replace: Replace::Oldest, ..classed("tv", 3, "4k=1") };
    assert_eq!(word(&node.leases.hold_locally(&takeover).unwrap()), "provisional");
    assert_eq!(node.word(&classed("pad", 3, "")).await, "replaced");
    assert_eq!(node.stats().provisional, 1, "the store has not heard of its class");
    node.store.set_down(false);
    node.plays(&classed("tv", 3, "4k=1"), NEWS_MAX).await;
    assert_eq!(node.stats().provisional, 0);
    let live = node.store.behind().list(&holder("alice")).await.unwrap();
    assert_eq!((live.len(), live[0].id, live[0].classes.len()), (1, id("tv"), 1));
}
