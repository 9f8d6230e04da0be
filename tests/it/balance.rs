//! Which endpoint gets a request: the less busy one, always the same for what belongs together, and
//! those of a lower priority when the others are away.

use crate::harness::{Gateway, Login, Redis, STANDARD, environment};
use crate::origin::{UnusedPort, proxying_to, proxying_yaml, replica};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use streamgate::gateway::{self, Shared};
use streamgate::metrics::Metrics;
use streamgate::{config, yaml::Environment};

/// Which replica answers.
async fn replica_of(request: RequestBuilder) -> String {
    let echo: Value = request.send().await.unwrap().json().await.unwrap();
    echo["replica"].as_str().unwrap().to_owned()
}

async fn endpoints(names: &[&str]) -> String {
    let mut all = Vec::new();
    for name in names {
        all.push(format!("'{}'", replica(name).await));
    }
    format!("endpoints: [{}]", all.join(", "))
}

/// Weights hold for the default, too: it draws by them.
#[tokio::test]
async fn an_endpoint_of_three_times_the_weight_gets_three_times_as_much() {
    let all = format!("'{} weight=3', '{}'", replica("a").await, replica("b").await);
    for balance in ["least_in_flight", "round_robin", "{ hash: { by: path } }"] {
        let gateway = proxying_to(&format!("endpoints: [{all}], balance: {balance}"));
        let mut got = [0; 2];
        for n in 0..400 {
            let replica = replica_of(gateway.get(&format!("/faults/echo/{n}"))).await;
            got[usize::from(replica == "b")] += 1;
        }
        assert!((250..350).contains(&got[0]), "{balance}: {got:?}");
    }
}

#[tokio::test]
async fn whoever_is_busy_gets_less() {
    let gateway = proxying_to(&endpoints(&["a", "b"]).await);
    // Ten answers that wait for their first byte.
    let slow = || gateway.get("/faults/slow?first_byte_ms=3000").send();
    let waiting: Vec<_> = (0..10).map(|_| tokio::spawn(slow())).collect();
    let in_flight = || async {
        let shown: Value = gateway.admin("/api/upstreams").await.json().await.unwrap();
        let of = |i: usize| shown[0]["endpoints"][i]["in_flight"].as_u64().unwrap();
        [of(0), of(1)]
    };
    crate::harness::until("all are under way", || async {
        in_flight().await.iter().sum::<u64>() == 10
    })
    .await;
    let each = in_flight().await;
    assert!(each[0].abs_diff(each[1]) <= 4, "{each:?}");
    for one in waiting {
        assert_eq!(one.await.unwrap().unwrap().status(), 200);
    }
    crate::harness::until("none is", || async { in_flight().await == [0, 0] }).await;
}

#[tokio::test]
async fn requests_with_the_same_field_or_path_reach_the_same_endpoint() {
    let three = endpoints(&["a", "b", "c"]).await;
    for (by, is_field) in [("{ header: x-room }", true), ("path", false)] {
        let gateway = proxying_to(&format!("{three}, balance: {{ hash: {{ by: {by} }} }}"));
        let ask = |n: usize, query: usize| {
            let path = if is_field { query } else { n };
            let request = gateway.get(&format!("/faults/echo/{path}?q={query}"));
            replica_of(request.header("x-room", n.to_string()))
        };
        let mut met = BTreeSet::new();
        for n in 0..60 {
            let first = ask(n, 0).await;
            for query in 1..4 {
                assert_eq!(ask(n, query).await, first, "{by}");
            }
            met.insert(first);
        }
        assert_eq!(met.len(), 3, "{by}: {met:?}");
    }
}

/// What an account does comes to one endpoint from all gateways, in whatever order they have them.
#[tokio::test]
async fn an_account_reaches_the_same_endpoint_through_every_gateway() {
    let (a, b, c) = (replica("a").await, replica("b").await, replica("c").await);
    let gateway = async |all: [std::net::SocketAddr; 3]| {
        let all = all.map(|address| format!("'{address}'")).join(", ");
        let upstream = format!("endpoints: [{all}], balance: {{ hash: {{ by: account }} }}");
        let yaml = STANDARD.replace("endpoints: [\"${STREAM_ADDR}\"]", &upstream);
        Gateway::start(&yaml, &environment(None).await)
    };
    let (one, other) = (gateway([a, b, c]).await, gateway([c, a, b]).await);
    let mut met: BTreeMap<String, String> = BTreeMap::new();
    for n in 0..60 {
        let login = Login::of(&format!("account{n}"), &format!("s{n}"));
        for gateway in [&one, &other, &one] {
            let request = gateway.get("/faults/echo/held/x").header("cookie", login.cookie());
            let replica = replica_of(request).await;
            assert_eq!(*met.entry(login.account.clone()).or_insert(replica.clone()), replica);
        }
    }
    let replicas: BTreeSet<&String> = met.values().collect();
    assert_eq!(replicas.len(), 3, "{met:?}");
}

