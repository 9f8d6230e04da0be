//! Many gateways, one store, bad weather, all from one seed, under paused time.
//!
//! The store drops what it is asked before or after it has done it, delays it, does it twice (at
//! once or half a minute later), is down for minutes, and in some seeds forgets everything. Every
//! verb that reaches the real store behind is checked against what was live before and after it:
//! the invariants I1 to I10. At the end the weather clears and everything has to fall into place.
//!
//! `SIM_SEED=1234 cargo test -p streamgate-lease sim` runs one seed; `SIM_SEEDS=100000` that many.

use crate::world::{holder, id};
use async_trait::async_trait;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use streamgate_lease::memory::MemoryStore;
use streamgate_lease::{
    About, Answer, Bounds, Claim, Class, ClassLimit, Classes, Grant, Holder, LeaseId, LeaseStore,
    Leases, Live, Replace, Slot, State, StoreError, Timing,
};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

const SEEDS: u64 = 500;
const DEVICES: [&str; 6] = ["tv", "phone", "pad", "pc", "login", "app"];
/// Hashed once; it would be most of the work.
static ACCOUNTS: LazyLock<[Holder; 3]> = LazyLock::new(|| ["alice", "bob", "carol"].map(holder));
static IDS: LazyLock<[LeaseId; 6]> = LazyLock::new(|| DEVICES.map(id));
const LOGIN: usize = 4;
const GATEWAYS: usize = 3;
const STEPS: usize = 100;
const SECOND: Duration = Duration::from_secs(1);

type Shot = BTreeMap<(usize, LeaseId), Live>;

/// The real store, behind weather and under watch.
struct Watched {
    store: Mutex<Arc<MemoryStore>>,
    chance: Mutex<Chance>,
    /// What must never be live again, and what the last word about it was.
    ended: Mutex<BTreeSet<(usize, LeaseId)>>,
    /// The last sign of life of each, by the requests of its player.
    alive: Mutex<HashMap<(usize, LeaseId), Instant>>,
    /// Since when one is over the limit.
    over: Mutex<HashMap<(usize, LeaseId), Instant>>,
    /// What is done later must be heard of, should it find something broken.
    later: Mutex<Vec<JoinHandle<()>>>,
    timing: Timing,
}

struct Chance {
    rng: SmallRng,
    /// In percent.
    trouble: u32,
    is_down: bool,
}

enum Fate {
    Fine,
    LostOnTheWay,
    LostOnTheWayBack,
    Doubled,
    DoneAgainLater(Duration),
}

fn limit_of(account: usize) -> u32 {
    [1, 2, 3][account]
}

/// What a stream may be, and how many of it an account may play: as many as its devices, or fewer.
static CLASSES: LazyLock<[Class; 2]> = LazyLock::new(|| ["4k", "live"].map(|c| c.parse().unwrap()));

fn class_limit(account: usize, class: usize) -> u32 {
    [[1, 1], [1, 2], [2, 1]][account][class]
}

/// Devices that play it, each of them now and then.
fn classes_of(account: usize, chance: &mut SmallRng) -> Classes {
    let limits = (0..CLASSES.len())
        .filter(|_| chance.random_range(0..4) == 0)
        .map(|class| ClassLimit { class: CLASSES[class], limit: class_limit(account, class) });
    Classes::new(limits.collect::<Vec<_>>()).unwrap()
}

fn is_reusable(id_of: LeaseId) -> bool {
    id_of == IDS[LOGIN]
}

