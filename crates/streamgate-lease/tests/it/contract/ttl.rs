//! What every store promises about streams of one account that live for different times after a
//! sign of life.

use crate::world::{MS, World, claim, holder, id};
use std::time::Duration;
use streamgate_lease::{Attempt, Claim, ClaimSource, DisplacePolicy, Replace, Slot, Tag, Timing};

promises! {
    each_lives_by_its_own_ttl
    a_stream_keeps_the_longest_ttl_that_it_was_given
    a_stream_that_starts_again_has_the_ttl_of_that_start
    a_ttl_out_of_bounds_is_taken_for_the_bound
    a_renewal_counts_by_the_ttl_of_its_lease
    a_victim_is_told_for_its_own_ttl
    a_reusable_id_that_was_ended_is_told_for_its_own_ttl
    who_was_silent_the_longest_is_told_by_its_own_ttl
    a_mark_is_voided_by_a_sign_of_life_whatever_the_ttl
    a_failed_start_is_retried_within_its_own_ttl
    a_node_claims_for_the_ttl_of_its_lease
}

const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(300);
/// So that slow machines do not matter.
const SPARE: Duration = Duration::from_secs(3);

fn lasting(ttl: Duration, claim: Claim) -> Claim {
    Claim { ttl: Some(ttl), ..claim }
}

/// A start of the login `tv`.
fn start(ttl: Duration, name: &str, limit: u32) -> Claim {
    let (login, displaces) = (Some(Tag::of("tv")), DisplacePolicy::Older);
    Claim { login, displaces, starts: true, ..lasting(ttl, claim(name, limit)) }
}

async fn renews(world: &World, name: &str, ttl: Duration, silent_for: Duration) -> bool {
    let (holder, ttl) = (holder("alice"), Some(ttl));
    let slot = Slot { holder, id: id(name), silent_for, keep_keys: false, ttl };
    world.renew_all(&[slot]).await[0].is_some()
}

async fn each_lives_by_its_own_ttl(world: World) {
    for (name, ttl) in [("film", LONG), ("live", SHORT)] {
        let admitted = world.play(&lasting(ttl, claim(name, 3))).await;
        assert_eq!(admitted.ttl, ttl, "{name}");
        world.pass(MS * 10).await;
        assert!(ttl - SPARE < admitted.expires_in && admitted.expires_in <= ttl, "{name}");
    }
    let admitted = world.play(&claim("plain", 3)).await;
    assert_eq!(admitted.ttl, world.timing.ttl());
    world.pass(SHORT).await;
    assert_eq!(world.live().await, "film plain");
    world.pass(world.timing.ttl()).await;
    assert_eq!(world.live().await, "film");
    world.pass(LONG - SHORT - world.timing.ttl() - SPARE).await;
    assert_eq!(world.live().await, "film");
    world.pass(SPARE).await;
    assert_eq!(world.live().await, "");
}

async fn a_stream_keeps_the_longest_ttl_that_it_was_given(world: World) {
    world.play(&lasting(SHORT, claim("tv", 1))).await;
    assert_eq!(world.play(&lasting(LONG, claim("tv", 1))).await.ttl, LONG);
    world.pass(LONG - SPARE).await;
    let admitted = world.play(&lasting(SHORT, claim("tv", 1))).await;
    assert_eq!(admitted.ttl, LONG);
    assert!(LONG - SPARE < admitted.expires_in, "{:?}", admitted.expires_in);
    world.pass(LONG - SPARE).await;
    assert_eq!(world.live().await, "tv");
}

async fn a_stream_that_starts_again_has_the_ttl_of_that_start(world: World) {
    world.play(&lasting(LONG, claim("tv", 1))).await;
    world.pass(LONG + MS).await;
    let admitted = world.play(&lasting(SHORT, claim("tv", 1))).await;
    assert_eq!((admitted.is_new, admitted.ttl), (true, SHORT));
    world.pass(SHORT).await;
    assert_eq!(world.live().await, "");
}

async fn a_ttl_out_of_bounds_is_taken_for_the_bound(world: World) {
    for (ttl, expected) in
        [(Duration::ZERO, Timing::TTL_MIN), (Duration::from_secs(86_400), Timing::TTL_MAX)]
    {
        let name = format!("{ttl:?}");
        assert_eq!(world.play(&lasting(ttl, claim(&name, 3))).await.ttl, expected);
    }
}

