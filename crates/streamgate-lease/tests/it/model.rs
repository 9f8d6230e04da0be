//! Random histories against the specification: whatever happens to an account, the memory store and
//! a real Redis answer as `spec` does, and list the same streams afterwards.
//!
//! In memory time is paused and steps are as short as a millisecond, so every boundary is hit. The
//! time of Redis is moved by shifting what it knows, while the real one passes, too; so there all
//! times are multiples of a hundred seconds and of two seconds, which no slow machine makes up for.
//!
//! `MODEL_CASES=10000 cargo test -p streamgate-lease model` tries more. A history that fails is
//! shrunk to the shortest that does, and printed.

mod history;

use crate::before::Before;
use crate::spec::Spec;
use crate::world::{World, id};
use history::{Act, Step, Victims, Wish, Within, histories};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;
use streamgate_lease::{
    About, Admitted, Answer, Attempt, Claim, ClaimSource, ClassLimit, Classes, DisplacePolicy,
    Holder, LeaseId, Live, Pepper, Replace, Slot, State, Tag, Ticket, Timing,
};
use tokio::time::Instant;

pub(crate) const DEVICES: [&str; 6] = ["tv", "pad", "pc", "box", "car", "hall"];
pub(crate) const CLASSES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Of two devices each.
const LOGINS: [&str; 3] = ["living room", "study", "road"];
const PATHS: [&str; 2] = ["/a", "/b"];
const CASES: u32 = 256;
const MEMORY_CASES: u32 = 4096;
/// A history that fails is made shorter for so long.
const SHRINK_MS_MAX: u32 = 10_000;
/// What is known of an expired stream fades in Redis, so a history ends before that.
const HISTORY_MAX: u64 = 9_000_000;
/// Beside what a history has really taken: renewals go by a clock that may lag by a round trip.
const LAG: Duration = Duration::from_millis(60);

/// Milliseconds around every duration of the policy.
const FINE: &[u64] =
    &[0, 0, 1, 999, 1000, 1001, 10_000, 29_999, 30_000, 30_001, 59_999, 60_000, 60_001, 120_000];
const FINE_SILENCES: &[u64] = &[0, 0, 1, 20_000, 59_999, 60_000];
/// A second at least, as no two things happen in Redis in the same millisecond.
const COARSE: &[u64] = &[2000, 2000, 2000, 102_000, 202_000, 402_000, 602_000, 702_000];
/// Half a second off, so that no two signs of life are of the same moment by the specification.
const COARSE_SILENCES: &[u64] = &[0, 0, 100_500, 400_500];
const FINE_TICKETS: &[Within] =
    &[(60_000, 120_000), (-1, 60_000), (0, 30_000), (1, 1), (1, 0), (60_000, 60_000)];
/// Ten seconds off all that may have passed, as claims are on their way for a while.
const COARSE_TICKETS: &[Within] = &[(90_000, 391_000), (90_000, 91_000), (-10_000, 391_000)];

#[test]
fn memory_does_what_the_specification_says() {
    let timing = timing(60, 180, 30, 120);
    let try_one = |steps: &[Step]| {
        let runtime = runtime(true);
        runtime.block_on(async {
            Trial::new(&World::memory(), timing, [30, 120]).await.run(steps).await
        })
    };
    check(MEMORY_CASES, histories(FINE, FINE_SILENCES, FINE_TICKETS), try_one);
}

#[test]
fn redis_does_what_the_specification_says() {
    check_on_redis(false);
}

/// One of the two gateways is of before there were logins. Nobody marks anybody then, and nothing
/// is reserved: what only one of the two knows is not in the specification; `mixed` has it.
#[test]
fn two_versions_on_one_redis_do_what_the_specification_says() {
    check_on_redis(true);
}

fn check_on_redis(is_mixed: bool) {
    let timing = timing(600, 2000, 451, 1200);
    let runtime = runtime(false);
    let world = Cell::new(Some(runtime.block_on(World::redis())));
    let try_one = |steps: &[Step]| {
        let mut here = world.take().unwrap();
        let result = runtime.block_on(async {
            here.clear().await;
            let trial = Trial::new(&here, timing, [300, 300]).await;
            Trial { is_mixed, ..trial }.run(steps).await
        });
        world.set(Some(here));
        result
    };
    check(CASES, histories(COARSE, COARSE_SILENCES, COARSE_TICKETS), try_one);
}

fn timing(ttl: u64, tombstone: u64, idle_after: u64, grandfather: u64) -> Timing {
    let seconds = Duration::from_secs;
    let timing = Timing::of(seconds(ttl)).unwrap().with_tombstone(seconds(tombstone)).unwrap();
    let timing = timing.with_idle_after(seconds(idle_after)).unwrap();
    timing.with_grandfather(seconds(grandfather)).unwrap()
}

