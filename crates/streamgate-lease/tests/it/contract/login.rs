//! What every store promises about the streams of one login: its own older ones make room first,
//! and a start that failed holds nothing.

use crate::world::{MS, TTL, World, claim, classed, holder, id, these};
use std::time::Duration;
use streamgate_lease::{
    Admitted, Attempt, Claim, ClaimSource, DisplacePolicy, Replace, Slot, State, Tag, Timing,
};

promises! {
    zapping_is_never_refused_on_ones_own_device
    zapping_never_costs_another_device
    what_was_zapped_over_makes_room_for_others
    a_second_player_counts_as_two_from_its_next_request
    the_most_silent_since_a_later_start_goes_first
    a_stream_goes_that_was_passed_over_before_one_that_plays
    marked_ones_go_before_paused_and_oldest_ones
    what_makes_room_is_of_the_class_that_is_full
    a_renewal_voids_an_older_mark
    a_node_speaks_for_no_player
    a_superseded_id_begins_anew_by_a_start_once_in_ten_seconds
    a_superseded_id_stays_so_for_a_ttl
    beginning_anew_needs_room
    starts_beyond_thirty_a_minute_displace_like_anybodys
    who_displaces_nobody_is_refused
    a_login_that_is_counted_displaces_nobody_of_its_own
    a_reusable_id_is_superseded_like_any_other
    what_was_superseded_pushes_no_other_ending_out
    i15_a_start_that_failed_holds_nothing
    i15_nobody_plays_beside_a_failed_start
    a_failed_start_may_begin_again_at_once
    the_first_behind_a_reservation_decides
    a_retry_is_given_the_same_id
    a_start_that_fails_late_is_retried_for_a_ttl_from_then
    a_playback_that_went_well_is_not_retried
    a_start_without_an_answer_leaves_no_ghost
    who_plays_is_no_ghost
}

const MINUTE: Duration = Duration::from_secs(60);

/// A start by a login, of a path that is a start by itself.
fn start(login: &str, name: &str, limit: u32) -> Claim {
    Claim { displaces: DisplacePolicy::Older, starts: true, ..of(login, claim(name, limit)) }
}

/// Any other request of a login.
fn of(login: &str, claim: Claim) -> Claim {
    Claim { login: Some(Tag::of(login)), ..claim }
}

/// A start at a path, whose id is made for it.
fn tried(login: &str, name: &str, path: &str, by: ClaimSource) -> Claim {
    Claim { path: Some(Tag::of(path)), by, ..start(login, name, 3) }
}

async fn ends(world: &World, claim: &Claim, superseded: &[&str]) {
    let ids: Vec<_> = superseded.iter().map(|name| id(name)).collect();
    assert_eq!(world.play(claim).await.superseded, ids, "{:?}", claim.about.device());
    world.pass(MS * 10).await;
}

async fn marks(world: &World, claim: &Claim, marked: &[&str]) {
    let mut ids: Vec<_> = marked.iter().map(|name| id(name)).collect();
    let mut got = world.play(claim).await.marked;
    ids.sort_unstable();
    got.sort_unstable();
    assert_eq!(got, ids, "{:?}", claim.about.device());
    world.pass(MS * 10).await;
}

/// Its version, in a time that stays the same however the world lets time pass.
fn version(world: &World, admitted: &Admitted) -> u64 {
    world.beginning(admitted.first.expect("it is the first of its stream"))
}

async fn gives_back(world: &World, name: &str, version: u64) -> bool {
    let version = Attempt::Versioned(version - world.passed());
    world.store.give_back(&holder("alice"), &id(name), version).await.unwrap()
}

async fn zapping_is_never_refused_on_ones_own_device(world: World) {
    for limit in [1, 3] {
        for n in 0..10 {
            let name = format!("{limit} channel {n}");
            assert_eq!(world.try_play(&start("tv", &name, limit)).await, "new", "{name}");
            world.pass(Duration::from_secs(5)).await;
        }
        assert_eq!(world.live_of("alice").await.len(), limit as usize);
        world.pass(TTL).await;
    }
}

