use super::*;
use crate::yaml::{Entries, Environment, parse};
use std::net::{Ipv4Addr, SocketAddr};

pub(in crate::upstream) fn compile(yaml: &str) -> Result<Upstream, Vec<Problem>> {
    let file = format!("u: {yaml}\n");
    let all: Entries<Config> = parse(&file, &Environment::default())?;
    let (name, config) = all.iter().next().expect("one upstream");
    Upstream::compile(name, config, Path::new(""))
}

fn picks(upstream: &Upstream, n: usize) -> Vec<usize> {
    (0..n).map(|_| upstream.pool().pick(&[], None).expect("an endpoint")).collect()
}

#[test]
fn weights_are_spread_smoothly() {
    let upstream =
        compile("{ endpoints: ['127.0.0.1:1 weight=3', '127.0.0.1:2'], balance: round_robin }");
    assert_eq!(picks(&upstream.expect("good"), 8), [0, 0, 1, 0, 0, 0, 1, 0]);
}

#[test]
fn what_was_tried_or_is_unwell_is_passed_over() {
    let three = "endpoints: ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3']";
    let all = compile(&format!("{{ {three}, balance: round_robin }}"));
    let all = all.expect("good");
    all.pool().endpoints[0].health.mark(false);
    assert!(!picks(&all, 6).contains(&0));
    assert_eq!(all.pool().pick(&[0, 1], None), Some(2));
    assert_eq!(all.pool().pick(&[0, 1, 2], None), None);
    all.pool().endpoints[1].health.mark(false);
    all.pool().endpoints[2].health.mark(false);
    let mut taken = picks(&all, 3);
    taken.sort_unstable();
    assert_eq!(taken, [0, 1, 2], "when none is well, all are tried");
}

#[tokio::test(start_paused = true)]
async fn one_that_took_no_connection_is_passed_over_for_a_while() {
    let both = "endpoints: ['127.0.0.1:1', '127.0.0.1:2'], balance: round_robin";
    let both = compile(&format!("{{ {both} }}")).expect("good");
    both.pool().endpoints[0].health.avoid();
    assert_eq!(picks(&both, 4), [1, 1, 1, 1]);
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    assert_eq!(picks(&both, 4), [0, 1, 0, 1]);
    both.pool().endpoints[0].health.avoid();
    both.pool().endpoints[1].health.avoid();
    assert_eq!(picks(&both, 4), [0, 1, 0, 1], "when all are, none is");
    assert_eq!(both.pool().pick(&[0], None), Some(1), "a second try");
    assert_eq!(picks(&both, 2), [0, 1], "which takes nobody's turn");
}

#[test]
fn checks_keep_no_step_with_those_of_other_gateways() {
    let checked = compile("{ endpoints: ['127.0.0.1:1'], health: { path: /, interval: 10s } }");
    let probes = Probe::all(&[Arc::new(checked.expect("good"))]);
    let pauses: Vec<_> = (0..100).map(|_| probes[0].pause().as_secs_f64()).collect();
    assert!(pauses.iter().all(|pause| (9.0..=11.0).contains(pause)), "{pauses:?}");
    let is_spread = pauses.iter().any(|pause| *pause < 9.8) && pauses.iter().any(|p| 10.2 < *p);
    assert!(is_spread, "{pauses:?}");
}

#[test]
fn hosts_are_named_without_a_zone() {
    let zoned = compile("{ endpoints: ['[fe80::1%2]:80', '127.0.0.1:80'] }").expect("good");
    let pool = zoned.pool();
    let hosts: Vec<&str> = pool.endpoints.iter().map(|endpoint| &*endpoint.host).collect();
    assert_eq!(hosts, ["[fe80::1]:80", "127.0.0.1:80"]);
    assert_eq!(pool.endpoints[0].address.to_string(), "[fe80::1%2]:80");
}

/// Asks until the endpoint with this port was asked so often, each time with this end.
fn ask_until(upstream: &Arc<Upstream>, port: u16, times: usize, end: impl Fn(&mut Attempt)) {
    let mut asked = 0;
    while asked < times {
        let mut attempt = upstream.attempt(|| RequestClass::Other, |_| None).expect("room");
        attempt.next_peer().expect("a peer");
        match attempt.endpoint().expect("asked").1.port() {
            met if met == port => {
                end(&mut attempt);
                asked += 1;
            }
            _ => assert!(attempt.answered(200).is_some()),
        }
    }
}

