//! Which server is asked: slots that move, messages from anywhere, a master that is one no more.

use crate::fleet::{Cluster, Node, RANGES, Watched, until};
use crate::load::DEADLINES;
use crate::world::{claim, holder, id};
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::redis::{Client, Event, RedisStore, Subscription};
use streamgate_lease::{Answer, Claim, LeaseStore, Slot, State, Timing};
use tokio::time::timeout;

const EVENT_WAIT_MAX: Duration = Duration::from_secs(20);

fn client(url: &str) -> Arc<Client> {
    Arc::new(Client::with_deadlines(url, DEADLINES).unwrap())
}

/// Every verb, for accounts on all shards.
async fn all_verbs_work(store: &dyn LeaseStore) {
    let timing = Timing::default();
    let of = |n| Claim { holder: holder(&format!("account {n}")), ..claim("tv", 1) };
    let claims: Vec<_> = (0..30).map(of).collect();
    for claim in &claims {
        let answer = store.acquire(claim, &timing).await.unwrap();
        assert!(matches!(answer, Answer::Held(ref held) if held.is_new), "{answer:?}");
        let other = Claim { id: id("pad"), ..claim.clone() };
        assert!(matches!(store.acquire(&other, &timing).await, Ok(Answer::Full(_))));
        assert_eq!(store.list(&claim.holder).await.unwrap().len(), 1);
        assert!(store.declare(&claim.holder, &claim.id, State::Paused).await.unwrap());
    }
    for answer in store.acquire_all(&claims, &timing).await {
        assert!(matches!(answer, Ok(Answer::Held(ref held)) if !held.is_new), "{answer:?}");
    }
    let slots: Vec<_> = claims
        .iter()
        .map(|claim| Slot {
            holder: claim.holder,
            id: claim.id,
            silent_for: Duration::ZERO,
            keep_keys: true,
            ttl: None,
        })
        .collect();
    assert!(store.renew(&slots, &timing).await.iter().all(Result::is_ok));
    for claim in &claims {
        assert!(store.terminate(&claim.holder, &claim.id, &timing).await.unwrap());
        assert!(matches!(store.acquire(claim, &timing).await, Ok(Answer::Ended(..))));
        store.release(&claim.holder, &id("pad"), &timing).await.unwrap();
    }
}

#[tokio::test]
async fn a_slot_that_is_on_its_way_is_asked_for_and_one_that_has_moved_is_followed() {
    let cluster = Cluster::start().await;
    let client = client(&cluster.url());
    let store = RedisStore::new(client.clone());
    all_verbs_work(&store).await;
    // One whose map is from before, and who has nothing to do in the meantime.
    let old = RedisStore::new(crate::routing::client(&cluster.url()));
    old.list(&holder("alice")).await.unwrap();
    assert!(!client.exists("sg:session:1").await.unwrap());

    let timing = Timing::default();
    let tv = claim("tv", 1);
    assert!(matches!(store.acquire(&tv, &timing).await, Ok(Answer::Held(_))));
    let tag = format!("{{{:04x}}}", tv.holder.bucket());
    let slot: u16 = cluster.nodes[0].ask(&format!("CLUSTER KEYSLOT {tag}")).await;
    let from = RANGES.iter().position(|range| (range.0..=range.1).contains(&slot)).unwrap();
    let (from, to) = (&cluster.nodes[from], &cluster.nodes[(from + 1) % 3]);
    let (from_id, to_id): (String, String) =
        (from.ask("CLUSTER MYID").await, to.ask("CLUSTER MYID").await);
    to.ask::<()>(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}")).await;
    from.ask::<()>(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}")).await;
    let stem = format!("sg:{tag}:{}", tv.holder);
    let keys = format!("KEYS {stem}:l {stem}:m");
    // `MIGRATE` names no single key here, which is an empty word.
    let migrate = redis::cmd("MIGRATE")
        .arg("127.0.0.1")
        .arg(to.port)
        .arg("")
        .arg(0)
        .arg(5000)
        .arg(keys.split(' ').collect::<Vec<_>>())
        .query_async::<String>(&mut from.try_peek().await.unwrap())
        .await
        .unwrap();
    assert_eq!(migrate, "OK");
    let check = async |when: &str, store: &RedisStore| {
        let held = store.acquire(&tv, &timing).await;
        assert!(matches!(held, Ok(Answer::Held(ref held)) if !held.is_new), "{when}: {held:?}");
        let all = store.acquire_all(std::slice::from_ref(&tv), &timing).await;
        assert!(matches!(&all[..], [Ok(Answer::Held(held))] if !held.is_new), "{when}: {all:?}");
        let slot = Slot {
            holder: tv.holder,
            id: tv.id,
            silent_for: Duration::ZERO,
            keep_keys: true,
            ttl: None,
        };
        until("a millisecond passes", async || {
            matches!(store.renew(&[slot], &timing).await[..], [Ok(Some(_))])
        })
        .await;
        assert_eq!(store.list(&tv.holder).await.unwrap().len(), 1, "{when}");
    };
    check("on its way", &store).await;
    for node in [to, from] {
        node.ask::<()>(&format!("CLUSTER SETSLOT {slot} NODE {to_id}")).await;
    }
    check("moved", &store).await;
    check("moved long ago", &old).await;
}

