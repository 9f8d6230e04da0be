//! TLS that ends at the gateway, with real clients: who is shown which certificate, who comes back,
//! who is refused and how a connection ends.

use crate::access::Logged;
use crate::authority::{Authority, DAY, Issued, ask, connect, head, put, secure, secure_shared};
use crate::harness::{DEADLINE, Gateway, until};
use crate::origin::{Origin, proxying_with, proxying_yaml, replica};
use crate::process::Directory;
use crate::raw_client::RawClient;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use streamgate::config;
use streamgate::gateway::{Gateway as GatewayPlan, Shared};
use streamgate::metrics::Metrics;
use streamgate::yaml::Environment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const GET: &str = "GET /faults/status/204 HTTP/1.1\r\nHost: tv.example\r\n\r\n";
const BOTH: [&rustls::SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A gateway behind TLS that leads to a stream service, with the files of its certificates.
struct Secured {
    gateway: Gateway,
    authority: Authority,
    directory: Directory,
}

/// The fields of a listener that shows `certificates`, with `more` in its `tls`.
fn tls(certificates: &[String], more: &str) -> String {
    format!(", tls: {{ certificates: [{}]{more} }}", certificates.join(", "))
}

impl Secured {
    async fn start(listener: &str, more: &str) -> Self {
        let (authority, directory) = (Authority::new("Test Root"), Directory::new());
        let shown = authority.issue(&["tv.example"]).write(&directory, "tv");
        let fields = format!("{listener}{}", tls(&[shown], more));
        let upstream = format!("endpoints: [\"{}\"]", replica("one").await);
        let gateway = proxying_with(&fields, &upstream);
        Secured { gateway, authority, directory }
    }

    fn client(&self) -> ClientConfig {
        self.authority.client(&BOTH)
    }

    async fn refused(&self, reason: &str) -> f64 {
        let labels = format!("{{listener=\"edge\",reason=\"{reason}\"}}");
        self.gateway.metric(&format!("streamgate_connections_refused_total{labels}")).await
    }

    async fn counts(&self, reason: &str, value: f64) {
        let what = format!("{value} of {reason}");
        until(&what, || async { self.refused(reason).await == value }).await;
    }
}

#[tokio::test]
async fn a_request_by_tls_is_https_to_all_behind() {
    for (version, written, told) in [
        (&TLS12, "", "1.2"),
        (&TLS13, "", "1.3"),
        (&TLS13, ", min: \"1.3\"", "1.3"),
        (&TLS13, ", min: 1.3", "1.3"),
    ] {
        let (authority, directory) = (Authority::new("Test Root"), Directory::new());
        let shown = authority.issue(&["tv.example"]).write(&directory, "tv");
        let origin = Origin::listen().await;
        let upstream = format!("endpoints: [\"{}\"]", origin.address);
        let yaml = proxying_yaml(&tls(&[shown], written), &upstream);
        let logged = Logged::start_with(&yaml, &Environment::default());
        let client = authority.client(&[version]);
        let mut stream = connect(logged.gateway.edge, client, "tv.example").await.unwrap();
        for _ in 0..2 {
            stream.write_all(GET.as_bytes()).await.unwrap();
            let sent = origin.answer_once("HTTP/1.1 204 No Content\r\n\r\n").await.to_lowercase();
            assert!(sent.contains("\r\nx-forwarded-proto: https\r\n"), "{sent}");
            assert!(sent.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"), "{sent}");
            assert!(head(&mut stream).await.starts_with("HTTP/1.1 204"));
        }
        let line = logged.lines(2).await.remove(1);
        assert_eq!((&line["tls"], &line["sni"]), (&told.into(), &"tv.example".into()), "{line}");
        assert_eq!(line["client_subject"], Value::Null, "{line}");
    }
}

#[tokio::test]
async fn an_older_version_than_the_least_is_refused() {
    let secured = Secured::start("", ", min: \"1.3\"").await;
    let old = connect(secured.gateway.edge, secured.authority.client(&[&TLS12]), "tv.example");
    let error = old.await.expect_err("1.2 is too old").to_string();
    assert!(error.contains("ProtocolVersion"), "{error}");
    secured.counts("handshake", 1.0).await;
    // Nor does anybody speak what is older than that.
    let secured = Secured::start("", "").await;
    for version in ["-tls1", "-tls1_1"] {
        let output = s_client(secured.gateway.edge, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(output.contains("no protocols available") || output.contains("alert"), "{output}");
        assert!(!output.contains("BEGIN CERTIFICATE"), "{output}");
    }
}

/// What `openssl s_client` says that only connects.
fn s_client(address: SocketAddr, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-servername", "tv.example"]);
    let output = command.args(arguments).stdin(std::process::Stdio::null()).output().unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

/// Trusts everybody, and checks signatures by these schemes only.
#[derive(Debug)]
pub(crate) struct Anybody(Vec<SignatureScheme>);

impl Anybody {
    /// By all schemes.
    pub(crate) fn of_all() -> Self {
        let all = aws_lc_rs::default_provider().signature_verification_algorithms;
        Anybody(all.supported_schemes())
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

const ECDSA: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
const RSA: SignatureScheme = SignatureScheme::RSA_PSS_SHA256;
const ED25519: SignatureScheme = SignatureScheme::ED25519;

/// The certificate that a client is shown who asks for `host` and knows these schemes.
async fn shown(gateway: &Gateway, host: &str, schemes: &[SignatureScheme]) -> Option<Vec<u8>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().dangerous();
    let config = builder.with_custom_certificate_verifier(Arc::new(Anybody(schemes.to_vec())));
    let stream = connect(gateway.edge, config.with_no_client_auth(), host).await.ok()?;
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    Some(chain[0].to_vec())
}

#[tokio::test]
async fn the_name_that_is_asked_for_chooses_the_certificate() {
    let (authority, directory) = (Authority::new("Test Root"), Directory::new());
    let names = [&["first.example"][..], &["*.tv.example", "tv.example"], &["api.tv.example"]];
    let issued = names.map(|names| authority.issue(names));
    let files: Vec<String> =
        (0..3).map(|i| issued[i].write(&directory, &format!("c{i}"))).collect();
    let gateway = proxying_with(&tls(&files, ""), "endpoints: [\"127.0.0.1:9\"]");
    for (host, number) in [
        ("first.example", 0),
        ("tv.example", 1),
        ("a.tv.example", 1),
        ("A.TV.Example", 1),
        ("api.tv.example", 2),
        ("a.b.tv.example", 0),
        ("xtv.example", 0),
        ("other.example", 0),
        // An address is no name, so none is asked for.
        ("127.0.0.1", 0),
    ] {
        let shown = shown(&gateway, host, &[ECDSA]).await.unwrap();
        assert_eq!(shown, issued[number].der().to_vec(), "{host}");
    }
}

#[tokio::test]
async fn the_schemes_of_a_client_choose_among_kinds_of_keys() {
    let (authority, directory) = (Authority::new("Test Root"), Directory::new());
    let year = (-DAY, 365 * DAY);
    let issue = |names: &[&str], kind| authority.issue_with(names, kind, year);
    let rsa = issue(&["tv.example"], &rcgen::PKCS_RSA_SHA256);
    let ecdsa = issue(&["tv.example"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let wild = issue(&["*.example"], &rcgen::PKCS_ED25519);
    let files: Vec<String> = [(&rsa, "rsa"), (&ecdsa, "ecdsa"), (&wild, "wild")]
        .map(|(issued, name)| issued.write(&directory, name))
        .into();
    let gateway = proxying_with(&tls(&files, ""), "endpoints: [\"127.0.0.1:9\"]");
    for (host, schemes, expected) in [
        ("tv.example", &[ECDSA, RSA][..], Some(&ecdsa)),
        ("tv.example", &[RSA, ECDSA], Some(&rsa)),
        ("tv.example", &[RSA], Some(&rsa)),
        ("tv.example", &[ED25519, RSA], Some(&rsa)),
        ("tv.example", &[ED25519], Some(&wild)),
        ("a.example", &[ED25519], Some(&wild)),
        ("a.example", &[ECDSA], None),
        // The first has a twin of another kind; a client without a name is shown either.
        ("unknown.test", &[ECDSA], Some(&ecdsa)),
        ("unknown.test", &[ED25519], None),
    ] {
        let expected = expected.map(|issued: &Issued| issued.der().to_vec());
        assert!(shown(&gateway, host, schemes).await == expected, "{host} {schemes:?}");
    }
}

#[tokio::test]
async fn a_client_comes_back_with_a_ticket_to_every_worker_but_sends_nothing_early() {
    for (version, told) in [(&TLS12, "1.2"), (&TLS13, "1.3")] {
        let secured = Secured::start("", "").await;
        let mut config = secured.authority.client(&[version]);
        config.enable_early_data = true;
        let config = Arc::new(config);
        let come = || async {
            let socket = TcpStream::connect(secured.gateway.edge).await.unwrap();
            let mut stream = secure_shared(socket, &config, "tv.example").await.unwrap();
            assert!(ask(&mut stream, GET).await.starts_with("HTTP/1.1 204"));
            let session = &mut stream.get_mut().1;
            assert!(session.early_data().is_none(), "no ticket allows data before its handshake");
            session.handshake_kind().unwrap()
        };
        assert_eq!(come().await, HandshakeKind::Full);
        // Two workers take turns somehow; with keys of their own, some of these were full.
        for _ in 0..16 {
            assert_eq!(come().await, HandshakeKind::Resumed, "{told}");
        }
        for (kind, times) in [("full", 1.0), ("resumed", 16.0)] {
            let labels = format!("{{kind=\"{kind}\",listener=\"edge\",version=\"{told}\"}}");
            let series = format!("streamgate_tls_handshakes_total{labels}");
            secured.gateway.counts(&series, times).await;
        }
    }
}

#[tokio::test]
async fn http1_is_agreed_on_and_what_is_not_spoken_is_refused() {
    let secured = Secured::start("", "").await;
    let mut config = secured.client();
    config.alpn_protocols = vec![b"xmpp".to_vec(), b"http/1.1".to_vec()];
    let stream = connect(secured.gateway.edge, config, "tv.example").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut config = secured.client();
    config.alpn_protocols = vec![b"xmpp".to_vec()];
    let error = connect(secured.gateway.edge, config, "tv.example").await.expect_err("no xmpp");
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    secured.counts("handshake", 1.0).await;
}

#[tokio::test]
async fn what_is_no_tls_is_told_so_or_closed() {
    let secured = Secured::start("", "").await;
    let mut raw = RawClient::open(secured.gateway.edge).await;
    let answer = raw.ask(GET).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "request_malformed"));
    assert!(answer.body.contains("this port speaks TLS"), "{}", answer.body);
    assert_eq!(raw.rest().await, b"", "it is closed");
    secured.counts("not_tls", 1.0).await;
    for bytes in [&b"\0\0\0\0"[..], b"\x80\x2e\x01\0\x02", b"SSH-2.0-OpenSSH_9.2\r\n", b"\n"] {
        let before = secured.refused("not_tls").await;
        let mut raw = RawClient::open(secured.gateway.edge).await;
        raw.say(bytes).await;
        let said = raw.rest_after_close().await;
        let is_told = said.starts_with(b"HTTP/1.1 400");
        assert!(said.is_empty() || is_told, "{}", said.escape_ascii());
        secured.counts("not_tls", before + 1.0).await;
    }
    // It begins like TLS, and is none.
    for bytes in [&b"\x16\x03\x01\x00\x05hello"[..], b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\x02"] {
        let before = secured.refused("handshake").await;
        let mut raw = RawClient::open(secured.gateway.edge).await;
        raw.say(bytes).await;
        let said = raw.rest_after_close().await;
        assert!(!said.starts_with(b"HTTP"), "{}", said.escape_ascii());
        secured.counts("handshake", before + 1.0).await;
    }
    let mut silent = RawClient::open(secured.gateway.edge).await;
    assert_eq!(silent.rest_after_close().await, b"");
    let refused = ["not_tls", "handshake", "handshake_timeout"];
    let mut sum = 0.0;
    for reason in refused {
        sum += secured.refused(reason).await;
    }
    assert_eq!(sum, 8.0, "a look at the port is no fault");
    assert_eq!(secured.gateway.metric("streamgate_requests_in_flight").await, 0.0);
}

#[tokio::test]
async fn a_client_that_trusts_others_hears_nothing_more() {
    let secured = Secured::start("", "").await;
    for (client, host) in [
        (Authority::new("Another").client(&BOTH), "tv.example"),
        (secured.client(), "other.example"),
    ] {
        let error = connect(secured.gateway.edge, client, host).await.expect_err("no trust");
        assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    }
    // In 1.3 the gateway has done its part by then; the client's word comes behind it.
    let counted = || async {
        secured.refused("handshake").await + secured.gateway.metric(FULL_13).await == 2.0
    };
    until("both are counted", counted).await;
    let open = "streamgate_connections{listener=\"edge\"}";
    secured.gateway.counts(open, 0.0).await;
}

const FULL_13: &str =
    "streamgate_tls_handshakes_total{kind=\"full\",listener=\"edge\",version=\"1.3\"}";

#[tokio::test]
async fn a_handshake_that_drips_is_cut_and_disturbs_nobody() {
    let secured = Secured::start("", ", handshake_timeout: 300ms").await;
    let began = Instant::now();
    let mut slow = Vec::new();
    for number in 0..40 {
        let mut raw = RawClient::open(secured.gateway.edge).await;
        // Some say nothing, some a byte, some half a record.
        raw.say(&b"\x16\x03\x01\x02\0\x01\0\x01\xfc"[..number % 10]).await;
        slow.push(raw);
    }
    for _ in 0..5 {
        let mut stream =
            connect(secured.gateway.edge, secured.client(), "tv.example").await.unwrap();
        assert!(ask(&mut stream, GET).await.starts_with("HTTP/1.1 204"));
    }
    for raw in &mut slow {
        assert_eq!(raw.rest().await, b"");
    }
    assert!((250..DEADLINE.as_millis()).contains(&began.elapsed().as_millis()));
    secured.counts("handshake_timeout", 40.0).await;
}

#[tokio::test]
async fn the_proxy_protocol_comes_before_tls() {
    for (trusted, header, client) in [
        ("127.0.0.0/8", "PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n", "203.0.113.9"),
        // Nobody believes this one, and it brings no header: its first bytes are not lost.
        ("10.0.0.0/8", "", "127.0.0.1"),
    ] {
        let (authority, directory) = (Authority::new("Test Root"), Directory::new());
        let shown = authority.issue(&["tv.example"]).write(&directory, "tv");
        let origin = Origin::listen().await;
        let tls = tls(&[shown], "");
        let fields = format!(", trusted: [\"{trusted}\"], proxy_protocol: true{tls}");
        let gateway = proxying_with(&fields, &format!("endpoints: [\"{}\"]", origin.address));
        let mut socket = TcpStream::connect(gateway.edge).await.unwrap();
        socket.write_all(header.as_bytes()).await.unwrap();
        let mut stream = secure(socket, authority.client(&BOTH), "tv.example").await.unwrap();
        stream.write_all(GET.as_bytes()).await.unwrap();
        let sent = origin.answer_once("HTTP/1.1 204 No Content\r\n\r\n").await.to_lowercase();
        assert!(sent.contains(&format!("\r\nx-forwarded-for: {client}\r\n")), "{sent}");
        assert!(sent.contains("\r\nx-forwarded-proto: https\r\n"), "{sent}");
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 204"));
    }
}

#[tokio::test]
async fn a_connection_ends_with_a_word() {
    let secured = Secured::start(", idle_timeout: 1s, head_timeout: 500ms", "").await;
    let open = || connect(secured.gateway.edge, secured.client(), "tv.example");
    let mut rest = Vec::new();
    // Without `close_notify` these reads were errors: whoever cuts the line can't be told apart.
    let mut idle = open().await.unwrap();
    assert!(ask(&mut idle, GET).await.starts_with("HTTP/1.1 204"));
    let read = timeout(DEADLINE, idle.read_to_end(&mut rest)).await.expect("it is closed in time");
    assert_eq!(read.expect("an end that was said"), 0);
    let mut silent = open().await.unwrap();
    let read = timeout(DEADLINE, silent.read_to_end(&mut rest)).await.expect("it is closed");
    assert_eq!(read.expect("an end that was said"), 0);
    let mut last = open().await.unwrap();
    let close = GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    assert!(ask(&mut last, &close).await.starts_with("HTTP/1.1 204"));
    assert_eq!(last.read_to_end(&mut rest).await.expect("an end that was said"), 0);
    // An answer without a length ends with the connection, so its end must be said, too.
    let mut old = open().await.unwrap();
    let ask_old = "GET /faults/echo HTTP/1.0\r\nHost: a\r\n\r\n";
    old.write_all(ask_old.as_bytes()).await.unwrap();
    timeout(DEADLINE, old.read_to_end(&mut rest)).await.unwrap().expect("an end that was said");
    assert!(rest.starts_with(b"HTTP/1."), "{}", rest.escape_ascii());
}

#[tokio::test]
async fn a_client_that_sends_no_more_gets_its_answer() {
    let (authority, directory) = (Authority::new("Test Root"), Directory::new());
    let shown = authority.issue(&["tv.example"]).write(&directory, "tv");
    let origin = Origin::listen().await;
    let upstream = format!("endpoints: [\"{}\"]", origin.address);
    let gateway = proxying_with(&tls(&[shown], ""), &upstream);
    for version in BOTH {
        let client = authority.client(&[version]);
        let mut stream = connect(gateway.edge, client, "tv.example").await.unwrap();
        stream.write_all(GET.as_bytes()).await.unwrap();
        // The client's `close_notify`, and then the end of its side of the socket.
        stream.shutdown().await.unwrap();
        origin.answer_once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let mut all = String::new();
        let read = timeout(DEADLINE, stream.read_to_string(&mut all)).await.expect("in time");
        read.expect("an end that was said");
        assert!(all.starts_with("HTTP/1.1 200") && all.ends_with("\r\n\r\nok"), "{all}");
    }
}

#[tokio::test]
async fn large_bodies_pass_whole_both_ways() {
    const BYTES: usize = 3 << 20;
    let (authority, directory) = (Authority::new("Test Root"), Directory::new());
    let shown = authority.issue(&["tv.example"]).write(&directory, "tv");
    let origin = Origin::listen().await;
    let upstream = format!("endpoints: [\"{}\"]", origin.address);
    let gateway = proxying_with(&tls(&[shown], ""), &upstream);
    let body: Vec<u8> = (0..BYTES).map(|i| (i % 251) as u8).collect();
    for version in BOTH {
        let client = authority.client(&[version]);
        let stream = connect(gateway.edge, client, "tv.example").await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let client = async {
            let fields = format!("Host: a\r\nContent-Length: {BYTES}\r\n\r\n");
            writer.write_all(format!("POST / HTTP/1.1\r\n{fields}").as_bytes()).await.unwrap();
            writer.write_all(&body).await.unwrap();
            writer.flush().await.unwrap();
            assert!(head(&mut reader).await.starts_with("HTTP/1.1 200"));
            let mut got = vec![0; BYTES];
            timeout(DEADLINE, reader.read_exact(&mut got)).await.expect("in time").unwrap();
            assert!(got == body, "what comes back is what was sent");
        };
        let upstream = async {
            let mut raw = origin.accept().await;
            raw.request().await;
            let mut got = Vec::new();
            while got.len() < BYTES {
                got.extend(raw.bytes(1).await);
            }
            assert!(got == body, "what was sent comes whole");
            raw.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n")).await;
            raw.say(&got).await;
            // It hangs up when the client has all of it.
            raw
        };
        tokio::join!(client, upstream);
    }
}

#[tokio::test]
async fn a_client_shows_who_it_is() {
    for (mode, version) in
        [("optional", &TLS12), ("optional", &TLS13), ("required", &TLS12), ("required", &TLS13)]
    {
        let (authority, clients) = (Authority::new("Test Root"), Authority::new("Clients Root"));
        let directory = Directory::new();
        let shown = authority.issue(&["tv.example"]).write(&directory, "tv");
        put(&directory, "clients.pem", &clients.pem());
        let ca = directory.file("clients.pem");
        let more = format!(", client: {mode}, client_ca: {}", ca.display());
        let origin = format!("endpoints: [\"{}\"]", replica("one").await);
        let yaml = proxying_yaml(&tls(&[shown], &more), &origin);
        let logged = Logged::start_with(&yaml, &Environment::default());
        let edge = logged.gateway.edge;
        // Those of the right authority, told in the log.
        let own = clients.issue_client("Anna's phone");
        let mut stream = connect(edge, authority.client_as(&own), "tv.example").await.unwrap();
        assert!(ask(&mut stream, GET).await.starts_with("HTTP/1.1 204"));
        let line = logged.lines(1).await.remove(0);
        let subject = line["client_subject"].as_str().unwrap_or_default();
        assert!(subject.contains("Anna's phone"), "{line}");
        // Those of another: the client hears of it with its first read, at the latest.
        let other = Authority::new("Others").issue_client("Mallory");
        assert!(!is_served(edge, authority.client_as(&other)).await, "{mode}");
        // Those without one.
        let is_let_in = is_served(edge, authority.client(&[version])).await;
        assert_eq!(is_let_in, mode == "optional", "{mode}");
    }
}

/// Whether a client gets an answer at all.
async fn is_served(edge: SocketAddr, config: ClientConfig) -> bool {
    let Ok(mut stream) = connect(edge, config, "tv.example").await else { return false };
    let mut byte = [0];
    let asked = stream.write_all(GET.as_bytes()).await;
    asked.is_ok() && matches!(timeout(DEADLINE, stream.read(&mut byte)).await, Ok(Ok(1)))
}

/// The serial numbers of what happened: which certificate is shown now.
async fn shown_now(gateway: &Gateway) -> Vec<u8> {
    shown(gateway, "tv.example", &[ECDSA]).await.unwrap()
}

#[tokio::test]
async fn renewed_files_are_shown_and_broken_ones_change_nothing_under_load() {
    let secured = Secured::start("", "").await;
    let first = shown_now(&secured.gateway).await;
    let end = "streamgate_tls_certificate_not_after_seconds{listener=\"edge\",name=\"tv.example\"}";
    let year = streamgate::clock::unix_seconds() as f64 + 365.0 * DAY as f64;
    until("the end is told", || async { (secured.gateway.metric(end).await - year).abs() < 60.0 })
        .await;
    // Clients come all the time, some by full handshakes, some on open connections.
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let load: Vec<_> = (0..4)
        .map(|number| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            let (edge, config) = (secured.gateway.edge, secured.client());
            let config = Arc::new(config);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let fresh = match number % 2 {
                        0 => Arc::clone(&config),
                        _ => Arc::new((*config).clone()),
                    };
                    let socket = TcpStream::connect(edge).await.unwrap();
                    let mut stream = secure_shared(socket, &fresh, "tv.example").await.unwrap();
                    for _ in 0..3 {
                        assert!(ask(&mut stream, GET).await.starts_with("HTTP/1.1 204"));
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    // A key that is another's, then no certificate, then half of one: all or nothing.
    let other = secured.authority.issue(&["tv.example"]);
    let refused = "streamgate_tls_reloads_total{listener=\"edge\",result=\"refused\"}";
    for (number, (file, text)) in [
        ("tv.key", other.key.as_str()),
        ("tv.pem", "nothing"),
        ("tv.pem", &other.cert[..other.cert.len() / 2]),
    ]
    .into_iter()
    .enumerate()
    {
        put(&secured.directory, file, text);
        let is_told = || async { secured.gateway.metric(refused).await > number as f64 };
        until("it is refused", is_told).await;
        assert_eq!(shown_now(&secured.gateway).await, first, "{file} changes nothing");
    }
    let renewed =
        secured.authority.issue_with(&["tv.example"], &rcgen::PKCS_ECDSA_P256_SHA256, (-DAY, DAY));
    renewed.write(&secured.directory, "tv");
    let is_shown = || async { shown_now(&secured.gateway).await == renewed.der().to_vec() };
    until("the renewed one is shown", is_shown).await;
    let tomorrow = streamgate::clock::unix_seconds() as f64 + DAY as f64;
    until("its end is told", || async {
        (secured.gateway.metric(end).await - tomorrow).abs() < 60.0
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("no request has failed");
    }
    assert!(0 < asked.load(Ordering::Relaxed));
    let done = "streamgate_tls_reloads_total{listener=\"edge\",result=\"done\"}";
    assert_eq!(secured.gateway.metric(done).await, 1.0);
}

#[tokio::test]
async fn tickets_outlive_renewed_files_but_no_other_authorities() {
    let (authority, clients) = (Authority::new("Test Root"), Authority::new("Clients Root"));
    let directory = Directory::new();
    let shown = authority.issue(&["tv.example"]).write(&directory, "tv");
    put(&directory, "clients.pem", &clients.pem());
    let ca = directory.file("clients.pem");
    let more = format!(", client: optional, client_ca: {}", ca.display());
    let upstream = format!("endpoints: [\"{}\"]", replica("one").await);
    let gateway = proxying_with(&tls(&[shown], &more), &upstream);
    let own = clients.issue_client("Anna's phone");
    let config = Arc::new(authority.client_as(&own));
    let come = || async {
        let socket = TcpStream::connect(gateway.edge).await.unwrap();
        let mut stream = secure_shared(socket, &config, "tv.example").await.ok()?;
        stream.write_all(GET.as_bytes()).await.ok()?;
        let mut byte = [0];
        (stream.read(&mut byte).await.ok()? == 1).then_some(())?;
        stream.get_ref().1.handshake_kind()
    };
    assert_eq!(come().await, Some(HandshakeKind::Full));
    assert_eq!(come().await, Some(HandshakeKind::Resumed));
    let done = "streamgate_tls_reloads_total{listener=\"edge\",result=\"done\"}";
    authority.issue(&["tv.example"]).write(&directory, "tv");
    gateway.counts(done, 1.0).await;
    assert_eq!(come().await, Some(HandshakeKind::Resumed), "only the certificate is another");
    put(&directory, "clients.pem", &Authority::new("Others").pem());
    gateway.counts(done, 2.0).await;
    assert_eq!(come().await, None, "its authority is no longer trusted, ticket or not");
}

#[tokio::test]
async fn curl_and_openssl_agree() {
    let secured = Secured::start("", "").await;
    put(&secured.directory, "ca.pem", &secured.authority.pem());
    let (ca, edge) = (secured.directory.file("ca.pem"), secured.gateway.edge);
    let at = format!("tv.example:{}:127.0.0.1", edge.port());
    let url = format!("https://tv.example:{}/faults/status/204", edge.port());
    let curl = move |version: &'static str| {
        let (ca, at, url) = (ca.clone(), at.clone(), url.clone());
        tokio::task::spawn_blocking(move || {
            let mut command = Command::new("curl");
            command.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", version, "--cacert"]);
            command.arg(ca).args(["--noproxy", "*", "--resolve", &at, &url]).output().unwrap()
        })
    };
    for version in ["--tlsv1.2", "--tlsv1.3"] {
        let output = curl(version).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "204", "{version}: {said}");
    }
    let output = tokio::task::spawn_blocking(move || s_client(edge, &["-tls1_3"])).await.unwrap();
    assert!(output.contains("TLSv1.3"), "{output}");
    assert!(!output.contains("Max Early Data: 1"), "{output}");
    assert!(output.contains("Compression: NONE") || !output.contains("Compression"), "{output}");
}

/// What an authority says of a certificate is shown along with it, as long as it is of use.
#[tokio::test]
async fn what_an_authority_says_is_shown_until_it_fits_no_more() {
    let (authority, directory) = (Authority::new("Test Root"), Directory::new());
    let (own, other) = (authority.issue(&["tv.example"]), authority.issue(&["tv.example"]));
    let good = authority.say(&directory, &own, "V", false);
    for (bytes, is_shown, says) in [
        (good.clone(), true, ""),
        (authority.say(&directory, &other, "V", false), false, "it speaks of another certificate"),
        (
            authority.say(&directory, &own, "R", false),
            false,
            "it says that the certificate was revoked",
        ),
        (authority.say(&directory, &own, "V", true), false, "it has run out"),
        (authority.say(&directory, &own, "", false), false, "does not know the certificate"),
    ] {
        let files = own.write(&directory, "tv");
        std::fs::write(directory.file("tv.ocsp"), &bytes).unwrap();
        let ocsp = directory.file("tv.ocsp").display().to_string();
        let files = files.replace(" }", &format!(", ocsp: {ocsp} }}"));
        let yaml = proxying_yaml(&tls(&[files], ""), "endpoints: [\"127.0.0.1:9\"]");
        std::fs::write(directory.file("gateway.yaml"), &yaml).unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_streamgate"));
        check.args(["check", "--config"]).arg(directory.file("gateway.yaml")).env_clear();
        let output = check.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains(says), "{says}: {said}");
        assert_eq!(said.contains(", with OCSP)"), is_shown, "{said}");
        let gateway = Gateway::start(&yaml, &Environment::default());
        assert_eq!(is_stapled(gateway.edge).await, is_shown, "{says}");
        // It is read again like a certificate, and what is no answer changes nothing.
        std::fs::write(directory.file("tv.ocsp"), "nothing").unwrap();
        let refused = "streamgate_tls_reloads_total{listener=\"edge\",result=\"refused\"}";
        gateway.counts(refused, 1.0).await;
        assert_eq!(is_stapled(gateway.edge).await, is_shown, "{says}");
        std::fs::write(directory.file("tv.ocsp"), &good).unwrap();
        until("the good one is shown", || is_stapled(gateway.edge)).await;
    }
}

/// Whether `openssl` is told what the authority says.
async fn is_stapled(edge: SocketAddr) -> bool {
    let said = tokio::task::spawn_blocking(move || s_client(edge, &["-status"])).await.unwrap();
    let is_shown = said.contains("OCSP Response Status: successful");
    assert!(is_shown || said.contains("OCSP response: no response sent"), "{said}");
    is_shown
}

/// What is wrong in the files is told where they are named, and what they hold is told without what
/// is secret of it.
#[test]
fn a_check_tells_what_the_files_hold() {
    let (authority, directory) = (Authority::new("Test Root"), Directory::new());
    let good = authority.issue(&["tv.example", "*.tv.example"]);
    let other = authority.issue(&["tv.example"]);
    put(&directory, "tv.pem", &good.cert);
    put(&directory, "tv.key", &good.key);
    put(&directory, "other.key", &other.key);
    put(&directory, "chain.pem", &format!("{}{}", authority.pem(), good.cert));
    put(&directory, "text.pem", "hello");
    put(&directory, "half.pem", &good.cert[..good.cert.len() / 2]);
    let kind = &rcgen::PKCS_ECDSA_P256_SHA256;
    for (name, times) in
        [("gone", (-9 * DAY, -DAY)), ("soon", (-DAY, 3 * DAY)), ("later", (DAY, 9 * DAY))]
    {
        let issued = authority.issue_with(&["tv.example"], kind, times);
        put(&directory, &format!("{name}.pem"), &issued.cert);
        put(&directory, &format!("{name}.key"), &issued.key);
    }
    let nameless = authority.issue(&[]);
    put(&directory, "nameless.pem", &nameless.cert);
    put(&directory, "nameless.key", &nameless.key);
    let openssl = |arguments: &[&str]| {
        let done = Command::new("openssl").args(arguments).current_dir(directory.path()).output();
        assert!(done.unwrap().status.success(), "{arguments:?}");
    };
    openssl(&["ec", "-in", "tv.key", "-out", "sec1.key"]);
    let secret = "pass:not-a-secret";
    openssl(&["ec", "-in", "tv.key", "-aes128", "-passout", secret, "-out", "locked1.key"]);
    openssl(&["pkey", "-in", "tv.key", "-aes128", "-passout", secret, "-out", "locked8.key"]);
    openssl(&["genrsa", "-traditional", "-out", "pkcs1.key", "2048"]);
    let days = ["-days", "90", "-subj", "/CN=tv", "-addext", "subjectAltName=DNS:tv.example"];
    openssl(&[&["req", "-x509", "-key", "pkcs1.key", "-out", "pkcs1.pem"][..], &days].concat());
    std::fs::copy(directory.file("tv.key"), directory.file("open.key")).unwrap();
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(directory.file("open.key"), open).unwrap();
    for (tls, is_good, says) in [
        ("certificates: [ { cert: tv.pem, key: tv.key } ]", true, "edge: TLS from 1.2 on"),
        (
            "certificates: [ { cert: tv.pem, key: tv.key } ], min: \"1.3\"",
            true,
            "edge: tv.example, *.tv.example (ECDSA, until ",
        ),
        ("certificates: [ { cert: tv.pem, key: sec1.key } ]", true, "from tv.pem"),
        ("certificates: [ { cert: pkcs1.pem, key: pkcs1.key } ]", true, "tv.example (RSA, until "),
        (
            "certificates: [ { cert: no.pem, key: tv.key } ]",
            false,
            "`no.pem` can't be read: No such",
        ),
        (
            "certificates: [ { cert: tv.pem, key: no.key } ]",
            false,
            "`no.key` can't be read: No such",
        ),
        ("certificates: [ { cert: text.pem, key: tv.key } ]", false, "there is no certificate in"),
        ("certificates: [ { cert: half.pem, key: tv.key } ]", false, "half.pem"),
        ("certificates: [ { cert: tv.key, key: tv.key } ]", false, "there is no certificate in"),
        ("certificates: [ { cert: tv.pem, key: tv.pem } ]", false, "there is no private key in"),
        (
            "certificates: [ { cert: tv.pem, key: other.key } ]",
            false,
            "the key in `other.key` is not that of the certificate in `tv.pem`",
        ),
        (
            "certificates: [ { cert: chain.pem, key: tv.key } ]",
            false,
            "the certificate of `tv.key` is number 2 in `chain.pem`",
        ),
        ("certificates: [ { cert: tv.pem, key: locked1.key } ]", false, "is encrypted"),
        ("certificates: [ { cert: tv.pem, key: locked8.key } ]", false, "is encrypted"),
        ("certificates: []", false, "there is no certificate to show to clients"),
        ("certificates: [ { cert: gone.pem, key: gone.key } ]", true, "expired on"),
        ("certificates: [ { cert: soon.pem, key: soon.key } ]", true, "expires on"),
        ("certificates: [ { cert: later.pem, key: later.key } ]", true, "is not valid before"),
        ("certificates: [ { cert: nameless.pem, key: nameless.key } ]", true, "names no host"),
        (
            "certificates: [ { cert: tv.pem, key: open.key } ]",
            true,
            "everybody on this machine may read `open.key`",
        ),
        (
            "certificates: [ { cert: tv.pem, key: tv.key }, { cert: tv.pem, key: sec1.key } ]",
            true,
            "no client is ever shown `tv.pem`",
        ),
        (
            "certificates: [ { cert: tv.pem, key: tv.key } ], min: \"1.1\"",
            false,
            "TLS before 1.2 is broken",
        ),
        (
            "certificates: [ { cert: tv.pem, key: tv.key } ], client: required",
            false,
            "nobody is named who signs",
        ),
        (
            "certificates: [ { cert: tv.pem, key: tv.key } ], client_ca: tv.pem",
            false,
            "`client_ca` has no effect",
        ),
        (
            "certificates: [ { cert: tv.pem, key: tv.key } ], client: optional, client_ca: no.pem",
            false,
            "`no.pem` can't be read",
        ),
        (
            "certificates: [ { cert: tv.pem, key: tv.key, client: optional } ]",
            false,
            "nobody is named who signs",
        ),
        (
            "certificates: [ { cert: tv.pem, key: tv.key, client_ca: tv.pem } ]",
            false,
            "`client_ca` has no effect",
        ),
        (
            "certificates: [ { cert: tv.pem, key: tv.key } ], client_headers: true",
            false,
            "`client_headers` has no effect",
        ),
        (
            "certificates: [ { cert: tv.pem, key: tv.key } ], client: optional, \
             client_ca: tv.pem, client_crl: tv.pem",
            false,
            "there is no list of revoked certificates in `tv.pem`",
        ),
        (
            "certificates: [ { cert: tv.pem, key: tv.key }, { cert: pkcs1.pem, key: pkcs1.key, \
             client: required } ], client_ca: tv.pem",
            false,
            "`tv.pem` and `pkcs1.pem` are for one name, and ask different things",
        ),
        (
            "certificates: [ { cert: tv.pem, key: tv.key }, { cert: nameless.pem, \
             key: nameless.key, client: required } ], client_ca: tv.pem",
            true,
            "from nameless.pem, client certificates required",
        ),
        (
            "certificates: [ { cert: tv.pem, key: tv.key } ], tickets: { current: short }",
            false,
            "a secret of 5 bytes can be guessed",
        ),
        (
            "certificates: [ { cert: tv.pem, key: tv.key } ], tickets: \
             { current: 0123456789abcdef0123456789abcdef, \
             previous: 0123456789abcdef0123456789abcdef }",
            false,
            "`previous` is the same secret as `current`",
        ),
        (
            "acme: { directory: \"https://acme.example/dir\", names: [tv.example], keep: kept }",
            true,
            "there is no certificate for `tv.example` yet",
        ),
        (
            "acme: { directory: \"http://acme.example/dir\", names: [tv.example], keep: kept }",
            false,
            "can't be asked: plain HTTP",
        ),
        (
            "acme: { directory: \"https://acme.example/dir\", names: [\"*.tv.example\"], keep: k }",
            false,
            "a wildcard can't be proven",
        ),
        (
            "acme: { directory: \"https://acme.example/dir\", names: [\"../a.example\"], keep: k }",
            false,
            "`../a.example` is no name of a host",
        ),
        (
            "acme: { directory: \"https://acme.example/dir\", names: [tv.example], \
             keep: { store: shared, current: \"a short secret\" } }",
            false,
            "a secret of 14 bytes can be guessed",
        ),
        (
            "acme: { directory: \"https://acme.example/dir\", names: [tv.example], \
             keep: { store: shared, current: \"a secret of certificates, and a long one\" } }",
            false,
            "no store named `shared`",
        ),
        (
            "acme: { directory: \"https://acme.example/dir\", names: [], keep: kept }",
            false,
            "there is no name to order a certificate for",
        ),
        (
            "certificates: [ { cert: tv.pem, key: tv.key, ocsp: tv.pem } ]",
            false,
            "`tv.pem` is no answer of OCSP",
        ),
    ] {
        let yaml = proxying_yaml(&format!(", tls: {{ {tls} }}"), "endpoints: [\"127.0.0.1:9\"]");
        std::fs::write(directory.file("gateway.yaml"), yaml).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_streamgate"));
        // Paths are relative to the file, wherever the command is given.
        command.args(["check", "--config"]).arg(directory.file("gateway.yaml")).env_clear();
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), is_good, "{tls}: {said}");
        assert!(said.contains(says), "{tls}: {said}");
        assert!(!said.contains("PRIVATE KEY-----\nM"), "{tls}: {said}");
        for key in [&good.key, &other.key] {
            let secret = key.lines().nth(1).unwrap();
            assert!(!said.contains(secret), "{tls}: {said}");
        }
    }
}

/// What the page shows can be copied.
#[test]
fn the_page_about_tls_runs_as_it_is_written() {
    let directory = Directory::new();
    let authority = Authority::new("Test Root");
    let year = (-DAY, 365 * DAY);
    for (name, host, kind) in [
        ("tv", "tv.example", &rcgen::PKCS_ECDSA_P256_SHA256),
        ("tv-rsa", "tv.example", &rcgen::PKCS_RSA_SHA256),
        ("api", "api.example", &rcgen::PKCS_ECDSA_P256_SHA256),
    ] {
        authority.issue_with(&[host], kind, year).write(&directory, name);
    }
    put(&directory, "partners.pem", &authority.pem());
    // What was ordered before is kept.
    std::fs::create_dir(directory.file("acme")).unwrap();
    let ordered = authority.issue(&["tv.example", "api.tv.example"]);
    put(&directory, "acme/tv.example.pem", &format!("{}{}", ordered.cert, ordered.key));
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tls.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> = page.split("```yaml\n").skip(1).collect();
    assert!(2 <= blocks.len());
    for block in blocks {
        let block = block.split("```").next().unwrap();
        let whole = proxying_yaml("", "endpoints: [\"127.0.0.1:9\"]");
        let rest = whole.trim().split_once('\n').unwrap().1;
        let stores = match block.contains("store: shared") {
            true => "stores: { shared: { url: \"redis://redis:6379\" } }",
            false => "",
        };
        let rest = format!("{stores}\n{rest}");
        let yaml = match block.contains("fragment of: listeners") {
            true => format!("listeners:\n{block}{rest}"),
            false => continue,
        };
        let loaded = config::read(&directory.file("g.yaml"), yaml, &Environment::default());
        let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
        let made = GatewayPlan::compile(&loaded, &Shared::default(), &Metrics::new());
        let (_, report) = made.unwrap_or_else(|report| panic!("{report}"));
        // No store has kept one.
        let is_expected = |problem: &str| {
            !stores.is_empty()
                && problem.starts_with("there is no certificate for `tv.example` yet")
        };
        assert!(report.problems.iter().all(|it| is_expected(&it.text)), "{report}");
    }
}
