//! What every store promises. The same list runs on memory, under paused time, and on a real
//! redis-server, whose time passes by moving what it knows into the past.

use crate::world::{MS, TTL, World, claim, holder, id, these};
use std::time::Duration;
use streamgate_lease::{About, Answer, Claim, Replace, Slot, State, Timing};

macro_rules! promises {
    ($($promise:ident)*) => {
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $promise() {
                super::$promise(super::World::memory()).await;
            })*
        }
        mod redis {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(super::World::redis().await).await;
            })*
        }
    };
}

mod adopt;
mod classes;
mod login;
mod pepper;
mod ticket;
mod ttl;

promises! {
    i1_never_more_live_than_the_limit
    i2_no_lease_outlives_its_last_renewal_by_more_than_a_ttl
    i3_what_ended_stays_ended
    i4_a_refusal_changes_nothing
    i4_a_takeover_is_all_or_nothing
    i5_asking_again_is_the_same_slot
    i6_nobody_is_refused_while_there_is_room
    i7_an_expiry_never_moves_back
    i8_a_renewal_never_adds
    i9_a_release_frees_the_slot_and_may_be_repeated
    i10_accounts_do_not_touch_each_other
    an_expired_one_comes_back_if_there_is_room
    an_expired_one_can_be_ended
    a_tombstone_fades_in_its_time
    a_reusable_id_plays_again_after_its_release
    a_reusable_victim_is_told_for_a_ttl_and_may_come_back
    a_reusable_victim_comes_back_at_once_when_its_viewer_presses_play
    pressing_play_lifts_no_tombstone_without_room
    what_an_id_stands_for_is_settled_when_it_first_plays
    a_release_leaves_nothing_of_what_an_id_stood_for
    idle_ones_go_first_and_may_come_back
    a_pause_is_counted_from_its_first_declaration
    only_the_live_can_declare
    the_oldest_goes_when_asked_for
    those_named_go_and_their_players_are_told
    a_lower_limit_cuts_nobody_off
    a_limit_of_zero_admits_nobody_and_confirms_the_live
    refusals_say_who_is_there_and_when_to_come_back
    labels_are_kept_and_changed
    many_are_acquired_like_one
    a_renewal_counts_from_the_last_sign_of_life
    ids_long_gone_are_forgotten_and_the_living_are_not
}

async fn i1_never_more_live_than_the_limit(world: World) {
    for (name, expected) in [("tv", "new"), ("phone", "new"), ("pad", "full"), ("pc", "full")] {
        assert_eq!(world.try_play(&claim(name, 2)).await, expected);
    }
    assert_eq!(world.live().await.split(' ').count(), 2);
    let last = if world.server.is_some() { Duration::from_secs(2) } else { MS };
    world.pass(TTL - last).await;
    assert_eq!(world.try_play(&claim("pad", 2)).await, "full", "none has expired yet");
    // At the very millisecond of its expiry a slot is free.
    world.pass(last).await;
    assert_eq!(world.try_play(&claim("pad", 2)).await, "new");
    assert_eq!(world.try_play(&claim("pc", 2)).await, "new");
    assert_eq!(world.try_play(&claim("tv", 2)).await, "full");
}

async fn i2_no_lease_outlives_its_last_renewal_by_more_than_a_ttl(world: World) {
    assert!(world.play(&claim("tv", 1)).await.expires_in <= TTL);
    world.pass(TTL / 2).await;
    assert!(world.renew("tv").await);
    assert!(world.live_of("alice").await[0].expires_in <= TTL);
    world.pass(TTL).await;
    assert_eq!(world.live().await, "");
    assert_eq!(world.try_play(&claim("phone", 1)).await, "new");
}

async fn i3_what_ended_stays_ended(world: World) {
    for name in ["released", "terminated", "replaced"] {
        world.play(&claim(name, 1)).await;
        match name {
            "released" => world.release(name).await,
            "terminated" => assert!(world.terminate(name).await),
            _ => {
                let oldest = Claim { replace: Replace::Oldest, ..claim("takeover", 1) };
                assert_eq!(world.play(&oldest).await.replaced, [id(name)]);
                world.release("takeover").await;
            }
        }
        for hours in [0, 1, 22] {
            world.pass(Duration::from_secs(hours * 3600)).await;
            assert!(!world.renew(name).await, "{name}");
            let restarted = Claim { explicit_start: true, reusable: true, ..claim(name, 9) };
            let takeover = Claim { replace: Replace::Oldest, ..claim(name, 9) };
            for claim in [claim(name, 9), restarted, takeover] {
                assert_eq!(world.try_play(&claim).await, name);
            }
            world.release(name).await;
            assert!(!world.terminate(name).await);
            assert!(!world.declare(name, State::Playing).await);
            assert_eq!(world.try_play(&claim(name, 9)).await, name);
            assert_eq!(world.live().await, "");
        }
    }
}