/// How many of so many requests the endpoint with this port gets.
fn share_of(upstream: &Arc<Upstream>, port: u16, requests: usize) -> usize {
    let mut got = 0;
    for _ in 0..requests {
        let mut attempt = upstream.attempt(|| RequestClass::Other, |_| None).expect("room");
        attempt.next_peer().expect("a peer");
        got += usize::from(attempt.endpoint().expect("asked").1.port() == port);
        assert!(attempt.answered(200).is_some());
    }
    got
}

const THREE: &str = "endpoints: ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3']";

#[tokio::test(start_paused = true)]
async fn an_ejected_endpoint_comes_back_little_by_little() {
    let fields = format!("{{ {THREE}, slow_start: 20s }}");
    let three = Arc::new(compile(&fields).expect("good"));
    assert!(share_of(&three, 1, 300) > 50, "at the start all are alike");
    let mut heard = three.take_ejections().expect("nobody listens yet");
    let fail = |attempt: &mut Attempt| {
        assert!(attempt.gave_nothing("no valid answer"));
    };
    ask_until(&three, 1, 5, fail);
    assert_eq!(share_of(&three, 1, 300), 0);
    let told = heard.try_recv().expect("it was told");
    assert_eq!((told.endpoint.port(), told.why), (1, EjectReason::Failures));
    tokio::time::advance(told.time).await;
    let cold = share_of(&three, 1, 3_000);
    assert!((30..300).contains(&cold), "a tenth of a third: {cold}");
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    let half = share_of(&three, 1, 3_000);
    assert!((450..750).contains(&half), "half of its weight beside two: {half}");
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    let whole = share_of(&three, 1, 3_000);
    assert!((850..1_150).contains(&whole), "{whole}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_whose_answers_are_late_is_ejected() {
    for (slower, expected) in [("", 0), ("slower: 4", 1)] {
        let fields = format!("{{ {THREE}, eject: {{ {slower} }} }}");
        let three = Arc::new(compile(&fields).expect("good"));
        let mut heard = three.take_ejections().expect("nobody listens yet");
        // The others answer in 20 ms.
        for round in 0..200 {
            let mut attempt = three.attempt(|| RequestClass::Other, |_| None).expect("room");
            attempt.next_peer().expect("a peer");
            let is_slow = attempt.endpoint().expect("asked").1.port() == 2;
            let ms = if is_slow && 60 < round { 520 } else { 20 };
            tokio::time::advance(std::time::Duration::from_millis(ms)).await;
            attempt.answered(200);
        }
        let told: Vec<Ejection> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
        assert_eq!(told.len(), expected, "{slower} {told:?}");
        let is_it = |it: &Ejection| it.endpoint.port() == 2 && it.why == EjectReason::Slow;
        assert!(told.iter().all(is_it), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_configuration_knows_who_is_ejected_and_what_is_under_way() {
    let before = Arc::new(compile(&format!("{{ {THREE} }}")).expect("good"));
    ask_until(&before, 3, 5, |attempt| assert!(attempt.gave_nothing("no valid answer")));
    let mut under_way = before.attempt(|| RequestClass::Other, |_| None).expect("room");
    under_way.next_peer().expect("a peer");
    let mut after = compile(&format!("{{ {THREE}, retries: {{ tries: 3 }} }}")).expect("good");
    after.take_over(&before);
    let pool = after.pool();
    let ejected: Vec<bool> = pool.endpoints.iter().map(|it| it.health.is_ejected()).collect();
    assert_eq!(ejected, [false, false, true]);
    let in_flight = || pool.endpoints.iter().map(|it| it.load.in_flight()).sum::<u32>();
    assert_eq!(in_flight(), 1);
    drop(under_way);
    assert_eq!(in_flight(), 0);
}

/// `priority=1` is what those have that say nothing.
#[test]
fn endpoints_of_a_lower_priority_wait_until_no_other_is_well() {
    let all = "'127.0.0.1:1 priority=2 weight=5', '127.0.0.1:2', '127.0.0.1:3 weight=2 priority=1'";
    let all = compile(&format!("{{ endpoints: [{all}] }}")).expect("good");
    let pool = all.pool();
    let port = |index: usize| pool.endpoints[index].address.port();
    let asked = |tried: &[usize]| {
        let picks = (0..200).filter_map(|_| pool.pick(tried, None).map(port));
        let mut ports: Vec<u16> = picks.collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    };
    assert_eq!(asked(&[]), [2, 3]);
    assert_eq!(asked(&[0, 1]), [1], "a second try goes on to them");
    pool.endpoints[0].health.mark(false);
    assert_eq!(asked(&[]), [3]);
    pool.endpoints[1].health.mark(false);
    assert_eq!(asked(&[]), [1]);
    pool.endpoints[2].health.mark(false);
    assert_eq!(asked(&[]), [2, 3], "when none is well, the best priority counts");
}

/// One that is unwell gets nothing because the others are full; those of another priority do.
#[test]
fn full_endpoints_are_passed_over() {
    let bound = "in_flight: { per_endpoint: 1 }";
    let both = compile(&format!("{{ endpoints: ['127.0.0.1:1', '127.0.0.1:2'], {bound} }}"));
    let pool = both.expect("good").pool();
    pool.endpoints[1].health.mark(false);
    assert_eq!(pool.enter(&[], None), Some(0));
    assert_eq!(pool.enter(&[], None), None);
    // When none is well, all are taken to be: as far as they have room.
    pool.endpoints[0].health.mark(false);
    assert_eq!((pool.enter(&[], None), pool.enter(&[], None)), (Some(1), None));
    let far = "endpoints: ['127.0.0.1:1 priority=2', '127.0.0.1:2']";
    let pool = compile(&format!("{{ {far}, {bound} }}")).expect("good").pool();
    let entered: Vec<_> = (0..3).map(|_| pool.enter(&[], None)).collect();
    assert_eq!(entered, [Some(0), Some(1), None], "the best first");
}

/// As many addresses as nobody means, all from names.
#[test]
fn endpoints_beyond_their_bound_are_counted() {
    let named = compile("{ endpoints: ['a:1'] }").expect("good");
    let found = |n: u32| Found::at(SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + n), 80)));
    let found: Vec<Found> = (0..1_003).map(found).collect();
    let written = &named.written[0];
    let pool = named.mould.pool(found.iter().map(|found| (written, found)), None);
    assert_eq!((pool.endpoints.len(), pool.surplus), (1_000, 3));
}

#[test]
fn misfits_say_what_would_be_right() {
    for (yaml, says) in [
        ("{ endpoints: [] }", "has no endpoints"),
        ("{ endpoints: [':1'] }", "`:1` is not an endpoint"),
        ("{ endpoints: ['https://a.example'] }", "is a URL, and an endpoint is a server"),
        ("{ endpoints: ['a:1', 'A:1'] }", "twice"),
        ("{ endpoints: ['a:1'], health: { path: healthz } }", "`healthz` is not the path"),
        ("{ endpoints: ['a:1'], health: { interval: 1s } }", "asks nothing"),
        ("{ endpoints: ['a:1'], health: { tcp: false } }", "asks nothing"),
        ("{ endpoints: ['a:1'], health: { tcp: true, path: / } }", "asks one question"),
        ("{ endpoints: ['a:1'], health: { grpc: '' } }", "is spoken over HTTP/2"),
        ("{ endpoints: ['a:1'], in_flight: { adaptive: { min: 5 } } }", "there is none"),
        ("{ endpoints: ['a:1'], in_flight: { max: 5, adaptive: {} } }", "more than the most"),
        (
            "{ endpoints: ['a:1'], in_flight: { max: 50, adaptive: { tolerance: 90% } } }",
            "have to be faster",
        ),
        ("{ endpoints: ['127.0.0.1:1 weight=0'] }", "no valid weight"),
        ("{ endpoints: ['127.0.0.1:1 weight=2 weight=3'] }", "no valid weight"),
        ("{ endpoints: ['127.0.0.1:1 priority=-1'] }", "no valid priority"),
        ("{ endpoints: ['127.0.0.1:1 backup'] }", "is not an endpoint"),
        ("{ endpoints: ['a:1'], balance: { hash: { by: { header: 'a b' } } } }", "no name of a"),
        ("{ endpoints: ['a:1'], balance: { hash: { by: path, bound: 90% } } }", "the mean"),
        ("{ endpoints: ['a:1'], balance: { sticky: { cookie: 'a b', secret: x } } }", "name of a"),
        (
            "{ endpoints: ['a:1'], balance: { sticky: { cookie: at, secret: f4b1c0a97d3e } } }",
            "needs 32 bytes",
        ),
        ("{ endpoints: ['127.0.0.1:1', '127.0.0.1:1'] }", "twice"),
        ("{ endpoints: ['127.0.0.1:1 weight=2000'] }", "add up to 2000"),
    ] {
        let problems = compile(yaml).expect_err(yaml);
        assert!(problems[0].text.contains(says), "{}", problems[0].text);
    }
}
