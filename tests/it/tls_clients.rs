//! What clients have to show where TLS ends at the gateway: terms of each name, requests that come
//! around them, who the client is to those behind, and lists of the revoked.

use crate::access::Logged;
use crate::authority::{Authority, ask, connect, put, secure_shared};
use crate::h2_client::{Http2Client, whole};
use crate::harness::{DEADLINE, until};
use crate::origin::{Origin, proxying_yaml, replica};
use crate::process::Directory;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use streamgate::yaml::Environment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

const BOTH: [&rustls::SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A listener whose names ask different things of their clients: `tv.example` and `api.tv.example`
/// nothing, `*.tv.example` a certificate of `clients`, `maybe.example` the same or none, and
/// `others.example` one of `others`.
struct Mixed {
    logged: Logged,
    server: Authority,
    clients: Authority,
    others: Authority,
    directory: Directory,
}

impl Mixed {
    async fn start() -> Self {
        let server = Authority::new("Test Root");
        let (clients, others) = (Authority::new("Clients Root"), Authority::new("Others Root"));
        let directory = Directory::new();
        put(&directory, "clients-ca.pem", &clients.pem());
        put(&directory, "others-ca.pem", &others.pem());
        let path = |name: &str| directory.file(name).display().to_string();
        let entry = |names: &[&str], file: &str, more: &str| {
            let written = server.issue(names).write(&directory, file);
            written.replace(" }", &format!("{more} }}"))
        };
        let (clients_pem, others_pem) = (path("clients-ca.pem"), path("others-ca.pem"));
        let all = [
            entry(&["tv.example"], "tv", ""),
            entry(&["*.tv.example"], "wild", ", client: required"),
            entry(&["api.tv.example"], "api", ", client: off"),
            entry(&["maybe.example"], "maybe", ", client: optional"),
            entry(
                &["others.example"],
                "others",
                &format!(", client: required, client_ca: {others_pem}"),
            ),
        ];
        let tls = format!("certificates: [{}], client_ca: {clients_pem}", all.join(", "));
        let upstream = format!("endpoints: [\"{}\"]", replica("one").await);
        let yaml = proxying_yaml(&format!(", tls: {{ {tls} }}"), &upstream);
        let logged = Logged::start_with(&yaml, &Environment::default());
        Mixed { logged, server, clients, others, directory }
    }

    fn edge(&self) -> SocketAddr {
        self.logged.gateway.edge
    }

    /// A client with a certificate of `clients`, of `others`, or with none.
    fn client(&self, of: Option<&Authority>) -> ClientConfig {
        match of {
            Some(authority) => self.server.client_as(&authority.issue_client("Anna's phone")),
            None => self.server.client(&BOTH),
        }
    }

    async fn open(&self, name: &str, of: Option<&Authority>) -> TlsStream<TcpStream> {
        let mut config = self.client(of);
        // The name of the certificate is another test's theme: here some have none.
        config.dangerous().set_certificate_verifier(Arc::new(crate::tls::Anybody::of_all()));
        connect(self.edge(), config, name).await.unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

fn get(host: &str) -> String {
    format!("GET /faults/status/204 HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// The answer to a head: its status, and the code in its body if it has one.
async fn answer(stream: &mut TlsStream<TcpStream>, head: &str) -> (u16, String) {
    let head = ask(stream, head).await;
    let status = head[9..12].parse().unwrap();
    let length = head.to_lowercase();
    let length = length.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    timeout(DEADLINE, stream.read_exact(&mut body)).await.expect("a body in time").unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_request_for_a_host_of_other_terms_than_its_connection_is_misdirected() {
    let mixed = Mixed::start().await;
    let (clients, others) = (Some(&mixed.clients), Some(&mixed.others));
    for (name, of, host, status) in [
        ("tv.example", None, "tv.example", 204),
        ("tv.example", None, "TV.Example.:8443", 204),
        ("tv.example", None, "tv.example:1", 204),
        ("tv.example", None, "a.tv.example", 421),
        ("tv.example", None, "A.TV.EXAMPLE", 421),
        ("tv.example", None, "a.tv.example.", 421),
        ("tv.example", None, "a.tv.example:8443", 421),
        ("tv.example", None, "a.tv.example.:8443", 421),
        // An exact name goes before a wildcard.
        ("tv.example", None, "api.tv.example", 204),
        ("api.tv.example", None, "tv.example", 204),
        ("api.tv.example", None, "a.tv.example", 421),
        // A wildcard stands for one label: this one has the terms of the first certificate.
        ("tv.example", None, "a.b.tv.example", 204),
        ("tv.example", None, "unknown.example", 204),
        ("tv.example", None, "127.0.0.1", 204),
        ("tv.example", None, "[::1]:443", 204),
        ("tv.example", None, "maybe.example", 421),
        ("maybe.example", None, "maybe.example", 204),
        ("maybe.example", None, "tv.example", 421),
        ("maybe.example", clients, "a.tv.example", 421),
        ("a.tv.example", clients, "a.tv.example", 204),
        ("a.tv.example", clients, "B.tv.example:8443", 204),
        ("a.tv.example", clients, "others.example", 421),
        ("a.tv.example", clients, "api.tv.example", 421),
        ("a.tv.example", clients, "tv.example", 421),
        ("others.example", others, "others.example", 204),
        ("others.example", others, "a.tv.example", 421),
        // No name is asked for, or one that no certificate is for.
        ("127.0.0.1", None, "tv.example", 204),
        ("127.0.0.1", None, "127.0.0.1", 204),
        ("127.0.0.1", None, "a.tv.example", 421),
        ("unknown.example", None, "tv.example", 204),
        ("unknown.example", None, "a.tv.example", 421),
    ] {
        let mut stream = mixed.open(name, of).await;
        let told = answer(&mut stream, &get(host)).await;
        let code = if status == 421 { "misdirected" } else { "" };
        assert_eq!(told, (status, code.to_owned()), "{name} asked for {host}");
    }
    // In the form of proxies the target names the host.
    let mut stream = mixed.open("tv.example", None).await;
    let proxied = get("a.tv.example").replace("GET ", "GET http://a.tv.example");
    assert_eq!(answer(&mut stream, &proxied).await, (421, "misdirected".to_owned()));
    // The connection is good for what it was made for.
    assert_eq!(answer(&mut stream, &get("tv.example")).await.0, 204);
    // What is no host at all is still told so.
    assert_eq!(answer(&mut stream, &get("a..example")).await.0, 400);
    let line = mixed.logged.lines(31 + 3).await.remove(3);
    assert_eq!((&line["status"], &line["code"]), (&421.into(), &"misdirected".into()), "{line}");
}

#[tokio::test]
async fn over_http2_it_is_the_same_and_the_connection_goes_on() {
    let mixed = Mixed::start().await;
    let (clients, others) = (Some(&mixed.clients), Some(&mixed.others));
    for (name, of, hosts) in [
        ("tv.example", None, &[("a.tv.example", 421), ("maybe.example", 421)][..]),
        ("tv.example", None, &[("api.tv.example", 204), ("others.example", 421)]),
        ("maybe.example", clients, &[("a.tv.example", 421), ("tv.example", 421)]),
        ("a.tv.example", clients, &[("b.tv.example", 204), ("others.example", 421)]),
        ("others.example", others, &[("a.tv.example", 421), ("tv.example", 421)]),
        ("127.0.0.1", None, &[("a.tv.example", 421), ("tv.example", 204)]),
    ] {
        let mut config = mixed.client(of);
        config.dangerous().set_certificate_verifier(Arc::new(crate::tls::Anybody::of_all()));
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = connect(mixed.edge(), config, name).await.unwrap();
        let mut client = Http2Client::over(stream).await;
        let own = if name == "127.0.0.1" { "tv.example" } else { name };
        for &(host, status) in hosts.iter().chain([&(own, 204)]) {
            let request = http::Request::get(format!("https://{host}/faults/status/204"));
            let (answer, _) = client.send(request.body(()).unwrap(), true).await;
            let answer = whole(answer).await.unwrap();
            let code = if status == 421 { "misdirected" } else { "" };
            let told = (answer.status, answer.code());
            assert_eq!(told, (status, code.to_owned()), "{name} asked for {host}");
        }
    }
}

#[tokio::test]
async fn a_name_lets_in_whom_its_own_terms_let_in() {
    let mixed = Mixed::start().await;
    let (clients, others) = (Some(&mixed.clients), Some(&mixed.others));
    for (name, of, is_let_in) in [
        ("tv.example", None, true),
        ("tv.example", others, true),
        ("a.tv.example", None, false),
        ("a.tv.example", others, false),
        ("a.tv.example", clients, true),
        ("maybe.example", None, true),
        ("maybe.example", others, false),
        ("others.example", clients, false),
        ("others.example", others, true),
    ] {
        let stream = connect(mixed.edge(), mixed.client(of), name).await;
        let is_served = match stream {
            Err(_) => false,
            Ok(mut stream) => {
                let asked = stream.write_all(get(name).as_bytes()).await;
                let mut byte = [0];
                asked.is_ok() && matches!(stream.read(&mut byte).await, Ok(1))
            }
        };
        assert_eq!(is_served, is_let_in, "{name}");
    }
}

/// Who was let in stays as long as it would be let in again.
#[tokio::test]
async fn another_authority_ends_what_an_open_connection_may() {
    let mixed = Mixed::start().await;
    let (clients, others) = (Some(&mixed.clients), Some(&mixed.others));
    let mut own = mixed.open("a.tv.example", clients).await;
    let mut other = mixed.open("others.example", others).await;
    let mut nobody = mixed.open("tv.example", None).await;
    let done = "streamgate_tls_reloads_total{listener=\"edge\",result=\"done\"}";
    // Both are trusted for a while, as when authorities are replaced.
    let both = format!("{}{}", mixed.clients.pem(), mixed.others.pem());
    put(&mixed.directory, "clients-ca.pem", &both);
    mixed.logged.gateway.counts(done, 1.0).await;
    assert_eq!(answer(&mut own, &get("a.tv.example")).await.0, 204, "it is let in now, too");
    assert_eq!(answer(&mut own, &get("maybe.example")).await.0, 421, "its terms are others");
    assert_eq!(answer(&mut other, &get("a.tv.example")).await.0, 421);
    put(&mixed.directory, "clients-ca.pem", &mixed.others.pem());
    mixed.logged.gateway.counts(done, 2.0).await;
    assert_eq!(answer(&mut own, &get("a.tv.example")).await.0, 421, "nobody signs for it now");
    assert_eq!(answer(&mut other, &get("others.example")).await.0, 204);
    // They have the same terms from now on, but for this one those are no longer what they were.
    assert_eq!(answer(&mut other, &get("a.tv.example")).await.0, 204);
    assert_eq!(answer(&mut nobody, &get("tv.example")).await.0, 204);
    assert_eq!(answer(&mut nobody, &get("a.tv.example")).await.0, 421);
}

#[tokio::test]
async fn those_behind_are_told_who_the_client_is_and_nobody_can_say_it_in_its_place() {
    for (is_told, of_client) in [(true, true), (true, false), (false, true)] {
        let (server, clients) = (Authority::new("Test Root"), Authority::new("Clients Root"));
        let directory = Directory::new();
        let shown = server.issue(&["tv.example"]).write(&directory, "tv");
        put(&directory, "clients.pem", &clients.pem());
        let ca = directory.file("clients.pem");
        let origin = Origin::listen().await;
        let tls = format!(
            ", tls: {{ certificates: [{shown}], client: optional, client_ca: {}, \
             client_headers: {is_told} }}",
            ca.display()
        );
        let yaml = proxying_yaml(&tls, &format!("endpoints: [\"{}\"]", origin.address));
        let logged = Logged::start_with(&yaml, &Environment::default());
        let own = clients.issue_client("Anna, O=Admins");
        let config = if of_client { server.client_as(&own) } else { server.client(&BOTH) };
        let mut stream = connect(logged.gateway.edge, config, "tv.example").await.unwrap();
        let forged = "X-Streamgate-Client-Subject: CN=root\r\nX-Streamgate-Client-Names: DNS:x\r\n\
                      X-Streamgate-Client-Fingerprint: 00\r\nX_Streamgate_Client_Subject: CN=r\r\n\
                      Client-Cert: :AA==:\r\nClient-Cert-Chain: :AA==:\r\n\r\n";
        let asked = get("tv.example").replace("\r\n\r\n", &format!("\r\n{forged}"));
        stream.write_all(asked.as_bytes()).await.unwrap();
        let sent = origin.answer_once("HTTP/1.1 204 No Content\r\n\r\n").await;
        let lower = sent.to_lowercase();
        for what in ["cn=root", "dns:x", "fingerprint: 00", "cn=r\r", ":aa==:", "cert-chain"] {
            assert!(!lower.contains(what), "{what}: {sent}");
        }
        let fingerprint = fingerprint(&directory, &own.cert);
        let line = logged.lines(1).await.remove(0);
        match of_client {
            true => {
                assert!(line["client_subject"].as_str().unwrap().contains("CN=Anna\\, O=Admins"));
                assert_eq!(line["client_fingerprint"], fingerprint, "{line}");
            }
            false => assert_eq!(line.get("client_subject"), None, "{line}"),
        }
        let fields = ["subject: cn=anna\\, o=admins", &format!("fingerprint: {fingerprint}")];
        for field in fields.map(|field| format!("\r\nx-streamgate-client-{field}\r\n")) {
            assert_eq!(lower.contains(&field), is_told && of_client, "{field}: {sent}");
        }
        assert_eq!(lower.contains("\r\nclient-cert: :mii"), is_told && of_client, "{sent}");
    }
}

/// As openssl tells it.
fn fingerprint(directory: &Directory, pem: &str) -> String {
    put(directory, "shown.pem", pem);
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]);
    let output = command.arg(directory.file("shown.pem")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split('=').nth(1).unwrap().trim().replace(':', "").to_lowercase()
}

#[tokio::test]
async fn a_revoked_certificate_lets_nobody_in_ticket_or_not() {
    let (server, clients) = (Authority::new("Test Root"), Authority::new("Clients Root"));
    let directory = Directory::new();
    let shown = server.issue(&["tv.example"]).write(&directory, "tv");
    put(&directory, "clients.pem", &clients.pem());
    put(&directory, "clients.crl", &clients.revoke(&[]));
    let path = |name: &str| directory.file(name).display().to_string();
    let tls = format!(
        ", tls: {{ certificates: [{shown}], client: required, client_ca: {}, client_crl: {} }}",
        path("clients.pem"),
        path("clients.crl"),
    );
    let upstream = format!("endpoints: [\"{}\"]", replica("one").await);
    let logged = Logged::start_with(&proxying_yaml(&tls, &upstream), &Environment::default());
    let edge = logged.gateway.edge;
    let (anna, bert) = (clients.issue_client("Anna"), clients.issue_client("Bert"));
    let [of_anna, of_bert] = [&anna, &bert].map(|own| Arc::new(server.client_as(own)));
    let come = |config: &Arc<ClientConfig>| {
        let config = Arc::clone(config);
        async move {
            let socket = TcpStream::connect(edge).await.unwrap();
            let mut stream = secure_shared(socket, &config, "tv.example").await.ok()?;
            stream.write_all(get("tv.example").as_bytes()).await.ok()?;
            let mut byte = [0];
            (stream.read(&mut byte).await.ok()? == 1).then_some(())?;
            stream.get_ref().1.handshake_kind()
        }
    };
    assert_eq!(come(&of_anna).await, Some(HandshakeKind::Full));
    assert_eq!(come(&of_anna).await, Some(HandshakeKind::Resumed));
    let mut open = connect(edge, (*of_anna).clone(), "tv.example").await.unwrap();
    assert_eq!(answer(&mut open, &get("tv.example")).await.0, 204);
    put(&directory, "clients.crl", &clients.revoke(&[&anna]));
    let is_refused = || async { come(&of_anna).await.is_none() };
    until("the list is read", is_refused).await;
    assert_eq!(answer(&mut open, &get("tv.example")).await.0, 421, "nor on what is open");
    assert_eq!(come(&of_bert).await, Some(HandshakeKind::Full));
}
