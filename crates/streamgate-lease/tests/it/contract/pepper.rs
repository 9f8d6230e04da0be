//! What every store promises while a pepper is being changed: no lease is lost, none counts twice,
//! in whatever order two gateways have the old and the new one.

use crate::world::{MS, TTL, World, claim, id, these};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;
use streamgate_lease::{Claim, Holder, Pepper, Replace, Slot, State};

promises! {
    three_steps_lose_no_lease_and_no_tombstone
    two_gateways_in_opposite_order_count_as_one
    opposite_orders_do_what_one_name_does
    an_expiry_never_moves_back_between_names
    what_ended_under_either_name_has_ended
}

fn alice(current: u8, also: Option<u8>) -> Holder {
    let pepper = Pepper::new([current; 32]).unwrap();
    let pepper = also.map_or(Ok(pepper.clone()), |also| pepper.with_also([also; 32])).unwrap();
    Holder::of(&pepper, "alice")
}

const OLD: u8 = 1;
const NEW: u8 = 2;

/// As a gateway before the second step sees her, and as one after it does.
fn views() -> [Holder; 2] {
    [alice(OLD, Some(NEW)), alice(NEW, Some(OLD))]
}

fn of(holder: Holder, name: &str, limit: u32) -> Claim {
    Claim { holder, ..claim(name, limit) }
}

async fn live(world: &World, holder: &Holder) -> String {
    let live = world.store.list(holder).await.unwrap();
    live.iter().map(|live| live.about.device().unwrap_or("?")).collect::<Vec<_>>().join(" ")
}

async fn three_steps_lose_no_lease_and_no_tombstone(world: World) {
    let old = alice(OLD, None);
    for name in ["tv", "pad", "dead"] {
        world.play(&of(old, name, 3)).await;
        world.pass(MS * 10).await;
    }
    assert!(world.store.terminate(&old, &id("dead"), &world.timing).await.unwrap());
    let steps = [alice(OLD, Some(NEW)), alice(NEW, Some(OLD)), alice(NEW, None)];
    for holder in steps {
        assert_eq!(live(&world, &holder).await, "tv pad");
        assert_eq!(world.try_play(&of(holder, "tv", 2)).await, "held");
        assert_eq!(world.try_play(&of(holder, "pc", 2)).await, "full");
        assert_eq!(world.try_play(&of(holder, "dead", 9)).await, "terminated");
        world.pass(MS * 10).await;
    }
    assert_eq!(live(&world, &old).await, "", "nothing is left behind");
}

async fn two_gateways_in_opposite_order_count_as_one(world: World) {
    let [one, two] = views();
    assert_eq!(world.try_play(&of(one, "tv", 2)).await, "new");
    world.pass(MS * 10).await;
    assert_eq!(world.try_play(&of(two, "pad", 2)).await, "new");
    for holder in [one, two, one] {
        assert_eq!(world.try_play(&of(holder, "pc", 2)).await, "full");
        assert_eq!(live(&world, &holder).await, "tv pad");
        assert_eq!(world.try_play(&of(holder, "tv", 2)).await, "held");
    }
    for (holder, name) in [(two, "tv"), (one, "tv"), (one, "pad"), (two, "pad")] {
        world.pass(TTL / 2).await;
        assert!(renew(&world, &holder, name).await, "{name} is renewed under either name");
        for other in ["tv", "pad"] {
            renew(&world, &one, other).await;
        }
    }
    assert_eq!(live(&world, &two).await, "tv pad");
    assert!(world.store.declare(&two, &id("tv"), State::Paused).await.unwrap());
    assert_eq!(world.store.list(&one).await.unwrap()[0].state, State::Paused);
    assert!(world.store.terminate(&one, &id("tv"), &world.timing).await.unwrap());
    world.store.release(&two, &id("pad"), &world.timing).await.unwrap();
    assert_eq!(world.try_play(&of(two, "tv", 2)).await, "terminated");
    assert_eq!(world.try_play(&of(one, "pad", 2)).await, "released");
}

async fn renew(world: &World, holder: &Holder, name: &str) -> bool {
    let slot = Slot {
        holder: *holder,
        id: id(name),
        silent_for: Duration::ZERO,
        keep_keys: true,
        ttl: None,
    };
    world.store.renew(&[slot], &world.timing).await[0].as_ref().unwrap().is_some()
}