async fn zapping_never_costs_another_device(world: World) {
    ends(&world, &start("pad", "pad", 2), &[]).await;
    ends(&world, &start("tv", "one", 2), &[]).await;
    for (name, before) in [("two", "one"), ("three", "two"), ("four", "three")] {
        ends(&world, &start("tv", name, 2), &[before]).await;
        assert_eq!(world.try_play(&claim(before, 2)).await, "superseded");
    }
    assert_eq!(world.live().await, "pad four");
    assert_eq!(world.try_play(&of("pad", claim("pad", 2))).await, "held");
}

async fn what_was_zapped_over_makes_room_for_others(world: World) {
    marks(&world, &start("tv", "one", 3), &[]).await;
    marks(&world, &start("tv", "two", 3), &["one"]).await;
    marks(&world, &start("tv", "three", 3), &["two"]).await;
    // Neither of another login, nor of one that says nothing of itself.
    ends(&world, &start("pad", "pad", 3), &["one"]).await;
    ends(&world, &claim("phone", 3), &["two"]).await;
    assert_eq!(world.try_play(&start("pc", "pc", 3)).await, "full", "all of these play");
    assert_eq!(world.live().await, "three pad phone");
}

async fn a_second_player_counts_as_two_from_its_next_request(world: World) {
    ends(&world, &start("pc", "tab", 2), &[]).await;
    marks(&world, &start("pc", "other tab", 2), &["tab"]).await;
    assert_eq!(world.try_play(&of("pc", claim("tab", 2))).await, "held");
    assert_eq!(world.try_play(&start("tv", "tv", 2)).await, "full");
    assert_eq!(world.live().await, "tab other tab");
    // Its own third one displaces the most silent of the two.
    world.pass(Duration::from_secs(1)).await;
    world.play(&of("pc", claim("tab", 2))).await;
    ends(&world, &start("pc", "third tab", 2), &["other tab"]).await;
}

async fn the_most_silent_since_a_later_start_goes_first(world: World) {
    for name in ["one", "two", "three"] {
        world.play(&start("tv", name, 3)).await;
        world.pass(Duration::from_secs(2)).await;
    }
    // They were passed over in this order, and last heard of in the other: the first was still
    // asked for half a second after the second had begun.
    let silent_for = MS * 3500;
    let slot =
        Slot { holder: holder("alice"), id: id("one"), silent_for, keep_keys: false, ttl: None };
    assert!(world.renew_all(&[slot]).await[0].is_some());
    ends(&world, &start("pad", "pad", 3), &["two"]).await;
}

async fn a_stream_goes_that_was_passed_over_before_one_that_plays(world: World) {
    world.play(&start("tv", "one", 3)).await;
    world.pass(Duration::from_secs(2)).await;
    world.play(&start("tv", "two", 3)).await;
    world.pass(Duration::from_secs(2)).await;
    world.play(&of("tv", claim("one", 3))).await;
    world.pass(Duration::from_secs(2)).await;
    world.play(&start("tv", "three", 3)).await;
    world.pass(Duration::from_secs(2)).await;
    // All three are older than the fourth; two have been silent since the third began, and of those
    // the second has been so for longer.
    ends(&world, &start("tv", "four", 3), &["two"]).await;
    ends(&world, &start("pad", "pad", 3), &["one"]).await;
}

async fn marked_ones_go_before_paused_and_oldest_ones(world: World) {
    world.play(&claim("paused", 3)).await;
    world.pass(MS * 10).await;
    world.declare("paused", State::Paused).await;
    world.pass(TTL / 2).await;
    world.renew("paused").await;
    world.play(&claim("oldest", 3)).await;
    world.pass(TTL / 2 + MS).await;
    for name in ["paused", "oldest"] {
        world.renew(name).await;
    }
    world.play(&start("tv", "one", 3)).await;
    world.pass(MS * 10).await;
    let oldest = |claim: Claim| Claim { replace: Replace::Oldest, ..claim };
    ends(&world, &oldest(start("tv", "two", 3)), &["one"]).await;
    let named = Claim { replace: these(&["oldest"]), ..start("tv", "three", 3) };
    ends(&world, &named, &["two"]).await;
    let admitted = world.play(&oldest(claim("pad", 3))).await;
    assert_eq!((admitted.idle, admitted.replaced), (vec![id("paused")], vec![]));
}

