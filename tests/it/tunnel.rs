//! How long a WebSocket may be silent, and that nobody is blamed for its silence.

use crate::harness::until;
use crate::origin::{Origin, proxying_by};
use crate::raw_client::RawClient;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

const ASKED: &str = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\n\r\n";
const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\n\r\n";

#[tokio::test]
async fn a_tunnel_is_closed_when_both_sides_have_been_silent_for_so_long() {
    let origin = Origin::listen().await;
    let timeouts = "timeouts: { read: 30s, tunnel: 500ms }, eject: { failures: 1 }";
    let fields = format!("endpoints: ['{}'], {timeouts}", origin.address);
    let gateway = proxying_by("websocket: true", "", &fields);
    for speaks in ["nobody", "the client", "the upstream"] {
        let mut raw = RawClient::open(gateway.edge).await;
        raw.say(ASKED).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.say(GRANTED).await;
        assert_eq!(raw.head().await.status, 101);
        // Whoever speaks, the other one need not, for three times as long.
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        let began = Instant::now();
        while speaks != "nobody" && began.elapsed() < Duration::from_millis(1_500) {
            tick.tick().await;
            let (from, to) = match speaks {
                "the client" => (&mut raw, &mut upstream),
                _ => (&mut upstream, &mut raw),
            };
            from.say("x").await;
            assert_eq!(to.bytes(1).await, b"x", "{speaks}");
        }
        let silent_since = Instant::now();
        let (left, right) = tokio::join!(raw.rest(), upstream.rest());
        assert_eq!((left, right), (Vec::new(), Vec::new()), "{speaks}");
        let silent = silent_since.elapsed();
        assert!(Duration::from_millis(300) < silent, "{speaks}: {silent:?}");
    }
    until("nothing is under way", || async {
        gateway.metric("streamgate_requests_in_flight").await == 0.0
    })
    .await;
    let failed = "streamgate_upstream_requests_total{code=\"error\",upstream=\"all\"}";
    assert_eq!(gateway.metric(failed).await, 0.0);
    let shown: Value = gateway.admin("/api/upstreams").await.json().await.unwrap();
    assert_eq!(shown[0]["endpoints"][0]["failures_in_row"], 0, "{shown}");
}
