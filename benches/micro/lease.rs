//! A lease: touched while it lives, and acquired from a store.

use crate::plant::{Redis, now};
use divan::Bencher;
use std::sync::Arc;
use streamgate_lease::memory::MemoryStore;
use streamgate_lease::redis::{Links, RedisStore};
use streamgate_lease::{Claim, Grant, Holder, LeaseId, LeaseStore, Leases, Pepper, Timing};

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

/// A request of a stream that plays, among ten thousand others.
#[divan::bench]
fn touch(bencher: Bencher<'_, '_>) {
    let leases = leases(Arc::new(MemoryStore::new()));
    for number in 0..10_000 {
        assert!(matches!(now(leases.hold(&claim(number))), Ok(Grant::Held(_))), "room");
    }
    let claim = claim(4711);
    bencher.bench_local(|| leases.touch(&claim.holder, &claim.id, &[]).is_some());
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
    let links = Links::new(&format!("redis://127.0.0.1:{}/", redis.port)).expect("an address");
    let leases = leases(Arc::new(RedisStore::new(Arc::new(links))));
    let mut number = 0;
    let next = || {
        number += 1;
        claim(number)
    };
    let hold = |claim| runtime.block_on(async { leases.hold(&claim).await }).is_ok();
    assert!(hold(claim(0)), "Redis answers");
    bencher.with_inputs(next).bench_local_values(hold);
}
