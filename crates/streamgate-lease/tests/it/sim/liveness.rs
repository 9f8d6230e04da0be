//! The faults have stopped: whatever happened before, the promises L1 to L4 hold.

use super::checked_store::CheckedStore;
use super::fleet::Fleet;
use super::pass;
use super::policy::{ACCOUNTS, Policy, holder};
use crate::world::id;
use rand::RngExt;
use rand::rngs::SmallRng;
use std::time::Duration;
use streamgate_lease::{Claim, Grant};

pub(super) struct Liveness<'a> {
    pub(super) rng: &'a mut SmallRng,
    pub(super) policy: &'a Policy,
    pub(super) fleet: &'a Fleet,
    pub(super) checked: &'a CheckedStore,
}

impl Liveness<'_> {
    pub(super) async fn check(&mut self) {
        let silence = self.checked.timing.ttl() * 2 + self.checked.skew();
        pass(silence).await;
        self.l1_what_nobody_plays_is_free().await;
        self.l4_a_steady_player_is_never_interrupted().await;
        self.l2_a_clean_stop_frees_at_once().await;
        self.l3_nothing_is_left_of_the_outage().await;
    }

    fn steady(&self) -> Vec<(usize, String)> {
        let names = |account: usize| {
            (0..self.policy.limit(account)).map(move |n| (account, format!("steady {n}")))
        };
        (0..ACCOUNTS.len()).flat_map(names).collect()
    }

    /// A media request through any gateway.
    async fn asks(&mut self, account: usize, name: &str) -> Grant {
        let gateway = self.fleet.any(self.rng);
        let holder = holder(gateway.pepper_step, account);
        let claim = Claim::new(holder, id(name), self.policy.limit(account));
        self.checked.seen.lock().unwrap().sign_of_life((account, claim.id));
        gateway.hold(&claim).await.unwrap()
    }

    async fn l1_what_nobody_plays_is_free(&mut self) {
        for (account, name) in self.steady() {
            let grant = self.asks(account, &name).await;
            assert!(matches!(grant, Grant::Held(_)), "L1: {name} of {account}: {grant:?}");
        }
    }

    async fn l4_a_steady_player_is_never_interrupted(&mut self) {
        for _ in 0..25 {
            for (account, name) in self.steady() {
                let grant = self.asks(account, &name).await;
                assert!(matches!(grant, Grant::Held(_)), "L4: {name} of {account}: {grant:?}");
            }
            pass(Duration::from_millis(self.rng.random_range(500..7000))).await;
        }
    }

    async fn l2_a_clean_stop_frees_at_once(&mut self) {
        for account in 0..ACCOUNTS.len() {
            let grant = self.asks(account, "newcomer").await;
            assert!(matches!(grant, Grant::Full(_)), "I1: the newcomer of {account}: {grant:?}");
            let gateway = self.fleet.any(self.rng);
            let holder = holder(gateway.pepper_step, account);
            gateway.leases.release(&holder, &id("steady 0")).await.unwrap();
            let grant = self.asks(account, "newcomer").await;
            assert!(matches!(grant, Grant::Held(_)), "L2: the newcomer of {account}: {grant:?}");
        }
    }

    async fn l3_nothing_is_left_of_the_outage(&self) {
        for gateway in &self.fleet.gateways {
            let leases = &gateway.leases;
            assert_eq!(leases.stats().provisional, 0, "L3: all are registered or refused");
            assert_eq!(leases.census().over_limit, 0, "L3: all are within the limit");
        }
        let live = self.checked.shot().await;
        assert!(live.values().all(|live| !live.over_limit), "L3: {live:?}");
    }
}