async fn what_makes_room_is_of_the_class_that_is_full(world: World) {
    let uhd = |name: &str| Claim {
        displaces: DisplacePolicy::Older,
        ..of("tv", classed(name, 3, "4k=1"))
    };
    world.play(&start("tv", "hd", 3)).await;
    world.pass(MS * 10).await;
    marks(&world, &uhd("uhd"), &["hd"]).await;
    ends(&world, &uhd("next"), &["uhd"]).await;
    assert_eq!(world.live().await, "hd next");
    // A stream that wants a further class makes room for it likewise.
    marks(&world, &start("tv", "last", 3), &["next"]).await;
    let more = of("pad", classed("pad", 4, ""));
    world.play(&more).await;
    ends(&world, &of("pad", classed("pad", 4, "4k=1")), &["next"]).await;
}

async fn a_renewal_voids_an_older_mark(world: World) {
    world.play(&start("tv", "one", 2)).await;
    world.pass(MS * 100).await;
    world.play(&start("tv", "two", 2)).await;
    world.pass(MS * 100).await;
    // Within a second it may have been under way.
    assert!(world.renew("one").await);
    let pad = start("pad", "pad", 2);
    ends(&world, &pad, &["one"]).await;
    world.release("pad").await;
    marks(&world, &start("tv", "three", 2), &["two"]).await;
    world.pass(Duration::from_secs(3)).await;
    assert!(world.renew("two").await);
    assert_eq!(world.try_play(&Claim { id: id("box"), ..pad }).await, "full");
    // To its own login's next start it is one like any other.
    world.pass(Duration::from_secs(1)).await;
    ends(&world, &start("tv", "four", 2), &["three"]).await;
}

async fn a_node_speaks_for_no_player(world: World) {
    let node = |claim: Claim| Claim { by: ClaimSource::Node, ..claim };
    world.play(&start("tv", "one", 2)).await;
    world.pass(MS * 10).await;
    marks(&world, &start("tv", "two", 2), &["one"]).await;
    world.pass(Duration::from_secs(5)).await;
    assert_eq!(world.try_play(&node(of("tv", claim("one", 2)))).await, "held");
    ends(&world, &start("pad", "pad", 2), &["one"]).await;
    world.pass(TTL * 2).await;
    marks(&world, &start("tv", "three", 2), &[]).await;
    marks(&world, &node(start("tv", "four", 2)), &[]).await;
    assert!(world.play(&node(start("tv", "four", 2))).await.first.is_none());
    assert_eq!(world.try_play(&node(start("tv", "five", 2))).await, "full");
}

async fn a_superseded_id_begins_anew_by_a_start_once_in_ten_seconds(world: World) {
    let seconds = Duration::from_secs;
    let (tab, other) = (start("pc", "tab", 1), start("pc", "other", 1));
    let media = Claim { starts: false, ..tab.clone() };
    let pressed = Claim { explicit_start: true, reusable: true, ..media.clone() };
    ends(&world, &tab, &[]).await;
    ends(&world, &other, &["tab"]).await;
    for claim in [&media, &pressed] {
        assert_eq!(world.try_play(claim).await, "superseded");
    }
    ends(&world, &tab, &["other"]).await;
    ends(&world, &other, &["tab"]).await;
    for _ in 0..3 {
        assert_eq!(world.try_play(&tab).await, "superseded", "it began anew a moment ago");
        world.pass(seconds(3)).await;
    }
    assert_eq!(world.try_play(&media).await, "superseded");
    world.pass(seconds(1)).await;
    ends(&world, &tab, &["other"]).await;
    assert_eq!(world.try_play(&media).await, "held");
}

async fn a_superseded_id_stays_so_for_a_ttl(world: World) {
    ends(&world, &start("tv", "one", 1), &[]).await;
    ends(&world, &start("tv", "two", 1), &["one"]).await;
    world.pass(TTL - Duration::from_secs(2)).await;
    assert_eq!(world.try_play(&claim("one", 2)).await, "superseded");
    assert!(!world.renew("one").await && !world.terminate("one").await);
    world.release("one").await;
    world.pass(Duration::from_secs(2)).await;
    assert_eq!(world.try_play(&claim("one", 2)).await, "new");
}

