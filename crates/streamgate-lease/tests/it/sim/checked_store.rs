//! The store under watch: each verb that reaches it is checked against what was live just before
//! and just after. Nothing waits between the two looks, so nothing else has moved.

use super::invariant::{self as must, Shot};
use super::plain::Plain;
use super::policy::{
    ACCOUNTS, Key, PEPPER_STEPS, TTL_MAX, TTL_MIN, account, holder, is_reusable, login, timing,
};
use super::post::{Post, Turn};
use crate::spec::Spec;
use rand::RngExt;
use rand::rngs::SmallRng;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamgate_lease::memory::MemoryStore;
use streamgate_lease::{
    Admitted, Answer, Attempt, Claim, ClaimSource, DisplacePolicy, Holder, LeaseId, LeaseStore,
    Slot, State, Timing,
};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
/// How far behind a replica may be, in looks of the driver at the store.
const REPLICA_LAG: usize = 4;
const JUMPS_BACK_MAX: Duration = Duration::from_secs(30);

#[derive(Clone)]
enum Behind {
    Memory(Arc<MemoryStore>),
    Plain(Arc<Plain>),
}

pub(super) struct CheckedStore {
    behind: Mutex<Behind>,
    pub(super) timing: Timing,
    pub(super) seen: Mutex<Seen>,
    pub(super) post: Post,
}

/// What has been seen so far.
#[derive(Default)]
pub(super) struct Seen {
    /// What must not be live again, since when.
    pub(super) ended: BTreeMap<Key, Instant>,
    /// Who was admitted and has neither ended nor been evicted.
    seated: BTreeSet<Key>,
    ever: BTreeSet<Key>,
    /// What each expires by, and the longest that it ever did: gateways may remember that.
    ttls: HashMap<Key, Duration>,
    longest_ttls: HashMap<Key, Duration>,
    /// The last sign of life of each, by the requests of its player.
    pub(super) alive: HashMap<Key, Instant>,
    /// Since when one is over the limit.
    over: HashMap<Key, Instant>,
    /// How far the store's clock has been set back, in all.
    back: Duration,
    /// What the store's clock showed when this began; learned from the first admission.
    epoch: Option<(u64, Instant)>,
    /// Verbs that were done.
    turn: Turn,
    replicas: VecDeque<(Instant, [Spec; ACCOUNTS.len()])>,
    /// Who may be marked, and since when by the store's clock, if that is known for sure.
    marked: BTreeMap<Key, Option<u64>>,
    /// When each was last admitted anew.
    pub(super) born: HashMap<Key, Instant>,
    /// When requests of each were let pass since, as far as their gateways had heard of that.
    pub(super) passes: HashMap<Key, Vec<Instant>>,
    /// The version of each that was let pass once, by one request, and not renewed since.
    versions: HashMap<Key, u64>,
    /// Which began by a ticket; false where a fault may have undone that.
    by_ticket: BTreeMap<Key, bool>,
}

impl CheckedStore {
    /// Every other seed has a clock that jumps and a replica; in the others names matter.
    pub(super) fn new(seed: u64) -> Self {
        let behind = if seed.is_multiple_of(2) {
            Behind::Memory(Arc::new(MemoryStore::new()))
        } else {
            Behind::Plain(Arc::new(Plain::new()))
        };
        let behind = Mutex::new(behind);
        Self { behind, timing: timing(), seen: Mutex::default(), post: Post::new(seed) }
    }

    pub(super) fn store(&self) -> Arc<dyn LeaseStore> {
        match self.behind.lock().unwrap().clone() {
            Behind::Memory(store) => store,
            Behind::Plain(store) => store,
        }
    }

    /// By how much a store's clock that was set back makes a lease last longer.
    pub(super) fn skew(&self) -> Duration {
        self.seen.lock().unwrap().back
    }

    /// Under both names, neither of which knows of the other: so that looking gathers nothing.
    pub(super) async fn shot(&self) -> Shot {
        let store = self.store();
        let mut shot = Shot::new();
        for step in [0, PEPPER_STEPS - 1] {
            for n in 0..ACCOUNTS.len() {
                let live = store.list(&holder(step, n)).await.unwrap();
                shot.extend(live.into_iter().map(|live| ((n, live.id), live)));
            }
        }
        shot
    }

