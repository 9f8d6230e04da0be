//! Certificates that the gateway orders by itself, from Pebble, a real server of ACME.

use crate::authority::{Authority, ask, connect};
use crate::harness::dns::Dns;
use crate::harness::{Gateway, until};
use crate::origin::{proxying_yaml, replica};
use crate::process::Directory;
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

/// A site whose names lead to an address of its own. Pebble is told its ports and can't tell
/// them, so that nobody else has this address is what keeps them free.
struct Site {
    address: Ipv4Addr,
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
        let address = Ipv4Addr::new(127, 64 + number, high, low.max(2));
        let (authority, dns) = (Authority::new("Pebble's own"), Dns::start());
        for name in ["tv.example", "api.tv.example"] {
            dns.leads(name, 60, &[IpAddr::V4(address)]);
        }
        let upstream = replica("one").await;
        Site { address, directory: Directory::new(), authority, dns, upstream }
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
        } });
        let config = file("pebble.json", &config.to_string());
        file("pebble-ca.pem", &self.authority.pem());
        let mut command = Command::new("pebble");
        command.args(["-config", &config, "-dnsserver", &self.dns.address.to_string()]);
        command.env("PEBBLE_VA_NOSLEEP", "1").stdout(Stdio::null()).stderr(Stdio::null());
        Pebble(command.spawn().expect("`pebble` is installed by scripts/test"))
    }

    fn gateway(&self, proof: &str) -> Gateway {
        let path = |name: &str| self.directory.file(name).display().to_string();
        let acme = format!(
            ", tls: {{ acme: {{ directory: \"https://{}:{PEBBLE_PORT}/dir\", \
             names: [tv.example, API.tv.example], contact: \"mailto:ops@tv.example\", \
             keep: {}, ca: {}, proof: {proof} }} }}",
            self.address,
            path("kept"),
            path("pebble-ca.pem"),
        );
        let yaml = proxying_yaml(&acme, &format!("endpoints: [\"{}\"]", self.upstream));
        let yaml = yaml.replace(
            "address: \"127.0.0.1:0\", tls",
            &format!("address: \"{}:{EDGE_PORT}\", tls", self.address),
        );
        let plain =
            format!("{{ name: plain, address: \"{}:{PLAIN_PORT}\" }} ]\nadmin", self.address);
        let yaml = yaml.replacen(" ]\nadmin", &format!(", {plain}"), 1);
        Gateway::start(&yaml, &Environment::default())
    }

    /// Pebble, a gateway that has ordered its certificate there and shows it, and a client.
    async fn ordered(&self, proof: &str) -> (Pebble, Gateway, ClientConfig) {
        let pebble = self.pebble();
        let up = || async { TcpStream::connect((self.address, PEBBLE_PORT)).await.is_ok() };
        until("Pebble is up", up).await;
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
        builder.with_root_certificates(roots).with_no_client_auth()
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
