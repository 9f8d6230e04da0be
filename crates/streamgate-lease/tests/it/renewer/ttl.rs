//! Streams of one policy that live for different times: each is renewed in its own time, however
//! long the policy's ttl is.

use super::{Node, SECOND};
use crate::faults::FaultyStore;
use crate::world::{claim, holder, id};
use std::time::Duration;
use streamgate_lease::{Bounds, Claim, Grant, Timing};
use tokio::time::sleep;

const SHORT: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(600);

fn lasting(ttl: Duration, name: &str) -> Claim {
    Claim { ttl: Some(ttl), ..claim(name, 3) }
}

/// A small table: at so short a ttl it is looked through ten times a second.
fn few() -> Bounds {
    Bounds { table_entries_max: 64, ..Bounds::default() }
}

async fn plays(node: &Node, claim: &Claim) {
    let grant = node.request(claim).await;
    assert!(matches!(grant, Grant::Held(_)), "{grant:?}");
}

#[tokio::test(start_paused = true)]
async fn a_short_ttl_is_kept_up_with_under_a_long_one() {
    let store = FaultyStore::new();
    let node = Node::with(&store, few(), Timing::of(LONG).unwrap());
    sleep(SECOND * 5).await;
    for _ in 0..60 {
        plays(&node, &lasting(SHORT, "live")).await;
        plays(&node, &lasting(LONG, "film")).await;
        sleep(SECOND / 2).await;
    }
    let stats = node.leases.stats();
    // Each third of its ttl, for half a minute; the film has time.
    assert!(20 <= stats.renewals && stats.renewals <= 40, "{stats:?}");
    let live = node.leases.list(&holder("alice")).await.unwrap();
    assert_eq!(live.len(), 2);
    sleep(SHORT).await;
    let live = node.leases.list(&holder("alice")).await.unwrap();
    assert_eq!(live.iter().map(|live| live.id).collect::<Vec<_>>(), [id("film")]);
}

#[tokio::test(start_paused = true)]
async fn a_film_keeps_its_slot_while_its_buffer_lasts() {
    let store = FaultyStore::new();
    let node = Node::with(&store, few(), Timing::of(SHORT * 10).unwrap());
    let film = Claim { limit: 1, ..lasting(LONG, "film") };
    for _ in 0..3 {
        plays(&node, &film).await;
        sleep(LONG - SECOND).await;
        let other = node.request(&claim("other", 1)).await;
        assert!(matches!(other, Grant::Full(_)), "{other:?}");
    }
    plays(&node, &film).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_goes_on_to_a_longer_ttl_has_that_at_once() {
    let store = FaultyStore::new();
    let node = Node::with(&store, few(), Timing::default());
    let (short, long) = (lasting(SHORT, "tv"), lasting(LONG, "tv"));
    plays(&node, &short).await;
    match node.leases.hold(&long).await.unwrap() {
        Grant::Held(lease) => assert_eq!((lease.ttl(), lease.is_new()), (LONG, false)),
        grant => panic!("{grant:?}"),
    }
    sleep(LONG - SECOND).await;
    plays(&node, &short).await;
    let asked = FaultyStore::count(&store.calls);
    assert!(matches!(node.leases.hold(&short).await.unwrap(), Grant::Held(_)));
    assert_eq!(FaultyStore::count(&store.calls), asked, "what it has is long enough");
}

#[tokio::test(start_paused = true)]
async fn without_the_store_each_goes_on_for_its_own_ttl() {
    let store = FaultyStore::new();
    let node = Node::at(&store);
    store.set_down(true);
    for (ttl, name) in [(SHORT, "live"), (LONG, "film")] {
        let Ok(Grant::Held(lease)) = node.leases.hold_locally(&lasting(ttl, name)) else {
            panic!("{name} should be held");
        };
        assert_eq!((lease.ttl(), lease.expires_in()), (ttl, ttl), "{name}");
    }
    sleep(SHORT + SECOND).await;
    assert!(node.leases.touch(&holder("alice"), &id("live"), &[]).is_none());
    assert!(node.leases.touch(&holder("alice"), &id("film"), &[]).is_some());
}
