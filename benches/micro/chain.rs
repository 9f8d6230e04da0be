//! The whole judgement of a media request: head, route, session, lease.

use crate::fixture::{SECRET, gateway, head, now, token};
use divan::Bencher;
use streamgate::exchange::Exchange;
use streamgate::gateway::Gateway;
use streamgate::judge::judge;
use streamgate::session::Algorithm;

fn live() -> Gateway {
    gateway(&format!(
        r#"listeners: [ {{ name: edge, address: "127.0.0.1:0" }} ]
admin: {{ address: "127.0.0.1:0" }}
stores:
  shared: {{ url: "memory:" }}
sessions:
  viewers:
    issuer: streamgate-auth
    audience: streamgate
    keys: [ {{ hs256: "{SECRET}" }} ]
concurrency:
  standard:
    store: shared
    pepper: "a-pepper-for-the-bench-0123456789abcdef"
    limit: {{ default: 3 }}
    ttl: 60s
upstreams:
  origin: {{ endpoints: ["127.0.0.1:9"] }}
routes:
  - name: live
    match: {{ path: "/live/{{event}}/{{*file}}" }}
    filters: [ {{ session: viewers }}, {{ concurrency: standard }} ]
    upstream: origin
"#
    ))
}

/// A known token and a live lease: what almost every request of a player is.
#[divan::bench]
fn known_token_live_lease(bencher: Bencher<'_, '_>) {
    let gateway = live();
    let token = token(Algorithm::Hs256, "viewer");
    let head = head("/live/final/720p/segment-00042.m4s", Some(&token));
    bencher.bench_local(|| {
        let mut exchange = Exchange::new(None);
        let judged = now(judge(&gateway, divan::black_box(&head), &mut exchange, None));
        assert!(judged.is_ok(), "a viewer who may");
        exchange.lease().is_some()
    });
}
