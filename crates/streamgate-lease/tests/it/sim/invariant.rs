//! The invariants of the lease protocol, each with a checker of its own name, so that a red run
//! says which is broken. Pure: they look at what was live before and after one verb, and complain.
//!
//! I11 and I12 stand in `checked_store` and `viewer`, which know the clock and the gateways, and
//! I16 in `post`, which knows what each gateway was told; the liveness lines L1 to L4 stand in
//! `liveness`, and L1 and L3 in `checked_store`, too.

use super::policy::{CLASS_LIMIT_MAX, CLASSES, Key, LIMIT_MAX, TOO_LATE, login};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use streamgate_lease::{
    Admitted, Answer, Claim, ClaimSource, Class, DisplacePolicy, Ending, Full, LeaseId, Live,
    Replace,
};

pub(super) type Shot = BTreeMap<Key, Live>;

/// How many of an account are live, of a class or of all, those over the limit left out or not.
fn count(shot: &Shot, account: usize, class: Option<Class>, with_over: bool) -> u32 {
    let of = shot.iter().filter(|(key, _)| key.0 == account).map(|(_, live)| live);
    let of = of.filter(|live| class.is_none_or(|class| live.classes.contains(&class)));
    u32::try_from(of.filter(|live| with_over || !live.over_limit).count()).unwrap()
}

fn may_be_adopted(claim: &Claim) -> bool {
    claim.adopt || claim.lost
}

/// Whoever is admitted is admitted within the limit of his claim, and within those of his classes.
pub(super) fn i1_never_more_live_than_the_limit(claim: &Claim, key: Key, was: &Shot, is: &Shot) {
    let (mine, before) = (&is[&key], was.get(&key));
    if mine.over_limit {
        return;
    }
    // An adoption counts those within the limit alone, and so does who finds a place among them.
    let live = |class, with_over| count(is, key.0, class, with_over);
    if before.is_none_or(|before| before.over_limit) {
        let live = live(None, before.is_none() && !may_be_adopted(claim));
        assert!(live <= claim.limit, "I1: {live} live, {claim:?}");
    }
    for of in claim.classes.iter() {
        let had_it = before.is_some_and(|before| before.classes.contains(&of.class));
        let live = live(Some(of.class), !may_be_adopted(claim));
        assert!(had_it || live <= of.limit, "I1: {live} live in {}, {claim:?}", of.class);
    }
}

/// Whatever happens, nobody has more than any policy ever allowed.
pub(super) fn i1_never_more_live_than_any_limit(account: usize, is: &Shot) {
    let live = count(is, account, None, false);
    assert!(live <= LIMIT_MAX, "I1: {live} of account {account}");
    for class in *CLASSES {
        let live = count(is, account, Some(class), false);
        assert!(live <= CLASS_LIMIT_MAX, "I1: {live} of account {account} in {class}");
    }
}

/// Only what was asked about lives longer than before, and that a ttl of its own at most.
pub(super) fn i2_no_lease_outlives_a_ttl(
    key: Key,
    was: &Shot,
    is: &Shot,
    most: Duration,
    most_of_all: Duration,
) {
    for (other, live) in is {
        assert!(live.expires_in <= most_of_all, "I2: {live:?}");
        let may_be = if *other == key { most } else { most_of_all };
        let before = was.get(other).map_or(Duration::ZERO, |before| before.expires_in);
        assert!(live.expires_in <= may_be.max(before), "I2: {live:?} of {may_be:?}");
        if *other != key
            && let Some(before) = was.get(other)
        {
            assert_eq!(live.expires_in, before.expires_in, "I2: nobody renewed {other:?}");
        }
    }
}

pub(super) fn i3_what_ended_stays_ended(ended: &[Key], is: &Shot) {
    for key in ended {
        assert!(!is.contains_key(key), "I3: {key:?} lives again");
    }
}

pub(super) fn i4_a_refusal_changes_nothing(key: Key, was: &Shot, is: &Shot) {
    let mut expected = was.clone();
    // Its time over the limit is up: it has lost its slot, and nothing else has changed.
    if was.get(&key).is_some_and(|mine| mine.over_limit) && !is.contains_key(&key) {
        expected.remove(&key);
    }
    assert_eq!(&expected, is, "I4: {key:?} was refused");
}

pub(super) fn i4_a_takeover_is_all_or_nothing(key: Key, said: &Admitted, was: &Shot, is: &Shot) {
    assert!(is.contains_key(&key), "I4: it was admitted");
    let gone: Vec<_> = was.keys().filter(|key| !is.contains_key(key)).collect();
    let said_gone = || said.replaced.iter().chain(&said.idle).chain(&said.superseded);
    assert_eq!(gone.len(), said_gone().count(), "I4: {gone:?} {said:?}");
    for id in said_gone() {
        assert!(gone.contains(&&(key.0, *id)), "I4: nobody was replaced");
    }
}