async fn i4_a_refusal_changes_nothing(world: World) {
    world.play(&claim("tv", 2)).await;
    world.pass(MS * 10).await;
    world.play(&claim("phone", 2)).await;
    world.terminate("nobody").await;
    let before = world.live_of("alice").await;
    for replace in [Replace::Nobody, these(&[]), these(&["tv", "nobody"]), these(&["pad"])] {
        let claim = Claim { replace, ..claim("pad", 2) };
        assert_eq!(world.try_play(&claim).await, "full");
    }
    let after = world.live_of("alice").await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((before.id, before.started_at), (after.id, after.started_at));
        assert!(after.expires_in <= before.expires_in);
    }
    assert_eq!(world.live().await, "tv phone");
}

async fn i4_a_takeover_is_all_or_nothing(world: World) {
    world.play(&claim("tv", 3)).await;
    world.pass(MS * 10).await;
    world.play(&claim("phone", 3)).await;
    world.pass(MS * 10).await;
    world.play(&claim("pad", 3)).await;
    // Two would have to go for one to come in, and only one of them is there.
    let greedy = Claim { replace: these(&["tv", "gone"]), ..claim("pc", 2) };
    assert_eq!(world.try_play(&greedy).await, "full");
    // One is not enough under the lower limit.
    let modest = Claim { replace: these(&["tv"]), ..claim("pc", 2) };
    assert_eq!(world.try_play(&modest).await, "full");
    assert_eq!(world.live().await, "tv phone pad");
    let enough = Claim { replace: these(&["tv", "pad"]), ..claim("pc", 2) };
    assert_eq!(world.play(&enough).await.replaced.len(), 2);
    assert_eq!(world.live().await, "phone pc");
    assert_eq!(world.try_play(&claim("tv", 2)).await, "replaced");
}

async fn i5_asking_again_is_the_same_slot(world: World) {
    let first = world.play(&claim("tv", 2)).await;
    assert!(first.is_new);
    let beginning = world.beginning(first.started_at);
    world.pass(TTL / 2).await;
    world.play(&claim("phone", 2)).await;
    let again = world.play(&Claim { explicit_start: true, ..claim("tv", 2) }).await;
    assert!(!again.is_new);
    assert_eq!(again.active, 2);
    assert_eq!(world.beginning(again.started_at), beginning);
    assert_eq!(world.live().await, "tv phone");
    assert_eq!(world.beginning(world.live_of("alice").await[0].started_at), beginning);
    world.pass(TTL * 2 / 3).await;
    assert_eq!(world.live().await, "tv phone", "asking again is a sign of life");
}

async fn i6_nobody_is_refused_while_there_is_room(world: World) {
    world.play(&claim("tv", 2)).await;
    assert_eq!(world.try_play(&claim("phone", 2)).await, "new");
    world.release("tv").await;
    assert_eq!(world.try_play(&claim("pad", 2)).await, "new");
    world.terminate("phone").await;
    assert_eq!(world.try_play(&claim("pc", 2)).await, "new");
    world.pass(TTL / 2).await;
    world.renew("pad").await;
    world.pass(TTL / 2).await;
    assert_eq!(world.try_play(&claim("box", 2)).await, "new", "pc has expired");
    assert_eq!(world.try_play(&claim("pc", 3)).await, "new", "under a higher limit");
    // With room, nobody is replaced, whatever the newcomer would have been allowed to do.
    let oldest = Claim { replace: Replace::Oldest, ..claim("stick", 4) };
    assert_eq!(world.play(&oldest).await.replaced, []);
    let named = Claim { replace: these(&["nobody"]), ..claim("car", 5) };
    assert_eq!(world.try_play(&named).await, "new");
}

