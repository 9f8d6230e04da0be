//! What every store promises about classes: a limit of their own, beside the limit of all.

use crate::world::{MS, TTL, World, classed, id, these};
use streamgate_lease::{Answer, Claim, Full, Replace, State};

promises! {
    i1_never_more_of_a_class_than_its_limit
    i4_a_further_class_is_taken_or_nothing_changes
    i6_nobody_is_refused_a_class_while_there_is_room_in_it
    a_refusal_names_the_limit_that_was_hit
    a_class_stays_until_the_stream_ends
    an_expired_stream_comes_back_with_the_classes_it_then_has
    idle_ones_of_the_class_go_first
    the_oldest_of_the_class_goes
    those_named_must_help_with_the_class
    one_newcomer_can_make_room_in_two_classes
    a_class_limit_of_zero_refuses_that_class_alone
    a_lease_has_four_classes_at_most
}

async fn full(world: &World, claim: &Claim) -> Full {
    match world.ask(claim).await {
        Answer::Full(full) => full,
        answer => panic!("it should be full: {answer:?}"),
    }
}

async fn i1_never_more_of_a_class_than_its_limit(world: World) {
    for (name, classes, expected) in [
        ("tv", "4k=2 live=3", "new"),
        ("pad", "4k=2", "new"),
        ("pc", "4k=2", "full"),
        ("pc", "live=2", "new"),
    ] {
        assert_eq!(world.try_play(&classed(name, 4, classes)).await, expected, "{name} {classes}");
        world.pass(MS * 10).await;
    }
    assert_eq!(world.try_play(&classed("box", 4, "4k=2 live=3")).await, "full");
    assert_eq!(world.try_play(&classed("box", 4, "live=2")).await, "full");
    assert_eq!(world.try_play(&classed("box", 4, "")).await, "new");
    assert_eq!(world.try_play(&classed("car", 4, "kids=9")).await, "full");
    assert_eq!(world.classes().await, "tv:4k,live pad:4k pc:live box:");
}

async fn i4_a_further_class_is_taken_or_nothing_changes(world: World) {
    world.play(&classed("tv", 3, "4k=1")).await;
    let first = world.play(&classed("pad", 3, "")).await;
    world.pass(TTL / 2).await;
    let before = world.live_of("alice").await;
    for replace in [Replace::Nobody, these(&["pad"]), these(&["gone"]), these(&["tv", "gone"])] {
        let up = Claim { replace, ..classed("pad", 3, "4k=1") };
        assert_eq!(world.try_play(&up).await, "full");
    }
    let after = world.live_of("alice").await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((before.id, &before.classes), (after.id, &after.classes));
        assert!(after.expires_in <= before.expires_in, "refused is not renewed");
    }
    assert_eq!(world.try_play(&classed("pad", 3, "")).await, "held", "it has its slot");
    world.release("tv").await;
    let up = world.play(&classed("pad", 3, "4k=1")).await;
    assert!(!up.is_new);
    assert!(up.started_at <= first.started_at, "it is the same playback");
    assert_eq!(world.classes().await, "pad:4k");
    assert_eq!(world.try_play(&classed("pc", 3, "4k=1")).await, "full");
}

async fn i6_nobody_is_refused_a_class_while_there_is_room_in_it(world: World) {
    world.play(&classed("tv", 2, "4k=1")).await;
    world.release("tv").await;
    assert_eq!(world.try_play(&classed("pad", 2, "4k=1")).await, "new");
    world.terminate("pad").await;
    assert_eq!(world.try_play(&classed("pc", 2, "4k=1")).await, "new");
    world.pass(TTL).await;
    assert_eq!(world.try_play(&classed("box", 2, "4k=1")).await, "new", "pc has expired");
    assert_eq!(world.try_play(&classed("car", 2, "4k=2")).await, "new", "under a higher limit");
    assert_eq!(world.try_play(&classed("box", 2, "4k=1")).await, "held", "a lower one cuts none");
}

async fn a_refusal_names_the_limit_that_was_hit(world: World) {
    world.play(&classed("tv", 2, "4k=1")).await;
    world.pass(TTL / 2).await;
    world.play(&classed("pad", 2, "live=2")).await;
    let of_class = full(&world, &classed("pc", 2, "4k=1")).await;
    assert_eq!(of_class.class.map(|class| class.to_string()).as_deref(), Some("4k"));
    assert_eq!(of_class.limit, 1);
    assert_eq!(of_class.live.len(), 2, "all are shown");
    let in_the_way: Vec<_> = of_class.in_the_way(&id("pc")).map(|live| live.id).collect();
    assert_eq!(in_the_way, [id("tv")]);
    assert!(of_class.retry_after <= TTL / 2, "when the one of the class may be gone");
    let of_all = full(&world, &classed("pc", 2, "live=2")).await;
    assert_eq!((of_all.class, of_all.limit), (None, 2));
    assert_eq!(of_all.in_the_way(&id("pc")).count(), 2);
}

async fn a_class_stays_until_the_stream_ends(world: World) {
    world.play(&classed("tv", 3, "4k=1")).await;
    for classes in ["", "live=1", ""] {
        assert_eq!(world.try_play(&classed("tv", 3, classes)).await, "held");
    }
    assert_eq!(world.classes().await, "tv:4k,live");
    world.declare("tv", State::Paused).await;
    world.declare("tv", State::Playing).await;
    world.renew("tv").await;
    assert_eq!(world.classes().await, "tv:4k,live");
    assert_eq!(world.try_play(&classed("pad", 3, "4k=1")).await, "full");
    assert_eq!(world.try_play(&classed("pad", 3, "live=1")).await, "full");
    world.release("tv").await;
    assert_eq!(world.try_play(&classed("pad", 3, "4k=1 live=1")).await, "new");
}

