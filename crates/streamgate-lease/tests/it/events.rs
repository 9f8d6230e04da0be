//! The events of starts, ends and refusals: on memory and on a real server alike, and what becomes
//! of them when nobody listens.

use crate::faults::FaultyStore;
use crate::world::{TTL, World, claim, holder, id, these};
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::{Bounds, Change, Claim, Events, Grant, Leases, Refusal, Replace, Timing};
use tokio::time::sleep;

macro_rules! events {
    ($($case:ident)*) => {
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $case() {
                super::$case(super::World::memory()).await;
            })*
        }
        mod redis {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::World::redis().await).await;
            })*
        }
    };
}

events! {
    a_start_and_a_stop
    a_takeover_ends_one_and_starts_another
    an_expired_stream_ends_and_starts_again
    a_refusal_has_its_reason
    a_stream_that_was_ended_through_another_node_ends_here_when_this_node_hears_of_it
}

fn node(world: &World) -> (Leases, Events) {
    let (leases, _renewer) = Leases::new(world.store.clone(), world.timing);
    let events = leases.events();
    (leases, events)
}

/// What has happened, as in `tv started admitted, tv ended released`.
fn happened(events: &mut Events) -> String {
    let mut words = Vec::new();
    while let Some(event) = events.try_recv() {
        assert_eq!(event.holder, holder("alice"));
        let name = ["tv", "pad", "pc"].into_iter().find(|name| id(name) == event.id).unwrap();
        words.push(match event.change {
            Change::Started { how, .. } => format!("{name} started {}", how.as_str()),
            Change::Adopted { over_limit } => format!("{name} adopted over_limit={over_limit}"),
            Change::Ended { why, .. } => format!("{name} ended {}", why.as_str()),
            Change::Refused { why: Refusal::Full { limit, .. } } => format!("{name} full {limit}"),
            Change::Refused { why: Refusal::Ended(why) } => format!("{name} gone {}", why.as_str()),
            Change::Refused { why: Refusal::StartsExhausted } => format!("{name} exhausted"),
        });
    }
    words.join(", ")
}

async fn a_start_and_a_stop(world: World) {
    let (leases, mut events) = node(&world);
    let Grant::Held(lease) = leases.hold(&claim("tv", 1)).await.unwrap() else { panic!() };
    let start = events.try_recv().unwrap();
    let Change::Started { started_at, .. } = start.change else { panic!("{start:?}") };
    assert_eq!(started_at, lease.started_at());
    // A touch and a second question are no events.
    assert!(leases.touch(&holder("alice"), &id("tv"), &[]).is_some());
    leases.hold(&claim("tv", 1)).await.unwrap();
    leases.hold(&Claim { explicit_start: true, ..claim("tv", 1) }).await.unwrap();
    assert_eq!(happened(&mut events), "");
    leases.release(&holder("alice"), &id("tv")).await.unwrap();
    leases.release(&holder("alice"), &id("tv")).await.unwrap();
    assert_eq!(happened(&mut events), "tv ended released");
    assert_eq!(leases.stats().admitted, 1);
}

async fn a_takeover_ends_one_and_starts_another(world: World) {
    let (leases, mut events) = node(&world);
    leases.hold(&claim("tv", 1)).await.unwrap();
    leases.hold(&Claim { replace: Replace::Oldest, ..claim("pad", 1) }).await.unwrap();
    leases.hold(&Claim { replace: these(&["pad"]), ..claim("pc", 1) }).await.unwrap();
    leases.terminate(&holder("alice"), &id("pc")).await.unwrap();
    assert_eq!(
        happened(&mut events),
        "tv started admitted, tv ended replaced, pad started admitted, pad ended replaced, \
         pc started admitted, pc ended terminated"
    );
}

async fn an_expired_stream_ends_and_starts_again(world: World) {
    let (leases, mut events) = node(&world);
    leases.hold(&claim("tv", 1)).await.unwrap();
    world.pass(TTL + Duration::from_secs(1)).await;
    leases.mark_stale(&holder("alice"), &id("tv"));
    leases.hold(&claim("tv", 1)).await.unwrap();
    assert_eq!(happened(&mut events), "tv started admitted, tv ended expired, tv started admitted");
}

