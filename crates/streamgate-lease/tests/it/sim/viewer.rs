//! What viewers do: they play, stop, pause and stop each other, through whichever gateway.

use super::checked_store::CheckedStore;
use super::fleet::Gateway;
use super::pass;
use super::policy::{Key, TTL_MAX, account};
use rand::RngExt;
use rand::rngs::SmallRng;
use std::time::Duration;
use streamgate_lease::{Claim, ClaimSource, Grant, Lease, State};
use tokio::time::Instant;

/// One thing that a viewer does.
pub(super) async fn acts(checked: &CheckedStore, gateway: &Gateway, claim: &Claim, verb: u32) {
    let leases = &gateway.leases;
    let (holder, id) = (&claim.holder, &claim.id);
    match verb {
        0..80 => request(checked, gateway, claim).await,
        80..85 => drop(leases.release(holder, id).await),
        85..89 => drop(leases.terminate(holder, id).await),
        89..93 => drop(leases.state(holder, id, State::Playing).await),
        93..97 => drop(leases.state(holder, id, State::Paused).await),
        // Somebody says that it was ended or marked elsewhere, which may be true.
        97..99 => leases.mark_stale(holder, id),
        _ => leases.mark_older(holder, id),
    }
}

pub(super) fn verb(rng: &mut SmallRng) -> u32 {
    rng.random_range(0..100)
}

/// What a gateway does for a media request under the policy `local`.
async fn request(checked: &CheckedStore, gateway: &Gateway, claim: &Claim) {
    let key = (account(&claim.holder), claim.id);
    let was_ended = checked.seen.lock().unwrap().ended.get(&key).copied();
    checked.seen.lock().unwrap().sign_of_life(key);
    match gateway.hold(claim).await {
        Ok(Grant::Held(lease)) => {
            let is_fresh = lease.is_new() && !lease.is_provisional();
            // The store may have forgotten that end, and have ended it again since.
            let is_ended = checked.seen.lock().unwrap().ended.get(&key).copied();
            let is_let_in = is_fresh && was_ended.is_some() && was_ended == is_ended;
            assert!(!is_let_in, "I3: {claim:?} was let in again");
            let most = TTL_MAX + checked.skew();
            assert!(lease.expires_in() <= most, "I2: {lease:?}");
            if claim.by == ClaimSource::Request {
                is_let_pass(checked, gateway, key, &lease).await;
            }
        }
        Ok(_) => {}
        // A late answer is no outage: the player is told to come back, and nobody is admitted.
        // Nothing may be left of what nobody was told of.
        Err(error) if !error.is_outage() => {
            if claim.by == ClaimSource::Reservation {
                gateway.leases.abandon(claim);
            }
        }
        Err(_) => {
            if let Ok(Grant::Held(lease)) = gateway.leases.hold_locally(claim) {
                gateway.books.lock().unwrap().decided_alone(key);
                let begins = lease.is_new() && claim.ticket.is_some();
                assert!(!begins, "I17: no gateway alone knows that a ticket is good: {claim:?}");
                if lease.is_new() {
                    i13_a_node_alone_starts_no_more_than_it_may(gateway, claim, &lease);
                } else if !lease.is_provisional() {
                    i12_nobody_goes_on_beyond_the_grace(checked, gateway, key, &lease);
                }
            }
        }
    }
    // The answer may have taken a while; its player was there to hear it.
    checked.seen.lock().unwrap().sign_of_life(key);
}

/// Its answer may be an error, which matters if it is the first.
async fn is_let_pass(checked: &CheckedStore, gateway: &Gateway, key: Key, lease: &Lease) {
    let heard_at = gateway.confirmed.lock().unwrap().get(&key).copied();
    {
        let mut seen = checked.seen.lock().unwrap();
        // Who has not heard of this start goes on by what he was told before a fault.
        let born_at = seen.born.get(&key).copied();
        if lease.is_provisional() || heard_at < born_at {
            return;
        }
        let passes = seen.passes.entry(key).or_default();
        if lease.is_first() {
            passes.clear();
        }
        passes.push(Instant::now());
    }
    if lease.is_first() && lease.started_at().is_multiple_of(2) {
        pass(Duration::from_millis(lease.started_at() % 1000)).await;
        drop(gateway.leases.give_back(lease).await);
    }
}

fn i13_a_node_alone_starts_no_more_than_it_may(gateway: &Gateway, claim: &Claim, lease: &Lease) {
    assert!(lease.is_provisional(), "I13: it is flagged: {lease:?}");
    assert!(lease.active() <= claim.limit, "I13: {} of {}", lease.active(), claim.limit);
    let starts = gateway.leases.stats().provisional;
    let bound = gateway.bounds.starts_max;
    assert!(starts <= bound as u64, "I13: {starts} starts, {bound} at most");
}

/// Without the store a holder goes on by its last word, and not for ever.
fn i12_nobody_goes_on_beyond_the_grace(
    checked: &CheckedStore,
    gateway: &Gateway,
    key: Key,
    lease: &Lease,
) {
    let confirmed = gateway.confirmed.lock().unwrap().get(&key).copied();
    let ends = confirmed.map(|at| at + checked.timing.grace() + checked.skew());
    let lasts_until = Instant::now() + lease.expires_in();
    assert!(ends.is_some_and(|ends| lasts_until <= ends), "I12: {key:?} {lease:?}");
}