/// A playback keeps its endpoint, whichever gateway a request of it comes to.
#[tokio::test]
async fn a_playback_reaches_the_same_endpoint_from_its_playlist_to_its_last_segment() {
    let redis = Redis::start().await;
    let (a, b, c) = (replica("a").await, replica("b").await, replica("c").await);
    let gateway = async |all: [std::net::SocketAddr; 3]| {
        let all = all.map(|address| format!("'{address}'")).join(", ");
        let upstream = format!("endpoints: [{all}], balance: {{ hash: {{ by: stream }} }}");
        let yaml = STANDARD.replace("endpoints: [\"${STREAM_ADDR}\"]", &upstream);
        Gateway::start(&yaml, &environment(Some(&redis)).await)
    };
    let (one, other) = (gateway([a, b, c]).await, gateway([c, a, b]).await);
    let mut replicas = BTreeSet::new();
    for n in 0..40 {
        // One account plays two streams, which need not be at one endpoint.
        let login = Login::of(&format!("account{}", n / 2), &format!("s{n}"));
        let mut met = BTreeSet::new();
        for file in ["master.m3u8", "720p/index.m3u8", "720p/1.ts", "720p/2.ts"] {
            for gateway in [&one, &other] {
                let path = format!("/faults/echo/held/{file}");
                let request = gateway.get(&path).header("cookie", login.cookie());
                met.insert(replica_of(request).await);
            }
        }
        assert_eq!(met.len(), 1, "{met:?}");
        replicas.extend(met);
    }
    assert_eq!(replicas.len(), 3, "{replicas:?}");
}

/// All who watch one event reach one endpoint, whatever of it they ask for.
#[tokio::test]
async fn what_is_watched_reaches_the_same_endpoint_whoever_watches_it() {
    let three = endpoints(&["a", "b", "c"]).await;
    let fields = format!("{three}, balance: {{ hash: {{ by: {{ capture: event }} }} }}");
    let yaml = proxying_yaml("", &fields).replace("\"/{*rest}", "\"/faults/echo/{event}/{*rest}");
    let gateway = Gateway::start(&yaml, &Environment::default());
    let mut replicas = BTreeSet::new();
    for event in 0..30 {
        let mut met = BTreeSet::new();
        for file in ["master.m3u8", "720p/1.ts", "720p/2.ts?viewer=ann", "720p/2.ts?viewer=ben"] {
            let request = gateway.get(&format!("/faults/echo/event{event}/{file}"));
            met.insert(replica_of(request).await);
        }
        assert_eq!(met.len(), 1, "{event}: {met:?}");
        replicas.extend(met);
    }
    assert_eq!(replicas.len(), 3, "{replicas:?}");
}

#[tokio::test]
async fn a_lower_priority_is_asked_when_the_others_are_away() {
    let (nobody, second) = (UnusedPort::reserve(), replica("second").await);
    let all = format!("endpoints: ['{second} priority=2', '{}']", nobody.address);
    let gateway = proxying_to(&all);
    for _ in 0..5 {
        assert_eq!(replica_of(gateway.get("/faults/echo")).await, "second");
    }
    let first = replica("first").await;
    let gateway = proxying_to(&format!("endpoints: ['{second} priority=2', '{first}']"));
    for _ in 0..20 {
        assert_eq!(replica_of(gateway.get("/faults/echo")).await, "first");
    }
    let shown: Value = gateway.admin("/api/upstreams").await.json().await.unwrap();
    let shown = shown[0]["endpoints"].as_array().unwrap();
    let priorities: Vec<&Value> = shown.iter().map(|endpoint| &endpoint["priority"]).collect();
    assert_eq!(priorities, [&json!(1), &json!(2)], "the best first");
}

/// A route whose requests have nothing of what its upstream asks for is warned of.
#[test]
fn an_upstream_that_asks_for_what_a_route_does_not_know_is_told() {
    let told = |by: &str| {
        let fields = format!("endpoints: ['a:1'], balance: {{ hash: {{ by: {by} }} }}");
        let yaml = proxying_yaml("", &fields).replace("{*rest}", "{event}/{*rest}");
        let loaded = config::read(Path::new("gateway.yaml"), yaml, &Environment::default());
        let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
        let compiled = gateway::Gateway::compile(&loaded, &Shared::default(), &Metrics::new());
        compiled.unwrap_or_else(|report| panic!("{report}")).1.to_string()
    };
    for (by, expected) in [
        ("account", "is balanced by account, which this route does not know"),
        ("stream", "is balanced by stream, which this route does not know"),
        (
            "{ capture: file }",
            "is balanced by `{file}`, which the path of this route does not have",
        ),
        ("{ capture: event }", ""),
        ("path", ""),
    ] {
        let said = told(by);
        assert!(said.contains(expected), "{by}: {said}");
        assert_eq!(said.contains("balanced"), !expected.is_empty(), "{by}: {said}");
    }
}