fn runtime(start_paused: bool) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(start_paused).build().unwrap()
}

fn check(
    cases: u32,
    histories: impl proptest::strategy::Strategy<Value = Vec<Step>>,
    try_one: impl Fn(&[Step]) -> Result<(), String>,
) {
    let asked = std::env::var("MODEL_CASES").ok().and_then(|text| text.parse().ok());
    let config = Config {
        cases: asked.unwrap_or(cases),
        failure_persistence: None,
        max_shrink_time: SHRINK_MS_MAX,
        ..Config::default()
    };
    let outcome = TestRunner::new(config)
        .run(&histories, |steps| try_one(&steps).map_err(TestCaseError::fail));
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, steps)) => {
            let steps: Vec<_> = steps.iter().map(|step| format!("  {step:?}")).collect();
            panic!("{why}\nafter the history\n{}", steps.join("\n"));
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// One history, in a store and in the specification.
struct Trial<'a> {
    world: &'a World,
    timing: Timing,
    /// What a claim may ask for.
    ttls: [Option<Duration>; 4],
    spec: Spec,
    /// As two gateways see the account that have its peppers in opposite order.
    views: [Holder; 2],
    began: Instant,
    now: u64,
    /// What a start is given back by: its version in the specification, in the store, and how far
    /// the store's time had been moved then.
    firsts: HashMap<LeaseId, (u64, u64, u64)>,
    /// Unix milliseconds of the store when the history began; learned from the first beginning.
    origin: Cell<Option<u64>>,
    is_exact: bool,
    /// The second gateway is of before.
    is_mixed: bool,
    before: Before,
}

impl<'a> Trial<'a> {
    async fn new(world: &'a World, timing: Timing, ttls: [u64; 2]) -> Self {
        let pepper = |current, also| Pepper::new([current; 32])?.with_also([also; 32]);
        let view = |current, also| Holder::of(&pepper(current, also).unwrap(), "alice");
        Self {
            world,
            timing,
            ttls: [None, None, Some(ttls[0]), Some(ttls[1])].map(|it| it.map(Duration::from_secs)),
            spec: Spec::default(),
            views: [view(1, 2), view(2, 1)],
            began: Instant::now(),
            now: world.passed(),
            firsts: HashMap::new(),
            origin: Cell::new(None),
            is_exact: world.server.is_none(),
            is_mixed: false,
            before: Before::new(),
        }
    }

    async fn run(&mut self, steps: &[Step]) -> Result<(), String> {
        let mut passed = 0;
        for step in steps {
            let after = if passed < HISTORY_MAX { step.after } else { 1000 };
            passed += after;
            self.world.pass(Duration::from_millis(after)).await;
            self.now += after;
            let holder = self.views[step.gateway];
            self.act(step.gateway, &holder, &step.act)
                .await
                .map_err(|why| format!("{why}\nat {step:?}"))?;
            let expected = self.spec.list(self.now);
            // Through the other gateway, so that what is listed has been gathered again.
            let listed = self.world.store.list(&self.views[1 - step.gateway]).await.unwrap();
            self.same_streams(&expected, &listed)
                .map_err(|why| format!("{why}\nafter {step:?}"))?;
        }
        Ok(())
    }

