//! What only a server can do to us: race, forget, restart, hang, die, tell the wrong time.

use crate::server::{Server, until};
use crate::world::{TTL, World, claim, classed, holder, id};
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::redis::{Client, Deadlines, Event, Notice, RedisStore, Subscription};
use streamgate_lease::{
    Claim, DisplacePolicy, Grant, Holder, LeaseId, LeaseStore, Leases, Pepper, Replace, Slot,
    StoreError, Tag, Timing,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// A deadline of 50 ms, on a machine that may be busy with other tests.
const AT_ONCE: Duration = Duration::from_secs(5);

async fn keys(server: &Server) -> Vec<String> {
    redis::cmd("KEYS").arg("sg:*").query_async(&mut server.peek().await).await.unwrap()
}

async fn ask<T: redis::FromRedisValue>(server: &Server, words: &[&str]) -> T {
    let (name, arguments) = words.split_first().unwrap();
    redis::cmd(name).arg(arguments).query_async(&mut server.peek().await).await.unwrap()
}

/// 200 tasks of two gateways want to play at once; some let go again, some take over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_of_200_never_exceeds_the_limit() {
    let server = Server::start().await;
    let gateway = || {
        let store = Arc::new(RedisStore::new(server.patient_client()));
        Leases::new(store, Timing::default()).0
    };
    let gateways = [gateway(), gateway()];
    let mut tasks = JoinSet::new();
    for n in 0..200 {
        let leases = gateways[n % 2].clone();
        tasks.spawn(async move {
            let replace = if n % 5 == 0 { Replace::Oldest } else { Replace::Nobody };
            let claim = Claim { replace, ..claim(&format!("device {n}"), 3) };
            let grant = leases.hold(&claim).await.unwrap();
            let live = leases.list(&claim.holder).await.unwrap().len();
            assert!(live <= 3, "{live} are live");
            match grant {
                Grant::Held(lease) => {
                    assert!(lease.active() <= 3);
                    if n % 3 == 0 {
                        leases.release(&claim.holder, &claim.id).await.unwrap();
                    }
                    1
                }
                Grant::Full(full) => {
                    assert_eq!(full.live.len(), 3, "refused only by three others");
                    0
                }
                Grant::Ended(why) => panic!("nobody asks twice here: {why:?}"),
            }
        });
    }
    let admitted: i32 = tasks.join_all().await.into_iter().sum();
    assert!((3..200).contains(&admitted), "{admitted} were admitted");
    assert!(gateways[0].list(&holder("alice")).await.unwrap().len() <= 3);
}

#[tokio::test]
async fn every_key_has_a_ttl_that_no_verb_shortens() {
    let world = World::redis().await;
    let server = world.server.as_ref().unwrap();
    let short = Timing::of(Duration::from_secs(3)).unwrap().with_tombstone(TTL).unwrap();
    let day = 86_400_000;
    world.play(&claim("tv", 3)).await;
    let check = async |what: &str| {
        for key in keys(server).await {
            let left: i64 = ask(server, &["PTTL", &key]).await;
            let least = if key.ends_with(":l") { 4 * 60_000 } else { day } - 20_000;
            assert!(least <= left, "{what}: {key} has {left} ms left");
        }
        assert_eq!(keys(server).await.len(), 2);
    };
    check("acquire").await;
    world.store.acquire(&claim("tv", 3), &short).await.unwrap();
    world.store.acquire(&claim("pad", 3), &short).await.unwrap();
    check("acquire with a shorter ttl").await;
    world.renew_with("tv", &short).await;
    check("renew").await;
    world.store.terminate(&holder("alice"), &id("pad"), &short).await.unwrap();
    check("terminate").await;
    world.declare("tv", streamgate_lease::State::Paused).await;
    world.live().await;
    check("declare and list").await;
    // What is renewed is also kept from fading.
    for key in keys(server).await {
        let _: i64 = ask(server, &["PEXPIRE", &key, "1000"]).await;
    }
    server.tick().await;
    world.renew("tv").await;
    check("renew after a while").await;
}