async fn beginning_anew_needs_room(world: World) {
    ends(&world, &start("tv", "one", 1), &[]).await;
    ends(&world, &start("tv", "two", 1), &["one"]).await;
    world.release("two").await;
    world.play(&start("pad", "pad", 1)).await;
    assert_eq!(world.try_play(&start("tv", "one", 1)).await, "full");
    assert_eq!(world.try_play(&claim("one", 1)).await, "superseded", "refused changes nothing");
    assert_eq!(world.live().await, "pad");
}

async fn starts_beyond_thirty_a_minute_displace_like_anybodys(world: World) {
    let name = |n: u32| format!("channel {n}");
    for n in 0..30 {
        assert_eq!(world.try_play(&start("tv", &name(n), 2)).await, "new", "{n}");
        world.pass(if n == 0 { Duration::from_secs(20) } else { MS * 500 }).await;
    }
    // What it has passed over makes room as for anybody, what it plays does not.
    ends(&world, &start("tv", "31", 2), &[&name(28)]).await;
    assert_eq!(world.try_play(&start("tv", "32", 2)).await, "full");
    assert_eq!(world.try_play(&start("pad", "pad", 2)).await, "full");
    // A minute after the first there is one more.
    world.pass(Duration::from_secs(26)).await;
    ends(&world, &start("tv", "33", 2), &[&name(29)]).await;
    assert_eq!(world.try_play(&start("tv", "34", 1)).await, "full");
    world.pass(MINUTE).await;
    assert_eq!(world.try_play(&start("tv", "35", 1)).await, "new");
}

async fn who_displaces_nobody_is_refused(world: World) {
    let foreign = |claim: Claim| Claim { displaces: DisplacePolicy::Nobody, ..claim };
    world.play(&start("tv", "one", 2)).await;
    world.pass(MS * 10).await;
    marks(&world, &start("tv", "two", 2), &["one"]).await;
    for replace in [Replace::Nobody, Replace::Oldest, these(&["one"])] {
        let claim = foreign(Claim { replace, ..start("tv", "three", 2) });
        assert_eq!(world.try_play(&claim).await, "full");
    }
    world.declare("two", State::Paused).await;
    world.pass(TTL * 3 / 4).await;
    world.renew("two").await;
    world.pass(TTL / 2).await;
    assert_eq!(world.try_play(&foreign(start("tv", "three", 1))).await, "full");
    // There is room, and nobody is marked for it.
    marks(&world, &foreign(start("tv", "three", 2)), &[]).await;
}

async fn a_login_that_is_counted_displaces_nobody_of_its_own(world: World) {
    let counted = |name: &str| Claim { displaces: DisplacePolicy::Marked, ..start("tv", name, 2) };
    marks(&world, &counted("one"), &[]).await;
    marks(&world, &counted("two"), &[]).await;
    assert_eq!(world.try_play(&counted("three")).await, "full");
}

async fn a_reusable_id_is_superseded_like_any_other(world: World) {
    let own = |claim: Claim| Claim { reusable: true, ..claim };
    world.play(&own(start("tv", "login", 1))).await;
    world.pass(MS * 10).await;
    ends(&world, &start("tv", "playback", 1), &["login"]).await;
    let media = own(of("tv", claim("login", 1)));
    assert_eq!(world.try_play(&media).await, "superseded");
    let pressed = Claim { explicit_start: true, ..media.clone() };
    assert_eq!(world.try_play(&pressed).await, "superseded");
    ends(&world, &own(start("tv", "login", 1)), &["playback"]).await;
    assert_eq!(world.try_play(&media).await, "held");
}