async fn an_expired_stream_comes_back_with_the_classes_it_then_has(world: World) {
    world.play(&classed("tv", 2, "4k=1")).await;
    world.pass(TTL).await;
    assert_eq!(world.try_play(&classed("pad", 2, "4k=1")).await, "new");
    assert_eq!(world.try_play(&classed("tv", 2, "4k=1")).await, "full");
    assert_eq!(world.try_play(&classed("tv", 2, "live=1")).await, "new");
    assert_eq!(world.live().await.split(' ').count(), 2);
    assert_eq!(world.try_play(&classed("tv", 2, "4k=1")).await, "full", "it has lost that class");
}

/// Plays `tv` and `pad` plainly and `pc` and `box` in 4K, ten milliseconds apart.
async fn four(world: &World) {
    for (name, classes) in [("tv", ""), ("pc", "4k=2"), ("pad", ""), ("box", "4k=2")] {
        world.play(&classed(name, 5, classes)).await;
        world.pass(MS * 10).await;
    }
}

async fn idle_ones_of_the_class_go_first(world: World) {
    four(&world).await;
    for name in ["tv", "box"] {
        world.declare(name, State::Paused).await;
        world.pass(MS * 10).await;
    }
    for _ in 0..2 {
        world.pass(TTL / 2 + MS).await;
        for name in ["tv", "pc", "pad", "box"] {
            world.renew(name).await;
        }
    }
    let up = Claim { replace: Replace::Oldest, ..classed("pad", 5, "4k=2") };
    let held = world.play(&up).await;
    assert_eq!((held.idle, held.replaced, held.is_new), (vec![id("box")], vec![], false));
    assert_eq!(world.classes().await, "tv: pc:4k pad:4k");
}

async fn the_oldest_of_the_class_goes(world: World) {
    four(&world).await;
    let oldest =
        |name: &str, limit| Claim { replace: Replace::Oldest, ..classed(name, limit, "4k=2") };
    assert_eq!(world.play(&oldest("car", 5)).await.replaced, [id("pc")]);
    assert_eq!(world.classes().await, "tv: pad: box:4k car:4k");
    // Who goes for the class makes room for all; only then others have to go.
    world.pass(MS * 10).await;
    assert_eq!(world.play(&oldest("bus", 4)).await.replaced, [id("box")]);
    assert_eq!(world.play(&oldest("tram", 3)).await.replaced, [id("car"), id("tv")]);
    assert_eq!(world.try_play(&classed("car", 5, "")).await, "replaced");
}

async fn those_named_must_help_with_the_class(world: World) {
    four(&world).await;
    let takeover = |names: &[&str]| Claim { replace: these(names), ..classed("car", 5, "4k=2") };
    assert_eq!(world.try_play(&takeover(&["tv"])).await, "full");
    assert_eq!(world.try_play(&takeover(&["pc", "gone"])).await, "full");
    assert_eq!(world.classes().await, "tv: pc:4k pad: box:4k");
    assert_eq!(world.play(&takeover(&["pc"])).await.replaced, [id("pc")]);
    assert_eq!(world.classes().await, "tv: pad: box:4k car:4k");
}

async fn one_newcomer_can_make_room_in_two_classes(world: World) {
    world.play(&classed("tv", 4, "4k=1")).await;
    world.pass(MS * 10).await;
    world.play(&classed("pad", 4, "live=1")).await;
    let both = classed("pc", 4, "4k=1 live=1");
    let one = Claim { replace: these(&["tv"]), ..both.clone() };
    assert_eq!(full(&world, &one).await.class.map(|class| class.to_string()), Some("live".into()));
    assert_eq!(world.classes().await, "tv:4k pad:live");
    let oldest = Claim { replace: Replace::Oldest, ..both };
    assert_eq!(world.play(&oldest).await.replaced, [id("tv"), id("pad")]);
    assert_eq!(world.classes().await, "pc:4k,live");
}

async fn a_class_limit_of_zero_refuses_that_class_alone(world: World) {
    for replace in [Replace::Nobody, Replace::Oldest] {
        let none = Claim { replace, ..classed("tv", 2, "4k=0") };
        assert_eq!(full(&world, &none).await.limit, 0);
    }
    assert_eq!(world.try_play(&classed("tv", 2, "")).await, "new");
    assert_eq!(world.try_play(&classed("tv", 2, "4k=0")).await, "full");
    assert_eq!(world.try_play(&classed("tv", 0, "4k=1")).await, "held", "and 0 confirms the live");
}

async fn a_lease_has_four_classes_at_most(world: World) {
    world.play(&classed("tv", 2, "a=1 b=1 c=1")).await;
    assert_eq!(world.try_play(&classed("tv", 2, "d=1 e=1")).await, "full");
    assert_eq!(world.try_play(&classed("tv", 2, "a=1 b=1 d=1")).await, "held");
    assert_eq!(world.try_play(&classed("tv", 2, "e=1")).await, "full");
    assert_eq!(world.classes().await, "tv:a,b,c,d");
}