async fn a_renewal_counts_by_the_ttl_of_its_lease(world: World) {
    world.play(&lasting(LONG, claim("film", 3))).await;
    world.pass(MS * 10).await;
    world.play(&lasting(SHORT, claim("live", 3))).await;
    world.pass(SHORT - SPARE).await;
    assert!(renews(&world, "film", LONG, Duration::ZERO).await);
    assert!(renews(&world, "live", SHORT, Duration::ZERO).await);
    assert!(!renews(&world, "film", SHORT, Duration::ZERO).await, "nothing is shortened");
    world.pass(SHORT - SPARE).await;
    assert_eq!(world.live().await, "film live");
    world.pass(SPARE).await;
    assert_eq!(world.live().await, "film");
    world.pass(LONG - SHORT - SPARE).await;
    assert_eq!(world.live().await, "film");
}

async fn a_victim_is_told_for_its_own_ttl(world: World) {
    world.play(&start(LONG, "film", 1)).await;
    world.pass(MS * 10).await;
    let admitted = world.play(&start(SHORT, "live", 1)).await;
    assert_eq!(admitted.superseded, [id("film")]);
    world.pass(LONG - SPARE).await;
    assert_eq!(world.try_play(&lasting(LONG, claim("film", 1))).await, "superseded");
    world.pass(SPARE).await;
    assert_eq!(world.try_play(&lasting(LONG, claim("film", 1))).await, "new");
    // And the other way round.
    let taken = Claim { reusable: true, ..lasting(SHORT, claim("login", 2)) };
    world.play(&taken).await;
    let taker = Claim { replace: Replace::These(vec![id("login")]), ..claim("other", 2) };
    assert_eq!(world.play(&lasting(LONG, taker)).await.replaced, [id("login")]);
    assert_eq!(world.try_play(&taken).await, "replaced");
    world.pass(SHORT).await;
    assert_eq!(world.try_play(&taken).await, "full");
}

async fn a_reusable_id_that_was_ended_is_told_for_its_own_ttl(world: World) {
    let login = Claim { reusable: true, ..lasting(LONG, claim("login", 1)) };
    world.play(&login).await;
    assert!(world.terminate("login").await);
    world.pass(LONG - SPARE).await;
    assert_eq!(world.try_play(&login).await, "terminated");
    world.pass(SPARE).await;
    assert_eq!(world.try_play(&login).await, "new");
}

async fn who_was_silent_the_longest_is_told_by_its_own_ttl(world: World) {
    // The film expires the last, and was heard of first.
    world.play(&start(LONG, "film", 2)).await;
    world.pass(Duration::from_secs(2)).await;
    world.play(&start(SHORT, "live", 2)).await;
    world.pass(Duration::from_secs(2)).await;
    assert_eq!(world.play(&start(SHORT, "next", 2)).await.superseded, [id("film")]);
    assert_eq!(world.live().await, "live next");
}

async fn a_mark_is_voided_by_a_sign_of_life_whatever_the_ttl(world: World) {
    for (ttl, name) in [(LONG, "film"), (SHORT, "live")] {
        let later = format!("{name} later");
        world.play(&start(ttl, name, 2)).await;
        world.pass(MS * 10).await;
        assert_eq!(world.play(&start(ttl, &later, 2)).await.marked, [id(name)]);
        world.pass(Duration::from_secs(4)).await;
        assert!(renews(&world, name, ttl, Duration::ZERO).await);
        assert_eq!(world.try_play(&claim("stranger", 2)).await, "full", "{name} plays");
        world.release(name).await;
        world.release(&later).await;
    }
    world.play(&start(LONG, "silent", 2)).await;
    world.pass(MS * 10).await;
    world.play(&start(LONG, "silent later", 2)).await;
    world.pass(Duration::from_secs(4)).await;
    assert_eq!(world.play(&claim("stranger", 2)).await.superseded, [id("silent")]);
}

async fn a_failed_start_is_retried_within_its_own_ttl(world: World) {
    for (name, ttl, after, is_same) in [
        ("film", LONG, LONG - SPARE, true),
        ("late film", LONG, LONG, false),
        ("live", SHORT, SHORT, false),
    ] {
        let path = Some(Tag::of(name));
        let tried = Claim { path, ..start(ttl, name, 3) };
        let admitted = world.play(&tried).await;
        let version = admitted.first.expect("it is the first");
        assert!(
            world
                .store
                .give_back(&holder("alice"), &id(name), Attempt::Versioned(version))
                .await
                .unwrap()
        );
        world.pass(after).await;
        let another = format!("another {name}");
        let again = Claim { id: id(&another), ..tried };
        assert_eq!(world.play(&again).await.id == id(name), is_same, "{name}");
        world.release(&another).await;
        world.release(name).await;
    }
}

async fn a_node_claims_for_the_ttl_of_its_lease(world: World) {
    let film = lasting(LONG, claim("film", 1));
    world.play(&film).await;
    world.pass(LONG - SPARE).await;
    let kept = Claim { by: ClaimSource::Node, ..film };
    assert!(LONG - SPARE < world.play(&kept).await.expires_in);
}