async fn i7_an_expiry_never_moves_back(world: World) {
    let short = Timing::of(Duration::from_secs(10)).unwrap();
    world.play(&claim("tv", 1)).await;
    assert!(!world.renew_with("tv", &short).await, "it changes nothing");
    world.store.acquire(&claim("tv", 1), &short).await.unwrap();
    world.pass(Duration::from_secs(50)).await;
    assert_eq!(world.live().await, "tv");
    assert_eq!(world.try_play(&claim("phone", 1)).await, "full");
}

async fn i8_a_renewal_never_adds(world: World) {
    assert!(!world.renew("never").await);
    world.play(&claim("tv", 1)).await;
    world.release("tv").await;
    assert!(!world.renew("tv").await);
    world.play(&claim("pc", 1)).await;
    world.pass(TTL).await;
    world.play(&claim("pad", 1)).await;
    assert!(!world.renew("pc").await, "it has expired and its slot was taken");
    assert_eq!(world.live().await, "pad");
}

async fn i9_a_release_frees_the_slot_and_may_be_repeated(world: World) {
    world.play(&claim("tv", 1)).await;
    for _ in 0..3 {
        world.release("tv").await;
        assert_eq!(world.live().await, "");
    }
    assert_eq!(world.try_play(&claim("phone", 1)).await, "new");
    world.release("tv").await;
    world.release("never").await;
    assert_eq!(world.live().await, "phone");
}

async fn i10_accounts_do_not_touch_each_other(world: World) {
    let bob = Claim { holder: holder("bob"), ..claim("tv", 1) };
    world.play(&claim("tv", 1)).await;
    assert_eq!(world.try_play(&bob).await, "new");
    assert_eq!(world.try_play(&Claim { id: id("pc"), ..bob.clone() }).await, "full");
    let takeover = Claim { id: id("pc"), replace: these(&["phone"]), ..bob.clone() };
    world.play(&claim("phone", 2)).await;
    assert_eq!(world.try_play(&takeover).await, "full");
    world.release("tv").await;
    assert_eq!(world.live_of("bob").await.len(), 1);
    assert!(!world.store.terminate(&holder("bob"), &id("phone"), &world.timing).await.unwrap());
    assert!(world.terminate("phone").await);
    assert_eq!(world.try_play(&bob).await, "held");
    assert_eq!(world.live_of("bob").await.len(), 1);
}

async fn an_expired_one_comes_back_if_there_is_room(world: World) {
    world.play(&claim("phone", 1)).await;
    world.pass(TTL + TTL / 6).await;
    assert_eq!(world.try_play(&claim("phone", 1)).await, "new", "nobody came meanwhile");
    world.pass(TTL + TTL / 6).await;
    world.play(&claim("tv", 1)).await;
    assert_eq!(world.try_play(&claim("phone", 1)).await, "full");
    assert_eq!(world.try_play(&claim("phone", 2)).await, "new");
}

async fn an_expired_one_can_be_ended(world: World) {
    for name in ["phone", "pad"] {
        world.play(&claim(name, 1)).await;
        world.pass(TTL).await;
    }
    world.play(&claim("tv", 1)).await;
    assert!(world.terminate("phone").await);
    world.release("pad").await;
    assert_eq!(world.try_play(&claim("phone", 2)).await, "terminated");
    assert_eq!(world.try_play(&claim("pad", 2)).await, "released");
}

async fn a_tombstone_fades_in_its_time(mut world: World) {
    world.timing = world.timing.with_tombstone(Duration::from_secs(3600)).unwrap();
    world.play(&claim("tv", 1)).await;
    world.terminate("tv").await;
    world.pass(Duration::from_secs(3590)).await;
    let Answer::Ended(_, lasts) = world.ask(&claim("tv", 1)).await else {
        panic!("it is still ended");
    };
    assert!(lasts <= Duration::from_secs(10));
    world.pass(Duration::from_secs(10)).await;
    assert_eq!(world.try_play(&claim("tv", 1)).await, "new");
}

fn session(name: &str, limit: u32) -> Claim {
    Claim { reusable: true, ..claim(name, limit) }
}

async fn a_reusable_id_plays_again_after_its_release(world: World) {
    let first = world.play(&session("login", 1)).await;
    let beginning = world.beginning(first.started_at);
    world.pass(TTL / 4).await;
    world.release("login").await;
    assert!(!world.renew("login").await);
    assert_eq!(world.live().await, "");
    let second = world.play(&session("login", 1)).await;
    assert!(second.is_new);
    assert!(beginning < world.beginning(second.started_at), "it is another playback");
}

