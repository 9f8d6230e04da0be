//! Many gateways, one store, bad faults, all from one seed, under paused time.
//!
//! What is asked of the store is lost before or after it is done, delayed, reordered, done twice
//! (at once or half a minute later), or meets a store that is down for minutes. It forgets
//! everything, or what its replica had not heard of, and its clock jumps. What it publishes comes
//! before the answer to the question that caused it, late, twice or never. Gateways crash and start
//! anew, and change their pepper step by step. Limits change. Every verb that reaches the store is
//! checked against what was live before and after it, by a checker for each line of the protocol,
//! I1 to I17 and L1 to L4 (`invariant`, `checked_store`, `viewer`, `post`, `liveness`); a red run
//! says which.
//!
//! `just sim 1234` replays one seed; `just soak 10000` runs that many, optimised.

mod liveness;
mod fleet;
mod invariant;
mod plain;
mod policy;
mod post;
mod viewer;
mod checked_store;
mod faults;

use checked_store::CheckedStore;
use faults::{CLAIM_LATE_MAX, Faults};
use fleet::{Fleet, Gateway};
use liveness::Liveness;
use policy::{ACCOUNTS, Policy};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::{Claim, Replace};
use tokio::task::JoinSet;
use tokio::time::sleep;

const SEEDS: u64 = 500;
const STEPS: usize = 100;

/// One run: gateways, their renewers, and a driver that plays all viewers.
struct Run {
    rng: SmallRng,
    policy: Policy,
    checked: Arc<CheckedStore>,
    faults: Arc<Faults>,
    fleet: Fleet,
    viewers: JoinSet<()>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let checked = Arc::new(CheckedStore::new(seed));
        let faults = Faults::new(seed, checked.clone());
        let fleet = Fleet::start(faults.clone(), &mut rng);
        Self { rng, policy: Policy::new(), checked, faults, fleet, viewers: JoinSet::new() }
    }

    async fn run_with_faults(&mut self) {
        for step in 0..STEPS {
            if step % 10 == 0 {
                self.faults.changes(&mut self.rng);
            }
            self.inject_faults();
            for _ in 0..self.rng.random_range(1..5) {
                self.start_an_action();
            }
            pass(Duration::from_millis(self.rng.random_range(0..5000))).await;
            self.checked.l1_nobody_lives_on_in_silence(CLAIM_LATE_MAX).await;
            while let Some(done) = self.viewers.try_join_next() {
                done.unwrap();
            }
        }
    }

    fn inject_faults(&mut self) {
        self.checked.replicates();
        match self.rng.random_range(0..20) {
            0 => self.fleet.crashes(&mut self.rng),
            1 => self.policy.change(&mut self.rng),
            2..6 => self.fleet.changes_its_pepper(&mut self.rng),
            6..8 => self.checked.inject_fault(&mut self.rng),
            _ => {}
        }
    }

    /// At the same time as others.
    fn start_an_action(&mut self) {
        let account = self.rng.random_range(0..ACCOUNTS.len());
        if self.rng.random_range(0..10) == 0 {
            return self.start_two_takeovers(account);
        }
        let gateway = self.fleet.any(&mut self.rng);
        let claim = self.policy.claim(&mut self.rng, gateway.pepper_step, account);
        let verb = viewer::verb(&mut self.rng);
        self.spawn(gateway, claim, verb);
    }

    /// Of one account, at two gateways, at the same moment.
    fn start_two_takeovers(&mut self, account: usize) {
        for gateway in self.fleet.any_two(&mut self.rng) {
            let claim = self.policy.claim(&mut self.rng, gateway.pepper_step, account);
            self.spawn(gateway, Claim { replace: Replace::Oldest, limit: 1, ..claim }, 0);
        }
    }

    fn spawn(&mut self, gateway: Gateway, claim: Claim, verb: u32) {
        let checked = self.checked.clone();
        self.viewers.spawn(async move { viewer::acts(&checked, &gateway, &claim, verb).await });
    }
}

/// Time is paused, so it passes at once; everybody else acts in their time.
async fn pass(time: Duration) {
    sleep(time).await;
}

async fn run(seed: u64) {
    let mut run = Run::new(seed);
    run.run_with_faults().await;
    run.faults.clears();
    let Run { mut rng, policy, checked, faults, fleet, mut viewers } = run;
    let mut liveness =
        Liveness { rng: &mut rng, policy: &policy, fleet: &fleet, checked: &checked };
    liveness.check().await;
    while let Some(done) = viewers.join_next().await {
        done.unwrap();
    }
    fleet.stop().await;
    faults.all_is_done().await;
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn simulate(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let result = std::panic::catch_unwind(|| runtime.block_on(run(seed)));
    assert!(result.is_ok(), "replay with SIM_SEED={seed}");
}

/// Seeds do not know of each other, so every core takes its share; but in the ordinary run every
/// other one, as tests beside it have real servers and real deadlines.
fn simulate_all(seeds: u64) {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = if seeds <= SEEDS { all.div_ceil(2) } else { all };
    std::thread::scope(|scope| {
        for core in 0..cores as u64 {
            scope.spawn(move || (core..seeds).step_by(cores).for_each(simulate));
        }
    });
}

#[test]
fn no_seed_breaks_a_promise() {
    match number("SIM_SEED") {
        Some(seed) => simulate(seed),
        None => simulate_all(number("SIM_SEEDS").unwrap_or(SEEDS)),
    }
}