async fn what_was_superseded_pushes_no_other_ending_out(mut world: World) {
    world.timing = Timing::of(Duration::from_secs(600)).unwrap();
    world.timing = world.timing.with_tombstone(Duration::from_secs(600)).unwrap();
    for name in ["terminated", "released"] {
        world.play(&claim(name, 2)).await;
        match name {
            "released" => world.release(name).await,
            _ => assert!(world.terminate(name).await),
        }
    }
    for n in 0..1100 {
        let login = format!("login {}", n / 25);
        let name = format!("channel {n}");
        world.play(&start(&login, &name, 2)).await;
        if n % 25 == 24 {
            world.release(&name).await;
        }
    }
    assert_eq!(world.try_play(&claim("terminated", 2)).await, "terminated");
}

async fn i15_a_start_that_failed_holds_nothing(world: World) {
    let first = version(&world, &world.play(&start("tv", "one", 1)).await);
    assert!(gives_back(&world, "one", first).await);
    assert_eq!(world.live().await, "");
    assert_eq!(world.try_play(&start("pad", "pad", 1)).await, "new");
    assert!(!gives_back(&world, "one", first).await, "once is enough");
    assert!(!world.terminate("one").await, "nothing is left of it");
    assert_eq!(world.live().await, "pad");
}

async fn i15_nobody_plays_beside_a_failed_start(world: World) {
    for case in ["a request", "a node", "a renewal", "a version", "a new start"] {
        let claim = of("tv", claim(case, 9));
        let mut first = version(&world, &world.play(&claim).await);
        world.pass(Duration::from_secs(2)).await;
        match case {
            "a request" => assert!(world.play(&claim).await.first.is_none()),
            "a node" => drop(world.play(&Claim { by: ClaimSource::Node, ..claim }).await),
            "a renewal" => assert!(world.renew(case).await),
            "a version" => first += 1,
            _ => {
                assert!(gives_back(&world, case, first).await);
                world.pass(MS).await;
                assert!(world.play(&claim).await.first.is_some());
            }
        }
        assert!(!gives_back(&world, case, first).await, "{case}");
        assert!(world.live().await.contains(case), "{case}");
    }
}

async fn a_failed_start_may_begin_again_at_once(world: World) {
    for n in 0..5 {
        let admitted = world.play(&start("tv", "one", 1)).await;
        assert!(admitted.is_new, "{n}");
        assert!(gives_back(&world, "one", version(&world, &admitted)).await, "{n}");
        world.pass(Duration::from_secs(1)).await;
    }
    assert_eq!(world.try_play(&claim("one", 1)).await, "new", "by any request");
}

async fn the_first_behind_a_reservation_decides(world: World) {
    let reserved = world.play(&tried("tv", "one", "/a", ClaimSource::Reservation)).await;
    assert!(reserved.is_new && reserved.first.is_none());
    world.pass(MS * 10).await;
    let behind = of("tv", claim("one", 3));
    let first = world.play(&behind).await;
    assert!(!first.is_new);
    assert!(gives_back(&world, "one", version(&world, &first)).await);
    assert_eq!(world.live().await, "");
    // The address behind the reservation may be asked again as well.
    let again = world.play(&behind).await;
    assert!(again.is_new);
    let again = version(&world, &again);
    world.pass(MS * 10).await;
    assert!(world.play(&behind).await.first.is_none());
    assert!(!gives_back(&world, "one", again).await);
}

async fn a_retry_is_given_the_same_id(world: World) {
    let ask = |name: &str, path: &str| tried("tv", name, path, ClaimSource::Reservation);
    let first = world.play(&ask("one", "/a")).await;
    assert_eq!(first.id, id("one"));
    world.pass(Duration::from_secs(1)).await;
    // What has not failed is not retried: that is another player.
    assert_eq!(world.play(&ask("two", "/a")).await.id, id("two"));
    world.release("two").await;
    let first = world.play(&ask("one", "/a")).await;
    let born = world.beginning(first.born_at.unwrap());
    // Another path and another login are others.
    assert_eq!(world.play(&ask("three", "/b")).await.id, id("three"));
    let other = tried("pad", "four", "/a", ClaimSource::Reservation);
    assert_eq!(world.play(&other).await.id, id("four"));
    world.release("three").await;
    world.release("four").await;
    // It failed, and again, and is still the same.
    for n in 0..3 {
        let opened = world.play(&of("tv", claim("one", 3))).await;
        assert!(gives_back(&world, "one", version(&world, &opened)).await, "{n}");
        world.pass(TTL - Duration::from_secs(2)).await;
        let next = world.play(&ask(&format!("next {n}"), "/a")).await;
        assert_eq!((next.id, world.beginning(next.born_at.unwrap())), (id("one"), born), "{n}");
        assert_eq!(world.live_of("alice").await.len(), 1, "{n}");
        world.pass(Duration::from_secs(1)).await;
    }
    // Not for ever.
    world.pass(TTL).await;
    assert_eq!(world.play(&ask("late", "/a")).await.id, id("late"));
}

