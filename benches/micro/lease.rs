//! A lease: touched while it lives, and acquired from a store.

use crate::fixture::{Redis, now};
use divan::Bencher;
use std::sync::Arc;
use streamgate_lease::memory::MemoryStore;
use streamgate_lease::redis::{Client, RedisStore};
use streamgate_lease::{
    CachedEntry, Claim, Grant, Holder, LeaseId, LeaseStore, Leases, Pepper, Timing,
};

fn holder(number: usize) -> Holder {
    let pepper = Pepper::new("a-pepper-for-the-bench-0123456789abcdef").expect("long enough");
    Holder::of(&pepper, &format!("viewer-{number}"))
}

fn leases(store: Arc<dyn LeaseStore>) -> Leases {
    Leases::new(store, Timing::default()).0
}

fn claim(number: usize) -> Claim {
    Claim::new(holder(number), LeaseId::of("a-session", None), 3)
}

/// Streams that play, each of another account.
fn ten_thousand() -> (Leases, Vec<Claim>) {
    let leases = leases(Arc::new(MemoryStore::new()));
    let claims: Vec<_> = (0..10_000).map(claim).collect();
    for claim in &claims {
        assert!(matches!(now(leases.hold(claim)), Ok(Grant::Held(_))), "room");
    }
    (leases, claims)
}

/// A media request, of ten thousand viewers in turn: their sessions remember where the lease is.
#[divan::bench]
fn touch_cached(bencher: Bencher<'_, '_>) {
    let (leases, claims) = ten_thousand();
    let sessions: Vec<_> = claims.iter().map(|of| (CachedEntry::new(of.holder), of.id)).collect();
    let mut sessions = sessions.iter().cycle();
    bencher.bench_local(|| {
        sessions.next().is_some_and(|(mark, id)| leases.touch_cached(mark, id, &[]).is_some())
    });
}

/// The first of a session, likewise.
#[divan::bench]
fn touch_by_look_up(bencher: Bencher<'_, '_>) {
    let (leases, claims) = ten_thousand();
    let mut claims = claims.iter().cycle();
    bencher.bench_local(|| {
        claims.next().is_some_and(|claim| leases.touch(&claim.holder, &claim.id, &[]).is_some())
    });
}

/// A new stream of a new account, decided in this process.
#[divan::bench]
fn acquire_from_memory(bencher: Bencher<'_, '_>) {
    let leases = leases(Arc::new(MemoryStore::new()));
    let mut number = 0;
    let next = || {
        number += 1;
        claim(number)
    };
    bencher.with_inputs(next).bench_local_values(|claim| now(leases.hold(&claim)).is_ok());
}

/// A new stream of a new account, decided by Redis: one round trip on the loopback.
#[divan::bench(sample_count = 200, sample_size = 5)]
fn acquire_from_redis(bencher: Bencher<'_, '_>) {
    let redis = Redis::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let client = Client::new(&format!("redis://127.0.0.1:{}/", redis.port)).expect("an address");
    let leases = leases(Arc::new(RedisStore::new(Arc::new(client))));
    let mut number = 0;
    let next = || {
        number += 1;
        claim(number)
    };
    let hold = |claim| runtime.block_on(async { leases.hold(&claim).await }).is_ok();
    assert!(hold(claim(0)), "Redis answers");
    bencher.with_inputs(next).bench_local_values(hold);
}
