use super::*;

const BAD: Outcome = Outcome::Failed("no valid answer");
const GOOD: Outcome = Outcome::Answered(200);

fn state(breaker: &Breaker) -> BreakerState {
    breaker.state().0
}

/// Whether a request is let through while endpoints are left; what comes of it is entered.
fn asks(breaker: &Breaker, outcome: Outcome) -> bool {
    let permit = breaker.admit(|| true);
    if let Ok(permit) = &permit {
        breaker.enter(permit, outcome);
    }
    permit.is_ok()
}

fn opened() -> Breaker {
    let breaker = Breaker::new(Config::default());
    (0..20).for_each(|_| assert!(asks(&breaker, BAD)));
    assert_eq!(state(&breaker), BreakerState::Open);
    breaker
}

#[tokio::test(start_paused = true)]
async fn half_of_twenty_failures_open_it() {
    for (good, bad, expected) in
        [(11, 9, BreakerState::Closed), (10, 10, BreakerState::Open), (0, 19, BreakerState::Closed)]
    {
        let breaker = Breaker::new(Config::default());
        (0..good).for_each(|_| assert!(asks(&breaker, GOOD)));
        (0..bad).for_each(|_| assert!(asks(&breaker, BAD)));
        assert_eq!(state(&breaker), expected, "{good} {bad}");
    }
    // Who goes away says nothing, and failures of ten seconds ago are not counted.
    let breaker = Breaker::new(Config::default());
    (0..100).for_each(|_| assert!(asks(&breaker, Outcome::Abandoned)));
    (0..19).for_each(|_| assert!(asks(&breaker, BAD)));
    tokio::time::advance(Duration::from_secs(10)).await;
    (0..19).for_each(|_| assert!(asks(&breaker, BAD)));
    assert_eq!(state(&breaker), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_a_failure_and_no_further_request() {
    let breaker = Breaker::new(Config::default());
    for n in 1..=20 {
        assert_eq!(state(&breaker), BreakerState::Closed, "{n}");
        assert!(asks(&breaker, GOOD));
        breaker.broke_off();
    }
    assert_eq!(state(&breaker), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn open_it_lets_nothing_through_and_then_so_many_at_once() {
    let breaker = opened();
    assert_eq!(breaker.admit(|| true).err(), Some(Duration::from_secs(5)));
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(breaker.admit(|| true).err(), Some(Duration::from_secs(2)));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(state(&breaker), BreakerState::HalfOpen);
    let probes: Vec<Permit> = (0..3).map(|_| breaker.admit(|| true).expect("a probe")).collect();
    assert!(!asks(&breaker, GOOD), "three at once");
    // One whose client went away makes room for another one.
    breaker.enter(&probes[0], Outcome::Abandoned);
    let other = breaker.admit(|| true).expect("room again");
    for probe in [&probes[1], &other] {
        breaker.enter(probe, GOOD);
        assert!(!asks(&breaker, GOOD), "three in all");
    }
    breaker.enter(&probes[2], Outcome::Answered(404));
    assert_eq!(state(&breaker), BreakerState::Closed);
    // What failed before counts no more.
    (0..19).for_each(|_| assert!(asks(&breaker, BAD)));
    assert_eq!(state(&breaker), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn one_probe_that_fails_opens_it_again() {
    let breaker = opened();
    tokio::time::advance(Duration::from_secs(5)).await;
    let [first, second] = [0, 1].map(|_| breaker.admit(|| true).expect("a probe"));
    breaker.enter(&first, BAD);
    let why = breaker.state().1.map(|(why, left)| (why, left.as_secs()));
    assert_eq!(why, Some((BreakerReason::Probe, 5)));
    // A probe from before comes too late, for good or bad.
    tokio::time::advance(Duration::from_secs(5)).await;
    breaker.enter(&second, BAD);
    assert_eq!(state(&breaker), BreakerState::HalfOpen);
    let mut heard = breaker.take_changes().expect("nobody listens yet");
    let told = std::iter::from_fn(|| heard.try_recv().ok());
    let time = Duration::from_secs(5);
    let expected =
        [BreakerReason::Ratio, BreakerReason::Probe].map(|why| BreakerChange::Opened(why, time));
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[tokio::test(start_paused = true)]
async fn without_an_endpoint_it_opens_until_probes_say_otherwise() {
    let breaker = Breaker::new(Config::default());
    assert_eq!(breaker.admit(|| false).err(), Some(Duration::from_secs(5)));
    assert_eq!(breaker.state().1.map(|(why, _)| why), Some(BreakerReason::Endpoints));
    tokio::time::advance(Duration::from_secs(5)).await;
    for _ in 0..3 {
        let probe = breaker.admit(|| false).expect("a probe");
        breaker.enter(&probe, GOOD);
    }
    // They answer, so it is the checks that are wrong.
    (0..10).for_each(|_| assert!(breaker.admit(|| false).is_ok()));
    // Once an endpoint was there, it is believed again that none is.
    assert!(asks(&breaker, GOOD));
    assert!(breaker.admit(|| false).is_err());
}

#[tokio::test(start_paused = true)]
async fn another_configuration_goes_on_where_it_was() {
    let before = opened();
    tokio::time::advance(Duration::from_secs(5)).await;
    let _probe = before.admit(|| true).expect("a probe");
    let after = Breaker::new(Config { probes: Count(1), ..Config::default() });
    after.take_over(&before);
    assert_eq!(state(&after), BreakerState::HalfOpen);
    assert!(asks(&after, GOOD), "the probe of the other one takes no room");
    assert_eq!(state(&after), BreakerState::Closed);
}