async fn a_refusal_has_its_reason(world: World) {
    let (leases, mut events) = node(&world);
    leases.hold(&claim("tv", 1)).await.unwrap();
    leases.hold(&claim("pad", 1)).await.unwrap();
    leases.release(&holder("alice"), &id("tv")).await.unwrap();
    leases.hold(&claim("tv", 1)).await.unwrap();
    assert_eq!(
        happened(&mut events),
        "tv started admitted, pad full 1, tv ended released, tv gone released"
    );
    let stats = leases.stats();
    assert_eq!((stats.admitted, stats.refused, stats.ended, stats.events_dropped), (1, 1, 1, 0));
}

async fn a_stream_that_was_ended_through_another_node_ends_here_when_this_node_hears_of_it(
    world: World,
) {
    let ((one, mut at_one), (other, mut at_other)) = (node(&world), node(&world));
    one.hold(&claim("tv", 1)).await.unwrap();
    other.hold(&claim("tv", 1)).await.unwrap();
    assert!(other.terminate(&holder("alice"), &id("tv")).await.unwrap());
    assert_eq!(happened(&mut at_other), "tv started joined, tv ended terminated");
    assert_eq!(happened(&mut at_one), "tv started admitted");
    one.mark_stale(&holder("alice"), &id("tv"));
    one.hold(&claim("tv", 1)).await.unwrap();
    assert_eq!(happened(&mut at_one), "tv ended terminated, tv gone terminated");
}

/// A node with a store that can be away, and with its renewer running.
fn node_with_renewer(store: &Arc<FaultyStore>, bounds: Bounds) -> (Leases, Events) {
    let (leases, renewer) = Leases::bounded(store.clone(), Timing::default(), bounds);
    tokio::spawn(renewer.run(std::future::pending()));
    let events = leases.events();
    (leases, events)
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_expires_within_two_ttls_and_a_tick() {
    let (leases, mut events) = node_with_renewer(&FaultyStore::new(), Bounds::default());
    leases.hold(&claim("tv", 1)).await.unwrap();
    sleep(TTL).await;
    assert_eq!(happened(&mut events), "tv started admitted");
    sleep(TTL + Duration::from_secs(2)).await;
    assert_eq!(happened(&mut events), "tv ended expired");
}

#[tokio::test(start_paused = true)]
async fn a_provisional_stream_is_adopted_when_the_store_is_back() {
    let store = FaultyStore::new();
    let bounds = Bounds { starts_max: 1, ..Bounds::default() };
    let (leases, mut events) = node_with_renewer(&store, bounds);
    store.set_down(true);
    leases.hold_locally(&claim("tv", 2)).unwrap();
    assert!(leases.hold_locally(&claim("pad", 2)).is_err());
    assert!(matches!(leases.hold_locally(&claim("pc", 1)), Ok(Grant::Full(_))));
    assert_eq!(happened(&mut events), "tv started provisional, pad exhausted, pc full 1");
    store.set_down(false);
    sleep(TTL / 2).await;
    assert_eq!(happened(&mut events), "tv adopted over_limit=false");
    let stats = leases.stats();
    assert_eq!((stats.admitted_locally, stats.starts_refused, stats.refused), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_full_channel_drops_and_counts_and_nobody_listening_costs_nothing() {
    let bounds = Bounds { events_max: 2, ..Bounds::default() };
    let (leases, mut events) = node_with_renewer(&FaultyStore::new(), bounds);
    for name in ["tv", "pad", "pc"] {
        leases.hold(&claim(name, 3)).await.unwrap();
    }
    assert_eq!(leases.stats().events_dropped, 1);
    assert_eq!(happened(&mut events), "tv started admitted, pad started admitted");
    leases.release(&holder("alice"), &id("pc")).await.unwrap();
    assert_eq!(happened(&mut events), "pc ended released", "there is room again");
    // A second subscriber takes the place of the first; when it is gone, nothing is counted.
    let second = leases.events();
    assert_eq!(events.recv().await, None);
    drop(second);
    for name in ["tv", "pad"] {
        leases.release(&holder("alice"), &id(name)).await.unwrap();
    }
    let stats = leases.stats();
    assert_eq!((stats.admitted, stats.events_dropped), (3, 1));
}