async fn a_reusable_victim_is_told_for_a_ttl_and_may_come_back(world: World) {
    world.play(&session("login", 1)).await;
    assert!(world.terminate("login").await);
    assert_eq!(world.try_play(&session("login", 1)).await, "terminated");
    world.pass(TTL - Duration::from_secs(2)).await;
    assert_eq!(world.try_play(&session("login", 1)).await, "terminated");
    world.pass(Duration::from_secs(2)).await;
    assert_eq!(world.try_play(&session("login", 1)).await, "new");
    let takeover = Claim { replace: these(&["login"]), ..claim("tv", 1) };
    world.play(&takeover).await;
    assert_eq!(world.try_play(&session("login", 1)).await, "replaced");
    world.pass(TTL).await;
    world.play(&claim("pc", 1)).await;
    assert_eq!(world.try_play(&session("login", 1)).await, "full", "there is no room for it");
}

async fn a_reusable_victim_comes_back_at_once_when_its_viewer_presses_play(world: World) {
    world.play(&session("login", 1)).await;
    world.terminate("login").await;
    let restarted = Claim { explicit_start: true, ..session("login", 1) };
    assert_eq!(world.try_play(&restarted).await, "new");
    assert_eq!(world.try_play(&session("login", 1)).await, "held");
}

async fn pressing_play_lifts_no_tombstone_without_room(world: World) {
    world.play(&session("login", 1)).await;
    world.play(&Claim { replace: Replace::Oldest, ..claim("tv", 1) }).await;
    let restarted = Claim { explicit_start: true, ..session("login", 1) };
    assert_eq!(world.try_play(&restarted).await, "full");
    assert_eq!(world.try_play(&session("login", 1)).await, "replaced", "refused changes nothing");
}

async fn what_an_id_stands_for_is_settled_when_it_first_plays(world: World) {
    world.play(&claim("tv", 1)).await;
    world.play(&session("tv", 1)).await;
    world.terminate("tv").await;
    world.pass(TTL * 2).await;
    assert_eq!(world.try_play(&session("tv", 1)).await, "terminated");
}

async fn a_release_leaves_nothing_of_what_an_id_stood_for(world: World) {
    world.play(&session("tv", 1)).await;
    world.release("tv").await;
    world.play(&claim("tv", 1)).await;
    world.terminate("tv").await;
    world.pass(TTL * 2).await;
    assert_eq!(world.try_play(&claim("tv", 1)).await, "terminated");
}

async fn idle_ones_go_first_and_may_come_back(world: World) {
    for name in ["tv", "pad", "pc"] {
        world.play(&claim(name, 3)).await;
        world.pass(MS * 10).await;
    }
    assert!(world.declare("pad", State::Paused).await);
    world.pass(TTL / 2).await;
    assert!(world.declare("pc", State::Paused).await);
    for name in ["tv", "pad", "pc"] {
        assert!(world.renew(name).await);
    }
    assert_eq!(world.try_play(&claim("phone", 3)).await, "full", "nobody was idle for long");
    world.pass(TTL / 2 + MS).await;
    for name in ["tv", "pad", "pc"] {
        world.renew(name).await;
    }
    let admitted = world.play(&Claim { replace: Replace::Oldest, ..claim("phone", 3) }).await;
    assert_eq!((admitted.idle, admitted.replaced), (vec![id("pad")], vec![]));
    assert_eq!(world.live().await, "tv pc phone");
    assert_eq!(world.try_play(&claim("pad", 3)).await, "full", "not ended, but out of its slot");
    world.release("tv").await;
    assert_eq!(world.try_play(&claim("pad", 3)).await, "new");
}

async fn a_pause_is_counted_from_its_first_declaration(world: World) {
    let pause_for_70_s = async || {
        for _ in 0..7 {
            assert!(world.declare("tv", State::Paused).await);
            world.pass(Duration::from_secs(10)).await;
            assert!(world.renew("tv").await);
        }
    };
    world.play(&claim("tv", 1)).await;
    pause_for_70_s().await;
    assert_eq!(world.live_of("alice").await[0].state, State::Paused);
    world.declare("tv", State::Playing).await;
    assert_eq!(world.live_of("alice").await[0].state, State::Playing);
    assert_eq!(world.try_play(&claim("pc", 1)).await, "full", "it plays again");
    world.declare("tv", State::Paused).await;
    assert_eq!(world.try_play(&claim("pc", 1)).await, "full", "a pause begins anew");
    let restarted = Claim { explicit_start: true, ..claim("tv", 1) };
    world.play(&restarted).await;
    assert_eq!(world.live_of("alice").await[0].state, State::Playing, "its viewer pressed play");
    pause_for_70_s().await;
    assert_eq!(world.play(&claim("pc", 1)).await.idle, [id("tv")]);
}

