//! What every store promises of streams that a node started alone: they are adopted, over the limit
//! if need be and for a while, and never make room for others.

use crate::world::{MS, TTL, World, claim, classed, id};
use std::time::Duration;
use streamgate_lease::{Answer, Claim, Replace, State};

promises! {
    one_too_many_is_adopted_and_flagged
    i1_newcomers_find_a_full_account
    i3_what_ended_is_not_adopted
    i13_the_flag_goes_when_there_is_a_place
    l3_whose_time_is_up_loses_its_slot
    with_room_an_adoption_is_an_admission
    without_a_window_an_adoption_is_refused_at_once
    replacing_the_oldest_settles_it_at_once
    a_class_that_was_taken_alone_is_adopted_too
    a_limit_of_zero_adopts_nobody
    of_two_over_the_limit_one_gets_the_place
    what_was_lost_is_adopted_and_what_is_known_is_not
    a_login_that_was_released_is_not_taken_for_lost
}

fn adopt(name: &str, limit: u32) -> Claim {
    Claim { adopt: true, ..claim(name, limit) }
}

fn lost(name: &str, limit: u32) -> Claim {
    Claim { lost: true, ..claim(name, limit) }
}

/// `tv pc!`: the second is over the limit.
async fn flags(world: &World) -> String {
    let live = world.live_of("alice").await;
    let shown = live.iter().map(|live| {
        let flag = if live.over_limit { "!" } else { "" };
        format!("{}{flag}", live.about.device().unwrap_or("?"))
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// Lets time pass while these are claimed as a renewer claims what is over the limit.
async fn go_on(world: &World, time: Duration, names: &[&str]) {
    for _ in 0..time.as_secs() / 30 {
        world.pass(Duration::from_secs(30)).await;
        for name in names {
            world.ask(&claim(name, 1)).await;
        }
    }
}

async fn one_too_many_is_adopted_and_flagged(world: World) {
    world.play(&claim("tv", 1)).await;
    world.pass(MS * 10).await;
    let adopted = world.play(&adopt("pc", 1)).await;
    assert_eq!((adopted.is_new, adopted.over_limit, adopted.active), (true, true, 2));
    assert_eq!((adopted.replaced, adopted.idle), (vec![], vec![]));
    assert_eq!(flags(&world).await, "tv pc!");
    world.declare("pc", State::Paused).await;
    world.declare("pc", State::Playing).await;
    let again = world.play(&adopt("pc", 1)).await;
    assert_eq!((again.is_new, again.over_limit), (false, true));
    assert_eq!(flags(&world).await, "tv pc!");
    assert_eq!(world.try_play(&adopt("tv", 1)).await, "held");
    assert_eq!(flags(&world).await, "tv pc!", "who is within stays within");
}

async fn i1_newcomers_find_a_full_account(world: World) {
    world.play(&claim("tv", 1)).await;
    world.pass(MS * 10).await;
    world.play(&adopt("pc", 1)).await;
    assert_eq!(world.try_play(&claim("pad", 1)).await, "full");
    assert_eq!(world.try_play(&claim("pad", 2)).await, "full", "two are there");
    world.release("tv").await;
    assert_eq!(world.try_play(&claim("pad", 1)).await, "full", "one is still there");
    world.release("pc").await;
    assert_eq!(world.try_play(&claim("pad", 1)).await, "new");
}

async fn i3_what_ended_is_not_adopted(world: World) {
    world.play(&claim("tv", 1)).await;
    world.terminate("tv").await;
    assert_eq!(world.try_play(&adopt("tv", 1)).await, "terminated");
    world.play(&claim("pc", 1)).await;
    world.play(&adopt("pad", 1)).await;
    assert!(world.terminate("pad").await);
    assert_eq!(world.try_play(&adopt("pad", 1)).await, "terminated");
}

async fn i13_the_flag_goes_when_there_is_a_place(world: World) {
    world.play(&claim("tv", 1)).await;
    world.pass(MS * 10).await;
    world.play(&adopt("pc", 1)).await;
    world.release("tv").await;
    assert_eq!(flags(&world).await, "pc!");
    assert!(!world.play(&claim("pc", 1)).await.over_limit);
    assert_eq!(flags(&world).await, "pc");
    go_on(&world, world.timing.grandfather() + TTL, &["pc"]).await;
    assert_eq!(flags(&world).await, "pc");
}

async fn l3_whose_time_is_up_loses_its_slot(mut world: World) {
    world.timing = world.timing.with_grandfather(TTL * 3).unwrap();
    world.play(&claim("tv", 1)).await;
    world.pass(MS * 10).await;
    world.play(&adopt("pc", 1)).await;
    go_on(&world, TTL * 5 / 2, &["tv", "pc"]).await;
    assert_eq!(flags(&world).await, "tv pc!");
    world.pass(TTL / 2 + Duration::from_secs(1)).await;
    world.play(&claim("tv", 1)).await;
    let Answer::Full(full) = world.ask(&claim("pc", 1)).await else {
        panic!("its time is up");
    };
    assert_eq!((full.limit, full.class, full.live.len()), (1, None, 1));
    assert_eq!(flags(&world).await, "tv");
    assert_eq!(world.try_play(&claim("pc", 1)).await, "full");
    world.release("tv").await;
    assert_eq!(world.try_play(&claim("pc", 1)).await, "new", "it was not ended");
}

async fn with_room_an_adoption_is_an_admission(world: World) {
    world.play(&claim("tv", 2)).await;
    assert!(!world.play(&adopt("pc", 2)).await.over_limit);
    assert_eq!(world.try_play(&claim("pad", 2)).await, "full");
}

async fn without_a_window_an_adoption_is_refused_at_once(mut world: World) {
    world.timing = world.timing.with_grandfather(Duration::ZERO).unwrap();
    world.play(&claim("tv", 1)).await;
    assert_eq!(world.try_play(&adopt("pc", 1)).await, "full");
    assert_eq!(flags(&world).await, "tv");
}

async fn replacing_the_oldest_settles_it_at_once(world: World) {
    world.play(&claim("tv", 1)).await;
    world.pass(MS * 10).await;
    let adopted = world.play(&Claim { replace: Replace::Oldest, ..adopt("pc", 1) }).await;
    assert_eq!((adopted.over_limit, adopted.replaced), (false, vec![id("tv")]));
    world.pass(MS * 10).await;
    world.play(&adopt("pad", 1)).await;
    let oldest = Claim { replace: Replace::Oldest, ..claim("box", 1) };
    assert_eq!(world.play(&oldest).await.replaced, [id("pc"), id("pad")]);
    assert_eq!(flags(&world).await, "box");
}

async fn a_class_that_was_taken_alone_is_adopted_too(world: World) {
    world.play(&classed("tv", 2, "4k=1")).await;
    world.pass(MS * 10).await;
    world.play(&classed("pc", 2, "")).await;
    let up = Claim { adopt: true, ..classed("pc", 2, "4k=1") };
    assert!(world.play(&up).await.over_limit);
    assert_eq!(flags(&world).await, "tv pc!");
    assert_eq!(world.classes().await, "tv:4k pc:4k");
    assert!(world.play(&classed("pc", 2, "")).await.over_limit, "its class is not judged here");
    world.release("tv").await;
    assert!(!world.play(&classed("pc", 2, "4k=1")).await.over_limit);
    assert_eq!(world.try_play(&classed("pad", 2, "4k=1")).await, "full");
}

async fn a_limit_of_zero_adopts_nobody(world: World) {
    assert_eq!(world.try_play(&adopt("tv", 0)).await, "full");
    assert_eq!(world.live().await, "");
}

async fn of_two_over_the_limit_one_gets_the_place(world: World) {
    world.play(&claim("tv", 1)).await;
    for name in ["pc", "pad"] {
        world.pass(MS * 10).await;
        assert!(world.play(&adopt(name, 1)).await.over_limit);
    }
    world.release("tv").await;
    assert!(!world.play(&claim("pad", 1)).await.over_limit);
    assert!(world.play(&claim("pc", 1)).await.over_limit);
    assert_eq!(flags(&world).await, "pc! pad");
}

async fn what_was_lost_is_adopted_and_what_is_known_is_not(world: World) {
    world.play(&claim("tv", 1)).await;
    world.pass(MS * 10).await;
    assert!(world.play(&lost("pc", 1)).await.over_limit);
    assert_eq!(flags(&world).await, "tv pc!");
    // Its time is up and the account is full: it is known, and has to wait like anybody else.
    world.pass(TTL).await;
    world.play(&claim("pad", 1)).await;
    for known in ["tv", "pc"] {
        assert_eq!(world.try_play(&lost(known, 1)).await, "full");
    }
    world.release("pad").await;
    assert_eq!(world.try_play(&lost("pad", 1)).await, "released");
    assert!(!world.play(&lost("tv", 1)).await.over_limit, "there is room");
    assert_eq!(world.try_play(&lost("box", 0)).await, "full");
}

async fn a_login_that_was_released_is_not_taken_for_lost(world: World) {
    let login = Claim { reusable: true, ..claim("login", 2) };
    let renewer = Claim { lost: true, ..login.clone() };
    world.play(&login).await;
    world.release("login").await;
    assert_eq!(world.try_play(&renewer).await, "full", "there is room, but it was stopped");
    assert_eq!(world.live().await, "");
    assert!(!world.terminate("login").await, "there is nothing to end");
    assert!(world.play(&login).await.is_new, "its viewer may start it");
    assert!(!world.play(&renewer).await.is_new);
}
