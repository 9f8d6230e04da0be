//! Certificates that the gateway orders by itself, from Pebble, a real server of ACME: one gateway
//! alone, and a fleet that has its account and its certificate in Redis.

use crate::audience::TOKEN;
use crate::authority::{Authority, ask, connect};
use crate::harness::dns::Dns;
use crate::harness::{Gateway, Redis, until};
use crate::origin::{proxying_yaml, replica};
use crate::process::{Directory, Process};
use crate::raw_client::RawClient;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use streamgate::yaml::Environment;
use tokio::net::TcpStream;

const GET: &str = "GET /faults/status/204 HTTP/1.1\r\nHost: tv.example\r\n\r\n";
const ORDERED: &str = "streamgate_tls_acme_orders_total{listener=\"edge\",result=\"done\"}";
const FAILED: &str = "streamgate_tls_acme_orders_total{listener=\"edge\",result=\"failed\"}";

const SECRET: &str = "a secret of certificates, thirty-two bytes or more";
const NEXT_SECRET: &str = "another secret of certificates, thirty-two bytes or more";

/// How long a certificate of Pebble's is good for, in seconds, unless a test says otherwise.
const GOOD_FOR: u64 = 90 * 24 * 3_600;

/// A site whose names lead to an address of its own. Pebble is told its ports and can't tell
/// them, so that nobody else has this address is what keeps them free.
struct Site {
    address: Ipv4Addr,
    /// Of the second gateway, where there are two: `api.tv.example` leads to it.
    second: Ipv4Addr,
    good_for: u64,
    directory: Directory,
    /// Of Pebble's own server.
    authority: Authority,
    dns: Dns,
    upstream: SocketAddr,
}

/// It ends with the test.
struct Pebble(Child);

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const PEBBLE_PORT: u16 = 14_000;
const ROOTS_PORT: u16 = 15_000;
const EDGE_PORT: u16 = 15_001;
const PLAIN_PORT: u16 = 15_002;

impl Site {
    async fn new(number: u8) -> Self {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let at = |number| Ipv4Addr::new(127, 64 + number, high, low.max(2));
        let (address, second) = (at(number), at(number + 1));
        let (authority, dns) = (Authority::new("Pebble's own"), Dns::start());
        for name in ["tv.example", "api.tv.example"] {
            dns.leads(name, 60, &[IpAddr::V4(address)]);
        }
        let (upstream, directory) = (replica("one").await, Directory::new());
        Site { address, second, good_for: GOOD_FOR, directory, authority, dns, upstream }
    }

    /// One of two names leads to another gateway, so an authority comes to both of them.
    async fn of_two(number: u8) -> Self {
        let site = Site::new(number).await;
        site.dns.leads("api.tv.example", 60, &[IpAddr::V4(site.second)]);
        site
    }

