//! A stream token: signed when a stream begins, verified with each of its requests.

use crate::fixture::SECRET;
use divan::Bencher;
use streamgate::concurrency::{Bearer, Signet};
use streamgate_lease::LeaseId;

const NOW: u64 = 1_800_000_000;
const LEASE: LeaseId = LeaseId::from_bytes([7; 16]);
/// As long as they usually are: a holder's text and a UUID.
const BEARER: Bearer<'static> = Bearer {
    account: b"01a94f5e3c7b2d8860f1e2d3c4b5a69788",
    session: "3f6c1e52-9a1b-4c3d-8e7f-0a1b2c3d4e5f",
};

fn signet() -> Signet {
    Signet::new(SECRET.as_bytes(), None)
}

#[divan::bench]
fn seal(bencher: Bencher<'_, '_>) {
    let signet = signet();
    bencher.bench_local(|| signet.seal(divan::black_box(&LEASE), NOW + 3_600, BEARER));
}

#[divan::bench]
fn open(bencher: Bencher<'_, '_>) {
    let signet = signet();
    let token = signet.seal(&LEASE, NOW + 3_600, BEARER);
    assert_eq!(signet.open(&token, BEARER, NOW), Ok(LEASE));
    bencher.bench_local(|| signet.open(divan::black_box(&token), BEARER, NOW).is_ok());
}

/// Signed with the secret before: both are tried.
#[divan::bench]
fn open_by_the_secret_before(bencher: Bencher<'_, '_>) {
    let token = signet().seal(&LEASE, NOW + 3_600, BEARER);
    let rotated = Signet::new(b"another-secret-for-the-bench-0123456789", Some(SECRET.as_bytes()));
    bencher.bench_local(|| rotated.open(divan::black_box(&token), BEARER, NOW).is_ok());
}