async fn only_the_live_can_declare(world: World) {
    assert!(!world.declare("never", State::Paused).await);
    world.play(&claim("tv", 1)).await;
    world.pass(TTL).await;
    assert!(!world.declare("tv", State::Paused).await);
    world.play(&claim("tv", 1)).await;
    assert_eq!(world.live_of("alice").await[0].state, State::Playing);
    world.release("tv").await;
    assert!(!world.declare("tv", State::Paused).await);
}

async fn the_oldest_goes_when_asked_for(world: World) {
    for name in ["tv", "pad", "pc"] {
        world.play(&claim(name, 3)).await;
        world.pass(MS * 10).await;
    }
    world.play(&claim("tv", 3)).await;
    let oldest = |name: &str, limit| Claim { replace: Replace::Oldest, ..claim(name, limit) };
    assert_eq!(world.play(&oldest("phone", 3)).await.replaced, [id("tv")]);
    assert_eq!(world.live().await, "pad pc phone");
    world.pass(MS * 10).await;
    assert_eq!(world.play(&oldest("box", 2)).await.replaced, [id("pad"), id("pc")]);
    assert_eq!(world.live().await, "phone box");
    assert_eq!(world.try_play(&claim("tv", 3)).await, "replaced");
}

async fn those_named_go_and_their_players_are_told(world: World) {
    for name in ["tv", "pad"] {
        world.play(&claim(name, 2)).await;
        world.pass(MS * 10).await;
    }
    let takeover = Claim { replace: these(&["pad", "pad"]), ..claim("phone", 2) };
    let admitted = world.play(&takeover).await;
    assert_eq!((admitted.is_new, admitted.active), (true, 2));
    assert_eq!(world.live().await, "tv phone");
    assert_eq!(world.try_play(&claim("pad", 9)).await, "replaced");
    assert_eq!(world.try_play(&takeover).await, "held", "asking again replaces nobody");
    // An idle one helps out when those named are too few.
    world.declare("tv", State::Paused).await;
    world.play(&claim("pc", 3)).await;
    world.pass(TTL / 2).await;
    for name in ["tv", "phone", "pc"] {
        world.renew(name).await;
    }
    world.pass(TTL / 2 + MS).await;
    let both = Claim { replace: these(&["pc"]), ..claim("box", 2) };
    let admitted = world.play(&both).await;
    assert_eq!((admitted.replaced, admitted.idle), (vec![id("pc")], vec![id("tv")]));
    assert_eq!(world.live().await, "phone box");
}

async fn a_lower_limit_cuts_nobody_off(world: World) {
    for name in ["tv", "pad", "pc"] {
        world.play(&claim(name, 3)).await;
        world.pass(MS * 10).await;
    }
    for name in ["tv", "pad", "pc"] {
        assert_eq!(world.try_play(&claim(name, 1)).await, "held");
        world.pass(MS * 10).await;
        assert!(world.renew(name).await);
    }
    assert_eq!(world.try_play(&claim("phone", 2)).await, "full");
    world.release("tv").await;
    assert_eq!(world.try_play(&claim("phone", 2)).await, "full");
    world.release("pad").await;
    assert_eq!(world.try_play(&claim("phone", 2)).await, "new");
}

async fn a_limit_of_zero_admits_nobody_and_confirms_the_live(world: World) {
    let none = |replace| Claim { replace, ..claim("tv", 0) };
    for replace in [Replace::Nobody, Replace::Oldest, these(&["pc"])] {
        assert_eq!(world.try_play(&none(replace)).await, "full");
    }
    world.play(&claim("pc", 1)).await;
    assert_eq!(world.try_play(&none(these(&["pc"]))).await, "full");
    assert_eq!(world.try_play(&none(Replace::Oldest)).await, "full");
    assert_eq!(world.try_play(&claim("pc", 0)).await, "held");
}