    /// It forgets everything, or the last moments, or what time it is.
    pub(super) fn inject_fault(&self, rng: &mut SmallRng) {
        let mut seen = self.seen.lock().unwrap();
        let mut behind = self.behind.lock().unwrap();
        match (&*behind, rng.random_range(0..12)) {
            (Behind::Memory(_), 0) => {
                *behind = Behind::Memory(Arc::new(MemoryStore::new()));
                seen.forget(None);
            }
            (Behind::Plain(store), 0..2) => {
                if let Some((heard, replica)) = seen.replicas.pop_front() {
                    store.fails_over_to(replica);
                    seen.forget(Some(heard));
                }
            }
            (Behind::Plain(store), 2..5) => {
                let by = SECOND * rng.random_range(1..15);
                let is_back = rng.random_range(0..2) == 0 && seen.back + by <= JUMPS_BACK_MAX;
                store.jumps(by, is_back);
                seen.back += if is_back { by } else { Duration::ZERO };
                seen.epoch = None;
                seen.marked.values_mut().for_each(|since| *since = None);
            }
            _ => {}
        }
    }

    /// Its replica hears of what has happened.
    pub(super) fn replicates(&self) {
        if let Behind::Plain(store) = &*self.behind.lock().unwrap() {
            let mut seen = self.seen.lock().unwrap();
            seen.replicas.push_back((Instant::now(), store.copy()));
            if REPLICA_LAG < seen.replicas.len() {
                seen.replicas.pop_front();
            }
        }
    }

    fn check(&self, key: Key, was: &Shot, is: &Shot) {
        must::i10_accounts_do_not_touch_each_other(key.0, was, is);
        must::i1_never_more_live_than_any_limit(key.0, is);
        let skew = self.skew();
        let longest = self.seen.lock().unwrap().longest_ttls.get(&key).copied();
        let most = longest.unwrap_or(TTL_MAX) + skew;
        must::i2_no_lease_outlives_a_ttl(key, was, is, most, TTL_MAX + skew);
        let ended: Vec<_> = self.seen.lock().unwrap().ended.keys().copied().collect();
        must::i3_what_ended_stays_ended(&ended, is);
        must::i5_a_stream_keeps_its_beginning_and_its_classes(was, is);
        must::i7_an_expiry_never_moves_back(was, is);
    }

    pub(super) async fn acquire(&self, claim: &Claim) -> (Answer, Turn) {
        let key = (account(&claim.holder), claim.id);
        let was = self.shot().await;
        let answer = self.store().acquire(claim, &self.timing).await.unwrap();
        let is = self.shot().await;
        must::of_an_answer(claim, key, &answer, &was, &is);
        let used = self.seen.lock().unwrap().used(&key);
        must::i17_a_ticket_is_used_in_time_or_never(claim, key, &answer, &was, used);
        let turn = {
            let mut seen = self.seen.lock().unwrap();
            match &answer {
                Answer::Held(admitted) => {
                    let marked = seen.marked.keys().copied().collect();
                    must::i14_nobody_is_superseded_who_plays(claim, key, admitted, &marked);
                    let passed_over = seen.passed_over(&was);
                    must::i14_ones_own_device_goes_first(claim, key, admitted, &is, &passed_over);
                    seen.admission(key, admitted);
                    seen.marks(claim, key, admitted, &is);
                    if admitted.is_new && claim.ticket.is_some() {
                        seen.by_ticket.insert(key, true);
                    }
                }
                Answer::Full(full) => {
                    let passed_over = seen.passed_over(&was);
                    must::i14_nobody_is_refused_while_one_would_make_room(
                        claim,
                        key,
                        full,
                        &was,
                        &passed_over,
                    );
                }
                Answer::Ended(..) => {}
            }
            seen.next_turn()
        };
        if let Answer::Held(admitted) = &answer {
            for id in admitted.replaced.iter().chain(&admitted.superseded) {
                self.post.publish(&claim.holder, *id, false, turn);
            }
            for id in &admitted.marked {
                self.post.publish(&claim.holder, *id, true, turn);
            }
        }
        self.l3_nobody_stays_over_the_limit(&is);
        self.check(key, &was, &is);
        (answer, turn)
    }

