//! Endpoints by name, with a real name server whose answers change.

use crate::harness::dns::{Dns, Reply, srv};
use crate::harness::{Gateway, outcome, until};
use crate::origin::{UnusedPort, proxying_yaml, replica, service};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use streamgate::yaml::Environment;
use tokio::net::TcpListener;
use tokio::time::Instant;

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const C: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

const TOKEN: &str = "a token of the admin port, of thirty-two bytes or more";

/// A port may be taken at one address and free at another.
const TRIES: usize = 20;

/// The stream service at each of these addresses, all on one port, named a, b, c …
async fn replicas(addresses: &[IpAddr]) -> u16 {
    for _ in 0..TRIES {
        let first = TcpListener::bind((addresses[0], 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let mut sockets = vec![first];
        for address in &addresses[1..] {
            sockets.extend(TcpListener::bind((*address, port)).await);
        }
        if sockets.len() < addresses.len() {
            continue;
        }
        for (name, socket) in ('a'..).zip(sockets) {
            let service = service(name.to_string());
            tokio::spawn(async move { axum::serve(socket, service).await });
        }
        return port;
    }
    panic!("no port is free at all of {addresses:?}");
}

/// A gateway that asks all endpoints in turn.
fn gateway(dns: &Dns, fields: &str) -> Gateway {
    let yaml = proxying_yaml("", &format!("{fields}, balance: round_robin")) + &dns.yaml();
    Gateway::start(&yaml, &Environment::default())
}

/// Which replica answered.
async fn answer(gateway: &Gateway) -> String {
    let response = gateway.get("/faults/echo").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let echo: Value = response.json().await.unwrap();
    echo["replica"].as_str().unwrap().to_owned()
}

async fn answers(gateway: &Gateway, n: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..n {
        all.push(answer(gateway).await);
    }
    all.sort();
    all
}

async fn upstream(gateway: &Gateway) -> Value {
    let all: Value = gateway.admin("/api/upstreams").await.json().await.unwrap();
    all[0].clone()
}

async fn addresses(gateway: &Gateway) -> Vec<String> {
    let upstream = upstream(gateway).await;
    let all = upstream["endpoints"].as_array().unwrap().iter();
    all.map(|endpoint| endpoint["address"].as_str().unwrap().to_owned()).collect()
}

async fn readiness(gateway: &Gateway) -> String {
    gateway.admin("/readyz").await.text().await.unwrap()
}

fn unreachable() -> (u16, String) {
    (502, "upstream_unreachable".to_owned())
}

#[tokio::test]
async fn every_address_of_a_name_is_an_endpoint() {
    let dns = Dns::start();
    let port = replicas(&[A, B]).await;
    dns.leads("stream.test", 60, &[A, B]);
    let gateway = gateway(&dns, &format!("endpoints: ['stream.test:{port}']"));
    assert_eq!(answers(&gateway, 4).await, ["a", "a", "b", "b"]);
    let shown = upstream(&gateway).await;
    let written = format!("stream.test:{port}");
    assert_eq!(shown["endpoints"][0]["written"], json!(written));
    assert_eq!(shown["names"][0]["addresses"].as_array().unwrap().len(), 2);
    assert_eq!(readiness(&gateway).await, "ready");
    let counted = "streamgate_upstream_endpoints{state=\"well\",upstream=\"all\"}";
    assert_eq!(gateway.metric(counted).await, 2.0);
}

#[tokio::test]
async fn ipv6_addresses_are_endpoints_where_the_machine_has_them() {
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let dns = Dns::start();
    let has_v6 = TcpListener::bind((v6, 0)).await.is_ok();
    let elsewhere: IpAddr = "2001:db8::1".parse().unwrap();
    let port = replicas(&[A, v6][..1 + usize::from(has_v6)]).await;
    dns.leads("stream.test", 60, &[A, v6]);
    dns.leads("far.test", 60, &[A, elsewhere]);
    let here = gateway(&dns, &format!("endpoints: ['stream.test:{port}']"));
    let far = gateway(&dns, &format!("endpoints: ['far.test:{port}']"));
    let expected: &[&str] = if has_v6 { &["a", "a", "b", "b"] } else { &["a", "a", "a", "a"] };
    assert_eq!(answers(&here, 4).await, expected);
    let left_out = async |gateway: &Gateway| {
        let shown = upstream(gateway).await;
        shown["names"][0]["unrouted"].as_array().unwrap().len()
    };
    assert_eq!(left_out(&here).await, usize::from(!has_v6));
    let is_routed = std::net::UdpSocket::bind("[::]:0")
        .and_then(|socket| socket.connect(SocketAddr::new(elsewhere, 1)))
        .is_ok();
    assert_eq!(left_out(&far).await, usize::from(!is_routed));
}

/// The old server stays up: no request may notice the change.
#[tokio::test]
async fn a_change_is_followed_within_its_ttl_while_requests_run() {
    let dns = Dns::start();
    let port = replicas(&[A, B]).await;
    dns.leads("stream.test", 1, &[A]);
    let gateway = gateway(&dns, &format!("endpoints: ['stream.test:{port}']"));
    assert_eq!(answer(&gateway).await, "a");
    let is_over = Arc::new(AtomicBool::new(false));
    let asking = {
        let (url, is_over) = (format!("http://{}/faults/echo", gateway.edge), is_over.clone());
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        tokio::spawn(async move {
            let mut asked = 0;
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
                asked += 1;
            }
            asked
        })
    };
    dns.leads("stream.test", 1, &[B]);
    let changed = Instant::now();
    until("the new address is in", || async {
        addresses(&gateway).await == [format!("{B}:{port}")]
    })
    .await;
    let took = changed.elapsed();
    assert!(took < Duration::from_secs(2), "TTL + 1 s; it took {took:?}");
    is_over.store(true, Ordering::Relaxed);
    assert!(0 < asking.await.unwrap(), "requests ran meanwhile");
    assert_eq!(answers(&gateway, 2).await, ["b", "b"]);
}

#[tokio::test]
async fn what_fails_keeps_the_last_good_answer() {
    let dns = Dns::start();
    let port = replicas(&[A, B]).await;
    dns.leads("stream.test", 1, &[A, B]);
    let gateway = gateway(&dns, &format!("endpoints: ['stream.test:{port}']"));
    assert_eq!(answers(&gateway, 2).await, ["a", "b"]);
    let name = format!("name=\"stream.test:{port}\"");
    for (reply, result) in [(Some(Reply::ServFail), "failed"), (None, "not_found")] {
        match reply {
            Some(reply) => dns.set("stream.test", reply),
            None => dns.forget("stream.test"),
        }
        let series = format!("streamgate_name_lookups_total{{{name},result=\"{result}\"}}");
        until(&series, || async { 0.0 < gateway.metric(&series).await }).await;
        assert_eq!(answers(&gateway, 2).await, ["a", "b"], "{result}");
        assert_eq!(readiness(&gateway).await, "ready");
        assert!(upstream(&gateway).await["names"][0]["error"].is_string());
    }
    dns.leads("stream.test", 1, &[B]);
    until("it is found again", || async { addresses(&gateway).await == [format!("{B}:{port}")] })
        .await;
    assert!(upstream(&gateway).await["names"][0]["error"].is_null());
}

#[tokio::test]
async fn a_name_that_appears_later_degrades_until_then() {
    let dns = Dns::start();
    let port = replicas(&[A]).await;
    let yaml = proxying_yaml("", &format!("endpoints: ['late.test:{port}']")) + &dns.yaml();
    let admin = "admin: { address: \"127.0.0.1:0\"";
    let yaml = yaml.replace(admin, &format!("{admin}, token: \"{TOKEN}\""));
    let gateway = Gateway::start(&yaml, &Environment::default());
    assert_eq!(outcome(gateway.get("/a")).await, unreachable());
    assert_eq!(readiness(&gateway).await, "degraded");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let asked = client.get(format!("http://{}/readyz", gateway.admin)).bearer_auth(TOKEN);
    let shown: Value = asked.send().await.unwrap().json().await.unwrap();
    assert_eq!(shown["names_unresolved"], json!([format!("late.test:{port}")]));
    let unresolved = "streamgate_upstream_endpoints{state=\"unresolved\",upstream=\"all\"}";
    assert_eq!(gateway.metric(unresolved).await, 1.0);
    let failed = "streamgate_upstream_requests_total{code=\"error\",upstream=\"all\"}";
    assert_eq!(gateway.metric(failed).await, 1.0);
    dns.leads("late.test", 60, &[A]);
    until("it is ready", || async { readiness(&gateway).await == "ready" }).await;
    assert_eq!(answer(&gateway).await, "a");
}

#[tokio::test]
async fn a_name_without_an_address_is_no_trouble_of_its_neighbours() {
    let dns = Dns::start();
    let port = replicas(&[A]).await;
    dns.leads("there.test", 60, &[A]);
    dns.set("silent.test", Reply::Silence);
    let fields = format!("endpoints: ['gone.test:1', 'silent.test:1', 'there.test:{port}']");
    let yaml = proxying_yaml("", &fields) + &dns.yaml().replace(" }", ", timeout: 300ms }");
    let gateway = Gateway::start(&yaml, &Environment::default());
    assert_eq!(answers(&gateway, 3).await, ["a", "a", "a"]);
    assert_eq!(readiness(&gateway).await, "degraded");
}

#[tokio::test]
async fn name_servers_that_are_gone_keep_nobody_from_starting() {
    let nobody = UnusedPort::reserve();
    let address = replica("a").await;
    let fields = format!("endpoints: ['{address}', 'stream.test:1']");
    let resolver = format!("resolver: {{ servers: ['{}'], timeout: 300ms }}\n", nobody.address);
    let yaml = proxying_yaml("", &fields) + &resolver;
    let gateway = Gateway::start(&yaml, &Environment::default());
    assert_eq!(answer(&gateway).await, "a");
    assert_eq!(readiness(&gateway).await, "degraded");
}

#[tokio::test]
async fn srv_records_tell_ports_weights_and_priorities() {
    let dns = Dns::start();
    let (a, b, c) = (replica("a").await, replica("b").await, replica("c").await);
    dns.leads("one.test", 60, &[A]);
    let records = |hosts: [(u16, u16, SocketAddr, &str); 3]| {
        let record = |(priority, weight, address, host): (u16, u16, SocketAddr, &str)| {
            srv(priority, weight, address.port(), host)
        };
        Reply::Records(1, hosts.map(record).to_vec())
    };
    let best = [(0, 30, a, "one.test"), (0, 10, b, "one.test"), (5, 1, c, "one.test")];
    dns.set("_http._tcp.stream.test", records(best));
    dns.set("_media._tcp.stream.test", records(best));
    for written in ["stream.test", "_media._tcp.stream.test"] {
        let gateway = gateway(&dns, &format!("endpoints: ['{written}']"));
        assert_eq!(answers(&gateway, 4).await, ["a", "a", "a", "b"], "{written}");
    }
    let gateway = gateway(&dns, "endpoints: ['stream.test']");
    // The best have no host any more: the next priority takes over.
    let gone = [(0, 1, a, "gone.test"), (0, 1, b, "gone.test"), (5, 1, c, "one.test")];
    dns.set("_http._tcp.stream.test", records(gone));
    until("the next are in", || async { addresses(&gateway).await == [c.to_string()] }).await;
    assert_eq!(answer(&gateway).await, "c");
}

#[tokio::test]
async fn addresses_that_stay_keep_their_verdict() {
    let dns = Dns::start();
    let port = replicas(&[A, B, C]).await;
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let said = client.put(format!("http://{B}:{port}/faults/health/503")).send().await.unwrap();
    assert_eq!(said.status(), 204);
    dns.leads("stream.test", 1, &[A, B]);
    // One round only: what is known of an address comes from it, or is forgotten.
    let health = "health: { path: /healthz, interval: 1h, timeout: 5s, threshold: 1 }";
    let gateway = gateway(&dns, &format!("endpoints: ['stream.test:{port}'], {health}"));
    let states = || async {
        let shown = upstream(&gateway).await;
        let all = shown["endpoints"].as_array().unwrap().clone().into_iter();
        all.map(|endpoint| endpoint["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    until("the verdict is there", || async { states().await == ["well", "unwell"] }).await;
    let checked = upstream(&gateway).await["endpoints"][1]["checked"].clone();
    assert_eq!(checked, "it answers with status 503");
    dns.leads("stream.test", 1, &[A, B, C]);
    until("the third is in", || async { states().await.len() == 3 }).await;
    assert_eq!(states().await, ["well", "unwell", "well"]);
    assert_eq!(answers(&gateway, 4).await, ["a", "a", "c", "c"]);
}

/// As when a container is started again: its name leads elsewhere long before its TTL is over.
#[tokio::test]
async fn a_refused_connection_has_the_name_looked_up_early() {
    let dns = Dns::start();
    let port = replicas(&[B]).await;
    // Nobody listens on this port at A.
    dns.leads("stream.test", 3_600, &[A]);
    let fields = format!("endpoints: ['stream.test:{port}']");
    let yaml = proxying_yaml("", &fields) + &dns.yaml().replace(" }", ", ttl_max: 1h }");
    let gateway = Gateway::start(&yaml, &Environment::default());
    assert_eq!(outcome(gateway.get("/a")).await, unreachable());
    dns.leads("stream.test", 3_600, &[B]);
    until("requests find it", || async {
        gateway.get("/faults/echo").send().await.unwrap().status() == 200
    })
    .await;
    assert_eq!(answer(&gateway).await, "a");
}

/// Requests have nothing to do with look-ups: only followers wait for name servers.
#[tokio::test]
async fn name_servers_that_are_slow_hold_up_no_request() {
    let dns = Dns::start();
    let port = replicas(&[A]).await;
    dns.leads("stream.test", 1, &[A]);
    let fields = format!("endpoints: ['stream.test:{port}', 'other.test:1']");
    let gateway = gateway(&dns, &fields);
    assert_eq!(answer(&gateway).await, "a");
    dns.set("stream.test", Reply::Silence);
    dns.set("other.test", Reply::Silence);
    let late = "streamgate_name_lookups_total{name=\"other.test:1\",result=\"timeout\"}";
    let mut slowest = Duration::ZERO;
    while gateway.metric(late).await == 0.0 {
        let asked = Instant::now();
        assert_eq!(answer(&gateway).await, "a");
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "half of a look-up's time; it took {slowest:?}");
}

#[tokio::test]
async fn more_addresses_than_are_used_are_counted() {
    let dns = Dns::start();
    let many: Vec<IpAddr> = (1..=130).map(|n| Ipv4Addr::new(127, 0, 1, n).into()).collect();
    dns.leads("many.test", 60, &many);
    let gateway = gateway(&dns, "endpoints: ['many.test:9']");
    let shown = upstream(&gateway).await;
    assert_eq!(shown["endpoints"].as_array().unwrap().len(), 128);
    assert_eq!(shown["names"][0]["surplus"], 2);
}

#[tokio::test]
async fn more_records_than_are_used_are_counted() {
    let dns = Dns::start();
    dns.leads("one.test", 60, &[A]);
    let records = (1..=66).map(|n| srv(0, 1, n, "one.test")).collect();
    dns.set("_http._tcp.many.test", Reply::Records(60, records));
    let gateway = gateway(&dns, "endpoints: ['many.test']");
    let shown = upstream(&gateway).await;
    assert_eq!(shown["endpoints"].as_array().unwrap().len(), 64);
    assert_eq!(shown["names"][0]["surplus"], 2);
}

#[tokio::test]
async fn one_silent_name_server_of_two_delays_nothing_for_long() {
    let (silent, dns) = (Dns::start(), Dns::start());
    let port = replicas(&[A]).await;
    silent.set("stream.test", Reply::Silence);
    dns.leads("stream.test", 60, &[A]);
    let servers = format!("servers: ['{}', '{}']", silent.address, dns.address);
    let yaml = proxying_yaml("", &format!("endpoints: ['stream.test:{port}']"));
    let yaml = yaml + &format!("resolver: {{ {servers} }}\n");
    let gateway = Gateway::start(&yaml, &Environment::default());
    assert_eq!(readiness(&gateway).await, "ready", "by the first look-up");
    assert_eq!(answer(&gateway).await, "a");
}

#[tokio::test]
async fn a_name_without_srv_records_says_how_a_host_is_written() {
    let dns = Dns::start();
    dns.leads("stream.test", 60, &[A]);
    let gateway = gateway(&dns, "endpoints: ['stream.test']");
    let error = upstream(&gateway).await["names"][0]["error"].to_string();
    assert!(error.contains("`_http._tcp.stream.test` has no SRV records; a host is"), "{error}");
}

#[tokio::test]
async fn localhost_is_this_machine() {
    let address = replica("a").await;
    let fields = format!("endpoints: ['localhost:{}']", address.port());
    // No name server is asked for it, so nobody answers here.
    let yaml = proxying_yaml("", &fields) + "resolver: { servers: ['127.0.0.1:1'] }\n";
    let gateway = Gateway::start(&yaml, &Environment::default());
    assert_eq!(answers(&gateway, 3).await, ["a", "a", "a"]);
}