pub(super) fn i5_asking_again_is_the_same_slot(key: Key, said: &Admitted, was: &Shot, is: &Shot) {
    assert_eq!(said.is_new, !was.contains_key(&key), "I5: {key:?}");
    assert_eq!(said.started_at, is[&key].started_at, "I5: {key:?}");
}

pub(super) fn i5_a_stream_keeps_its_beginning_and_its_classes(was: &Shot, is: &Shot) {
    for (key, before) in was {
        if let Some(now) = is.get(key) {
            assert_eq!(before.started_at, now.started_at, "I5: {key:?}");
            let kept = before.classes.iter().all(|class| now.classes.contains(class));
            assert!(kept, "I5: a class stays with its stream: {before:?} {now:?}");
        }
    }
}

pub(super) fn i5_who_is_admitted_has_what_he_claimed(claim: &Claim, key: Key, is: &Shot) {
    let took = claim.classes.iter().all(|of| is[&key].classes.contains(&of.class));
    assert!(took, "I5: {claim:?} {:?}", is[&key]);
}

pub(super) fn i6_nobody_is_refused_while_there_is_room(key: Key, said: &Full, was: &Shot) {
    let mine = was.get(&key);
    if mine.is_some_and(|mine| mine.over_limit) {
        return;
    }
    let lacks = |mine: &Live| said.class.is_some_and(|class| !mine.classes.contains(&class));
    assert!(mine.is_none_or(lacks), "I6: {key:?} has a slot, and the class");
    let mut others = was.clone();
    others.remove(&key);
    let others = count(&others, key.0, said.class, true);
    assert!(said.limit <= others, "I6: {key:?} was refused beside {others}");
    assert_eq!(said.live.len(), was.keys().filter(|other| other.0 == key.0).count(), "I6");
}

pub(super) fn i7_an_expiry_never_moves_back(was: &Shot, is: &Shot) {
    for (key, before) in was {
        if let Some(now) = is.get(key) {
            assert!(before.expires_in <= now.expires_in, "I7: {key:?} {before:?} {now:?}");
        }
    }
}

/// An expired slot that nobody has cleared away may come back; nobody else appears.
pub(super) fn i8_a_renewal_never_adds(key: Key, had_a_slot: bool, was: &Shot, is: &Shot) {
    let mut came = is.keys().filter(|other| !was.contains_key(other));
    assert!(came.all(|other| had_a_slot && *other == key), "I8: {key:?}");
}

pub(super) fn i9_a_slot_is_free_when_it_was_freed(key: Key, is: &Shot) {
    assert!(!is.contains_key(&key), "I9: {key:?}");
}

pub(super) fn i10_accounts_do_not_touch_each_other(account: usize, was: &Shot, is: &Shot) {
    let others = |shot: &Shot| -> Vec<_> {
        let of = shot.iter().filter(|(key, _)| key.0 != account);
        of.map(|(key, live)| (*key, live.clone())).collect()
    };
    assert_eq!(others(was), others(is), "I10: beside account {account}");
}

/// Nothing is over the limit but what a node vouched for, and that is flagged.
pub(super) fn i13_every_excess_is_adopted_and_flagged(
    claim: &Claim,
    key: Key,
    was: &Shot,
    is: &Shot,
) {
    for (other, live) in is {
        let was_over = was.get(other).is_some_and(|live| live.over_limit);
        let is_adopted = may_be_adopted(claim) && *other == key;
        assert!(!live.over_limit || was_over || is_adopted, "I13: {live:?}");
    }
}

/// Nobody is refused while an older stream of his own login is in the way, or one that has been
/// passed over: silent since a later playback of its login began.
pub(super) fn i14_nobody_is_refused_while_one_would_make_room(
    claim: &Claim,
    key: Key,
    said: &Full,
    was: &Shot,
    passed_over: &BTreeSet<Key>,
) {
    let is_over = was.get(&key).is_some_and(|mine| mine.over_limit);
    if claim.displaces == DisplacePolicy::Nobody || said.limit == 0 || is_over {
        return;
    }
    let is_start = !was.contains_key(&key) && claim.by != ClaimSource::Node;
    let displaces = is_start && claim.displaces == DisplacePolicy::Older;
    let mut others = was.clone();
    others.retain(|other, _| {
        let is_older = displaces && claim.login.is_some() && login(other.1) == claim.login;
        *other != key && !is_older && !passed_over.contains(other)
    });
    let in_the_way = count(&others, key.0, said.class, true);
    assert!(said.limit <= in_the_way, "I14: {claim:?} was refused beside {others:?}");
}

