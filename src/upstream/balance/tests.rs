use super::*;
use crate::upstream::tests::compile;
use crate::upstream::{Pool, RequestClass, Upstream};
use std::sync::Arc;

const SEED: u64 = 12;

/// An upstream with so many endpoints, the first of which has this `weight`.
fn upstream(number: u16, weight: u32, balance: &str) -> Upstream {
    let mut all: Vec<String> = (1..=number).map(|i| format!("'10.0.0.{i}:80'")).collect();
    all[0] = format!("'10.0.0.1:80 weight={weight}'");
    let yaml = format!("{{ endpoints: [{}], balance: {balance} }}", all.join(", "));
    compile(&yaml).expect("good")
}

/// What each endpoint gets of requests with these keys, whose seeds are from `SEED` on.
fn shares_of(pool: &Pool, balance: &str, keys: impl Iterator<Item = Option<u64>>) -> Vec<usize> {
    let balance = policy(balance).build(&pool.endpoints);
    let mut got = vec![0; pool.endpoints.len()];
    for (seed, key) in (SEED..).zip(keys) {
        got[pick(&*balance, pool, seed, key)] += 1;
    }
    got
}

fn pick(balance: &dyn Balance, pool: &Pool, seed: u64, key: Option<u64>) -> usize {
    let draw = Draw::new(seed);
    let mut ask = ask(&[], 0, key, draw);
    balance.pick(&pool.endpoints, &mut ask).expect("all are well")
}

fn ask(tried: &[usize], first: usize, key: Option<u64>, draw: Draw) -> Ask<'_> {
    Ask { tried, first, key, in_flight_max: None, wanted: Wanted::Warm, draw }
}

fn policy(balance: &str) -> Config {
    match balance {
        "least_in_flight" => Config::LeastInFlight,
        "sticky" => Config::Sticky(sticky::Config {
            cookie: At::unwritten(Text("at".to_owned())),
            secret: None,
            path: At::unwritten(Text("/".to_owned())),
            same_site: crate::units::SameSite::Lax,
        }),
        _ => Config::Hash(hash::Config {
            by: At::unwritten(HashKey::Account),
            bound: At::unwritten(crate::units::Share::percent(125)),
        }),
    }
}

#[test]
fn idle_endpoints_are_drawn_by_weight() {
    let pool = upstream(3, 2, "least_in_flight").pool();
    let got = shares_of(&pool, "least_in_flight", (0..40_000).map(|_| None));
    for (share, expected) in got.iter().zip([20_000, 10_000, 10_000]) {
        assert!(share.abs_diff(expected) < 500, "{got:?}");
    }
}

#[test]
fn of_two_the_less_busy_one_is_asked() {
    let pool = upstream(2, 1, "least_in_flight").pool();
    pool.endpoints[0].load.enter();
    let got = shares_of(&pool, "least_in_flight", (0..1_000).map(|_| None));
    assert_eq!(got, [0, 1_000]);
    // With three times the weight two are less than one.
    let pool = upstream(2, 3, "least_in_flight").pool();
    pool.endpoints[0].load.enter();
    pool.endpoints[0].load.enter();
    pool.endpoints[1].load.enter();
    let got = shares_of(&pool, "least_in_flight", (0..1_000).map(|_| None));
    assert_eq!(got, [1_000, 0]);
}

/// Each request stays under way for ten times as long at the first endpoint.
#[test]
fn a_slow_endpoint_gets_less() {
    let pool = upstream(3, 1, "least_in_flight").pool();
    let balance = Config::LeastInFlight.build(&pool.endpoints);
    let (mut under_way, mut got) = (Vec::new(), [0; 3]);
    for at in 0..30_000_u64 {
        under_way.retain(|&(index, end): &(usize, u64)| {
            let is_over = end <= at;
            if is_over {
                pool.endpoints[index].load.leave();
            }
            !is_over
        });
        let index = pick(&*balance, &pool, SEED + at, None);
        pool.endpoints[index].load.enter();
        got[index] += 1;
        under_way.push((index, at + if index == 0 { 300 } else { 30 }));
    }
    assert!(got[0] * 5 < got[1] && got[0] * 5 < got[2], "{got:?}");
}

#[test]
fn what_belongs_together_stays_together_and_shares_are_even() {
    let pool = upstream(4, 1, "round_robin").pool();
    let keys = || (0..20_000_u64).map(|key| Some(HashKey::of(&key.to_be_bytes())));
    let got = shares_of(&pool, "hash", keys());
    assert!(got.iter().all(|share| share.abs_diff(5_000) < 1_000), "{got:?}");
    let balance = policy("hash").build(&pool.endpoints);
    for key in keys().take(1_000) {
        let first = pick(&*balance, &pool, 1, key);
        assert_eq!(pick(&*balance, &pool, 2, key), first);
    }
}