#[tokio::test]
async fn keys_are_what_the_documentation_says() {
    let world = World::redis().await;
    world.play(&claim("tv", 1)).await;
    let alice = holder("alice");
    let stem = format!("sg:{{{:04x}}}:{alice}", alice.bucket());
    let mut found = keys(world.server.as_ref().unwrap()).await;
    found.sort();
    assert_eq!(found, [format!("{stem}:l"), format!("{stem}:m")]);
}

#[tokio::test]
async fn a_server_that_forgot_its_scripts_is_taught_again() {
    let world = World::redis().await;
    let server = world.server.as_ref().unwrap();
    let forget = async || ask::<String>(server, &["SCRIPT", "FLUSH"]).await;
    world.play(&claim("tv", 3)).await;
    forget().await;
    assert_eq!(world.try_play(&claim("tv", 3)).await, "held");
    forget().await;
    assert_eq!(world.live().await, "tv");
    forget().await;
    assert!(world.declare("tv", streamgate_lease::State::Paused).await);
    forget().await;
    let claims = [claim("tv", 3), claim("pad", 3)];
    let answers = world.store.acquire_all(&claims, &world.timing).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    forget().await;
    assert!(world.terminate("tv").await);
}

#[tokio::test]
async fn the_score_of_a_broken_clock_is_cut_down() {
    let world = World::redis().await;
    let server = world.server.as_ref().unwrap();
    world.play(&claim("tv", 1)).await;
    let leases = keys(server).await.into_iter().find(|key| key.ends_with(":l")).unwrap();
    let _: i64 =
        ask(server, &["ZADD", &leases, "XX", "9999999999999", &id("tv").to_string()]).await;
    assert_eq!(world.try_play(&claim("pad", 1)).await, "full");
    let left = world.live_of("alice").await[0].expires_in;
    assert!(left <= Timing::TTL_MAX, "a ghost of {left:?}");
    world.pass(Timing::TTL_MAX).await;
    assert_eq!(world.try_play(&claim("pad", 1)).await, "new");
}

#[tokio::test]
async fn a_doubled_or_late_renewal_is_harmless() {
    let world = World::redis().await;
    world.play(&claim("tv", 1)).await;
    // Twice: the node's estimate of the server's time may be a millisecond behind.
    world.server.as_ref().unwrap().tick().await;
    world.server.as_ref().unwrap().tick().await;
    let slot = Slot {
        holder: holder("alice"),
        id: id("tv"),
        silent_for: Duration::ZERO,
        keep_keys: false,
        ttl: None,
    };
    let renewed = world.renew_all(&[slot, slot]).await;
    let changed: Vec<_> = renewed.iter().map(Option::is_some).collect();
    assert_eq!(changed, [true, false], "the second one changes nothing");
    assert_eq!(world.live_of("alice").await.len(), 1);
}

#[tokio::test]
async fn a_renewal_is_never_later_than_the_server_would_have_said() {
    let world = World::redis().await;
    world.play(&claim("tv", 1)).await;
    for _ in 0..50 {
        world.server.as_ref().unwrap().tick().await;
        let slot = Slot {
            holder: holder("alice"),
            id: id("tv"),
            silent_for: Duration::ZERO,
            keep_keys: false,
            ttl: None,
        };
        let believed = world.renew_all(&[slot]).await;
        let counted = world.live_of("alice").await[0].expires_in;
        assert!(counted <= TTL, "{counted:?}");
        assert!(believed[0].is_none_or(|believed| believed <= TTL));
    }
}

