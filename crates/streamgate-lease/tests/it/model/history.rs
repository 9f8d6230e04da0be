//! Random histories of one account: what happens, through which gateway, and when.
//!
//! Only words here; nothing runs. Everything is small and shrinks to less: fewer steps, the first
//! device, nobody replaced, no class, no time.

use super::{CLASSES, DEVICES};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use streamgate_lease::{ClaimSource, DisplacePolicy};

/// One step, and how long after the last one it happens.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// In milliseconds.
    pub(super) after: u64,
    /// Which of the two gateways, whose peppers are in opposite order.
    pub(super) gateway: usize,
    pub(super) act: Act,
}

/// Devices and classes by their number.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Acquire(Wish),
    /// Its player has been silent for so many milliseconds.
    Renew(usize, u64),
    Release(usize),
    Terminate(usize),
    /// What its first request was granted is given back.
    GiveBack(usize),
    Pause(usize),
    Play(usize),
}

#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) device: usize,
    pub(super) limit: u32,
    /// Which of four ttls.
    pub(super) ttl: usize,
    /// Class and limit.
    pub(super) classes: Vec<(usize, u32)>,
    pub(super) victims: Victims,
    pub(super) reusable: bool,
    pub(super) explicit_start: bool,
    pub(super) adopt: bool,
    pub(super) has_label: bool,
    /// It says which login it is of.
    pub(super) has_login: bool,
    pub(super) path: Option<usize>,
    pub(super) by: ClaimSource,
    pub(super) displaces: DisplacePolicy,
    pub(super) starts: bool,
    /// It plays by a ticket.
    pub(super) ticket: Option<Within>,
}

/// In milliseconds from the claim on: until when a ticket had to be used, and when it ends.
pub(super) type Within = (i64, u64);

#[derive(Debug, Clone)]
pub(super) enum Victims {
    Nobody,
    Oldest,
    These(Vec<usize>),
}

/// Histories in which time passes by one of these, renewals are late by one of those, and tickets
/// are like one of the last.
pub(super) fn histories(
    times: &'static [u64],
    silences: &'static [u64],
    tickets: &'static [Within],
) -> impl Strategy<Value = Vec<Step>> {
    let step = (select(times), 0..2_usize, act(silences, tickets))
        .prop_map(|(after, gateway, act)| Step { after, gateway, act });
    vec(step, 1..40)
}

fn act(silences: &'static [u64], tickets: &'static [Within]) -> impl Strategy<Value = Act> {
    let device = || 0..DEVICES.len();
    prop_oneof![
        8 => wish(tickets).prop_map(Act::Acquire),
        3 => (device(), select(silences)).prop_map(|(device, silent)| Act::Renew(device, silent)),
        1 => device().prop_map(Act::Release),
        1 => device().prop_map(Act::Terminate),
        2 => device().prop_map(Act::GiveBack),
        2 => device().prop_map(Act::Pause),
        1 => device().prop_map(Act::Play),
    ]
}

fn wish(tickets: &'static [Within]) -> impl Strategy<Value = Wish> {
    let victims = prop_oneof![
        6 => Just(Victims::Nobody),
        2 => Just(Victims::Oldest),
        2 => vec(0..DEVICES.len(), 0..4).prop_map(Victims::These),
    ];
    let rarely = || weighted(0.2, Just(())).prop_map(|it| it.is_some());
    let classes = vec((0..CLASSES.len(), 0..4_u32), 0..4);
    let limit = select(&[1_u32, 2, 3, 0][..]);
    let flags = (rarely(), rarely(), rarely(), any::<bool>());
    let by = select(
        &[
            ClaimSource::Request,
            ClaimSource::Request,
            ClaimSource::Request,
            ClaimSource::Reservation,
            ClaimSource::Node,
        ][..],
    );
    let displaces = select(
        &[
            DisplacePolicy::Older,
            DisplacePolicy::Older,
            DisplacePolicy::Older,
            DisplacePolicy::Marked,
            DisplacePolicy::Nobody,
        ][..],
    );
    let login = (weighted(0.9, Just(())), weighted(0.3, 0..2_usize), by, displaces, any::<bool>());
    let room = (limit, 0..4_usize);
    let by_ticket = weighted(0.3, select(tickets));
    let room = (room, by_ticket);
    (0..DEVICES.len(), room, classes, victims, flags, login).prop_map(
        |(device, ((limit, ttl), ticket), classes, victims, flags, login)| {
            let (login, path, by, displaces, starts) = login;
            let (reusable, explicit_start, adopt, has_label) = flags;
            let has_login = login.is_some();
            Wish {
                device,
                limit,
                ttl,
                classes,
                victims,
                reusable,
                explicit_start,
                adopt,
                has_label,
                has_login,
                path,
                by,
                displaces,
                starts,
                ticket,
            }
        },
    )
}