    pub(super) async fn renew(&self, slot: &Slot) -> (Option<Duration>, Turn) {
        let key = (account(&slot.holder), slot.id);
        let was = self.shot().await;
        let renewed = self.store().renew(&[*slot], &self.timing).await.remove(0).unwrap();
        let is = self.shot().await;
        let had_a_slot = self.seen.lock().unwrap().seated.contains(&key);
        must::i8_a_renewal_never_adds(key, had_a_slot, &was, &is);
        self.check(key, &was, &is);
        let mut seen = self.seen.lock().unwrap();
        seen.versions.remove(&key);
        (renewed, seen.next_turn())
    }

    pub(super) async fn end(&self, of: &Holder, id: &LeaseId, terminate: bool) -> bool {
        let key = (account(of), *id);
        let was = self.shot().await;
        let store = self.store();
        let known = if terminate {
            store.terminate(of, id, &self.timing).await.unwrap()
        } else {
            store.release(of, id, &self.timing).await.unwrap();
            was.contains_key(&key)
        };
        let is = self.shot().await;
        must::i9_a_slot_is_free_when_it_was_freed(key, &is);
        if known {
            let turn = {
                let mut seen = self.seen.lock().unwrap();
                seen.end(key);
                seen.next_turn()
            };
            if terminate {
                self.post.publish(of, *id, false, turn);
            }
        }
        self.check(key, &was, &is);
        known
    }

    pub(super) async fn give_back(&self, of: &Holder, id: &LeaseId, attempt: Attempt) -> bool {
        let key = (account(of), *id);
        let was = self.shot().await;
        let given = self.store().give_back(of, id, attempt).await.unwrap();
        let is = self.shot().await;
        let mut expected = was.clone();
        let version = self.seen.lock().unwrap().versions.get(&key).copied();
        let is_sure = version.is_some_and(|version| attempt == Attempt::Versioned(version));
        must::i15_a_failed_start_holds_nothing(key, given, is_sure && was.contains_key(&key));
        if given {
            let mut seen = self.seen.lock().unwrap();
            let passes = seen.passes.get(&key).map_or(0, Vec::len);
            must::i15_nobody_plays_beside_a_failed_start(key, passes);
            seen.seated.remove(&key);
            expected.remove(&key);
        }
        assert_eq!(expected, is, "I15: {key:?} {given}");
        self.check(key, &was, &is);
        given
    }

    pub(super) async fn declare(&self, of: &Holder, id: &LeaseId, state: State) -> bool {
        let was = self.shot().await;
        let live = self.store().declare(of, id, state).await.unwrap();
        let is = self.shot().await;
        assert!(was.keys().eq(is.keys()), "a declaration moves nobody");
        self.check((account(of), *id), &was, &is);
        live
    }

    /// Over the limit for the grandfather's time, and until the renewal after it.
    fn l3_nobody_stays_over_the_limit(&self, is: &Shot) {
        let bound = self.timing.grandfather() + TTL_MAX * 2 + self.skew();
        let mut seen = self.seen.lock().unwrap();
        seen.over.retain(|key, _| is.get(key).is_some_and(|live| live.over_limit));
        for (key, _) in is.iter().filter(|(_, live)| live.over_limit) {
            let since = seen.over.entry(*key).or_insert_with(Instant::now);
            assert!(since.elapsed() <= bound, "L3: {key:?} is over the limit for too long");
        }
    }

    /// Nobody holds a slot whose player has been silent for a ttl; or half a ttl more, if the
    /// renewer had to claim it anew; and what was claimed may have been on its way for a while.
    pub(super) async fn l1_nobody_lives_on_in_silence(&self, under_way_max: Duration) {
        let bound = TTL_MAX * 3 / 2 + under_way_max + SECOND + self.skew();
        for key in self.shot().await.keys() {
            let silent = self.seen.lock().unwrap().alive.get(key).map(Instant::elapsed);
            assert!(silent.is_some_and(|silent| silent < bound), "L1: {key:?} {silent:?}");
        }
    }
}

