//! A session token: seen for the first time, and known.

use crate::fixture::{SECRET, gateway, now, pem, token};
use divan::Bencher;
use std::sync::Arc;
use streamgate::session::{Algorithm, Verifier};

const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

fn verifier(algorithm: Algorithm) -> Arc<Verifier> {
    let key = match pem(algorithm) {
        None => format!("{{ hs256: \"{SECRET}\" }}"),
        Some(name) => {
            format!("{{ pem: {{ alg: {}, file: {name}.pub.pem }} }}", algorithm.name())
        }
    };
    let gateway = gateway(&format!(
        "listeners: [ {{ name: edge, address: \"127.0.0.1:0\" }} ]\n\
         admin: {{ address: \"127.0.0.1:0\" }}\n\
         sessions:\n  viewers:\n    issuer: streamgate-auth\n    audience: streamgate\n\
         \x20   keys: [ {key} ]\n\
         upstreams:\n  origin: {{ endpoints: [\"127.0.0.1:9\"] }}\n\
         routes:\n  - name: all\n    match: {{ path: \"/{{*rest}}\" }}\n\
         \x20   filters: [ {{ session: viewers }} ]\n    upstream: origin\n"
    ));
    Arc::clone(gateway.verifiers.first().expect("one kind of session"))
}

/// Signature and claims.
#[divan::bench(args = ALGORITHMS)]
fn first(bencher: Bencher<'_, '_>, algorithm: &Algorithm) {
    let (verifier, token) = (verifier(*algorithm), token(*algorithm, "viewer"));
    bencher.bench_local(|| now(verifier.verify(divan::black_box(&token))).is_ok());
}

/// The same for every algorithm: no signature is computed.
#[divan::bench]
fn remembered(bencher: Bencher<'_, '_>) {
    let (verifier, token) = (verifier(Algorithm::Hs256), token(Algorithm::Hs256, "viewer"));
    assert!(now(verifier.verify(&token)).is_ok(), "our own token");
    bencher.bench_local(|| verifier.remembered(divan::black_box(&token)).is_some());
}
