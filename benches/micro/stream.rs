//! A stream token: signed when a stream begins, verified with each of its requests.

use crate::fixture::SECRET;
use divan::Bencher;
use streamgate::concurrency::{StreamTokenKey, Subject};
use streamgate_lease::LeaseId;

const NOW: u64 = 1_800_000_000;
const LEASE: LeaseId = LeaseId::from_bytes([7; 16]);
/// As long as they usually are: a holder's text and a UUID.
const SUBJECT: Subject<'static> = Subject {
    account: b"01a94f5e3c7b2d8860f1e2d3c4b5a69788",
    session: "3f6c1e52-9a1b-4c3d-8e7f-0a1b2c3d4e5f",
};

fn key() -> StreamTokenKey {
    StreamTokenKey::new(SECRET.as_bytes(), None)
}

#[divan::bench]
fn sign(bencher: Bencher<'_, '_>) {
    let key = key();
    bencher.bench_local(|| key.sign(divan::black_box(&LEASE), NOW + 3_600, SUBJECT));
}

#[divan::bench]
fn verify(bencher: Bencher<'_, '_>) {
    let key = key();
    let token = key.sign(&LEASE, NOW + 3_600, SUBJECT);
    assert_eq!(key.verify(&token, SUBJECT, NOW), Ok(LEASE));
    bencher.bench_local(|| key.verify(divan::black_box(&token), SUBJECT, NOW).is_ok());
}

/// Signed with the secret before: both are tried.
#[divan::bench]
fn verify_by_the_secret_before(bencher: Bencher<'_, '_>) {
    let token = key().sign(&LEASE, NOW + 3_600, SUBJECT);
    let rotated =
        StreamTokenKey::new(b"another-secret-for-the-bench-0123456789", Some(SECRET.as_bytes()));
    bencher.bench_local(|| rotated.verify(divan::black_box(&token), SUBJECT, NOW).is_ok());
}
