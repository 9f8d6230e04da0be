//! TLS towards upstreams: who they have to be, that nobody else gets a request, and what the log
//! says of those who are somebody else.

use crate::access::Logged;
use crate::authority::{Authority, DAY, Issued, put};
use crate::harness::{Gateway, until};
use crate::origin::{proxying_yaml, service};
use crate::process::Directory;
use crate::raw_client::RawClient;
use crate::reload::Reloadable;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use streamgate::yaml::Environment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const GET: &str = "GET /a HTTP/1.1\r\nHost: tv.example\r\n\r\n";

/// An upstream behind TLS that answers every request with the name that it was asked by.
struct SecuredOrigin {
    address: SocketAddr,
    /// Connections whose handshake succeeded, and requests.
    counts: Arc<(AtomicU32, AtomicU32)>,
}

impl SecuredOrigin {
    async fn serve(shown: &Issued) -> Self {
        Self::serve_whom(shown, None).await
    }

    /// The same for nobody but those whom an authority knows.
    async fn serve_whom(shown: &Issued, clients: Option<&Authority>) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let roots = authority.roots();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let config = builder.with_single_cert(vec![shown.der()], shown.key_der()).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let counts = Arc::<(AtomicU32, AtomicU32)>::default();
        let (acceptor, shared) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&counts));
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let (acceptor, counts) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    counts.0.fetch_add(1, Ordering::Relaxed);
                    let sni = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
                    let mut head = Vec::new();
                    while let Ok(byte) = stream.read_u8().await {
                        head.push(byte);
                        if head.ends_with(b"\r\n\r\n") {
                            head.clear();
                            counts.1.fetch_add(1, Ordering::Relaxed);
                            let length = sni.len();
                            let answer =
                                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{sni}");
                            if stream.write_all(answer.as_bytes()).await.is_err() {
                                return;
                            }
                            stream.flush().await.ok();
                        }
                    }
                });
            }
        });
        SecuredOrigin { address, counts }
    }

    fn requests(&self) -> u32 {
        self.counts.1.load(Ordering::Relaxed)
    }
}

/// The fields of an upstream that has to be `name`, by the word of the authority in `ca`.
fn upstream(address: SocketAddr, name: &str, ca: &str) -> String {
    format!("endpoints: [\"{address}\"], tls: {{ name: {name}, ca: {ca} }}")
}

#[tokio::test]
async fn an_upstream_is_asked_by_its_name_and_its_connection_kept() {
    let (authority, directory) = (Authority::new("Test Root"), Directory::new());
    put(&directory, "ca.pem", &authority.pem());
    let ca = directory.file("ca.pem").display().to_string();
    let origin = SecuredOrigin::serve(&authority.issue(&["origin.example"])).await;
    let fields = upstream(origin.address, "origin.example", &ca);
    let yaml = proxying_yaml("", &fields).replace("workers: 2", "workers: 1");
    let gateway = Gateway::start(&yaml, &Environment::default());
    let mut raw = RawClient::open(gateway.edge).await;
    for _ in 0..3 {
        let answer = raw.ask(GET).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "origin.example"));
    }
    assert_eq!(origin.counts.0.load(Ordering::Relaxed), 1, "one connection for all");
    assert_eq!(origin.requests(), 3);
}

#[tokio::test]
async fn nobody_else_gets_a_request_and_the_log_says_who_it_was() {
    let (authority, directory) = (Authority::new("Test Root"), Directory::new());
    put(&directory, "ca.pem", &authority.pem());
    let ca = directory.file("ca.pem").display().to_string();
    let kind = &rcgen::PKCS_ECDSA_P256_SHA256;
    let name = "origin.example";
    for (shown, fault) in [
        (authority.issue_with(&[name], kind, (-9 * DAY, -DAY)), "its certificate has expired"),
        (authority.issue_with(&[name], kind, (DAY, 9 * DAY)), "its certificate is not valid yet"),
        (authority.issue(&["other.example"]), "its certificate is for another name"),
        (
            Authority::new("Another").issue(&[name]),
            "its certificate is signed by an unknown authority",
        ),
    ] {
        let origin = SecuredOrigin::serve(&shown).await;
        let yaml = proxying_yaml("", &upstream(origin.address, name, &ca));
        let logged = Logged::start_with(&yaml, &Environment::default());
        let answer = RawClient::open(logged.gateway.edge).await.ask(GET).await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
        let line = logged.lines(1).await.remove(0);
        assert_eq!(line["fault"], fault, "{line}");
        assert_eq!(origin.requests(), 0, "{fault}");
    }
    // One that speaks no TLS at all.
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        }
    });
    let yaml = proxying_yaml("", &upstream(address, name, &ca));
    let logged = Logged::start_with(&yaml, &Environment::default());
    let answer = RawClient::open(logged.gateway.edge).await.ask(GET).await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    let line = logged.lines(1).await.remove(0);
    assert_eq!(line["fault"], "no TLS with it", "{line}");
}