async fn a_start_that_fails_late_is_retried_for_a_ttl_from_then(world: World) {
    let ask = |name: &str| tried("tv", name, "/a", ClaimSource::Reservation);
    world.play(&ask("one")).await;
    world.pass(TTL / 4 * 3).await;
    let opened = world.play(&of("tv", claim("one", 3))).await;
    assert!(gives_back(&world, "one", version(&world, &opened)).await);
    world.pass(TTL / 2).await;
    assert_eq!(world.play(&ask("next")).await.id, id("one"), "the reservation's own ttl is over");
}

async fn a_playback_that_went_well_is_not_retried(world: World) {
    let ask = |name: &str, by| tried("tv", name, "/a", by);
    world.play(&ask("one", ClaimSource::Reservation)).await;
    world.play(&of("tv", claim("one", 3))).await;
    assert_eq!(
        world.play(&ask("two", ClaimSource::Reservation)).await.id,
        id("two"),
        "a second tab"
    );
    assert!(world.terminate("two").await);
    assert_eq!(world.play(&ask("three", ClaimSource::Reservation)).await.id, id("three"));
    // Where the answer itself brings the id, likewise.
    let shown = world.play(&ask("four", ClaimSource::Request)).await;
    assert_eq!(shown.id, id("four"));
    assert!(gives_back(&world, "four", version(&world, &shown)).await);
    let shown = world.play(&ask("five", ClaimSource::Request)).await;
    assert_eq!((shown.id, shown.is_new), (id("four"), true));
    world.pass(MS * 10).await;
    assert_eq!(world.play(&ask("six", ClaimSource::Request)).await.id, id("six"));
}

async fn is_abandoned(world: &World, name: &str, by: ClaimSource) -> bool {
    let attempt = Attempt::Unanswered(by);
    world.store.give_back(&holder("alice"), &id(name), attempt).await.unwrap()
}

async fn a_start_without_an_answer_leaves_no_ghost(world: World) {
    for (by, name, other) in
        [(ClaimSource::Reservation, "one", "pad"), (ClaimSource::Request, "two", "pc")]
    {
        world.play(&Claim { limit: 1, ..tried("tv", name, name, by) }).await;
        assert!(is_abandoned(&world, name, by).await);
        assert_eq!(world.live().await, "");
        assert!(!is_abandoned(&world, name, by).await, "there is nothing left to give back");
        assert_eq!(world.try_play(&claim(other, 1)).await, "new");
        world.release(other).await;
        assert_eq!(world.try_play(&claim(name, 1)).await, "new", "and it has not ended");
        world.release(name).await;
    }
    assert!(!is_abandoned(&world, "never", ClaimSource::Reservation).await);
}

async fn who_plays_is_no_ghost(world: World) {
    world.play(&tried("tv", "one", "/a", ClaimSource::Reservation)).await;
    assert!(!is_abandoned(&world, "one", ClaimSource::Request).await, "it was let pass nothing");
    world.play(&of("tv", claim("one", 3))).await;
    assert!(!is_abandoned(&world, "one", ClaimSource::Reservation).await);
    world.play(&of("tv", claim("one", 3))).await;
    for by in [ClaimSource::Reservation, ClaimSource::Request] {
        assert!(!is_abandoned(&world, "one", by).await);
    }
    assert!(world.terminate("one").await);
    assert!(!is_abandoned(&world, "one", ClaimSource::Reservation).await);
    assert_eq!(world.try_play(&claim("one", 3)).await, "terminated");
}