#[tokio::test]
async fn messages_are_heard_from_every_node_and_after_the_loss_of_one() {
    let mut cluster = Cluster::start().await;
    let mut subscription = Subscription::new(client(&cluster.url()), "sg:revoked");
    let mut next =
        async || timeout(EVENT_WAIT_MAX, subscription.next()).await.expect("there is an event");
    assert_eq!(next().await, Event::Subscribed);
    for (n, node) in cluster.nodes.iter().enumerate() {
        node.ask::<i64>(&format!("PUBLISH sg:revoked {n}")).await;
        assert_eq!(next().await, Event::Message(n.to_string().into_bytes()));
    }
    let mut listened = 0;
    for (n, node) in cluster.nodes.iter().enumerate() {
        if !node.ask::<Vec<String>>("PUBSUB CHANNELS sg:*").await.is_empty() {
            listened = n;
        }
    }
    cluster.nodes[listened].kill();
    assert!(matches!(next().await, Event::Interrupted(_)));
    assert_eq!(next().await, Event::Subscribed);
    cluster.nodes[(listened + 1) % 6].ask::<i64>("PUBLISH sg:revoked again").await;
    assert_eq!(next().await, Event::Message(b"again".to_vec()));
}

/// The old master hangs, so its connection stays open and silent; and when it goes on it takes
/// writes until its sentinels reach it.
#[tokio::test]
async fn a_failover_behind_an_open_connection_is_noticed() {
    let watched = Watched::start().await;
    let client = client(&watched.url());
    let store = RedisStore::new(client.clone());
    all_verbs_work(&store).await;
    let mut subscription = Subscription::new(client.clone(), "sg:revoked");
    let mut next =
        async || timeout(EVENT_WAIT_MAX, subscription.next()).await.expect("there is an event");
    assert_eq!(next().await, Event::Subscribed);
    watched.servers[0].signal("-STOP");
    assert!(matches!(next().await, Event::Interrupted(_)));
    assert_eq!(next().await, Event::Subscribed);
    assert!(watched.has_another_than(&watched.servers[0]).await, "it is the new master's");
    let old = &watched.servers[0];
    let new = &watched.servers[if watched.servers[1].is_master().await { 1 } else { 2 }];
    new.ask::<i64>("PUBLISH sg:revoked new").await;
    assert_eq!(next().await, Event::Message(b"new".to_vec()));
    old.signal("-CONT");
    let keys = async |node: &Node| node.ask::<usize>("DBSIZE").await;
    let before = (keys(old).await, keys(new).await);
    let claim = Claim::new(holder("somebody else"), id("a stream"), 1);
    let answer = store.acquire(&claim, &Timing::default()).await;
    assert!(matches!(answer, Ok(Answer::Held(_))), "{answer:?}");
    assert_eq!((before.0, before.1 + 2), (keys(old).await, keys(new).await), "asked is the new");
}

#[tokio::test]
async fn sentinels_and_the_servers_they_announce_may_have_names() {
    let mut watched = Watched::by_name().await;
    assert!(watched.url().contains("localhost"));
    let question = "SENTINEL GET-MASTER-ADDR-BY-NAME main";
    let (host, _): (String, u16) = watched.sentinels[0].ask(question).await;
    assert_eq!(host, "localhost", "what is announced is a name");
    let store = RedisStore::new(client(&watched.url()));
    all_verbs_work(&store).await;
    watched.servers[0].kill();
    let claim = Claim::new(holder("somebody"), id("a stream"), 1);
    until("the new master is found by its name", async || {
        matches!(store.acquire(&claim, &Timing::default()).await, Ok(Answer::Held(_)))
    })
    .await;
}