/// One thing that happens, in a world with two names and in one with a single name.
async fn step(world: &World, holder: Holder, rng: &mut SmallRng) -> String {
    let names = ["tv", "pad", "pc", "box", "login"];
    let name = names[rng.random_range(0..names.len())];
    let other = names[rng.random_range(0..names.len())];
    let (verb, way, explicit_start) =
        (rng.random_range(0..14), rng.random_range(0..6), rng.random_range(0..5));
    match verb {
        0..6 => {
            let replace = match way {
                0 => Replace::Oldest,
                1 => these(&[other]),
                _ => Replace::Nobody,
            };
            let reusable = name == "login";
            let claim = Claim {
                replace,
                reusable,
                explicit_start: explicit_start == 0,
                ..of(holder, name, 2)
            };
            world.try_play(&claim).await
        }
        6..9 => {
            renew(world, &holder, name).await;
            "renewed".into()
        }
        9 => format!("{:?}", world.store.release(&holder, &id(name), &world.timing).await),
        10 => format!("{:?}", world.store.terminate(&holder, &id(name), &world.timing).await),
        11 => format!("{:?}", world.store.declare(&holder, &id(name), State::Paused).await),
        12 => {
            world.pass(TTL * 5 / 12).await;
            "later".into()
        }
        _ => live(world, &holder).await,
    }
}

/// The same happens at random in two worlds: in one through two gateways that have the peppers in
/// opposite order, in the other without any change of pepper. Nobody can tell them apart.
async fn opposite_orders_do_what_one_name_does(mut world: World) {
    world.timing = world.timing.with_tombstone(TTL * 3).unwrap();
    for seed in 0..4 {
        let mut plain = world.twin().await;
        plain.timing = world.timing;
        world.clear().await;
        let mut rng = SmallRng::seed_from_u64(seed);
        for n in 0..150 {
            let view = views()[rng.random_range(0..2)];
            let chance = SmallRng::seed_from_u64(rng.random());
            let expected = step(&plain, alice(OLD, None), &mut chance.clone()).await;
            let got = step(&world, view, &mut chance.clone()).await;
            assert_eq!(got, expected, "seed {seed}, step {n}");
            let (here, there) = (live(&world, &view).await, live(&plain, &alice(OLD, None)).await);
            assert_eq!(here, there, "seed {seed}, step {n}");
            assert!(here.split_whitespace().count() <= 2, "I1");
            world.lies_under_one_name().await;
            // Nothing happens in the same millisecond, so who came first is never a matter of ids.
            for world in [&world, &plain] {
                world.pass(MS * 20).await;
            }
        }
    }
}

async fn an_expiry_never_moves_back_between_names(world: World) {
    let [one, two] = views();
    world.play(&of(one, "tv", 2)).await;
    for n in 0..6 {
        world.pass(TTL / 4).await;
        let holder = [one, two][n % 2];
        let before = world.store.list(&[two, one][n % 2]).await.unwrap()[0].expires_in;
        let after = world.store.list(&holder).await.unwrap()[0].expires_in;
        assert!(before <= after + Duration::from_secs(2), "{before:?} {after:?}");
        assert!(renew(&world, &holder, "tv").await);
        let renewed = world.store.list(&[two, one][n % 2]).await.unwrap()[0].expires_in;
        assert!(TTL - Duration::from_secs(5) < renewed, "{renewed:?}");
    }
}

/// Gateways that know one name only are not supposed to run beside those that have changed; should
/// it happen, both pairs of keys have something, and the gathering loses nothing of it.
async fn what_ended_under_either_name_has_ended(world: World) {
    let (old, new) = (alice(OLD, None), alice(NEW, None));
    for holder in [old, new] {
        world.play(&of(holder, "tv", 3)).await;
        world.play(&of(holder, "pad", 3)).await;
    }
    world.play(&of(old, "pc", 3)).await;
    world.pass(TTL / 2).await;
    assert!(world.store.terminate(&old, &id("tv"), &world.timing).await.unwrap());
    assert!(world.store.terminate(&new, &id("pad"), &world.timing).await.unwrap());
    renew(&world, &old, "pc").await;
    let [_, two] = views();
    assert_eq!(live(&world, &two).await, "pc");
    assert_eq!(world.try_play(&of(two, "tv", 9)).await, "terminated");
    assert_eq!(world.try_play(&of(two, "pad", 9)).await, "terminated");
    world.pass(TTL * 2 / 3).await;
    assert_eq!(live(&world, &two).await, "pc", "with the later expiry");
    world.lies_under_one_name().await;
}
