//! A node on its own and what comes after: its bound, adoption by the store, and what it counts.

use super::{NEWS_MAX, Node, SECOND, pass};
use crate::faults::FaultyStore;
use crate::world::{TTL, claim, holder, id};
use std::time::Duration;
use streamgate_lease::{Bounds, Claim, Grant, Ticket, Timing};

#[tokio::test(start_paused = true)]
async fn a_node_starts_so_many_alone_and_no_more() {
    let bounds = Bounds { starts_max: 3, ..Bounds::default() };
    let node = Node::with(&FaultyStore::new(), bounds, Timing::default());
    let of = |n: u32| Claim { holder: holder(&n.to_string()), ..claim("tv", 1) };
    assert_eq!(node.word(&of(0)).await, "new");
    node.store.set_down(true);
    pass(TTL).await;
    for n in 1..4 {
        assert_eq!(node.word(&of(n)).await, "provisional");
    }
    assert!(node.leases.hold_locally(&of(4)).is_err());
    let second = Claim { id: id("pc"), ..of(1) };
    assert!(matches!(node.leases.hold_locally(&second), Ok(Grant::Full(_))), "full is full");
    assert_eq!(node.word(&of(0)).await, "held", "who is known needs no start");
    assert_eq!(node.word(&of(2)).await, "provisional");
    assert_eq!((node.stats().provisional, node.stats().starts_refused), (3, 1));
    let _ = node.leases.release(&of(1).holder, &id("tv")).await;
    assert_eq!(node.word(&of(4)).await, "provisional", "one left");
}

#[tokio::test(start_paused = true)]
async fn an_excess_is_adopted_flagged_and_settled_in_its_time() {
    let store = FaultyStore::new();
    let timing = Timing::default().with_grandfather(TTL * 4).unwrap();
    let node = || Node::with(&store, Bounds::default(), timing);
    let (one, other) = (node(), node());
    store.set_down(true);
    assert_eq!(one.word(&claim("tv", 1)).await, "provisional");
    assert_eq!(other.word(&claim("pc", 1)).await, "provisional");
    store.set_down(false);
    let play = async |time: Duration| {
        for _ in 0..time.as_secs() {
            one.knows("tv");
            other.knows("pc");
            pass(SECOND).await;
        }
    };
    play(NEWS_MAX).await;
    let over = || one.leases.census().over_limit + other.leases.census().over_limit;
    assert_eq!((one.live().await, over()), (2, 1), "nobody is thrown out");
    assert_eq!(one.stats().adopted_over_limit + other.stats().adopted_over_limit, 1);
    assert_eq!(one.word(&claim("pad", 1)).await, "full");
    play(TTL * 3).await;
    assert_eq!((one.live().await, over()), (2, 1));
    play(TTL + NEWS_MAX).await;
    assert_eq!((one.live().await, over()), (1, 0));
    assert_eq!(u8::from(one.knows("tv")) + u8::from(other.knows("pc")), 1);
    assert_eq!(one.stats().lost.refused + other.stats().lost.refused, 1);
}

/// Its slot expired in the store while the store was away, and another took it: who went on is not
/// thrown out either, whether his renewer asks for him or he asks himself.
#[tokio::test(start_paused = true)]
async fn a_holder_who_went_on_alone_is_adopted() {
    for is_silent in [false, true] {
        let store = FaultyStore::new();
        let (one, other) = (Node::at(&store), Node::at(&store));
        assert_eq!(one.word(&claim("tv", 1)).await, "new");
        store.set_down(true);
        one.plays(&claim("tv", 1), TTL + NEWS_MAX).await;
        assert_eq!(other.word(&claim("pc", 1)).await, "provisional");
        store.set_down(false);
        other.plays(&claim("pc", 1), NEWS_MAX).await;
        pass(if is_silent { TTL / 4 } else { Duration::ZERO }).await;
        other.plays(&claim("pc", 1), SECOND).await;
        assert!(matches!(one.request(&claim("tv", 1)).await, Grant::Held(_)));
        one.plays(&claim("tv", 1), NEWS_MAX).await;
        assert_eq!(one.leases.census().over_limit + other.leases.census().over_limit, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn how_long_the_store_was_away_is_told() {
    let node = Node::at(&FaultyStore::new());
    node.word(&claim("tv", 1)).await;
    assert_eq!(node.stats().degraded_for, None);
    node.store.set_down(true);
    pass(TTL).await;
    node.word(&claim("tv", 1)).await;
    node.plays(&claim("tv", 1), SECOND * 10).await;
    let stats = node.stats();
    assert!(stats.degraded_for.is_some_and(|lasts| SECOND * 9 < lasts && lasts <= SECOND * 12));
    assert_eq!(stats.degraded_for, Some(stats.degraded));
    node.store.set_down(false);
    node.plays(&claim("tv", 1), NEWS_MAX).await;
    let after = node.stats();
    assert_eq!(after.degraded_for, None);
    assert!(stats.degraded <= after.degraded && after.degraded < stats.degraded + NEWS_MAX);
}

/// A login that was stopped may have been started again elsewhere, so the store is asked; but if it
/// cannot be asked, what this node knows holds.
#[tokio::test(start_paused = true)]
async fn without_the_store_a_login_that_was_stopped_here_stays_so() {
    let node = Node::at(&FaultyStore::new());
    let login = Claim { reusable: true, ..claim("login", 1) };
    assert_eq!(node.word(&login).await, "new");
    assert!(node.leases.terminate(&login.holder, &login.id).await.unwrap());
    pass(SECOND * 5).await;
    node.store.set_down(true);
    assert_eq!(node.word(&login).await, "terminated");
    let restarted = Claim { explicit_start: true, ..login };
    assert_eq!(node.word(&restarted).await, "provisional", "its viewer pressed play");
}

#[tokio::test(start_paused = true)]
async fn nobody_begins_by_a_ticket_without_the_store() {
    let node = Node::at(&FaultyStore::new());
    let ticket = Some(Ticket { use_by: u64::MAX, ends_at: u64::MAX });
    let cast = Claim { ticket, ..claim("tv", 1) };
    assert!(node.leases.hold_locally(&cast).is_err(), "only the store knows that it is in time");
    assert!(matches!(node.leases.hold(&cast).await, Ok(Grant::Held(_))));
    assert!(matches!(node.leases.hold_locally(&cast), Ok(Grant::Held(_))), "it goes on");
}