    async fn act(&mut self, gateway: usize, holder: &Holder, act: &Act) -> Result<(), String> {
        if self.is_mixed
            && gateway == 1
            && let Some(done) = self.act_before(holder, act).await
        {
            return done;
        }
        let (store, timing, now) = (&self.world.store, &self.timing, self.now);
        let flags = match act {
            Act::Acquire(wish) => {
                let claim = Claim { ttl: self.ttls[wish.ttl], ..wish.claim(*holder) };
                let claim = self.known_to_both(claim);
                let [here, there] = self.tickets(wish, &claim);
                let expected =
                    self.spec.acquire(&Claim { ticket: here, ..claim.clone() }, timing, now);
                let claim = Claim { ticket: there, ..claim };
                let answer = store.acquire(&claim, timing).await.unwrap();
                if let (Answer::Held(one), Answer::Held(two)) = (&expected, &answer)
                    && let (Some(first), Some(version)) = (one.first, two.first)
                {
                    self.firsts.insert(one.id, (first, version, self.world.passed()));
                }
                return self.same_answer(&expected, &answer);
            }
            Act::Renew(device, silent) => {
                let id = id(DEVICES[*device]);
                let silent_for = Duration::from_millis(*silent);
                let ttl = self.spec.ttl_of(&id).unwrap_or(timing.ttl());
                // No renewer renews what its player has left for so long; to the millisecond that
                // is true in memory alone.
                let is_silent = !self.is_exact && ttl <= silent_for;
                if is_silent || self.spec.is_long_gone(&id, ttl, now) {
                    return Ok(());
                }
                let ttl_of_its_own = Some(ttl);
                let slot =
                    Slot { holder: *holder, id, silent_for, keep_keys: true, ttl: ttl_of_its_own };
                let renewed = store.renew(&[slot], timing).await.remove(0).unwrap();
                (self.spec.renew(id, silent_for, ttl, now), renewed.is_some())
            }
            Act::Release(device) => {
                let id = id(DEVICES[*device]);
                store.release(holder, &id, timing).await.unwrap();
                self.spec.release(id, timing, now);
                (true, true)
            }
            Act::Terminate(device) => {
                let id = id(DEVICES[*device]);
                let there = store.terminate(holder, &id, timing).await.unwrap();
                (self.spec.terminate(id, timing, now), there)
            }
            Act::GiveBack(device) => {
                let id = id(DEVICES[*device]);
                let unanswered = Attempt::Unanswered(ClaimSource::Reservation);
                let versions = self.firsts.get(&id).map(|(first, version, passed)| {
                    (*first, version.saturating_sub(self.world.passed() - passed))
                });
                let [one, two] = match versions {
                    Some((first, version)) => [first, version].map(Attempt::Versioned),
                    None => [unanswered; 2],
                };
                let given = store.give_back(holder, &id, two).await.unwrap();
                (self.spec.give_back(id, one, now), given)
            }
            Act::Pause(device) | Act::Play(device) => {
                let id = id(DEVICES[*device]);
                let is_pause = matches!(act, Act::Pause(_));
                let state = if is_pause { State::Paused } else { State::Playing };
                let live = store.declare(holder, &id, state).await.unwrap();
                (self.spec.declare(id, state, now), live)
            }
        };
        same("the answer", flags.0, flags.1)
    }

    /// What the gateway of before does its own way; the rest it does as one of today.
    async fn act_before(&mut self, holder: &Holder, act: &Act) -> Option<Result<(), String>> {
        let (server, timing) = (self.world.server.as_ref().unwrap(), self.timing);
        let before = &self.before;
        match act {
            Act::Acquire(wish) => {
                let claim = Claim {
                    login: None,
                    path: None,
                    by: ClaimSource::Request,
                    starts: false,
                    ..self.known_to_both(wish.claim(*holder))
                };
                let claim = Claim { displaces: DisplacePolicy::Marked, ..claim };
                let expected = match self.spec.acquire(&claim, &timing, self.now) {
                    Answer::Held(held) => Answer::Held(Admitted { first: None, ..held }),
                    other => other,
                };
                let store = self.world.store.as_ref();
                let answer = before.acquire(server, store, &claim, &timing).await;
                Some(self.same_answer(&expected, &answer))
            }
            Act::Release(device) => {
                let id = id(DEVICES[*device]);
                before.end(server, holder, &id, "R", &timing).await;
                self.spec.release(id, &timing, self.now);
                Some(Ok(()))
            }
            Act::Terminate(device) => {
                let id = id(DEVICES[*device]);
                let there = before.end(server, holder, &id, "T", &timing).await;
                Some(same("the answer", self.spec.terminate(id, &timing, self.now), there))
            }
            Act::GiveBack(_) => Some(Ok(())),
            Act::Renew(..) | Act::Pause(_) | Act::Play(_) => None,
        }
    }

    /// The ticket that a claim is made by, in the time of the specification and in the store's.
    /// None before that is known, and where a gateway of before would have to know it.
    fn tickets(&self, wish: &Wish, claim: &Claim) -> [Option<Ticket>; 2] {
        let is_by_ticket = claim.by != ClaimSource::Node && !self.is_mixed;
        let (Some((within, life)), Some(origin), true) =
            (wish.ticket, self.origin.get(), is_by_ticket)
        else {
            return [None; 2];
        };
        let there = origin + self.now - self.world.passed();
        [self.now, there].map(|now| {
            Some(Ticket { use_by: now.saturating_add_signed(within), ends_at: now + life })
        })
    }

    /// The claim, without what a gateway of before knows nothing of and the specification does not
    /// tell apart.
    fn known_to_both(&self, claim: Claim) -> Claim {
        if !self.is_mixed {
            return claim;
        }
        let displaces = match claim.displaces {
            DisplacePolicy::Older => DisplacePolicy::Marked,
            other => other,
        };
        let by = match claim.by {
            ClaimSource::Reservation => ClaimSource::Request,
            other => other,
        };
        Claim { displaces, by, ttl: None, ..claim }
    }

