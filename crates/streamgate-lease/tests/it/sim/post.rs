//! The way of notices: what the store publishes about a stream that was ended or marked, to every
//! gateway, the one that asked for it included. A notice may come before the answer to the very
//! question that caused it; in bad times it comes late, twice, out of order or never.
//!
//! It also keeps the books for I16: what each gateway was told of each stream, and what the store
//! has said of it since.

use super::pass;
use super::policy::{Key, account, names};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamgate_lease::{Holder, Lease, LeaseId, Leases};
use tokio::task::JoinHandle;

/// A notice takes as long as an answer does, or half of that, or twice as long.
pub(super) const NOTICE_MAX: Duration = Duration::from_millis(80);
/// In bad times.
const NOTICE_LATE_MAX: Duration = Duration::from_secs(5);

/// The number of a verb that the store did; a later one has a higher number.
pub(super) type Turn = u64;

/// Who hears of what is published, until the next one takes its place.
#[derive(Clone)]
pub(super) struct Subscriber {
    pub(super) leases: Leases,
    pub(super) books: Arc<Mutex<Books>>,
}

/// What one gateway was told.
#[derive(Default)]
pub(super) struct Books(HashMap<Key, Told>);

/// Of one stream, the turns of the store.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    /// A notice said that it was ended, or marked.
    ended: Turn,
    marked: Turn,
    /// The store said that it is live; and said so to a request of its player.
    confirmed: Turn,
    admitted: Turn,
}

#[derive(Debug, Clone, Copy)]
struct Notice {
    holder: Holder,
    id: LeaseId,
    is_mark: bool,
    turn: Turn,
}

pub(super) struct Post {
    chance: Mutex<Chance>,
    subscribers: Mutex<Vec<Subscriber>>,
    under_way: Mutex<Vec<JoinHandle<()>>>,
}

struct Chance {
    rng: SmallRng,
    /// In percent.
    trouble: u32,
}

impl Post {
    pub(super) fn new(seed: u64) -> Self {
        let rng = SmallRng::seed_from_u64(seed ^ 0x9057);
        Self {
            chance: Mutex::new(Chance { rng, trouble: 0 }),
            subscribers: Mutex::default(),
            under_way: Mutex::default(),
        }
    }

    pub(super) fn set_trouble(&self, trouble: u32) {
        self.chance.lock().unwrap().trouble = trouble;
    }

    /// The gateway of this number hears of everything from now on.
    pub(super) fn subscribe(&self, gateway: usize, subscriber: Subscriber) {
        let mut subscribers = self.subscribers.lock().unwrap();
        if subscribers.len() <= gateway {
            subscribers.push(subscriber);
        } else {
            subscribers[gateway] = subscriber;
        }
    }

    /// To all, each in its own time.
    pub(super) fn publish(&self, holder: &Holder, id: LeaseId, is_mark: bool, turn: Turn) {
        let notice = Notice { holder: *holder, id, is_mark, turn };
        for subscriber in self.subscribers.lock().unwrap().clone() {
            for delay in self.delays() {
                let subscriber = subscriber.clone();
                self.under_way.lock().unwrap().push(tokio::spawn(async move {
                    pass(delay).await;
                    subscriber.hears(&notice);
                }));
            }
        }
    }

    /// When it comes, as often as it does.
    fn delays(&self) -> Vec<Duration> {
        let mut chance = self.chance.lock().unwrap();
        let in_trouble = chance.rng.random_range(0..100) < chance.trouble;
        let mut delay = |most: Duration| most.mul_f64(chance.rng.random_range(0.0..1.0));
        let soon = delay(NOTICE_MAX);
        if !in_trouble {
            return vec![soon];
        }
        let late = delay(NOTICE_LATE_MAX);
        match chance.rng.random_range(0..3) {
            0 => Vec::new(),
            1 => vec![late],
            _ => vec![soon, late],
        }
    }

    pub(super) async fn all_has_come(&self) {
        let under_way = std::mem::take(&mut *self.under_way.lock().unwrap());
        for notice in under_way {
            notice.await.unwrap();
        }
    }
}

impl Subscriber {
    /// As a gateway reads it: under each of the names that the store was given, and no other.
    fn hears(&self, notice: &Notice) {
        let key = (account(&notice.holder), notice.id);
        for holder in names(&notice.holder) {
            match notice.is_mark {
                true => self.leases.mark_older(&holder, &notice.id),
                false => self.leases.mark_stale(&holder, &notice.id),
            }
        }
        let mut books = self.books.lock().unwrap();
        let told = books.0.entry(key).or_default();
        let of = if notice.is_mark { &mut told.marked } else { &mut told.ended };
        *of = notice.turn.max(*of);
    }
}

impl Books {
    /// The store said in this turn that the stream is live.
    pub(super) fn confirmed(&mut self, key: Key, turn: Turn, to_a_request: bool) {
        let told = self.0.entry(key).or_default();
        told.confirmed = turn.max(told.confirmed);
        if to_a_request {
            told.admitted = turn.max(told.admitted);
        }
    }

    /// The store is away, and the gateway decides in full knowledge of what it was told.
    pub(super) fn decided_alone(&mut self, key: Key) {
        let told = self.0.entry(key).or_default();
        told.confirmed = told.ended.max(told.confirmed);
        told.admitted = told.marked.max(told.admitted);
    }

    /// A request was let pass by what the gateway knows. What a notice has told is older than that,
    /// even if an answer that is older than the notice came behind it.
    pub(super) fn i16_no_notice_is_lost(&self, key: Key, lease: &Lease) {
        let told = self.0.get(&key).copied().unwrap_or_default();
        let is_known = told.ended <= told.confirmed && told.marked <= told.admitted;
        assert!(is_known || lease.is_provisional(), "I16: {key:?} {told:?} {lease:?}");
    }
}