#[tokio::test]
async fn a_connection_is_for_one_identity() {
    let (authority, directory) = (Authority::new("Test Root"), Directory::new());
    put(&directory, "ca.pem", &authority.pem());
    put(&directory, "other.pem", &Authority::new("Another").pem());
    let file = |name: &str| directory.file(name).display().to_string();
    let (ca, other) = (file("ca.pem"), file("other.pem"));
    let origin = SecuredOrigin::serve(&authority.issue(&["origin.example"])).await;
    let named = |name: &str, fields: String| format!("  {name}: {{ {fields} }}\n");
    let good = upstream(origin.address, "origin.example", &ca);
    let wrong = upstream(origin.address, "origin.example", &other);
    let plain = format!("endpoints: [\"{}\"]", origin.address);
    let upstreams = [named("b", wrong), named("c", plain)].concat();
    let route = |path: &str, name: &str| {
        format!("  - {{ name: {name}, match: {{ path: {path} }}, upstream: {name} }}\n")
    };
    let yaml = proxying_yaml("", &good)
        .replace(
            "routes:\n",
            &format!("{upstreams}routes:\n{}{}", route("/b", "b"), route("/c", "c")),
        )
        .replace("workers: 2", "workers: 1");
    let gateway = Gateway::start(&yaml, &Environment::default());
    let mut raw = RawClient::open(gateway.edge).await;
    assert_eq!(raw.ask(GET).await.status, 200);
    for (path, status) in [("/b", 502), ("/c", 502), ("/a", 200), ("/b", 502)] {
        let mut raw = RawClient::open(gateway.edge).await;
        let answer = raw.ask(GET.replace("/a", path)).await;
        assert_eq!(answer.status, status, "{path}: the open connection is another's");
    }
    assert_eq!(origin.requests(), 2);
}

/// Whoever asks without a certificate, or with another, gets no connection that was made with one.
#[tokio::test]
async fn an_upstream_may_ask_who_the_gateway_is() {
    let (authority, directory) = (Authority::new("Test Root"), Directory::new());
    put(&directory, "ca.pem", &authority.pem());
    let file = |name: &str| directory.file(name).display().to_string();
    let ca = file("ca.pem");
    authority.issue_client("gateway").write(&directory, "own");
    Authority::new("Another").issue_client("gateway").write(&directory, "other");
    let shown = authority.issue(&["origin.example"]);
    let origin = SecuredOrigin::serve_whom(&shown, Some(&authority)).await;
    let fields = |own: &str| {
        let own = match own {
            "" => String::new(),
            own => format!(
                ", cert: {}, key: {}",
                file(&format!("{own}.pem")),
                file(&format!("{own}.key"))
            ),
        };
        format!(
            "endpoints: [\"{}\"], tls: {{ name: origin.example, ca: {ca}{own} }}",
            origin.address
        )
    };
    let named = |name: &str, own: &str| format!("  {name}: {{ {} }}\n", fields(own));
    let upstreams = [named("none", ""), named("other", "other")].concat();
    let route = |name: &str| {
        format!("  - {{ name: {name}, match: {{ path: /{name} }}, upstream: {name} }}\n")
    };
    let yaml = proxying_yaml("", &fields("own"))
        .replace("routes:\n", &format!("{upstreams}routes:\n{}{}", route("none"), route("other")))
        .replace("workers: 2", "workers: 1");
    let gateway = Gateway::start(&yaml, &Environment::default());
    for (path, status) in [("/a", 200), ("/none", 502), ("/other", 502), ("/a", 200)] {
        let mut raw = RawClient::open(gateway.edge).await;
        assert_eq!(raw.ask(GET.replace("/a", path)).await.status, status, "{path}");
    }
    assert_eq!(origin.requests(), 2);
}

/// With another authority in the same file the open connections are nobody's any more.
#[tokio::test]
async fn a_changed_authority_counts_at_once() {
    let (authority, directory) = (Authority::new("Test Root"), Directory::new());
    put(&directory, "ca.pem", &authority.pem());
    let ca = directory.file("ca.pem").display().to_string();
    let origin = SecuredOrigin::serve(&authority.issue(&["origin.example"])).await;
    let yaml = proxying_yaml("", &upstream(origin.address, "origin.example", &ca));
    let yaml = yaml.replace("workers: 2", "workers: 1");
    let running = Reloadable::start(&yaml, &Environment::default());
    let ask = async || RawClient::open(running.gateway.edge).await.ask(GET).await.status;
    assert_eq!(ask().await, 200);
    put(&directory, "ca.pem", &Authority::new("Another").pem());
    assert_eq!(running.reload().await.0, 200);
    assert_eq!(ask().await, 502, "it is not the same upstream any more");
    put(&directory, "ca.pem", &authority.pem());
    assert_eq!(running.reload().await.0, 200);
    assert_eq!(ask().await, 200);
}

