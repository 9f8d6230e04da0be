//! Two gateways under a steady load of players, while a test does something to their store.
//!
//! Every account has a stream on either gateway and so is full. Each request asks the store, and
//! the gateway decides alone if the store cannot; a holder must never hear no. What is counted is
//! told at the end.

use crate::fleet::until;
use crate::world::id;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use streamgate_lease::redis::{Client, Deadlines, Monitor, RedisStore};
use streamgate_lease::{Answer, Claim, Grant, Holder, LeaseStore, Leases, StoreError, Timing};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

pub(crate) const ACCOUNTS: usize = 200;
pub(crate) const TTL: Duration = Duration::from_secs(9);
/// Healed means: within this, after there is somebody to ask again. In fact it is a second, which
/// the breaker rests; but less than a ttl is what keeps everybody's slot, also on a busy machine.
pub(crate) const HEALED_IN: Duration = Duration::from_secs(6);
const HEALED_MAX: Duration = Duration::from_secs(60);
const LIMIT: u32 = 2;
const TASKS: usize = 4;
const PACE: Duration = Duration::from_millis(5);
/// Longer than the defaults: these tests run side by side on few cores, and what they are about
/// is that there is a bound, not how small it is.
pub(crate) const DEADLINES: Deadlines = Deadlines {
    command: Duration::from_millis(500),
    connect: Duration::from_millis(1000),
    start: Duration::from_millis(500),
};
/// A timer that is due fires when its task gets a core: a dozen servers and tests share two, and
/// ten ticks of the kernel's scheduler for each of them are not unusual.
const SLACK: Duration = Duration::from_millis(750);

pub(crate) fn account(n: usize) -> Holder {
    crate::world::holder(&format!("account {n}"))
}

fn claim(n: usize, device: &str) -> Claim {
    // `anew` asks the store although the gateway knows.
    Claim { explicit_start: true, ..Claim::new(account(n), id(device), LIMIT) }
}