impl Watched {
    fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            store: Mutex::new(Arc::new(MemoryStore::new())),
            chance: Mutex::new(Chance {
                rng: SmallRng::seed_from_u64(seed ^ 0x5eed),
                trouble: 0,
                is_down: false,
            }),
            ended: Mutex::default(),
            alive: Mutex::default(),
            over: Mutex::default(),
            later: Mutex::default(),
            timing: Timing::default().with_grandfather(SECOND * 30).unwrap(),
        })
    }

    fn behind(&self) -> Arc<MemoryStore> {
        self.store.lock().unwrap().clone()
    }

    async fn shot(&self) -> Shot {
        let store = self.behind();
        let mut shot = Shot::new();
        for (n, account) in ACCOUNTS.iter().enumerate() {
            for live in store.list(account).await.unwrap() {
                shot.insert((n, live.id), live);
            }
        }
        shot
    }

    fn account(of: &Holder) -> usize {
        ACCOUNTS.iter().position(|holder| holder == of).unwrap()
    }

    /// Draws what happens to a call, and lets it take its time.
    async fn fate(&self) -> Result<Fate, StoreError> {
        let (fate, delay) = {
            let mut chance = self.chance.lock().unwrap();
            if chance.is_down {
                return Err(StoreError::Unavailable("down".into()));
            }
            let trouble = chance.trouble;
            let delay = Duration::from_millis(chance.rng.random_range(0..40));
            let fate = if chance.rng.random_range(0..100) < trouble {
                match chance.rng.random_range(0..4) {
                    0 => Fate::LostOnTheWay,
                    1 => Fate::LostOnTheWayBack,
                    2 => Fate::Doubled,
                    _ => Fate::DoneAgainLater(SECOND * chance.rng.random_range(0..30)),
                }
            } else {
                Fate::Fine
            };
            (fate, delay)
        };
        sleep(delay).await;
        match fate {
            Fate::LostOnTheWay => Err(StoreError::Timeout),
            fate => Ok(fate),
        }
    }

    /// What holds whatever was asked. Nothing waits between the two shots, so nothing else moved.
    fn check(&self, of: usize, before: &Shot, after: &Shot) {
        for account in 0..ACCOUNTS.len() {
            let within =
                |(key, live): &(&(usize, LeaseId), &Live)| key.0 == account && !live.over_limit;
            let live = after.iter().filter(within).count();
            assert!(live <= limit_of(account) as usize, "I1: {live} of account {account}");
        }
        for account in 0..ACCOUNTS.len() {
            for class in 0..CLASSES.len() {
                let within = after.iter().filter(|(_, live)| !live.over_limit);
                let within = within.map(|(key, live)| (*key, live.clone())).collect();
                let live = of_class(&within, account, CLASSES[class]);
                let limit = class_limit(account, class) as usize;
                assert!(live <= limit, "I1: {live} of account {account} in {}", CLASSES[class]);
            }
        }
        for live in after.values() {
            assert!(live.expires_in <= self.timing.ttl(), "I2: {live:?}");
        }
        for ended in self.ended.lock().unwrap().iter() {
            assert!(!after.contains_key(ended), "I3: {ended:?} lives again");
        }
        for (key, live) in before {
            if let Some(now) = after.get(key) {
                assert!(live.expires_in <= now.expires_in, "I7: {live:?} {now:?}");
                assert_eq!(live.started_at, now.started_at, "I5: {live:?}");
                let kept = live.classes.iter().all(|class| now.classes.contains(class));
                assert!(kept, "a class stays with its stream: {live:?} {now:?}");
            }
        }
        let others = |shot: &Shot| -> Vec<_> {
            shot.iter().filter(|(key, _)| key.0 != of).map(|(k, l)| (*k, l.clone())).collect()
        };
        assert_eq!(others(before), others(after), "I10");
    }

    async fn acquire_now(&self, claim: &Claim) -> Answer {
        let account = Self::account(&claim.holder);
        let before = self.shot().await;
        let answer = self.behind().acquire(claim, &self.timing).await.unwrap();
        let after = self.shot().await;
        let key = (account, claim.id);
        for (key, live) in &after {
            let was_over = before.get(key).is_some_and(|live| live.over_limit);
            let is_adopted = claim.adopt && *key == (account, claim.id);
            assert!(!live.over_limit || was_over || is_adopted, "I13: {live:?}");
        }
        self.nobody_stays_over_the_limit(&after);
        match &answer {
            Answer::Held(admitted) => {
                assert_eq!(admitted.is_new, !before.contains_key(&key), "I5");
                let mine = &after[&key];
                let took = claim.classes.iter().all(|of| mine.classes.contains(&of.class));
                assert!(took, "it has what it claimed: {claim:?} {mine:?}");
                let gone: Vec<_> = before.keys().filter(|key| !after.contains_key(key)).collect();
                assert_eq!(gone.len(), admitted.replaced.len() + admitted.idle.len(), "I4");
                for id in &admitted.replaced {
                    assert!(before.contains_key(&(account, *id)), "I4: replaced nobody");
                    if !is_reusable(*id) {
                        self.ended.lock().unwrap().insert((account, *id));
                    }
                }
            }
            // Its time over the limit is up: it has lost its slot, and nothing else has changed.
            Answer::Full(_) if before.get(&key).is_some_and(|mine| mine.over_limit) => {
                let mut rest = before.clone();
                rest.retain(|other, _| after.contains_key(&key) || *other != key);
                assert_eq!(rest, after, "I4");
            }
            Answer::Full(full) => {
                assert_eq!(before, after, "I4");
                let live = before.keys().filter(|key| key.0 == account).count();
                assert_eq!(full.live.len(), live);
                let mine = before.get(&key);
                let others = match full.class {
                    None => live - usize::from(mine.is_some()),
                    Some(class) => of_class(&before, account, class),
                };
                let lacks = mine.is_none_or(|mine| {
                    full.class.is_some_and(|class| !mine.classes.contains(&class))
                });
                assert!(lacks, "I6: it has a slot, and the class");
                assert!(full.limit as usize <= others, "I6: refused beside {others}");
            }
            Answer::Ended(..) => assert_eq!(before, after, "I4"),
        }
        self.check(account, &before, &after);
        answer
    }

    /// L3: over the limit for the grandfather's time, and until the renewal after it.
    fn nobody_stays_over_the_limit(&self, after: &Shot) {
        let mut over = self.over.lock().unwrap();
        over.retain(|key, _| after.get(key).is_some_and(|live| live.over_limit));
        for (key, _) in after.iter().filter(|(_, live)| live.over_limit) {
            let since = over.entry(*key).or_insert_with(Instant::now);
            let bound = self.timing.grandfather() + self.timing.ttl();
            assert!(since.elapsed() <= bound, "L3: {key:?} is over the limit for too long");
        }
    }

    async fn renew_now(&self, slot: &Slot) -> Option<Duration> {
        let before = self.shot().await;
        let renewed = self.behind().renew(&[*slot], &self.timing).await.remove(0).unwrap();
        let after = self.shot().await;
        let key = (Self::account(&slot.holder), slot.id);
        // An expired slot that nobody has cleared away may come back; nobody else appears.
        let came: Vec<_> = after.keys().filter(|key| !before.contains_key(key)).collect();
        assert!(came.is_empty() || came == [&key], "I8: {came:?}");
        self.check(key.0, &before, &after);
        renewed
    }

    async fn end_now(&self, holder: &Holder, id: &LeaseId, terminate: bool) -> bool {
        let key = (Self::account(holder), *id);
        let before = self.shot().await;
        let store = self.behind();
        let known = if terminate {
            store.terminate(holder, id, &self.timing).await.unwrap()
        } else {
            store.release(holder, id, &self.timing).await.unwrap();
            before.contains_key(&key)
        };
        let after = self.shot().await;
        assert!(!after.contains_key(&key), "I9");
        if known && !is_reusable(*id) {
            self.ended.lock().unwrap().insert(key);
        }
        self.check(key.0, &before, &after);
        known
    }
}