/// Only who is marked is superseded, or an older one of the newcomer's own login.
pub(super) fn i14_nobody_is_superseded_who_plays(
    claim: &Claim,
    key: Key,
    said: &Admitted,
    marked: &BTreeSet<Key>,
) {
    let is_start = said.is_new && claim.by != ClaimSource::Node;
    let displaces = is_start && claim.displaces == DisplacePolicy::Older;
    for id in &said.superseded {
        let is_older = displaces && claim.login.is_some() && login(*id) == claim.login;
        assert!(is_older || marked.contains(&(key.0, *id)), "I14: {id} {claim:?}");
    }
    assert!(
        claim.displaces != DisplacePolicy::Nobody || said.superseded.is_empty(),
        "I14: {said:?}"
    );
    assert!(displaces || said.marked.is_empty(), "I14: {said:?}");
}

/// A start makes room among the older ones of its own login, and those that were passed over,
/// before another device has to go. Where classes are full it depends on the class; they are left
/// to the specification.
pub(super) fn i14_ones_own_device_goes_first(
    claim: &Claim,
    key: Key,
    said: &Admitted,
    is: &Shot,
    passed_over: &BTreeSet<Key>,
) {
    let named = |id: &LeaseId| match &claim.replace {
        Replace::These(named) => named.contains(id),
        Replace::Nobody | Replace::Oldest => false,
    };
    let costs_others = said.replaced.iter().chain(&said.idle).any(|id| !named(id));
    if !costs_others || !claim.classes.is_empty() || claim.displaces == DisplacePolicy::Nobody {
        return;
    }
    let is_start = said.is_new && claim.by != ClaimSource::Node;
    let displaces = is_start && claim.displaces == DisplacePolicy::Older;
    for other in is.keys().filter(|other| other.0 == key.0 && **other != key) {
        let is_older = displaces && claim.login.is_some() && login(other.1) == claim.login;
        assert!(!is_older && !passed_over.contains(other), "I14: {other:?} {claim:?} {said:?}");
    }
}

/// A start that failed is given back, if nothing else of its stream was let pass or renewed.
pub(super) fn i15_a_failed_start_holds_nothing(key: Key, given: bool, is_sure: bool) {
    assert!(given || !is_sure, "I15: {key:?} holds a slot for a start that failed");
}

/// What was given back was let pass to nobody else, as far as the store has not forgotten it.
pub(super) fn i15_nobody_plays_beside_a_failed_start(key: Key, passes: usize) {
    assert!(passes <= 1, "I15: {key:?} was given back beside {passes} requests");
}

/// By a ticket that was not used in time nobody begins, unless that stream began in time before;
/// and nobody else is told so. `used` is `None` where a fault may have undone what is known.
pub(super) fn i17_a_ticket_is_used_in_time_or_never(
    claim: &Claim,
    key: Key,
    answer: &Answer,
    was: &Shot,
    used: Option<bool>,
) {
    let is_late = claim.ticket == Some(TOO_LATE) && claim.by != ClaimSource::Node;
    let begins = is_late && !was.contains_key(&key);
    match answer {
        Answer::Held(said) => {
            assert!(!begins || used != Some(false), "I17: {claim:?} {said:?}");
        }
        Answer::Ended(Ending::Unused, _) => {
            assert!(begins && used != Some(true), "I17: {claim:?} was told that it is late");
        }
        Answer::Full(_) | Answer::Ended(..) => {}
    }
}

/// All that an answer to a claim has to keep.
pub(super) fn of_an_answer(claim: &Claim, key: Key, answer: &Answer, was: &Shot, is: &Shot) {
    i13_every_excess_is_adopted_and_flagged(claim, key, was, is);
    match answer {
        Answer::Held(said) => {
            i4_a_takeover_is_all_or_nothing(key, said, was, is);
            i5_asking_again_is_the_same_slot(key, said, was, is);
            i5_who_is_admitted_has_what_he_claimed(claim, key, is);
            i1_never_more_live_than_the_limit(claim, key, was, is);
        }
        Answer::Full(said) => {
            i4_a_refusal_changes_nothing(key, was, is);
            i6_nobody_is_refused_while_there_is_room(key, said, was);
        }
        Answer::Ended(..) => i4_a_refusal_changes_nothing(key, was, is),
    }
}