#[test]
fn when_an_endpoint_goes_only_its_own_requests_move() {
    let (four, three) =
        (upstream(4, 1, "round_robin").pool(), upstream(3, 1, "round_robin").pool());
    let [before, after] = [&four, &three].map(|pool| policy("hash").build(&pool.endpoints));
    let mut moved = 0;
    for key in (0..10_000_u64).map(|key| Some(HashKey::of(&key.to_be_bytes()))) {
        let (was, is) = (pick(&*before, &four, 1, key), pick(&*after, &three, 1, key));
        assert!(was == is || was == 3, "{was} {is}");
        moved += usize::from(was == 3);
    }
    assert!((2_000..3_000).contains(&moved), "{moved}");
}

/// One key takes all, as a stream does that everybody watches.
#[test]
fn nobody_has_more_than_the_bound_of_the_mean() {
    let pool = upstream(4, 1, "round_robin").pool();
    let balance = policy("hash").build(&pool.endpoints);
    for n in 1..=1_000_u64 {
        let index = pick(&*balance, &pool, SEED, Some(7));
        pool.endpoints[index].load.enter();
        let most = pool.endpoints.iter().map(|it| it.load.in_flight()).max().expect("four");
        assert!(u64::from(most) <= (n * 125).div_ceil(400), "{most} of {n}");
    }
}

#[test]
fn without_a_key_the_least_busy_is_asked() {
    let pool = upstream(3, 1, "round_robin").pool();
    for index in [0, 2] {
        pool.endpoints[index].load.enter();
    }
    assert_eq!(shares_of(&pool, "hash", (0..100).map(|_| None)), [0, 100, 0]);
}

#[test]
fn one_that_is_unwell_or_was_tried_is_not_drawn() {
    for balance in ["least_in_flight", "hash"] {
        let pool = upstream(3, 1, "round_robin").pool();
        let built = policy(balance).build(&pool.endpoints);
        pool.endpoints[1].health.mark(false);
        for seed in 0..1_000 {
            let draw = Draw::new(seed);
            // The group begins at the fifth of its pool, so its first is the one that was tried.
            let key = Some(seed);
            let mut ask = ask(&[5], 5, key, draw);
            assert_eq!(built.pick(&pool.endpoints, &mut ask), Some(2), "{balance}");
            (ask.tried, ask.draw) = (&[5, 7], Draw::new(seed));
            assert_eq!(built.pick(&pool.endpoints, &mut ask), None, "{balance}");
        }
    }
}

/// The value of the cookie that leads to this endpoint.
fn value(balance: &dyn Balance, index: usize) -> String {
    let cookie = balance.cookie(index, None, true).expect("a cookie");
    let text = cookie.to_str().expect("a text").to_owned();
    text["at=".len()..text.find(';').expect("attributes")].to_owned()
}

#[test]
fn a_cookie_leads_to_its_endpoint_as_long_as_that_may_be_asked() {
    let pool = upstream(3, 1, "round_robin").pool();
    let balance = policy("sticky").build(&pool.endpoints);
    for index in 0..3 {
        let key = Some(HashKey::of(value(&*balance, index).as_bytes()));
        assert!((0..100).all(|seed| pick(&*balance, &pool, seed, key) == index));
        assert_eq!(balance.cookie(index, key, true), None, "it has it");
    }
    let key = Some(HashKey::of(value(&*balance, 1).as_bytes()));
    // One that warms up keeps those that it has.
    pool.endpoints[1].health.warms_up_for(std::time::Duration::from_secs(60));
    pool.endpoints[1].health.warm_up();
    assert!((0..100).all(|seed| pick(&*balance, &pool, seed, key) == 1));
    pool.endpoints[1].health.mark(false);
    assert!((0..100).all(|seed| pick(&*balance, &pool, seed, key) != 1));
    assert_eq!(shares_of(&pool, "sticky", (0..100).map(|_| None))[1], 0);
}

#[test]
fn the_default_looks_at_what_is_under_way() {
    let upstream =
        Arc::new(compile("{ endpoints: ['10.0.0.1:80', '10.0.0.2:80'] }").expect("good"));
    let mut first = upstream.attempt(|| RequestClass::Other, |_| None).expect("room");
    let address = first.next_peer().map(|_| first.endpoint().expect("asked").1);
    for _ in 0..100 {
        let mut next = upstream.attempt(|| RequestClass::Other, |_| None).expect("room");
        next.next_peer().expect("a peer");
        assert_ne!(next.endpoint().map(|(_, address)| address), address);
    }
    drop(first);
    let pool = upstream.pool();
    assert!(pool.endpoints.iter().all(|it| it.load.in_flight() == 0), "all is given back");
}