fn of_class(shot: &Shot, account: usize, class: Class) -> usize {
    let of = shot.iter().filter(|(key, _)| key.0 == account);
    of.filter(|(_, live)| live.classes.contains(&class)).count()
}

/// The store as a gateway has it.
struct Handle(Arc<Watched>);

#[async_trait]
impl LeaseStore for Handle {
    async fn acquire(&self, claim: &Claim, _: &Timing) -> Result<Answer, StoreError> {
        let watched = &self.0;
        let fate = watched.fate().await?;
        let answer = watched.acquire_now(claim).await;
        match fate {
            Fate::LostOnTheWayBack => return Err(StoreError::Timeout),
            Fate::Doubled => return Ok(watched.acquire_now(claim).await),
            _ => {}
        }
        sleep(Duration::from_millis(1)).await;
        Ok(answer)
    }

    async fn renew(&self, slots: &[Slot], _: &Timing) -> Vec<Result<Option<Duration>, StoreError>> {
        let watched = &self.0;
        let fate = match watched.fate().await {
            Ok(fate) => fate,
            Err(error) => return vec![Err(error); slots.len()],
        };
        let mut renewed = Vec::new();
        for slot in slots {
            renewed.push(Ok(watched.renew_now(slot).await));
        }
        match fate {
            Fate::LostOnTheWayBack => return vec![Err(StoreError::Timeout); slots.len()],
            Fate::Doubled => {
                for slot in slots {
                    watched.renew_now(slot).await;
                }
            }
            Fate::DoneAgainLater(delay) => {
                let (watched, slots) = (watched.clone(), slots.to_vec());
                let later = tokio::spawn(async move {
                    sleep(delay).await;
                    for slot in slots {
                        // Its score was settled when it was first sent.
                        let silent_for = slot.silent_for + delay;
                        watched.renew_now(&Slot { silent_for, ..slot }).await;
                    }
                });
                self.0.later.lock().unwrap().push(later);
            }
            _ => {}
        }
        renewed
    }