/// So nobody who starts a stream stands behind them: neither on the way, nor at the server.
#[tokio::test]
async fn renewals_go_a_way_of_their_own_in_small_pipelines() {
    let server = Server::start().await;
    let store = RedisStore::new(server.patient_client());
    let pepper = Pepper::new([7; 32]).unwrap();
    let mut slots = Vec::new();
    for n in 0..256 {
        let claim = Claim::new(Holder::of(&pepper, &n.to_string()), id("tv"), 1);
        store.acquire(&claim, &Timing::default()).await.unwrap();
        let (holder, id) = (claim.holder, claim.id);
        slots.push(Slot { holder, id, silent_for: Duration::ZERO, keep_keys: false, ttl: None });
    }
    server.tick().await;
    let () = ask(&server, &["CONFIG", "RESETSTAT"]).await;
    let renewed = store.renew(&slots, &Timing::default()).await;
    assert!(renewed.iter().all(|renewed| matches!(renewed, Ok(Some(_)))), "all are renewed");
    let stats: String = ask(&server, &["INFO", "commandstats"]).await;
    let calls = |name: &str| -> u32 {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:")));
        let calls = line.and_then(|line| line.strip_prefix("calls=")?.split(',').next());
        calls.map_or(0, |calls| calls.parse().unwrap())
    };
    assert_eq!(calls("zadd"), 256);
    // Each begins with the server's time, for which the first two may ask before.
    let pipelines = calls("time");
    assert!((8..=10).contains(&pipelines), "{pipelines} pipelines of at most 32");
    let clients: String = ask(&server, &["CLIENT", "LIST"]).await;
    let last = |name: &str| clients.lines().filter(|line| line.contains(name)).count();
    assert_eq!((last(" cmd=evalsha "), last(" cmd=zadd ")), (1, 1), "{clients}");
}