    fn same_answer(&self, expected: &Answer, got: &Answer) -> Result<(), String> {
        match (expected, got) {
            (Answer::Held(one), Answer::Held(two)) => {
                same("is_new", one.is_new, two.is_new)?;
                same("active", one.active, two.active)?;
                same("over_limit", one.over_limit, two.over_limit)?;
                same("replaced", sorted(&one.replaced), sorted(&two.replaced))?;
                same("idle", sorted(&one.idle), sorted(&two.idle))?;
                same("superseded", sorted(&one.superseded), sorted(&two.superseded))?;
                same("marked", sorted(&one.marked), sorted(&two.marked))?;
                same("ttl", one.ttl, two.ttl)?;
                same("id", name(one.id), name(two.id))?;
                same("first", one.first.is_some(), two.first.is_some())?;
                same("born", one.born_at.is_some(), two.born_at.is_some())?;
                if let (Some(one), Some(two)) = (one.born_at, two.born_at) {
                    self.same_beginning(one, two)?;
                }
                self.same_beginning(one.started_at, two.started_at)?;
                self.same_time("expires_in", one.expires_in, two.expires_in)
            }
            (Answer::Full(one), Answer::Full(two)) => {
                same("limit", (one.class, one.limit), (two.class, two.limit))?;
                self.same_time("retry_after", one.retry_after, two.retry_after)?;
                self.same_streams(&one.live, &two.live)
            }
            (Answer::Ended(one, left), Answer::Ended(two, remaining)) => {
                same("ending", one, two)?;
                self.same_time("ended for", *left, *remaining)
            }
            _ => Err(format!("expected {expected:?}\ngot      {got:?}")),
        }
    }

    fn same_streams(&self, expected: &[Live], got: &[Live]) -> Result<(), String> {
        let ids = |all: &[Live]| all.iter().map(|live| name(live.id)).collect::<Vec<_>>();
        same("live", ids(expected), ids(got))?;
        for (one, two) in expected.iter().zip(got) {
            same("about", &one.about, &two.about)?;
            same("state", one.state, two.state)?;
            same("classes", &one.classes, &two.classes)?;
            same("over_limit", one.over_limit, two.over_limit)?;
            self.same_beginning(one.started_at, two.started_at)?;
            self.same_time("expires_in", one.expires_in, two.expires_in)?;
        }
        Ok(())
    }

    /// The stores count from the epoch and the specification from nothing.
    fn same_beginning(&self, expected: u64, got: u64) -> Result<(), String> {
        let origin = self.world.beginning(got) - expected;
        let known = self.origin.get().unwrap_or(origin);
        self.origin.set(Some(known));
        let [one, two] = [known, origin].map(Duration::from_millis);
        self.same_time("started_at", one, two)
    }

    fn same_time(&self, what: &str, expected: Duration, got: Duration) -> Result<(), String> {
        let slack = if self.is_exact { Duration::ZERO } else { self.began.elapsed() + LAG };
        if expected.abs_diff(got) <= slack {
            return Ok(());
        }
        Err(format!("{what}: expected {expected:?}, got {got:?}"))
    }
}

impl Wish {
    fn claim(&self, holder: Holder) -> Claim {
        let name = DEVICES[self.device];
        let limits = self.classes.iter().map(|(class, limit)| ClassLimit {
            class: CLASSES[*class].parse().unwrap(),
            limit: *limit,
        });
        let label = self.has_label.then_some(name);
        let ids = |all: &[usize]| all.iter().map(|device| id(DEVICES[*device])).collect();
        Claim {
            classes: Classes::new(limits).unwrap(),
            about: About::new(label, None),
            replace: match &self.victims {
                Victims::Nobody => Replace::Nobody,
                Victims::Oldest => Replace::Oldest,
                Victims::These(all) => Replace::These(ids(all)),
            },
            reusable: self.reusable,
            explicit_start: self.explicit_start,
            adopt: self.adopt,
            login: self.has_login.then(|| Tag::of(LOGINS[self.device / 2])),
            path: self.path.map(|path| Tag::of(PATHS[path])),
            by: self.by,
            displaces: self.displaces,
            starts: self.starts,
            ..Claim::new(holder, id(name), self.limit)
        }
    }
}

fn name(of: LeaseId) -> &'static str {
    DEVICES.into_iter().find(|name| id(name) == of).unwrap_or("?")
}

fn sorted(ids: &[LeaseId]) -> Vec<&'static str> {
    let mut names: Vec<_> = ids.iter().map(|id| name(*id)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: T, got: T) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, got {got:?}"))
}