/// The stream service behind TLS, in the protocols that it offers.
async fn offering(shown: &Issued, protocols: &[&str]) -> SocketAddr {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use hyper_util::service::TowerToHyperService;
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = builder.with_single_cert(vec![shown.der()], shown.key_der()).unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (acceptor, router) = (TlsAcceptor::from(Arc::new(config)), service("tls".to_owned()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let (io, service) = (TokioIo::new(stream), TowerToHyperService::new(router));
                // The gateway goes away when it likes.
                if is_h2 {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(io, service).await;
                } else {
                    let server = hyper::server::conn::http1::Builder::new();
                    let _ = server.serve_connection(io, service).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn http_2_is_spoken_where_the_upstream_offers_it() {
    let (authority, directory) = (Authority::new("Test Root"), Directory::new());
    put(&directory, "ca.pem", &authority.pem());
    let ca = directory.file("ca.pem").display().to_string();
    let shown = authority.issue(&["origin.example"]);
    for (offered, protocol, expected) in [
        (&["h2", "http/1.1"][..], "h2", "HTTP/2.0"),
        (&["http/1.1"], "h2", "HTTP/1.1"),
        (&[], "h2", "HTTP/1.1"),
        (&["h2", "http/1.1"], "http1", "HTTP/1.1"),
    ] {
        let address = offering(&shown, offered).await;
        let fields = upstream(address, "origin.example", &ca);
        let health = "health: { path: /healthz, interval: 1h, threshold: 1, timeout: 5s }";
        let fields = format!("{fields}, protocol: {protocol}, {health}");
        let gateway = Gateway::start(&proxying_yaml("", &fields), &Environment::default());
        let request = gateway.request(reqwest::Method::POST, "/faults/echo?c=d").body("a body");
        let echo: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(echo["version"], expected, "{offered:?}");
        assert_eq!((&echo["body"], &echo["query"]), (&"a body".into(), &"c=d".into()));
        until("it was checked", || async {
            let shown: serde_json::Value =
                gateway.admin("/api/upstreams").await.json().await.unwrap();
            shown[0]["endpoints"][0]["checked"] == "it answers with status 200"
        })
        .await;
    }
}

#[tokio::test]
async fn health_is_asked_by_tls() {
    let (authority, directory) = (Authority::new("Test Root"), Directory::new());
    put(&directory, "ca.pem", &authority.pem());
    let ca = directory.file("ca.pem").display().to_string();
    let origin = SecuredOrigin::serve(&authority.issue(&["origin.example"])).await;
    let stranger = SecuredOrigin::serve(&authority.issue(&["other.example"])).await;
    let fields = format!(
        "endpoints: [\"{}\", \"{}\"], tls: {{ name: origin.example, ca: {ca} }}, \
         health: {{ path: /healthz, interval: 100ms }}",
        origin.address, stranger.address
    );
    let gateway = Gateway::start(&proxying_yaml("", &fields), &Environment::default());
    let state = |state: &str| {
        format!("streamgate_upstream_endpoints{{state=\"{state}\",upstream=\"all\"}}")
    };
    let (well, unwell) = (state("well"), state("unwell"));
    until("one of two is well", || async {
        gateway.metric(&well).await == 1.0 && gateway.metric(&unwell).await == 1.0
    })
    .await;
    assert_eq!(stranger.requests(), 0);
}

#[test]
fn a_check_tells_what_cannot_be() {
    let (authority, directory) = (Authority::new("Test Root"), Directory::new());
    put(&directory, "ca.pem", &authority.pem());
    put(&directory, "text.pem", "hello");
    authority.issue_client("gateway").write(&directory, "own");
    authority.issue_client("gateway").write(&directory, "next");
    for (fields, is_good, says) in [
        ("tls: { name: origin.example, ca: ca.pem }", true, "is good"),
        ("tls: { name: origin.example }", true, "is good"),
        ("tls: { name: origin.example, ca: no.pem }", false, "`no.pem` can't be read: No such"),
        ("tls: { name: origin.example, ca: text.pem }", false, "there is no certificate in"),
        ("tls: { name: \"https://origin.example\" }", false, "is no name that a certificate"),
        ("tls: { name: \"\" }", false, "is no name that a certificate"),
        ("tls: { ca: ca.pem }", false, "name"),
        ("tls: { name: origin.example }, protocol: h2c", false, "is HTTP/2 without TLS"),
        ("tls: { name: origin.example, verify: false }", false, "verify"),
        ("tls: { name: origin.example, cert: own.pem, key: own.key }", true, "is good"),
        ("tls: { name: origin.example }, protocol: h2", true, "is good"),
        ("protocol: h2", false, "is agreed on by TLS"),
        ("tls: { name: origin.example, cert: own.pem }", false, "belong together"),
        ("tls: { name: o.example, cert: own.pem, key: next.key }", false, "is not that of"),
        ("tls: { name: o.example, cert: text.pem, key: own.key }", false, "no certificate in"),
        ("tls: { name: o.example, cert: own.pem, key: text.pem }", false, "there is no key in"),
        ("tls: { name: o.example, cert: own.pem, key: no.key }", false, "can't be read"),
    ] {
        let yaml = proxying_yaml("", &format!("endpoints: [\"127.0.0.1:9\"], {fields}"));
        std::fs::write(directory.file("gateway.yaml"), yaml).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_streamgate"));
        command.args(["check", "--config"]).arg(directory.file("gateway.yaml")).env_clear();
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), is_good, "{fields}: {said}");
        assert!(said.contains(says), "{fields}: {said}");
    }
}