async fn refusals_say_who_is_there_and_when_to_come_back(world: World) {
    world.play(&claim("tv", 2)).await;
    world.pass(TTL / 6).await;
    world.play(&claim("pad", 2)).await;
    world.declare("pad", State::Paused).await;
    world.renew("tv").await;
    world.pass(TTL / 6).await;
    let Answer::Full(full) = world.ask(&claim("phone", 2)).await else {
        panic!("there is no room");
    };
    assert_eq!(full.limit, 2);
    assert!(TTL / 2 < full.retry_after && full.retry_after <= TTL * 5 / 6, "{full:?}");
    let names: Vec<_> = full.live.iter().map(|live| (live.about.device(), live.state)).collect();
    assert_eq!(names, [(Some("tv"), State::Playing), (Some("pad"), State::Paused)]);
}

async fn labels_are_kept_and_changed(world: World) {
    let awkward = About::new(Some("Café, \"TV\"\n\\ 🎉 L1,2,3"), None);
    world.play(&Claim { about: awkward.clone(), ..claim("tv", 1) }).await;
    world.play(&Claim { about: About::default(), ..claim("tv", 1) }).await;
    assert_eq!(world.live_of("alice").await[0].about, awkward);
    let next = About::new(None, Some("Final"));
    world.play(&Claim { about: next.clone(), ..claim("tv", 1) }).await;
    assert_eq!(world.live_of("alice").await[0].about, next);
}

async fn many_are_acquired_like_one(world: World) {
    world.play(&claim("tv", 2)).await;
    world.terminate("gone").await;
    world.play(&claim("dead", 2)).await;
    world.terminate("dead").await;
    let claims = ["tv", "pad", "dead", "pc"].map(|name| claim(name, 2));
    let answers = world.store.acquire_all(&claims, &world.timing).await;
    let words = answers.iter().map(|answer| match answer.as_ref().unwrap() {
        Answer::Held(admitted) => (if admitted.is_new { "new" } else { "held" }).to_owned(),
        Answer::Full(_) => "full".to_owned(),
        Answer::Ended(why, _) => why.as_str().to_owned(),
    });
    assert_eq!(words.collect::<Vec<_>>(), ["held", "new", "terminated", "full"]);
}

async fn a_renewal_counts_from_the_last_sign_of_life(world: World) {
    world.play(&claim("tv", 1)).await;
    world.pass(TTL / 2).await;
    let slot = Slot {
        holder: holder("alice"),
        id: id("tv"),
        silent_for: TTL / 4,
        keep_keys: false,
        ttl: None,
    };
    let renewed = world.renew_all(&[slot]).await;
    let counted = world.live_of("alice").await[0].expires_in;
    for left in [renewed[0].unwrap(), counted] {
        assert!(TTL / 2 < left && left <= TTL * 3 / 4, "{left:?}");
    }
    let dead = Slot { silent_for: TTL * 2, ..slot };
    assert_eq!(world.renew_all(&[dead]).await, [None]);
    assert_eq!(world.live().await, "tv");
}

async fn ids_long_gone_are_forgotten_and_the_living_are_not(mut world: World) {
    world.timing = world.timing.with_tombstone(TTL).unwrap();
    world.play(&claim("tv", 3)).await;
    let silent = Claim { about: About::default(), ..claim("tv", 3) };
    let stay = world.timing.with_tombstone(Duration::from_secs(86_400)).unwrap();
    world.play(&claim("dead", 3)).await;
    world.store.terminate(&holder("alice"), &id("dead"), &stay).await.unwrap();
    for n in 0..100 {
        let name = format!("playback {n}");
        world.play(&claim(&name, 3)).await;
        if n % 2 == 0 {
            world.release(&name).await;
        }
        world.pass(TTL / 2).await;
        assert_eq!(world.try_play(&silent).await, "held");
    }
    assert!(world.live().await.starts_with("tv"), "what is known of the living stays");
    assert_eq!(world.try_play(&claim("dead", 3)).await, "terminated");
    if let Some(server) = &world.server {
        let keys: Vec<String> =
            ::redis::cmd("KEYS").arg("sg:*:m").query_async(&mut server.peek().await).await.unwrap();
        let kept: usize =
            ::redis::cmd("HLEN").arg(&keys[0]).query_async(&mut server.peek().await).await.unwrap();
        assert!(kept < 48, "{kept} records are kept");
    }
}
