//! Trusted peers by name, with a real name server whose answers change.

use crate::harness::dns::{Dns, Reply};
use crate::harness::{Gateway, until};
use crate::origin::{Origin, proxying_yaml};
use crate::raw_client::RawClient;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use streamgate::yaml::Environment;
use tokio::time::{Instant, interval};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// A client's own address, as the proxy tells it.
const CLIENT: &str = "203.0.113.9";

/// A gateway, and one connection to it that is kept open.
struct Street {
    gateway: Gateway,
    origin: Origin,
    raw: RawClient,
}

impl Street {
    async fn open(dns: &Dns, listener: &str, resolver: &str) -> Self {
        let origin = Origin::listen().await;
        let yaml = proxying_yaml(listener, &format!("endpoints: [\"{}\"]", origin.address));
        let yaml = yaml + &dns.yaml().replace(" }", &format!("{resolver} }}"));
        let gateway = Gateway::start(&yaml, &Environment::default());
        let raw = RawClient::open(gateway.edge).await;
        Street { gateway, origin, raw }
    }

    /// Who the client of a request is to the upstream, if the peer says this.
    async fn client(&mut self, forwarded: &str) -> String {
        let head = format!("GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {forwarded}\r\n\r\n");
        self.raw.say(head).await;
        let head = self.origin.answer_once("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(self.raw.answer().await.status, 204);
        let head = head.to_lowercase();
        let told = head.lines().find_map(|line| line.strip_prefix("x-forwarded-for: "));
        told.expect("an address").to_owned()
    }

    /// Asks until the client is this one.
    async fn until_client_is(&mut self, expected: &str) {
        let began = Instant::now();
        let mut again = interval(Duration::from_millis(10));
        while self.client(CLIENT).await != expected {
            assert!(began.elapsed() < Duration::from_secs(5), "the client is never {expected}");
            again.tick().await;
        }
    }

    async fn readiness(&self) -> String {
        self.gateway.admin("/readyz").await.text().await.unwrap()
    }
}

#[tokio::test]
async fn a_trusted_name_is_trusted_where_it_leads_on_open_connections_too() {
    let dns = Dns::start();
    dns.leads("proxy.test", 1, &[HERE]);
    let mut street = Street::open(&dns, ", trusted: [proxy.test]", "").await;
    assert_eq!(street.client(CLIENT).await, CLIENT);
    assert_eq!(street.readiness().await, "ready");
    dns.leads("proxy.test", 1, &[ELSEWHERE]);
    street.until_client_is(&HERE.to_string()).await;
    dns.leads("proxy.test", 1, &[ELSEWHERE, HERE]);
    street.until_client_is(CLIENT).await;
    let failed = "streamgate_name_lookups_total{name=\"proxy.test\",result=\"failed\"}";
    dns.set("proxy.test", Reply::ServFail);
    until(failed, || async { 0.0 < street.gateway.metric(failed).await }).await;
    assert_eq!(street.client(CLIENT).await, CLIENT, "the last good answer stays");
    assert_eq!(street.readiness().await, "ready");
}

#[tokio::test]
async fn a_trusted_name_that_leads_nowhere_trusts_nobody_and_is_told() {
    let dns = Dns::start();
    let mut street = Street::open(&dns, ", trusted: [late.test]", "").await;
    assert_eq!(street.client(CLIENT).await, HERE.to_string());
    assert_eq!(street.readiness().await, "degraded");
    dns.leads("late.test", 60, &[HERE]);
    street.until_client_is(CLIENT).await;
    assert_eq!(street.readiness().await, "ready");
}

/// A hop in the middle need not be reached from here, and IPv6 may be missing here altogether.
#[tokio::test]
async fn a_name_in_the_middle_of_the_chain_counts_at_all_its_addresses() {
    let dns = Dns::start();
    // No machine has a way to the last one, which does not say through which interface.
    let others = ["2001:db8::7", "fe80::7"].map(|text| text.parse().unwrap());
    dns.leads("outer.test", 60, &[ELSEWHERE, others[0], others[1]]);
    let trusted = ", trusted: [\"127.0.0.0/8\", outer.test]";
    let mut street = Street::open(&dns, trusted, "").await;
    for hop in ["192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7", "fe80::7"] {
        assert_eq!(street.client(&format!("{CLIENT}, {hop}")).await, CLIENT, "{hop}");
    }
    assert_eq!(street.client(&format!("{CLIENT}, 192.0.2.8")).await, "192.0.2.8");
}

/// A proxy that was started again elsewhere: its word has the name looked up early.
#[tokio::test]
async fn whoever_speaks_like_a_trusted_peer_has_the_names_looked_up() {
    let dns = Dns::start();
    dns.leads("proxy.test", 3_600, &[ELSEWHERE]);
    let mut street = Street::open(&dns, ", trusted: [proxy.test]", ", ttl_max: 1h").await;
    assert_eq!(street.client(CLIENT).await, HERE.to_string());
    dns.leads("proxy.test", 3_600, &[HERE]);
    street.until_client_is(CLIENT).await;

    dns.leads("proxy.test", 3_600, &[ELSEWHERE]);
    let speaking = ", trusted: [proxy.test], proxy_protocol: true";
    let yaml = proxying_yaml(speaking, "endpoints: [\"127.0.0.1:9\"]");
    let yaml = yaml + &dns.yaml().replace(" }", ", ttl_max: 1h }");
    let gateway = Gateway::start(&yaml, &Environment::default());
    dns.leads("proxy.test", 3_600, &[HERE]);
    until("the header is taken", || async {
        let mut raw = RawClient::open(gateway.edge).await;
        let header = "PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n";
        raw.say(format!("{header}GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        raw.rest().await.starts_with(b"HTTP/1.1 502 ")
    })
    .await;
    let refused = "streamgate_connections_refused_total\
        {listener=\"edge\",reason=\"proxy_header_untrusted\"}";
    assert!(0.0 < gateway.metric(refused).await);
}
