//! Gateways of two versions on one Redis: what the older one does not know, it leaves alone, and
//! the count stands. Random histories of both are in `model`.

use crate::before::Before;
use crate::world::{World, claim, holder, id};
use std::collections::BTreeMap;
use std::time::Duration;
use streamgate_lease::{Answer, Attempt, Claim, ClaimSource, DisplacePolicy, Ending, Tag};

const SECOND: Duration = Duration::from_secs(1);

/// A start of a login that displaces what the login has.
fn start(name: &str, limit: u32) -> Claim {
    let login = Some(Tag::of("living room"));
    let path = Some(Tag::of(name));
    Claim { login, path, displaces: DisplacePolicy::Older, ..claim(name, limit) }
}

struct Mixed {
    world: World,
    before: Before,
}

impl Mixed {
    async fn start() -> Self {
        Self { world: World::redis().await, before: Before::new() }
    }

    /// At the gateway of before.
    async fn asks_before(&self, claim: &Claim) -> Answer {
        let (server, store) = (self.world.server.as_ref().unwrap(), self.world.store.as_ref());
        self.before.acquire(server, store, claim, &self.world.timing).await
    }

    async fn ends_before(&self, name: &str, verb: &str) -> bool {
        let server = self.world.server.as_ref().unwrap();
        self.before.end(server, &holder("alice"), &id(name), verb, &self.world.timing).await
    }

    /// The fields beside the records, which a gateway of before does not know.
    async fn fields(&self) -> BTreeMap<String, String> {
        let mut connection = self.world.server.as_ref().unwrap().peek().await;
        let alice = holder("alice");
        let key = format!("sg:{{{:04x}}}:{alice}:m", alice.bucket());
        let mut all: BTreeMap<String, String> =
            redis::cmd("HGETALL").arg(key).query_async(&mut connection).await.unwrap();
        all.retain(|field, _| field.starts_with(['+', '@', '=']));
        all
    }
}

fn is_held(answer: &Answer) -> bool {
    matches!(answer, Answer::Held(_))
}

#[tokio::test]
async fn what_a_gateway_of_before_does_not_know_it_leaves_alone() {
    let mixed = Mixed::start().await;
    let world = &mixed.world;
    assert_eq!(world.play(&start("one", 3)).await.marked, []);
    assert_eq!(world.play(&start("two", 3)).await.marked, [id("one")]);
    let known = mixed.fields().await;
    assert_eq!(known.len(), 5, "a tie and a try of each, and the login's starts: {known:?}");
    assert!(is_held(&mixed.asks_before(&claim("one", 3)).await));
    assert!(is_held(&mixed.asks_before(&claim("pad", 3)).await));
    assert!(matches!(mixed.asks_before(&claim("late", 3)).await, Answer::Full(_)));
    assert!(mixed.ends_before("pad", "R").await && mixed.ends_before("two", "T").await);
    assert!(world.renew("one").await);
    assert_eq!(mixed.fields().await, known);
    // It was marked before, and nobody of today has let it pass since.
    world.pass(SECOND).await;
    assert_eq!(world.play(&start("three", 1)).await.superseded, [id("one")]);
}

#[tokio::test]
async fn two_versions_keep_one_count() {
    let mixed = Mixed::start().await;
    let world = &mixed.world;
    for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
        let plain = claim(name, 3);
        if n.is_multiple_of(2) {
            assert!(is_held(&mixed.asks_before(&plain).await), "{name}");
            assert!(!world.play(&plain).await.is_new, "it is the same slot");
        } else {
            assert!(world.play(&plain).await.is_new);
            assert!(is_held(&mixed.asks_before(&plain).await), "{name}");
        }
    }
    assert_eq!(world.live().await, "a b c");
    assert_eq!(world.try_play(&claim("d", 3)).await, "full");
    assert!(matches!(mixed.asks_before(&claim("d", 3)).await, Answer::Full(_)));
    // A slot that one version frees is free for the other.
    world.release("a").await;
    assert!(is_held(&mixed.asks_before(&claim("d", 3)).await));
    assert!(mixed.ends_before("b", "R").await);
    assert_eq!(world.try_play(&claim("e", 3)).await, "new");
    assert_eq!(world.live().await, "c d e");
    let Answer::Ended(why, _) = mixed.asks_before(&claim("a", 3)).await else { panic!("ended") };
    assert_eq!(why, Ending::Released);
}