    fn pebble(&self) -> Pebble {
        let own = self.authority.issue(&[&self.address.to_string()]);
        let file = |name: &str, text: &str| {
            let path = self.directory.file(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let config = json!({ "pebble": {
            "listenAddress": format!("{}:{PEBBLE_PORT}", self.address),
            "managementListenAddress": format!("{}:{ROOTS_PORT}", self.address),
            "certificate": file("pebble.pem", &own.cert),
            "privateKey": file("pebble.key", &own.key),
            "httpPort": PLAIN_PORT,
            "tlsPort": EDGE_PORT,
            "certificateValidityPeriod": self.good_for,
        } });
        let config = file("pebble.json", &config.to_string());
        file("pebble-ca.pem", &self.authority.pem());
        let mut command = Command::new("pebble");
        command.args(["-config", &config, "-dnsserver", &self.dns.address.to_string()]);
        command.env("PEBBLE_VA_NOSLEEP", "1").stdout(Stdio::null()).stderr(Stdio::null());
        Pebble(command.spawn().expect("`pebble` is installed by scripts/test"))
    }

    fn gateway(&self, proof: &str) -> Gateway {
        let keep = self.directory.file("kept").display().to_string();
        Gateway::start(&self.yaml(self.address, &keep, proof), &Environment::default())
    }

    /// The configuration of the gateway at this address.
    fn yaml(&self, address: Ipv4Addr, keep: &str, proof: &str) -> String {
        let acme = format!(
            ", tls: {{ acme: {{ directory: \"https://{}:{PEBBLE_PORT}/dir\", \
             names: [tv.example, API.tv.example], contact: \"mailto:ops@tv.example\", \
             keep: {keep}, ca: {}, proof: {proof} }} }}",
            self.address,
            self.directory.file("pebble-ca.pem").display(),
        );
        let yaml = proxying_yaml(&acme, &format!("endpoints: [\"{}\"]", self.upstream));
        let yaml = yaml.replace(
            "address: \"127.0.0.1:0\", tls",
            &format!("address: \"{address}:{EDGE_PORT}\", tls"),
        );
        let plain = format!("{{ name: plain, address: \"{address}:{PLAIN_PORT}\" }} ]\nadmin");
        yaml.replacen(" ]\nadmin", &format!(", {plain}"), 1)
    }

    /// The same for one of a fleet, whose secret is this one, or is being changed to the first.
    fn yaml_of_fleet(
        &self,
        (address, redis): (Ipv4Addr, &Redis),
        secrets: &[&str],
        proof: &str,
    ) -> String {
        let pairs = ["current", "previous"].iter().zip(secrets);
        let pairs = pairs.map(|(key, secret)| format!(", {key}: \"{secret}\""));
        let keep = format!("{{ store: shared{} }}", pairs.collect::<String>());
        let admin = format!("admin: {{ address: \"127.0.0.1:0\", token: \"{TOKEN}\" }}");
        let timeouts = "timeouts: { connect: 5s, command: 5s }";
        let stores = format!("stores: {{ shared: {{ url: \"{}\", {timeouts} }} }}", redis.url());
        let yaml = self.yaml(address, &keep, proof);
        yaml.replace("admin: { address: \"127.0.0.1:0\" }", &format!("{admin}\n{stores}"))
    }

    async fn pebble_is_up(&self) -> Pebble {
        let pebble = self.pebble();
        let up = || async { TcpStream::connect((self.address, PEBBLE_PORT)).await.is_ok() };
        until("Pebble is up", up).await;
        pebble
    }

    /// Pebble, a gateway that has ordered its certificate there and shows it, and a client.
    async fn ordered(&self, proof: &str) -> (Pebble, Gateway, ClientConfig) {
        let pebble = self.pebble_is_up().await;
        let gateway = self.gateway(proof);
        gateway.counts(ORDERED, 1.0).await;
        let client = self.client().await;
        let is_shown = || async { shown(gateway.edge, &client, "tv.example").await.is_some() };
        until("it is shown", is_shown).await;
        (pebble, gateway, client)
    }

    /// A client that trusts what Pebble signs.
    async fn client(&self) -> ClientConfig {
        let builder = reqwest::Client::builder().no_proxy();
        let ca = reqwest::Certificate::from_pem(self.authority.pem().as_bytes()).unwrap();
        let client = builder.tls_certs_only([ca]).build().unwrap();
        let url = format!("https://{}:{ROOTS_PORT}/roots/0", self.address);
        let pem = client.get(url).send().await.unwrap().bytes().await.unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut client = builder.with_root_certificates(roots).with_no_client_auth();
        // Who comes back with a ticket is not shown the certificate again.
        client.resumption = rustls::client::Resumption::disabled();
        client
    }
}

/// The certificate that is shown to a client that trusts the authority.
async fn shown(edge: SocketAddr, client: &ClientConfig, host: &str) -> Option<Vec<u8>> {
    let mut stream = connect(edge, client.clone(), host).await.ok()?;
    assert!(ask(&mut stream, GET).await.starts_with("HTTP/1.1 204"));
    Some(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
}

#[tokio::test]
async fn a_certificate_is_ordered_once_and_kept() {
    let site = Site::new(0).await;
    let (_pebble, gateway, client) = site.ordered("tls_alpn").await;
    let first = shown(gateway.edge, &client, "api.tv.example").await.expect("one for both names");
    let kept = site.directory.file("kept/tv.example.pem");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else reads the key");
    gateway.stop().await;
    // What is kept is shown from the first connection on, and nothing is ordered.
    let again = site.gateway("tls_alpn");
    assert_eq!(shown(again.edge, &client, "tv.example").await, Some(first));
    assert_eq!(again.metric(ORDERED).await + again.metric(FAILED).await, 0.0);
    // Who asks for a proof that nobody promised is not served as a client.
    let mut proof = client.clone();
    proof.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    assert!(connect(again.edge, proof, "tv.example").await.is_err());
}

#[tokio::test]
async fn a_proof_by_http_is_answered_where_nobody_else_is() {
    let site = Site::new(16).await;
    let (_pebble, _gateway, _) = site.ordered("http").await;
    // No proof is awaited any more: the path is like any other, and goes to the upstream.
    let mut raw = RawClient::open((site.address, PLAIN_PORT).into()).await;
    let asked = "GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: tv.example\r\n\r\n";
    assert_eq!(raw.ask(asked).await.status, 404);
}

#[tokio::test]
async fn an_authority_that_is_away_stops_nothing_and_is_told() {
    let site = Site::new(32).await;
    std::fs::write(site.directory.file("pebble-ca.pem"), site.authority.pem()).unwrap();
    let gateway = site.gateway("tls_alpn");
    gateway.counts(FAILED, 1.0).await;
    let stranger = Authority::new("Nobody").client(&[&rustls::version::TLS13]);
    let error = connect(gateway.edge, stranger, "tv.example").await.expect_err("no trust");
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    assert_eq!(gateway.metric(ORDERED).await, 0.0);
}

/// A certificate lives for seconds here, so a renewal is seen and not believed.
#[tokio::test]
async fn a_renewed_certificate_is_shown_and_no_connection_hears_of_it() {
    let site = Site { good_for: 9, ..Site::new(48).await };
    let (_pebble, gateway, client) = site.ordered("tls_alpn").await;
    let first = shown(gateway.edge, &client, "tv.example").await.expect("it is good");
    let mut open = connect(gateway.edge, client.clone(), "tv.example").await.unwrap();
    assert!(ask(&mut open, GET).await.starts_with("HTTP/1.1 204"));
    let open = tokio::sync::Mutex::new(open);
    until("another is shown", || async {
        assert!(ask(&mut *open.lock().await, GET).await.starts_with("HTTP/1.1 204"));
        let now = shown(gateway.edge, &client, "tv.example").await;
        now.expect("at every moment there is a good one") != first
    })
    .await;
    gateway.counts(ORDERED, 2.0).await;
    let account = std::fs::read_dir(site.directory.file("kept")).unwrap().flatten();
    let account = account.filter(|it| it.file_name().to_string_lossy().starts_with("account"));
    assert_eq!(account.count(), 1, "the account is the same");
    assert_eq!(gateway.metric(FAILED).await, 0.0);
}

/// What the two gateways show, if it is one certificate that their clients trust.
async fn shown_by_both(client: &ClientConfig, both: [&Process; 2]) -> Option<Vec<u8>> {
    let one = shown(both[0].edge, client, "tv.example").await?;
    let other = shown(both[1].edge, client, "api.tv.example").await?;
    (one == other).then_some(one)
}

async fn all_orders(both: [&Process; 2], series: &str) -> f64 {
    both[0].metric(series).await + both[1].metric(series).await
}

/// Whoever reads the whole Redis learns no key, no account, and not even for whom it is.
async fn nothing_is_readable(redis: &Redis) {
    let keys: Vec<String> = redis.ask(&["KEYS", "*"]).await.unwrap();
    let of_acme: Vec<_> = keys.iter().filter(|key| key.starts_with("sg:acme:{")).collect();
    for kind in [":account", ":certificate"] {
        assert!(of_acme.iter().any(|key| key.ends_with(kind)), "{keys:?}");
    }
    for key in of_acme {
        let value: Vec<u8> = redis.ask(&["GET", key]).await.unwrap();
        let said = [key.as_bytes(), &value].concat();
        for secret in ["PRIVATE KEY", "BEGIN", "CERTIFICATE", "tv.example", "key_pkcs8", "https:"] {
            let is_there = said.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
            assert!(!is_there, "`{secret}` lies in {key}");
        }
    }
}

#[tokio::test]
async fn a_fleet_orders_once_and_each_of_it_answers_the_authority() {
    for (number, proof) in [(80, "tls_alpn"), (84, "http")] {
        let (site, redis) = (Site::of_two(number).await, Redis::start().await);
        let _pebble = site.pebble_is_up().await;
        let yaml = |address| site.yaml_of_fleet((address, &redis), &[SECRET], proof);
        let (one, other) = (yaml(site.address), yaml(site.second));
        let (one, other) = tokio::join!(Process::start(&one), Process::start(&other));
        let (both, client) = ([&one, &other], site.client().await);
        until("one orders", || async { 1.0 <= all_orders(both, ORDERED).await }).await;
        until("both show it", || async { shown_by_both(&client, both).await.is_some() }).await;
        assert_eq!(all_orders(both, ORDERED).await, 1.0, "{proof}: one has ordered");
        assert_eq!(all_orders(both, FAILED).await, 0.0, "{proof}");
        nothing_is_readable(&redis).await;
        let left: Vec<String> = redis.ask(&["KEYS", "sg:acme:*"]).await.unwrap();
        let is_left = |kind: &str| left.iter().any(|key| key.ends_with(kind));
        assert!(!is_left(":turn") && !is_left(":proofs"), "{left:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_takes_no_certificate_away() {
    let (site, redis) = (Site::of_two(96).await, Redis::start().await);
    let pebble = site.pebble_is_up().await;
    let yaml = |address| site.yaml_of_fleet((address, &redis), &[SECRET], "tls_alpn");
    let (one, other) = (yaml(site.address), yaml(site.second));
    let (one, mut other) = (Process::start(&one).await, Process::start(&other).await);
    let (both, client) = ([&one, &other], site.client().await);
    until("one orders", || async { 1.0 <= all_orders(both, ORDERED).await }).await;
    until("both show it", || async { shown_by_both(&client, both).await.is_some() }).await;
    let first = shown_by_both(&client, both).await;
    // Neither an authority nor a store: what was ordered is shown on, also by a listener that a
    // reload opens anew.
    drop(pebble);
    redis.signal("STOP");
    let file = other.directory.file("gateway.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("{ name: edge,", "{ name: edge, head_timeout: 9s,", 1))
        .unwrap();
    other.signal("HUP");
    other.says("another configuration").await;
    assert_eq!(shown_by_both(&client, [&one, &other]).await, first);
    redis.signal("CONT");
    // A gateway that starts shows it from its first connection on.
    let again = other.yaml();
    other.terminate();
    other.ended().await;
    let again = Process::start(&again).await;
    assert_eq!(shown_by_both(&client, [&one, &again]).await, first);
    assert_eq!(all_orders([&one, &again], FAILED).await, 0.0);
}

#[tokio::test]
async fn the_secret_of_a_fleet_is_changed_without_an_order() {
    let (site, redis) = (Site::new(112).await, Redis::start().await);
    let _pebble = site.pebble_is_up().await;
    let start = async |secrets: &[&str]| {
        let yaml = site.yaml_of_fleet((site.address, &redis), secrets, "tls_alpn");
        Process::start(&yaml).await
    };
    let client = site.client().await;
    let gateway = start(&[SECRET]).await;
    until("it is ordered", || async { gateway.metric(ORDERED).await == 1.0 }).await;
    let is_shown = || async { shown(gateway.edge, &client, "tv.example").await.is_some() };
    until("it is shown", is_shown).await;
    let first = shown(gateway.edge, &client, "tv.example").await;
    gateway.terminate();
    gateway.ended().await;
    // Another secret alone opens nothing: it is told, and nothing is ordered behind the others.
    let mut stranger = start(&[NEXT_SECRET]).await;
    let told = stranger.says("sealed with another secret").await;
    assert!(told.contains("`previous`"), "{told}");
    assert_eq!(shown(stranger.edge, &client, "tv.example").await, None);
    assert_eq!(stranger.metric(ORDERED).await, 0.0);
    stranger.terminate();
    stranger.ended().await;
    // Both, and then all is sealed with the next one.
    for secrets in [&[NEXT_SECRET, SECRET][..], &[NEXT_SECRET]] {
        let gateway = start(secrets).await;
        assert_eq!(shown(gateway.edge, &client, "tv.example").await, first, "{secrets:?}");
        assert_eq!(gateway.metric(ORDERED).await + gateway.metric(FAILED).await, 0.0);
        gateway.terminate();
        gateway.ended().await;
    }
    // The account, too: a certificate that is lost is ordered with it.
    let keys: Vec<String> = redis.ask(&["KEYS", "sg:acme:*:certificate"]).await.unwrap();
    redis.ask::<u32>(&["DEL", &keys[0]]).await.unwrap();
    let gateway = start(&[NEXT_SECRET]).await;
    until("it is ordered again", || async { gateway.metric(ORDERED).await == 1.0 }).await;
    assert_eq!(gateway.metric(FAILED).await, 0.0);
}