    async fn release(&self, holder: &Holder, id: &LeaseId, _: &Timing) -> Result<(), StoreError> {
        let fate = self.0.fate().await?;
        self.0.end_now(holder, id, false).await;
        match fate {
            Fate::LostOnTheWayBack => Err(StoreError::Timeout),
            _ => Ok(()),
        }
    }

    async fn list(&self, holder: &Holder) -> Result<Vec<Live>, StoreError> {
        self.0.fate().await?;
        self.0.behind().list(holder).await
    }

    async fn terminate(
        &self,
        holder: &Holder,
        id: &LeaseId,
        _: &Timing,
    ) -> Result<bool, StoreError> {
        let fate = self.0.fate().await?;
        let known = self.0.end_now(holder, id, true).await;
        match fate {
            Fate::LostOnTheWayBack => Err(StoreError::Timeout),
            _ => Ok(known),
        }
    }

    async fn declare(
        &self,
        holder: &Holder,
        id: &LeaseId,
        state: State,
    ) -> Result<bool, StoreError> {
        self.0.fate().await?;
        let before = self.0.shot().await;
        let live = self.0.behind().declare(holder, id, state).await;
        let after = self.0.shot().await;
        assert_eq!(before.len(), after.len());
        self.0.check(Watched::account(holder), &before, &after);
        live
    }
}

/// One run: gateways, their keepers, and a driver that plays all viewers.
struct Run {
    rng: SmallRng,
    watched: Arc<Watched>,
    gateways: Vec<Leases>,
    viewers: JoinSet<()>,
    forgetful: bool,
}

impl Run {
    fn claim(&mut self, account: usize, device: usize) -> Claim {
        let replace = match self.rng.random_range(0..10) {
            0 => Replace::Oldest,
            1 => Replace::These(vec![IDS[self.rng.random_range(0..IDS.len())]]),
            _ => Replace::Nobody,
        };
        let claim = Claim::new(ACCOUNTS[account], IDS[device], limit_of(account));
        Claim {
            about: About::new(Some(DEVICES[device]), None),
            replace,
            reusable: device == LOGIN,
            classes: classes_of(account, &mut self.rng),
            anew: self.rng.random_range(0..10) == 0,
            ..claim
        }
    }

    /// One thing that some viewer does through some gateway, at the same time as others.
    fn act(&mut self) {
        let account = self.rng.random_range(0..ACCOUNTS.len());
        let device = self.rng.random_range(0..DEVICES.len());
        let leases = self.gateways[self.rng.random_range(0..GATEWAYS)].clone();
        let claim = self.claim(account, device);
        let verb = self.rng.random_range(0..100);
        let watched = self.watched.clone();
        self.viewers.spawn(async move {
            match verb {
                0..80 => request(&watched, &leases, &claim).await,
                80..85 => drop(leases.release(&claim.holder, &claim.id).await),
                85..89 => drop(leases.terminate(&claim.holder, &claim.id).await),
                89..93 => drop(leases.state(&claim.holder, &claim.id, State::Playing).await),
                _ => drop(leases.state(&claim.holder, &claim.id, State::Paused).await),
            }
        });
    }

    fn weather(&mut self) {
        let mut chance = self.watched.chance.lock().unwrap();
        chance.trouble = [0, 0, 10, 30, 60][self.rng.random_range(0..5)];
        chance.is_down = self.rng.random_range(0..8) == 0;
        if self.forgetful && self.rng.random_range(0..6) == 0 {
            *self.watched.store.lock().unwrap() = Arc::new(MemoryStore::new());
            self.watched.ended.lock().unwrap().clear();
        }
    }

    fn clears(&self) {
        let mut chance = self.watched.chance.lock().unwrap();
        chance.trouble = 0;
        chance.is_down = false;
    }