#[tokio::test]
async fn who_was_superseded_stays_so_for_a_gateway_of_before() {
    let mixed = Mixed::start().await;
    let world = &mixed.world;
    world.play(&start("one", 1)).await;
    assert_eq!(world.play(&start("two", 1)).await.superseded, [id("one")]);
    for starts in [false, true] {
        let again = Claim { starts, explicit_start: true, ..claim("one", 1) };
        let Answer::Ended(why, _) = mixed.asks_before(&again).await else { panic!("it ended") };
        assert_eq!(why, Ending::Replaced, "it knows no other word");
    }
    assert_eq!(world.live().await, "two");
    world.pass(world.timing.ttl() * 2).await;
    assert!(is_held(&mixed.asks_before(&claim("one", 1)).await), "the tombstone lived for a ttl");
}

/// A start that failed is given back by its version, which every other request changes, whichever
/// gateway it came to.
#[tokio::test]
async fn nobody_plays_beside_a_failed_start_at_a_gateway_of_before() {
    let mixed = Mixed::start().await;
    let world = &mixed.world;
    let (alice, tv) = (holder("alice"), id("tv"));
    let version = world.play(&claim("tv", 1)).await.first.unwrap();
    world.server.as_ref().unwrap().tick().await;
    assert!(is_held(&mixed.asks_before(&claim("tv", 1)).await));
    assert!(!world.store.give_back(&alice, &tv, Attempt::Versioned(version)).await.unwrap());
    assert_eq!(world.live().await, "tv");
    world.release("tv").await;
    // What it has started itself is nobody's first, however many come after it.
    assert!(is_held(&mixed.asks_before(&claim("pad", 1)).await));
    assert_eq!(world.play(&claim("pad", 1)).await.first, None);
}

/// A slot that was reserved here, and was freed and taken there: whoever comes first here is not
/// the first.
#[tokio::test]
async fn what_a_gateway_of_before_has_let_pass_counts() {
    let mixed = Mixed::start().await;
    let world = &mixed.world;
    let session = || Claim { reusable: true, ..claim("login", 1) };
    let reserved = Claim { by: ClaimSource::Reservation, ..session() };
    assert_eq!(world.play(&reserved).await.first, None, "nothing was let pass yet");
    assert!(mixed.ends_before("login", "R").await);
    world.server.as_ref().unwrap().tick().await;
    assert!(is_held(&mixed.asks_before(&session()).await));
    assert_eq!(world.play(&session()).await.first, None);
}

/// It clears an account of 32 fields and more of all that is no record. Marks and ties are gone
/// then, and nobody has to go first; leases, endings and the count stand.
#[tokio::test]
async fn when_a_gateway_of_before_clears_away_leases_and_the_count_stand() {
    let mixed = Mixed::start().await;
    let world = &mixed.world;
    let limit = 24;
    for n in 0..20 {
        world.play(&start(&format!("device {n}"), limit)).await;
    }
    world.terminate("device 0").await;
    let known = mixed.fields().await.len();
    for n in 0..16 {
        mixed.asks_before(&claim(&format!("before {n}"), limit)).await;
    }
    assert!(mixed.fields().await.len() < known, "nothing was cleared away");
    let live = world.live_of("alice").await;
    assert_eq!(live.len(), limit as usize);
    for n in 1..20 {
        let own = claim(&format!("device {n}"), limit);
        let admitted = world.play(&own).await;
        assert!(!admitted.is_new && admitted.first.is_none(), "{n}: {admitted:?}");
        assert!(is_held(&mixed.asks_before(&own).await));
    }
    assert_eq!(world.try_play(&start("device 0", limit)).await, "terminated");
    assert_eq!(world.try_play(&claim("guest", limit)).await, "full");
    assert!(matches!(mixed.asks_before(&claim("guest", limit)).await, Answer::Full(_)));
    // The login is known again with its next request, and makes room for its own.
    let again = Claim { displaces: DisplacePolicy::Marked, ..start("device 7", limit) };
    world.play(&again).await;
    assert_eq!(world.play(&start("zapped", limit)).await.superseded, [id("device 7")]);
}