impl Seen {
    /// Whether it began by a ticket; none where that is not known.
    fn used(&self, key: &Key) -> Option<bool> {
        match self.by_ticket.get(key) {
            None => Some(false),
            Some(true) => Some(true),
            Some(false) => None,
        }
    }

    fn next_turn(&mut self) -> Turn {
        self.turn += 1;
        self.turn
    }

    pub(super) fn sign_of_life(&mut self, key: Key) {
        self.alive.insert(key, Instant::now());
    }

    fn admission(&mut self, key: Key, admitted: &Admitted) {
        if admitted.is_new {
            self.i11_a_beginning_is_the_time_of_the_store(admitted.started_at);
        }
        match admitted.first {
            Some(version) => self.versions.insert(key, version),
            None => self.versions.remove(&key),
        };
        self.seated.insert(key);
        self.ever.insert(key);
        self.ttls.insert(key, admitted.ttl);
        let longest = self.longest_ttls.entry(key).or_default();
        *longest = admitted.ttl.max(*longest);
        for id in &admitted.replaced {
            self.end((key.0, *id));
        }
        for id in admitted.idle.iter().chain(&admitted.superseded) {
            self.seated.remove(&(key.0, *id));
        }
    }

    /// What it expires by; the shortest there is if it was never admitted.
    fn ttl_of(&self, key: &Key) -> Duration {
        self.ttls.get(key).copied().unwrap_or(TTL_MIN)
    }

    /// A start marks the older ones of its login; a player's request lifts the mark of its own.
    fn marks(&mut self, claim: &Claim, key: Key, admitted: &Admitted, is: &Shot) {
        if admitted.is_new {
            self.born.insert(key, Instant::now());
            self.passes.remove(&key);
        }
        if admitted.is_new || claim.by == ClaimSource::Request {
            self.marked.remove(&key);
        }
        let is_start = admitted.is_new && claim.by != ClaimSource::Node;
        if is_start && claim.displaces == DisplacePolicy::Older {
            let older = is.keys().filter(|it| it.0 == key.0 && login(it.1) == claim.login);
            for other in older.filter(|other| **other != key) {
                self.marked.entry(*other).or_insert(Some(admitted.started_at));
            }
        }
    }

    /// Those that for sure have been silent since they were marked.
    fn passed_over(&self, was: &Shot) -> BTreeSet<Key> {
        let Some((epoch, since)) = self.epoch else { return BTreeSet::new() };
        let now = Duration::from_millis(epoch) + since.elapsed();
        let is_silent = |key: &Key| {
            let marked_at = self.marked.get(key).copied().flatten().map(Duration::from_millis);
            marked_at.is_some_and(|at| now + was[key].expires_in <= at + self.ttl_of(key))
        };
        was.keys().copied().filter(is_silent).collect()
    }

    /// Nothing that a viewer sends has a say in it: it is the store's clock and nothing else.
    fn i11_a_beginning_is_the_time_of_the_store(&mut self, started_at: u64) {
        let (epoch, since) = *self.epoch.get_or_insert((started_at, Instant::now()));
        let passed = u64::try_from(since.elapsed().as_millis()).unwrap();
        assert!(
            epoch + passed == started_at,
            "I11: it began at {started_at}, not {epoch}+{passed}"
        );
    }

    fn end(&mut self, key: Key) {
        self.seated.remove(&key);
        if !is_reusable(key.1) {
            self.ended.entry(key).or_insert_with(Instant::now);
        }
    }

    /// The store has nothing of what came in this moment or later, or nothing at all.
    fn forget(&mut self, after: Option<Instant>) {
        self.ended.retain(|_, at| after.is_some_and(|after| *at < after));
        self.replicas.clear();
        self.by_ticket.values_mut().for_each(|is_sure| *is_sure = false);
        self.over.clear();
        self.versions.clear();
        for passes in self.passes.values_mut() {
            passes.retain(|at| after.is_some_and(|after| *at < after));
        }
        self.epoch = None;
        self.seated = if after.is_some() { self.ever.clone() } else { BTreeSet::new() };
        self.marked = self.seated.iter().map(|key| (*key, None)).collect();
    }
}
