//! A node whose configuration changes its pepper in three steps, while its streams play.

use super::{NEWS_MAX, Node, SECOND, pass};
use crate::faults::FaultyStore;
use crate::world::{TTL, claim};
use streamgate_lease::{Claim, Grant, Holder, Pepper};

fn alice(current: u8, also: Option<u8>) -> Holder {
    let pepper = Pepper::new([current; 32]).unwrap();
    let pepper = also.map_or(Ok(pepper.clone()), |also| pepper.with_also([also; 32])).unwrap();
    Holder::of(&pepper, "alice")
}

fn steps() -> [Holder; 4] {
    [alice(1, None), alice(1, Some(2)), alice(2, Some(1)), alice(2, None)]
}

#[tokio::test(start_paused = true)]
async fn a_stream_plays_through_a_change_of_pepper_and_asks_nobody() {
    let node = Node::at(&FaultyStore::new());
    for holder in steps() {
        node.plays(&Claim { holder, ..claim("tv", 1) }, TTL * 2).await;
        assert_eq!(node.stats().table_entries, 1, "it is known once");
    }
    assert_eq!(FaultyStore::count(&node.store.acquires), 1);
    assert_eq!(node.store.behind().list(&alice(2, None)).await.unwrap().len(), 1);
}

/// Another node has changed already and gathers all under the new name, again and again.
#[tokio::test(start_paused = true)]
async fn a_node_that_has_not_changed_yet_keeps_its_streams_beside_one_that_has() {
    let store = FaultyStore::new();
    let (node, other) = (Node::at(&store), Node::at(&store));
    let [plain, one, two, _] = steps();
    let of = |holder, name| Claim { holder, ..claim(name, 2) };
    assert_eq!(node.word(&of(plain, "tv")).await, "new");
    assert_eq!(other.word(&of(two, "pad")).await, "new");
    for _ in 0..TTL.as_secs() * 4 {
        assert!(matches!(node.request(&of(one, "tv")).await, Grant::Held(_)));
        assert!(matches!(other.request(&of(two, "pad")).await, Grant::Held(_)));
        pass(SECOND).await;
    }
    assert_eq!(node.word(&of(one, "pc")).await, "full");
    assert_eq!(other.word(&of(two, "pc")).await, "full");
    let acquires = FaultyStore::count(&store.acquires);
    assert!(acquires <= 4, "renewals find what lies under the other name: {acquires} acquires");
}

#[tokio::test(start_paused = true)]
async fn without_the_store_a_change_of_pepper_forgets_nobody() {
    let node = Node::at(&FaultyStore::new());
    let [_, one, two, _] = steps();
    let of = |holder, name| Claim { holder, ..claim(name, 2) };
    assert_eq!(node.word(&of(one, "tv")).await, "new");
    node.store.set_down(true);
    assert_eq!(node.word(&of(one, "pad")).await, "provisional");
    assert_eq!(node.word(&of(two, "pc")).await, "full");
    assert_eq!(node.word(&of(two, "tv")).await, "held");
    assert_eq!((node.stats().table_entries, node.stats().provisional), (2, 1));
    node.store.set_down(false);
    for name in ["tv", "pad"] {
        node.plays(&of(two, name), NEWS_MAX / 2).await;
    }
    node.plays(&of(two, "pad"), NEWS_MAX).await;
    assert_eq!(node.stats().provisional, 0);
}