    /// Nobody holds a slot whose player has been silent for a ttl; or half a ttl more, if the
    /// keeper had to claim it anew.
    async fn nobody_lives_on_in_silence(&self) {
        let alive = self.watched.alive.lock().unwrap().clone();
        for key in self.watched.shot().await.keys() {
            let silent = alive.get(key).map(|at| at.elapsed());
            let bound = self.watched.timing.ttl() * 3 / 2 + SECOND;
            assert!(silent.is_some_and(|silent| silent < bound), "L1: {key:?} {silent:?}");
        }
    }

    /// A player that asks every few seconds is never interrupted while the store is well.
    async fn steady_players_play_on(&mut self) {
        sleep(self.watched.timing.ttl() * 2).await;
        let mut steady = Vec::new();
        for (account, whose) in ACCOUNTS.iter().enumerate() {
            for n in 0..limit_of(account) {
                let claim = Claim::new(*whose, id(&format!("steady {n}")), limit_of(account));
                steady.push((account, claim));
            }
        }
        for _ in 0..25 {
            for (account, claim) in &steady {
                let key = (*account, claim.id);
                self.watched.alive.lock().unwrap().insert(key, Instant::now());
                let leases = &self.gateways[self.rng.random_range(0..GATEWAYS)];
                let grant = leases.hold(claim).await.unwrap();
                assert!(matches!(grant, Grant::Held(_)), "L4: {claim:?} {grant:?}");
            }
            sleep(Duration::from_millis(self.rng.random_range(500..7000))).await;
        }
        for leases in &self.gateways {
            assert_eq!(leases.stats().provisional, 0, "L3: all are registered or refused");
        }
    }
}

/// What a gateway does for a media request under the policy `local`.
async fn request(watched: &Watched, leases: &Leases, claim: &Claim) {
    let key = (Watched::account(&claim.holder), claim.id);
    let was_ended = watched.ended.lock().unwrap().contains(&key);
    watched.alive.lock().unwrap().insert(key, Instant::now());
    match leases.hold(claim).await {
        Ok(Grant::Held(lease)) => {
            let is_fresh = lease.is_new() && !lease.is_provisional();
            let still_ended = watched.ended.lock().unwrap().contains(&key);
            assert!(!(is_fresh && was_ended && still_ended), "I3: {claim:?} was let in again");
            assert!(lease.expires_in() <= watched.timing.ttl());
        }
        Ok(_) => {}
        Err(_) => {
            if let Grant::Held(lease) = leases.hold_locally(claim).unwrap() {
                assert!(lease.active() <= claim.limit || !lease.is_new(), "I13");
            }
        }
    }
    // The answer may have taken a while; its player was there to hear it.
    watched.alive.lock().unwrap().insert(key, Instant::now());
}

async fn run(seed: u64) {
    let watched = Watched::new(seed);
    let (stop, stopped) = watch::channel(());
    let (mut gateways, mut keepers) = (Vec::new(), Vec::new());
    let bounds = Bounds { roster_entries_max: 4096, ..Bounds::default() };
    for _ in 0..GATEWAYS {
        let (leases, keeper) =
            Leases::bounded(Arc::new(Handle(watched.clone())), watched.timing, bounds);
        let mut stopped = stopped.clone();
        keepers.push(tokio::spawn(keeper.run(async move { drop(stopped.changed().await) })));
        gateways.push(leases);
    }
    let rng = SmallRng::seed_from_u64(seed);
    let mut run =
        Run { rng, watched, gateways, viewers: JoinSet::new(), forgetful: seed.is_multiple_of(4) };
    for step in 0..STEPS {
        if step % 10 == 0 {
            run.weather();
        }
        for _ in 0..run.rng.random_range(1..5) {
            run.act();
        }
        sleep(Duration::from_millis(run.rng.random_range(0..5000))).await;
        run.nobody_lives_on_in_silence().await;
        while let Some(done) = run.viewers.try_join_next() {
            done.unwrap();
        }
    }
    run.clears();
    run.steady_players_play_on().await;
    drop(stop);
    while let Some(done) = run.viewers.join_next().await {
        done.unwrap();
    }
    let later = std::mem::take(&mut *run.watched.later.lock().unwrap());
    for done in keepers.into_iter().chain(later) {
        done.await.unwrap();
    }
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

/// Seeds do not know of each other, so every core takes its share.
fn simulate_all(seeds: u64) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
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
