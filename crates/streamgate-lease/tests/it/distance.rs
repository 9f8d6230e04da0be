//! A server that is far away: the operator's deadlines say how far it may be, and nothing else.

use crate::relay::Relay;
use crate::server::Server;
use crate::world::{holder, id};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::redis::{Client, Deadlines, Health, Monitor, RedisStore};
use streamgate_lease::{Claim, Grant, Holder, Leases, Stats, Timing};
use tokio::time::{interval, timeout};

const TTL: Duration = Duration::from_secs(3);
const PACE: Duration = Duration::from_millis(200);
/// 13 s of play.
const REQUESTS: usize = 65;
/// As many streams as fill more than one batch of the renewer.
const CROWD: usize = 300;

fn timing() -> Timing {
    Timing::of(TTL).unwrap()
}

/// What the operator of the farthest server allows it.
const ABOVE: Deadlines = Deadlines {
    command: Duration::from_millis(1000),
    connect: Duration::from_millis(2500),
    start: Duration::from_millis(1000),
};

/// Plays for 13 s at this distance, with so many viewers; each has the one slot of its account.
async fn play(server: &Server, round_trip: Duration, viewers: usize) -> Stats {
    let relay = Relay::start(server.socket(), round_trip).await;
    let client = Client::with_deadlines(&relay.url(), ABOVE).unwrap();
    let (leases, renewer) = Leases::new(Arc::new(RedisStore::new(Arc::new(client))), timing());
    let renewer = tokio::spawn(renewer.run(std::future::pending()));
    let of = |n: usize| -> Holder { holder(&format!("{round_trip:?} {n}")) };
    let claims: Vec<_> = (0..viewers).map(|n| Claim::new(of(n), id("tv"), 1)).collect();
    let mut pace = interval(PACE);
    for _ in 0..REQUESTS {
        pace.tick().await;
        join_all(claims.iter().map(|claim| plays_on(&leases, claim))).await;
    }
    renewer.abort();
    leases.stats()
}

async fn plays_on(leases: &Leases, claim: &Claim) {
    if leases.touch(&claim.holder, &claim.id, &[]).is_none() {
        let grant = leases.hold(claim).await.unwrap();
        assert!(matches!(grant, Grant::Held(_)), "{grant:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_kept_and_renewed_as_often_at_any_distance() {
    let server = Server::start().await;
    let at = |round_trip| play(&server, Duration::from_millis(round_trip), 1);
    let all = tokio::join!(at(0), at(60), at(150), at(400));
    let all = <[Stats; 4]>::from(all);
    println!("renewals at 0, 60, 150 and 400 ms: {:?}", all.map(|stats| stats.renewals));
    for stats in all {
        assert_eq!(stats.admitted, 1, "the slot was lost: {stats:?}");
        assert_eq!(stats.renewals_skipped, 0, "{stats:?}");
        assert_eq!(stats.degraded_for, None, "{stats:?}");
        // A third of a ttl each, as where it is near; a busy machine makes all of them late.
        let renewed = stats.renewals + stats.registered;
        assert!(all[0].renewals * 3 / 4 <= renewed && renewed <= 15, "{stats:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_keeps_its_slots_and_renews_as_often_at_a_distance() {
    let server = Server::start().await;
    let at = |round_trip| play(&server, Duration::from_millis(round_trip), CROWD);
    let (near, far) = tokio::join!(at(0), at(400));
    println!("renewals of {CROWD}: {} near, {} far", near.renewals, far.renewals);
    for stats in [near, far] {
        assert_eq!(stats.admitted, CROWD as u64, "slots were lost: {stats:?}");
        assert_eq!(stats.renewals_skipped, 0, "{stats:?}");
    }
    assert!(near.renewals * 3 / 4 < far.renewals, "{near:?} {far:?}");
}

/// Far more than a server needs to be found out on a busy machine.
const TOLD_MAX: Duration = Duration::from_secs(60);

/// What the monitor tells first of a server at this distance.
async fn told(server: &Server, round_trip: Duration, deadlines: Deadlines) -> Health {
    let relay = Relay::start(server.socket(), round_trip).await;
    let client = Arc::new(Client::with_deadlines(&relay.url(), deadlines).unwrap());
    let mut monitor = Monitor::new(client);
    timeout(TOLD_MAX, monitor.next()).await.expect("the monitor tells what it found")
}

/// The operator is told how far it is, and whoever gave it time enough is told nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_too_far_for_its_deadlines_is_warned_of() {
    let server = Server::start().await;
    let ms = Duration::from_millis;
    // Time enough to answer, and too little to count on: two round trips are needed.
    let tight = Deadlines { command: ms(250), connect: ms(5000), start: ms(5000) };
    for (distance, deadlines) in [(150, tight), (400, Deadlines::default())] {
        let health = told(&server, ms(distance), deadlines).await;
        let too_far = health.too_far.unwrap();
        assert!(ms(distance) <= too_far, "{distance} ms: {health:?}");
    }
    let health = told(&server, ms(150), ABOVE).await;
    assert_eq!((health.failure, health.too_far), (None, None));
}