/// At most so often: whoever was held up does not catch up.
fn paced() -> Interval {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

#[derive(Default)]
struct Told {
    asked: AtomicU64,
    alone: AtomicU64,
    longest_us: AtomicU64,
    /// By what happened, and the accounts that it happened to.
    failures: Mutex<BTreeMap<String, Vec<usize>>>,
    interrupted: Mutex<Vec<String>>,
}

pub(crate) struct Load {
    what: &'static str,
    pub(crate) stores: Vec<Arc<RedisStore>>,
    pub(crate) gateways: Vec<Leases>,
    told: Arc<Told>,
    is_over: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Load {
    /// Two gateways over a store, all accounts full, and players that go on until `end`.
    pub(crate) async fn start(what: &'static str, url: &str) -> Self {
        let timing = Timing::of(TTL).unwrap();
        let mut load = Self {
            what,
            stores: Vec::new(),
            gateways: Vec::new(),
            told: Arc::default(),
            is_over: Arc::default(),
            tasks: JoinSet::new(),
        };
        for _ in 0..2 {
            let client = Arc::new(Client::with_deadlines(url, DEADLINES).unwrap());
            let mut monitor = Monitor::new(client.clone());
            load.tasks.spawn(async move {
                loop {
                    monitor.next().await;
                }
            });
            let store = Arc::new(RedisStore::new(client));
            let (leases, renewer) = Leases::new(store.clone(), timing);
            load.tasks.spawn(renewer.run(std::future::pending()));
            load.stores.push(store);
            load.gateways.push(leases);
        }
        for n in 0..ACCOUNTS {
            for gateway in 0..2 {
                let claim = claim(n, &format!("device {gateway}"));
                until("the store is there", async || {
                    matches!(load.gateways[gateway].hold(&claim).await, Ok(Grant::Held(_)))
                })
                .await;
            }
        }
        for task in 0..TASKS {
            let (gateways, told) = (load.gateways.clone(), load.told.clone());
            let is_over = load.is_over.clone();
            load.tasks.spawn(async move {
                let mut pace = paced();
                for n in (0..).map(|n| (n * TASKS + task) % ACCOUNTS) {
                    pace.tick().await;
                    if is_over.load(Relaxed) {
                        return;
                    }
                    for (gateway, leases) in gateways.iter().enumerate() {
                        told.play(leases, n, &claim(n, &format!("device {gateway}"))).await;
                    }
                }
            });
        }
        load
    }

    /// Nobody has more than the limit, and a third stream is refused by the store. On a busy
    /// machine a lease may have run out while its store was away; so first all are entered again.
    pub(crate) async fn is_within_limits(&self) {
        self.entered_again().await;
        let timing = Timing::of(TTL).unwrap();
        for n in 0..ACCOUNTS {
            let (store, third) = (&self.stores[n % 2], claim(n, "device 3"));
            until("a third stream is refused", async || {
                match store.acquire(&third, &timing).await {
                    Ok(Answer::Full(full)) => {
                        assert_eq!(full.live.len(), 2, "{}: account {n}", self.what);
                        true
                    }
                    Ok(answer) => panic!("{}: account {n} got more: {answer:?}", self.what),
                    // The machine is busy; that is no answer.
                    Err(_) => false,
                }
            })
            .await;
        }
    }

    /// Waits until the store answers for every account through both gateways; and for how long it
    /// had not. What the questions cost that are answered is the machine's time and not counted,
    /// nor is what a timer is late.
    /// One question at a time: a crowd of them would be the trouble itself on a busy machine.
    pub(crate) async fn healed(&self) -> Duration {
        let (began, mut away) = (Instant::now(), Duration::ZERO);
        let mut pace = paced();
        for (n, store) in (0..ACCOUNTS).flat_map(|n| self.stores.iter().map(move |of| (n, of))) {
            while let Err(error) = store.list(&account(n)).await {
                assert!(began.elapsed() < HEALED_MAX, "account {n} is never well again");
                pace.tick().await;
                away += if error == StoreError::Timeout { DEADLINES.start } else { PACE };
            }
        }
        away
    }

    /// Waits until the store knows all streams again; and how long it was.
    pub(crate) async fn entered_again(&self) -> Duration {
        let began = Instant::now();
        for n in 0..ACCOUNTS {
            until("the store knows all streams", async || {
                matches!(self.stores[0].list(&account(n)).await, Ok(live) if live.len() == 2)
            })
            .await;
        }
        began.elapsed()
    }

    /// What failed so far for these accounts, by what was said. That an answer did not come in time
    /// is left out: on a busy machine it says nothing of a shard, while being left alone does.
    pub(crate) fn failures(&self, mut of: impl FnMut(usize) -> bool) -> BTreeMap<String, usize> {
        let failures = self.told.failures.lock().unwrap();
        let mut found = BTreeMap::new();
        let in_time = StoreError::Timeout.to_string();
        for (said, accounts) in failures.iter().filter(|(said, _)| **said != in_time) {
            let count = accounts.iter().filter(|account| of(**account)).count();
            if 0 < count {
                found.insert(said.clone(), count);
            }
        }
        found
    }

    /// Lets players play on for a while.
    pub(crate) async fn goes_on_for(&self, time: Duration) {
        let mut once = interval(time.max(Duration::from_millis(1)));
        once.tick().await;
        once.tick().await;
    }

    /// Ends it; nobody may have been interrupted, and nobody have waited for too long.
    pub(crate) async fn end(mut self, told: &str) {
        self.is_over.store(true, Relaxed);
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next().await {
            assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()));
        }
        let longest = Duration::from_micros(self.told.longest_us.load(Relaxed));
        let (asked, alone) = (self.told.asked.load(Relaxed), self.told.alone.load(Relaxed));
        let failures: Vec<_> = self
            .told
            .failures
            .lock()
            .unwrap()
            .iter()
            .map(|(why, of)| format!("{why}: {}", of.len()))
            .collect();
        println!(
            "{}: {asked} questions, {alone} decided alone, longest {longest:?}; {told}; \
             {failures:?}",
            self.what
        );
        let interrupted = self.told.interrupted.lock().unwrap();
        assert!(interrupted.is_empty(), "{}: {interrupted:?}", self.what);
        let most = DEADLINES.connect + DEADLINES.command + SLACK;
        assert!(longest < most, "{}: somebody waited for {longest:?}", self.what);
        assert!(0 < asked, "{}: there was no load", self.what);
    }
}

impl Told {
    async fn play(&self, leases: &Leases, n: usize, claim: &Claim) {
        let began = Instant::now();
        let grant = leases.hold(claim).await;
        let took = u64::try_from(began.elapsed().as_micros()).unwrap();
        self.asked.fetch_add(1, Relaxed);
        self.longest_us.fetch_max(took, Relaxed);
        let grant = match grant {
            Ok(grant) => grant,
            Err(error) => {
                self.failures.lock().unwrap().entry(error.to_string()).or_default().push(n);
                if !error.is_outage() {
                    // The store is slow: the player asks again, and plays on what it has meanwhile.
                    return;
                }
                self.alone.fetch_add(1, Relaxed);
                leases.hold_locally(claim).expect("two streams per account are few starts")
            }
        };
        if !matches!(grant, Grant::Held(_)) {
            self.interrupted.lock().unwrap().push(format!("account {n}: {grant:?}"));
        }
    }
}
