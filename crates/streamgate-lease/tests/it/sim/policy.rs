//! Who plays on what: three accounts, six devices, two classes, limits that change, and the four
//! steps in which a pepper is changed.

use crate::world::id;
use rand::RngExt;
use rand::rngs::SmallRng;
use std::sync::LazyLock;
use std::time::Duration;
use streamgate_lease::{
    About, Claim, ClaimSource, Class, ClassLimit, Classes, DisplacePolicy, Holder, LeaseId, Pepper,
    Replace, Tag, Ticket, Timing,
};

pub(super) const ACCOUNTS: [&str; 3] = ["alice", "bob", "carol"];
pub(super) const DEVICES: [&str; 6] = ["tv", "phone", "pad", "pc", "login", "app"];
const LOGIN: usize = 4;
/// Which login of the account each device is of.
const LOGINS: [&str; 6] = ["home", "road", "road", "desk", "desk", "desk"];
/// One pepper, also the next, also the last, the next one alone.
pub(super) const PEPPER_STEPS: usize = 4;
/// More than any policy here allows.
pub(super) const LIMIT_MAX: u32 = 3;
pub(super) const CLASS_LIMIT_MAX: u32 = 2;

/// The shortest and the longest ttl that a route gives its streams; most have the policy's.
pub(super) const TTL_MIN: Duration = Duration::from_secs(20);
pub(super) const TTL_MAX: Duration = Duration::from_secs(90);

/// Tickets that are good for as long as a run lasts, and that nobody has used in time, whatever the
/// store's clock shows.
const FOR_EVER: u64 = 1 << 53;
const IN_TIME: Ticket = Ticket { use_by: FOR_EVER, ends_at: FOR_EVER };
pub(super) const TOO_LATE: Ticket = Ticket { use_by: 0, ends_at: FOR_EVER };

/// Hashed once; it would be most of the work.
static HOLDERS: LazyLock<[[Holder; 3]; PEPPER_STEPS]> = LazyLock::new(|| {
    let [old, new] = [1, 2].map(|byte| Pepper::new([byte; 32]).unwrap());
    let also = |pepper: &Pepper, byte| pepper.clone().with_also([byte; 32]).unwrap();
    [old.clone(), also(&old, 2), also(&new, 1), new]
        .map(|pepper| ACCOUNTS.map(|account| Holder::of(&pepper, account)))
});
static IDS: LazyLock<[LeaseId; 6]> = LazyLock::new(|| DEVICES.map(id));
pub(super) static CLASSES: LazyLock<[Class; 2]> =
    LazyLock::new(|| ["4k", "live"].map(|name| name.parse().unwrap()));

/// A stream: whose, by number, and which.
pub(super) type Key = (usize, LeaseId);

/// The limits of the moment.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    limits: [u32; 3],
    class_limits: [[u32; 2]; 3],
}

impl Policy {
    pub(super) fn new() -> Self {
        Self { limits: [1, 2, 3], class_limits: [[1, 1], [1, 2], [2, 1]] }
    }

    /// Somebody up- or downgrades; who plays is not cut off.
    pub(super) fn change(&mut self, rng: &mut SmallRng) {
        let account = rng.random_range(0..ACCOUNTS.len());
        self.limits[account] = rng.random_range(1..=LIMIT_MAX);
        self.class_limits[account] = [0; 2].map(|_: u32| rng.random_range(1..=CLASS_LIMIT_MAX));
    }

    pub(super) fn limit(&self, account: usize) -> u32 {
        self.limits[account]
    }

    pub(super) fn claim(&self, rng: &mut SmallRng, step: usize, account: usize) -> Claim {
        let device = rng.random_range(0..DEVICES.len());
        let replace = match rng.random_range(0..10) {
            0 => Replace::Oldest,
            1 => Replace::These(vec![IDS[rng.random_range(0..IDS.len())]]),
            _ => Replace::Nobody,
        };
        let of = |class: usize| ClassLimit {
            class: CLASSES[class],
            limit: self.class_limits[account][class],
        };
        let some: Vec<_> = (0..CLASSES.len()).filter(|_| rng.random_range(0..4) == 0).collect();
        Claim {
            about: About::new(Some(DEVICES[device]), None),
            replace,
            reusable: device == LOGIN,
            classes: Classes::new(some.into_iter().map(of)).unwrap(),
            ttl: match rng.random_range(0..6) {
                0 => Some(TTL_MIN),
                1 => Some(TTL_MAX),
                _ => None,
            },
            explicit_start: rng.random_range(0..10) == 0,
            login: Some(Tag::of(LOGINS[device])),
            by: if rng.random_range(0..8) == 0 {
                ClaimSource::Reservation
            } else {
                ClaimSource::Request
            },
            displaces: match rng.random_range(0..8) {
                0 => DisplacePolicy::Nobody,
                1..3 => DisplacePolicy::Marked,
                _ => DisplacePolicy::Older,
            },
            starts: rng.random_range(0..2) == 0,
            ticket: match rng.random_range(0..8) {
                0 => Some(IN_TIME),
                1 => Some(TOO_LATE),
                _ => None,
            },
            ..Claim::new(HOLDERS[step][account], IDS[device], self.limits[account])
        }
    }
}

pub(super) fn timing() -> Timing {
    let timing = Timing::default();
    let timing = timing.with_grandfather(2 * timing.ttl()).unwrap();
    timing.with_grace(2 * timing.ttl()).unwrap()
}

/// The names of a holder, each by itself: what is published is under all of them.
pub(super) fn names(of: &Holder) -> impl Iterator<Item = Holder> {
    let account = account(of);
    let plain = [HOLDERS[0][account], HOLDERS[PEPPER_STEPS - 1][account]];
    plain.into_iter().filter(|name| *name == *of || of.other() == Some(*name))
}

/// The account as a gateway at this step calls it.
pub(super) fn holder(step: usize, account: usize) -> Holder {
    HOLDERS[step][account]
}

pub(super) fn account(of: &Holder) -> usize {
    let at_some_step = |account: &usize| HOLDERS.iter().any(|step| step[*account] == *of);
    (0..ACCOUNTS.len()).find(at_some_step).unwrap()
}

pub(super) fn is_reusable(of: LeaseId) -> bool {
    of == IDS[LOGIN]
}

/// The login that an id is of, by its number; a steady player says nothing of its login.
pub(super) fn login(of: LeaseId) -> Option<Tag> {
    IDS.iter().position(|id| *id == of).map(|device| Tag::of(LOGINS[device]))
}
