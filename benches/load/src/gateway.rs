//! The gateway under test: its configuration, written for this run, and its start.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::bench::{Bench, Place, Process, free_address};
use crate::secure::Certificate;
use crate::token::{AUDIENCE, ISSUER, SECRET};

/// Sessions of one account that may play at once.
pub const LIMIT: usize = 3;

/// Of one connection by TLS: a slice never has so many, so that none is closed within it.
const REQUESTS: usize = 1_000_000;

/// What every gateway under test is configured with: where it listens, its store, its viewers.
///
/// More tokens are remembered than the bench has viewers. A cache that is asked for one token more
/// than it holds, in turn, would be measured by its misses; that is an operator's number to choose.
pub fn basics(listen: SocketAddr, admin: SocketAddr, workers: usize, store: &str) -> String {
    format!(
        r#"listeners:
  - {{ name: edge, address: "{listen}" }}
admin: {{ address: "{admin}" }}
workers: {workers}
access_log: {{ to: off }}
stores:
  shared: {{ url: "{store}" }}
sessions:
  viewers:
    issuer: {ISSUER}
    audience: {AUDIENCE}
    keys: [ {{ hs256: "{SECRET}" }} ]
    remember: 100000
"#
    )
}

fn configuration(addresses: &Addresses, wiring: &Wiring<'_>) -> String {
    let Wiring { origin, store, workers, certificate } = wiring;
    let Addresses { plain, secure, admin } = addresses;
    let (policy, route) = match certificate {
        Some(_) => (TOKEN_POLICY, TOKEN_ROUTE),
        None => ("", ""),
    };
    let mut basics = basics(*plain, *admin, *workers, &format!("redis://{store}/"));
    if let Some(Certificate { certificate, key, .. }) = certificate {
        let (cert, key) = (certificate.display(), key.display());
        let listener = format!(
            "listeners:\n  - {{ name: secure, address: \"{secure}\", \
             requests_per_connection: {REQUESTS}, \
             tls: {{ certificates: [ {{ cert: {cert}, key: {key} }} ] }} }}\n"
        );
        basics = basics.replacen("listeners:\n", &listener, 1);
    }
    format!(
        r#"{basics}concurrency:
  standard:
    store: shared
    pepper: "a-pepper-for-the-bench-0123456789abcdef"
    limit: {{ default: {LIMIT} }}
    ttl: 60s
{policy}upstreams:
  origin: {{ endpoints: ["{origin}"] }}
routes:
  - {{ name: plain, match: {{ path: "/plain/{{*rest}}" }}, upstream: origin }}
  - name: session
    match: {{ path: "/session/{{*rest}}" }}
    filters: [ {{ session: viewers }} ]
    upstream: origin
  - name: lease
    match: {{ path: "/lease/{{*rest}}" }}
    filters: [ {{ session: viewers }}, {{ concurrency: standard }} ]
    upstream: origin
{route}"#
    )
}

/// Streams that carry a token of their own in the path. A gateway of before has no such thing.
const TOKEN_POLICY: &str = r#"  tokens:
    store: shared
    pepper: "another-pepper-for-the-bench-0123456789abcdef"
    limit: { default: 3 }
    ttl: 60s
    identity:
      - stream_token: { secret: "a-secret-of-streams-for-the-bench-0123456789" }
"#;
const TOKEN_ROUTE: &str = r#"  - name: token
    match: { path: "/token/{*rest}" }
    filters: [ { session: viewers }, { concurrency: tokens } ]
    upstream: origin
"#;

struct Addresses {
    plain: SocketAddr,
    secure: SocketAddr,
    admin: SocketAddr,
}

/// What the gateway stands between.
#[derive(Clone, Copy, Debug)]
pub struct Wiring<'a> {
    /// Where every route leads.
    pub origin: SocketAddr,
    /// The Redis of its leases.
    pub store: SocketAddr,
    /// Its worker threads.
    pub workers: usize,
    /// What it shows at its second listener, by TLS. A gateway that was built some time ago has
    /// none, and no stream tokens either.
    pub certificate: Option<&'a Certificate>,
}

/// Writes a configuration into `folder`, and starts `program` with it.
pub fn start(
    bench: Bench,
    program: &Path,
    folder: &Path,
    wiring: &Wiring<'_>,
    place: Place,
) -> io::Result<Process> {
    let (plain, secure, admin) = (free_address()?, free_address()?, free_address()?);
    let file = folder.join(format!("gateway-{}.yaml", plain.port()));
    fs::write(&file, configuration(&Addresses { plain, secure, admin }, wiring))?;
    let words = ["run".to_owned(), "--config".to_owned(), file.display().to_string()];
    let quiet = [("RUST_LOG", "error".to_owned())];
    let mut process = bench.start(program, &words, &quiet, place, plain)?;
    process.secure = wiring.certificate.map(|_| secure);
    Ok(process)
}
