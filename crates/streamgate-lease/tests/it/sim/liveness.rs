//! The faults have stopped: whatever happened before, the promises L1 to L4 hold.

use super::checked_store::CheckedStore;
use super::fleet::Fleet;
use super::pass;
use super::policy::{ACCOUNTS, Policy, TTL_MAX, holder};
use super::post::NOTICE_MAX;
use crate::world::id;
use rand::RngExt;
use rand::rngs::SmallRng;
use std::time::Duration;
use streamgate_lease::{Claim, Ending, Grant, Replace};

/// Of each account.
const TAKEOVERS: usize = 5;

pub(super) struct Liveness<'a> {
    pub(super) rng: &'a mut SmallRng,
    pub(super) policy: &'a Policy,
    pub(super) fleet: &'a Fleet,
    pub(super) checked: &'a CheckedStore,
}

impl Liveness<'_> {
    pub(super) async fn check(&mut self) {
        let silence = TTL_MAX * 2 + self.checked.skew();
        pass(silence).await;
        self.l1_what_nobody_plays_is_free().await;
        self.l4_a_steady_player_is_never_interrupted().await;
        self.l2_a_clean_stop_frees_at_once().await;
        self.i16_of_two_takeovers_one_plays().await;
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

    /// Two devices of an account take over at two gateways at the same moment. Whatever comes first
    /// to each of them, the answer or the notice, in a second one plays and the other knows.
    async fn i16_of_two_takeovers_one_plays(&mut self) {
        for round in 0..TAKEOVERS {
            for account in 0..ACCOUNTS.len() {
                let gateways = self.fleet.any_two(self.rng);
                let claims = [0, 1].map(|n: usize| Claim {
                    replace: Replace::Oldest,
                    ..Claim::new(
                        holder(gateways[n].pepper_step, account),
                        id(&format!("takeover {round} {n}")),
                        1,
                    )
                });
                for claim in &claims {
                    self.checked.seen.lock().unwrap().sign_of_life((account, claim.id));
                }
                let [one, other] = [0, 1].map(|n| gateways[n].hold(&claims[n]));
                let (one, other) = tokio::join!(one, other);
                assert!(matches!(one, Ok(Grant::Held(_))), "I16: {one:?}");
                assert!(matches!(other, Ok(Grant::Held(_))), "I16: {other:?}");
                pass(NOTICE_MAX).await;
                let mut plays = 0;
                for (gateway, claim) in gateways.iter().zip(&claims) {
                    match gateway.hold(claim).await {
                        Ok(Grant::Held(_)) => plays += 1,
                        Ok(Grant::Ended(Ending::Replaced)) => {}
                        other => panic!("I16: {other:?}"),
                    }
                }
                assert_eq!(plays, 1, "I16: of two takeovers of account {account}");
            }
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