fn with_default_deadlines(server: &Server) -> RedisStore {
    RedisStore::new(server.client())
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_at_once_and_then_left_alone() {
    let mut server = Server::start().await;
    server.kill();
    let store = with_default_deadlines(&server);
    let timing = Timing::default();
    let began = Instant::now();
    let first = store.acquire(&claim("tv", 1), &timing).await.unwrap_err();
    assert!(matches!(first, StoreError::Unavailable(_)), "{first:?}");
    let second = store.acquire(&claim("tv", 1), &timing).await.unwrap_err();
    assert_eq!(second, StoreError::Resting);
    assert!(began.elapsed() < AT_ONCE);
    server.restart().await;
    until("it is asked again", async || store.acquire(&claim("tv", 1), &timing).await.is_ok())
        .await;
}

#[tokio::test]
async fn a_server_that_hangs_costs_one_deadline_and_is_then_left_alone() {
    let server = Server::start().await;
    let store = with_default_deadlines(&server);
    let timing = Timing::default();
    until("it answers", async || store.acquire(&claim("tv", 1), &timing).await.is_ok()).await;
    server.signal("-STOP");
    let mut seen = Vec::new();
    let began = Instant::now();
    while seen.last() != Some(&StoreError::Resting) {
        let answer = timeout(AT_ONCE, store.acquire(&claim("tv", 1), &timing)).await;
        seen.push(answer.expect("there is a deadline").unwrap_err());
        assert!(seen.len() < 20, "it is never left alone: {seen:?}");
    }
    assert!(began.elapsed() < AT_ONCE);
    let timeouts = seen.iter().filter(|error| **error == StoreError::Timeout).count();
    assert!((1..=2).contains(&timeouts), "{seen:?}");
    server.signal("-CONT");
    until("it is asked again", async || store.acquire(&claim("tv", 1), &timing).await.is_ok())
        .await;
}

#[tokio::test]
async fn many_requests_to_a_dead_server_are_refused_within_one_deadline() {
    let mut server = Server::start().await;
    server.kill();
    let store = with_default_deadlines(&server);
    let store = Arc::new(store);
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for n in 0..500 {
        let store = store.clone();
        tasks.spawn(async move {
            store.acquire(&claim(&n.to_string(), 1), &Timing::default()).await.unwrap_err()
        });
    }
    let errors = tasks.join_all().await;
    assert!(began.elapsed() < AT_ONCE);
    let asked = errors.iter().filter(|error| **error != StoreError::Resting).count();
    assert!(asked <= 2, "{asked} of 500 asked the server");
}

#[tokio::test]
async fn a_connection_that_is_cut_costs_no_answer() {
    let server = Server::start().await;
    let store = RedisStore::new(server.patient_client());
    let timing = Timing::default();
    for _ in 0..20 {
        store.acquire(&claim("tv", 1), &timing).await.unwrap();
        let _: i64 = ask(&server, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    }
}

#[tokio::test]
async fn errors_never_show_a_password() {
    let server = Server::start().await;
    let _: String = ask(&server, &["CONFIG", "SET", "requirepass", "right"]).await;
    let url = format!("{}?pass=very-secret", server.url());
    let deadlines = Deadlines { command: AT_ONCE, connect: AT_ONCE, start: AT_ONCE };
    let client = Client::with_deadlines(&url, deadlines).unwrap();
    let error = client.exists("sg:session:1").await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let shown = format!("{client:?} {error:?} {error}");
    assert!(!shown.contains("secret"), "{shown}");
    let error = Client::new("redis://user:very-secret@:bad:port").unwrap_err();
    assert!(!format!("{error:?} {error}").contains("secret"));
}

#[tokio::test]
async fn a_subscription_tells_what_is_published_and_when_it_was_interrupted() {
    let mut server = Server::start().await;
    let client = server.patient_client();
    let mut subscription = Subscription::new(client, "sg:revoked");
    let mut next =
        async || timeout(AT_ONCE * 4, subscription.next()).await.expect("there is an event");
    assert_eq!(next().await, Event::Subscribed);
    let _: i64 = ask(&server, &["PUBLISH", "sg:revoked", "session 1"]).await;
    let _: i64 = ask(&server, &["PUBLISH", "sg:other", "no"]).await;
    let _: i64 = ask(&server, &["PUBLISH", "sg:revoked", "session 2"]).await;
    assert_eq!(next().await, Event::Message(b"session 1".to_vec()));
    assert_eq!(next().await, Event::Message(b"session 2".to_vec()));
    server.kill();
    assert!(matches!(next().await, Event::Interrupted(_)));
    server.restart().await;
    assert_eq!(next().await, Event::Subscribed);
    let _: i64 = ask(&server, &["PUBLISH", "sg:revoked", "session 3"]).await;
    assert_eq!(next().await, Event::Message(b"session 3".to_vec()));
}

#[tokio::test]
async fn labels_of_another_version_are_no_error() {
    let world = World::redis().await;
    let server = world.server.as_ref().unwrap();
    world.play(&claim("tv", 1)).await;
    let records = keys(server).await.into_iter().find(|key| key.ends_with(":m")).unwrap();
    let member = LeaseId::of("tv", None).to_string();
    for strange in ["L1,0,0,{\"v\":2}", "X", "L", "L1,2"] {
        let _: i64 = ask(server, &["HSET", &records, &member, strange]).await;
        assert_eq!(world.live_of("alice").await.len(), 1, "{strange}");
        assert_eq!(world.try_play(&claim("pad", 1)).await, "full");
    }
    let _: i64 = ask(server, &["HDEL", &records, &member]).await;
    assert_eq!(world.live_of("alice").await.len(), 1);
    assert_eq!(world.try_play(&Claim { replace: Replace::Oldest, ..claim("pad", 1) }).await, "new");
}

#[tokio::test]
async fn one_account_with_broken_keys_troubles_no_other() {
    let world = World::redis().await;
    let server = world.server.as_ref().unwrap();
    let of = |name: &str| Claim { holder: holder(name), ..claim("tv", 1) };
    let claims = ["alice", "broken", "bob"].map(of);
    for claim in &claims {
        world.play(claim).await;
    }
    let broken = holder("broken");
    let key = format!("sg:{{{:04x}}}:{broken}:l", broken.bucket());
    let _: String = ask(server, &["SET", &key, "what is this"]).await;
    server.tick().await;
    server.tick().await;
    let slots = claims.each_ref().map(|claim| Slot {
        holder: claim.holder,
        id: claim.id,
        silent_for: Duration::ZERO,
        keep_keys: true,
        ttl: None,
    });
    let renewed = world.renew_all(&slots).await;
    assert_eq!(renewed.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    let answers = world.store.acquire_all(&claims, &world.timing).await;
    assert!(matches!(&answers[1], Err(error) if !error.is_outage()), "{answers:?}");
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert!(world.store.acquire(&claims[1], &world.timing).await.is_err());
    assert!(world.store.acquire(&claims[0], &world.timing).await.is_ok());
}

#[tokio::test]
async fn a_server_that_became_a_replica_fails_the_whole_batch() {
    let world = World::redis().await;
    let server = world.server.as_ref().unwrap();
    world.play(&claim("tv", 1)).await;
    let _: String = ask(server, &["REPLICAOF", "127.0.0.1", "1"]).await;
    let slot = Slot {
        holder: holder("alice"),
        id: id("tv"),
        silent_for: Duration::ZERO,
        keep_keys: false,
        ttl: None,
    };
    let error = world.store.renew(&[slot], &world.timing).await.remove(0).unwrap_err();
    assert!(error.is_outage(), "{error:?}");
    let _: String = ask(server, &["REPLICAOF", "NO", "ONE"]).await;
    until("it is asked again", async || {
        world.store.renew(&[slot], &world.timing).await.iter().all(Result::is_ok)
    })
    .await;
    assert_eq!(world.try_play(&claim("tv", 1)).await, "held");
}

/// What ends a stream is published, and the other gateways hear of it at once.
#[tokio::test]
async fn the_victim_hears_of_it_at_its_next_request_through_any_gateway() {
    let server = Server::start().await;
    let gateway = || {
        let store = Arc::new(RedisStore::new(server.patient_client()));
        Leases::new(store, Timing::default()).0
    };
    let (one, other) = (gateway(), gateway());
    let mut subscription = Subscription::new(server.patient_client(), Notice::CHANNELS);
    assert_eq!(subscription.next().await, Event::Subscribed);
    let mut hears = async || match timeout(AT_ONCE * 4, subscription.next()).await.unwrap() {
        Event::Message(message) => {
            let notice = Notice::parse(&message).unwrap();
            one.mark_stale(&notice.holder, &notice.id);
            notice.id
        }
        event => panic!("{event:?}"),
    };
    let (tv, pad) = (claim("tv", 2), claim("pad", 2));
    for claim in [&tv, &pad] {
        assert!(matches!(one.hold(claim).await.unwrap(), Grant::Held(_)));
    }
    assert!(other.terminate(&tv.holder, &tv.id).await.unwrap());
    assert_eq!(hears().await, tv.id);
    assert!(one.touch(&tv.holder, &tv.id, &[]).is_none());
    assert!(matches!(one.hold(&tv).await.unwrap(), Grant::Ended(_)));
    let replace = Replace::Oldest;
    let takeover = Claim { replace, ..claim("pc", 1) };
    assert!(matches!(other.hold(&takeover).await.unwrap(), Grant::Held(_)));
    assert_eq!(hears().await, pad.id);
    assert!(matches!(one.hold(&pad).await.unwrap(), Grant::Ended(_)));
    // A false alarm costs a question, and no slot.
    other.mark_stale(&takeover.holder, &takeover.id);
    assert!(other.touch(&takeover.holder, &takeover.id, &[]).is_none());
    assert!(matches!(other.hold(&takeover).await.unwrap(), Grant::Held(_)));
    assert!(other.touch(&takeover.holder, &takeover.id, &[]).is_some());
}

/// A later playback of its login began at another gateway: its next request asks the store.
#[tokio::test]
async fn a_mark_is_heard_of_at_its_next_request_through_any_gateway() {
    let server = Server::start().await;
    let gateway =
        || Leases::new(Arc::new(RedisStore::new(server.patient_client())), Timing::default()).0;
    let (one, other) = (gateway(), gateway());
    let mut subscription = Subscription::new(server.patient_client(), Notice::CHANNELS);
    assert_eq!(subscription.next().await, Event::Subscribed);
    let of_login = |name: &str| Claim {
        login: Some(Tag::of("living room")),
        displaces: DisplacePolicy::Older,
        ..claim(name, 3)
    };
    let (tv, pc) = (of_login("tv"), of_login("pc"));
    assert!(matches!(one.hold(&tv).await.unwrap(), Grant::Held(_)));
    assert!(matches!(other.hold(&pc).await.unwrap(), Grant::Held(_)));
    let Event::Message(message) = timeout(AT_ONCE * 4, subscription.next()).await.unwrap() else {
        panic!("a notice was expected");
    };
    let notice = Notice::parse(&message).unwrap();
    assert_eq!((notice.holder, notice.id, notice.is_mark), (tv.holder, tv.id, true));
    one.mark_older(&notice.holder, &notice.id);
    assert!(one.touch(&tv.holder, &tv.id, &[]).is_none());
    assert!(matches!(one.hold(&tv).await.unwrap(), Grant::Held(_)));
    assert!(one.touch(&tv.holder, &tv.id, &[]).is_some());
}

/// Accounts of which two devices take over at two gateways at the same moment.
const TAKEOVERS: usize = 100;

/// No renewer runs, so nobody but the notice tells the one who lost, whether it comes before the
/// answer or behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_takeovers_at_the_same_moment_one_plays() {
    let server = Server::start().await;
    let mut tasks = JoinSet::new();
    let mut gateways = Vec::new();
    for _ in 0..2 {
        let store = Arc::new(RedisStore::new(server.patient_client()));
        let leases = Leases::new(store, Timing::default()).0;
        let mut subscription = Subscription::new(server.patient_client(), Notice::CHANNELS);
        assert_eq!(subscription.next().await, Event::Subscribed);
        gateways.push(leases.clone());
        tasks.spawn(async move {
            loop {
                if let Event::Message(message) = subscription.next().await {
                    let notice = Notice::parse(&message).unwrap();
                    leases.mark_stale(&notice.holder, &notice.id);
                }
            }
        });
    }
    for n in 0..TAKEOVERS {
        let of = |device| Claim {
            replace: Replace::Oldest,
            ..Claim::new(holder(&format!("account {n}")), id(device), 1)
        };
        let claims = [of("tv"), of("pad")];
        let (one, other) = tokio::join!(gateways[0].hold(&claims[0]), gateways[1].hold(&claims[1]));
        assert!(matches!((one, other), (Ok(Grant::Held(_)), Ok(Grant::Held(_)))));
        until("one of the two is in doubt", async || {
            let both = gateways.iter().zip(&claims);
            let plays = |it: &(&Leases, &Claim)| it.0.touch(&it.1.holder, &it.1.id, &[]).is_some();
            both.filter(plays).count() == 1
        })
        .await;
        let mut words = Vec::new();
        for (gateway, claim) in gateways.iter().zip(&claims) {
            words.push(match gateway.hold(claim).await.unwrap() {
                Grant::Held(_) => "held",
                Grant::Full(_) => "full",
                Grant::Ended(why) => why.as_str(),
            });
        }
        words.sort_unstable();
        assert_eq!(words, ["held", "replaced"], "account {n}");
    }
}

/// While the pepper changes, a gateway hears of an ending under the name that it calls current.
#[tokio::test]
async fn an_ending_is_published_under_both_names() {
    let server = Server::start().await;
    let store = RedisStore::new(server.patient_client());
    let pepper = |current: u8, also: u8| {
        let pepper = Pepper::new([current; 32]).unwrap().with_also([also; 32]).unwrap();
        Holder::of(&pepper, "alice")
    };
    let (one, two) = (pepper(1, 2), pepper(2, 1));
    let mut subscription = Subscription::new(server.patient_client(), Notice::CHANNELS);
    assert_eq!(subscription.next().await, Event::Subscribed);
    let mut hears = async || match timeout(AT_ONCE * 4, subscription.next()).await.unwrap() {
        Event::Message(message) => Notice::parse(&message).unwrap(),
        event => panic!("{event:?}"),
    };
    let timing = Timing::default();
    let tv = Claim { holder: one, ..claim("tv", 1) };
    store.acquire(&tv, &timing).await.unwrap();
    let takeover = Claim { holder: one, replace: Replace::Oldest, ..claim("pad", 1) };
    store.acquire(&takeover, &timing).await.unwrap();
    assert_eq!([hears().await.holder, hears().await.holder], [one, two]);
    assert!(store.terminate(&two, &id("pad"), &timing).await.unwrap());
    let heard = [hears().await, hears().await];
    assert_eq!(
        heard.map(|notice| (notice.holder, notice.id)),
        [(two, id("pad")), (one, id("pad"))]
    );
}

/// The keys of both names lie in one slot of a cluster, and gathering shortens no TTL, whichever of
/// the two has the longer one.
#[tokio::test]
async fn gathering_keeps_slots_and_ttls() {
    let mut world = World::redis().await;
    let holder = |current: u8, also: Option<u8>| {
        let pepper = Pepper::new([current; 32]).unwrap();
        let pepper = also.map_or(Ok(pepper.clone()), |also| pepper.with_also([also; 32])).unwrap();
        Holder::of(&pepper, "alice")
    };
    let short = Timing::of(Duration::from_secs(3)).unwrap().with_tombstone(TTL).unwrap();
    let claim_of = |holder| Claim { holder, ..claim("tv", 3) };
    for gathering in [holder(2, Some(1)), holder(1, Some(2))] {
        world.clear().await;
        world.store.acquire(&claim_of(holder(1, None)), &world.timing).await.unwrap();
        world.store.acquire(&claim_of(holder(2, None)), &short).await.unwrap();
        let server = world.server.as_ref().unwrap();
        let tag = |key: String| key.split(':').nth(1).unwrap().to_owned();
        let mut tags: Vec<_> = keys(server).await.into_iter().map(tag).collect();
        tags.dedup();
        assert_eq!(tags.len(), 1, "{tags:?}");
        world.store.list(&gathering).await.unwrap();
        assert_eq!(keys(server).await.len(), 2);
        for key in keys(server).await {
            let left: i64 = ask(server, &["PTTL", &key]).await;
            let least = if key.ends_with(":l") { 4 * 60_000 } else { 86_400_000 } - 20_000;
            assert!(least <= left, "{key} has {left} ms left");
        }
    }
}

/// A gateway of an older version wrote records without classes, and one may still run.
#[tokio::test]
async fn records_of_an_older_version_are_understood() {
    let world = World::redis().await;
    let server = world.server.as_ref().unwrap();
    world.play(&classed("tv", 2, "4k=1")).await;
    let records = keys(server).await.into_iter().find(|key| key.ends_with(":m")).unwrap();
    let member = id("tv").to_string();
    let record: String = ask(server, &["HGET", &records, &member]).await;
    assert!(record.contains(",0,/4k/[\"tv\",null]"), "{record}");
    let old = record.replace("/4k/", "");
    let _: i64 = ask(server, &["HSET", &records, &member, &old]).await;
    assert_eq!(world.classes().await, "tv:");
    assert_eq!(world.try_play(&classed("pad", 2, "4k=1")).await, "new");
    assert_eq!(world.try_play(&classed("tv", 2, "4k=1")).await, "full");
    assert_eq!(world.try_play(&classed("tv", 2, "4k=2")).await, "held");
    assert_eq!(world.classes().await, "tv:4k pad:4k");
    // Without classes a record looks as it always did.
    world.play(&claim("pc", 3)).await;
    let plain: String = ask(server, &["HGET", &records, &id("pc").to_string()]).await;
    assert!(plain.ends_with(",0,[\"pc\",null]"), "{plain}");
}
