//! Clients that come back with a ticket: to another listener after a reload, to another gateway,
//! and never under other terms; and nobody sends anything before the end of a handshake.

use crate::authority::{Authority, ask, put, secure_shared};
use crate::harness::{DEADLINE, Gateway};
use crate::origin::{proxying_yaml, replica};
use crate::process::Directory;
use crate::reload::Reloadable;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use streamgate::yaml::Environment;
use tokio::net::TcpStream;
use tokio::time::timeout;

const GET: &str = "GET /faults/status/204 HTTP/1.1\r\nHost: tv.example\r\n\r\n";
const OLD: &str = "an old secret of thirty-two bytes or more";
const NEW: &str = "a new secret of thirty-two bytes or more!";

/// What a gateway's file says, and what it needs.
struct Site {
    authority: Authority,
    directory: Directory,
    upstream: String,
    shown: String,
}

impl Site {
    async fn new() -> Self {
        let (authority, directory) = (Authority::new("Test Root"), Directory::new());
        let shown = authority.issue(&["tv.example"]).write(&directory, "tv");
        put(&directory, "clients.pem", &Authority::new("Clients Root").pem());
        let upstream = format!("endpoints: [\"{}\"]", replica("one").await);
        Site { authority, directory, upstream, shown }
    }

    /// A file with `more` in its `tls`, and `listener` in its listener.
    fn yaml(&self, listener: &str, more: &str) -> String {
        let shown = &self.shown;
        let fields = format!("{listener}, tls: {{ certificates: [{shown}]{more} }}");
        proxying_yaml(&fields, &self.upstream)
    }

    fn client_ca(&self) -> String {
        format!(", client: optional, client_ca: {}", self.directory.file("clients.pem").display())
    }
}

fn tickets(current: &str, previous: Option<&str>) -> String {
    let previous = previous.map(|secret| format!(", previous: \"{secret}\"")).unwrap_or_default();
    format!(", tickets: {{ current: \"{current}\"{previous} }}")
}

async fn come(edge: SocketAddr, config: &Arc<ClientConfig>) -> HandshakeKind {
    let socket = TcpStream::connect(edge).await.unwrap();
    let mut stream = secure_shared(socket, config, "tv.example").await.unwrap();
    assert!(ask(&mut stream, GET).await.starts_with("HTTP/1.1 204"));
    stream.get_ref().1.handshake_kind().unwrap()
}

#[tokio::test]
async fn a_secret_makes_tickets_good_at_all_gateways_that_have_it() {
    let site = Site::new().await;
    let start = |more: &str| Gateway::start(&site.yaml("", more), &Environment::default());
    let first = start(&tickets(OLD, None));
    let optional = site.client_ca();
    for (more, kind) in [
        (tickets(OLD, None), HandshakeKind::Resumed),
        (tickets(NEW, Some(OLD)), HandshakeKind::Resumed),
        (tickets(OLD, Some(NEW)), HandshakeKind::Resumed),
        (tickets(NEW, None), HandshakeKind::Full),
        // Its own secret, which is this process's, is another one.
        (String::new(), HandshakeKind::Full),
        // What clients have to show is another thing there.
        (tickets(OLD, None) + &optional, HandshakeKind::Full),
    ] {
        let second = start(&more);
        for version in [&TLS12, &TLS13] {
            let config = Arc::new(site.authority.client(&[version]));
            assert_eq!(come(first.edge, &config).await, HandshakeKind::Full);
            assert_eq!(come(second.edge, &config).await, kind, "{more} {version:?}");
            assert_eq!(come(second.edge, &config).await, HandshakeKind::Resumed, "{more}");
        }
    }
}

/// A reload that changes the listener opens another one in its place.
#[tokio::test]
async fn tickets_outlive_a_reload_but_no_change_of_what_clients_have_to_show() {
    let site = Site::new().await;
    let mut written = site.yaml("", "");
    let all = Reloadable::start(&written, &Environment::default());
    let config = Arc::new(site.authority.client(&[&TLS13]));
    assert_eq!(come(all.gateway.edge, &config).await, HandshakeKind::Full);
    for (listener, more, kind) in [
        (", idle_timeout: 60s", String::new(), HandshakeKind::Resumed),
        ("", ", handshake_timeout: 9s".to_owned(), HandshakeKind::Resumed),
        ("", ", min: \"1.3\"".to_owned(), HandshakeKind::Resumed),
        ("", site.client_ca(), HandshakeKind::Full),
        ("", site.client_ca() + ", min: \"1.3\"", HandshakeKind::Resumed),
        ("", site.client_ca() + &tickets(OLD, None), HandshakeKind::Full),
        ("", site.client_ca() + &tickets(NEW, Some(OLD)), HandshakeKind::Resumed),
        ("", tickets(NEW, Some(OLD)), HandshakeKind::Full),
    ] {
        let line = |yaml: &str| yaml.lines().nth(1).unwrap().to_owned();
        let next = site.yaml(listener, &more);
        let (status, said) = all.replace(&line(&written), &line(&next)).await;
        assert_eq!(status, 200, "{said}");
        written = next;
        assert_eq!(come(all.gateway.edge, &config).await, kind, "{listener} {more}");
        assert_eq!(come(all.gateway.edge, &config).await, HandshakeKind::Resumed, "{more}");
    }
}

/// Clients that are not of our library: what one gateway gave them, another one takes.
#[tokio::test]
async fn openssl_comes_back_to_another_gateway_and_may_send_nothing_early() {
    let site = Site::new().await;
    let yaml = site.yaml("", &tickets(OLD, None));
    let [first, second] = [(); 2].map(|()| Gateway::start(&yaml, &Environment::default()));
    let session = site.directory.file("session.pem").display().to_string();
    let early = site.directory.file("early.txt").display().to_string();
    std::fs::write(&early, GET).unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let new = s_client(first.edge, &[version, "-sess_out", &session]).await;
        assert!(new.contains("HTTP/1.1 204") && new.contains("New, TLSv1"), "{new}");
        let mut arguments = vec![version, "-sess_in", &session];
        if version == "-tls1_3" {
            arguments.extend(["-early_data", &early]);
        }
        let back = s_client(second.edge, &arguments).await;
        assert!(back.contains("HTTP/1.1 204") && back.contains("Reused, TLSv1"), "{back}");
        assert!(back.contains("Early data was not sent") || version == "-tls1_2", "{back}");
    }
}

/// What `openssl s_client` says that asks once.
async fn s_client(edge: SocketAddr, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &edge.to_string(), "-servername", "tv.example"]);
    command.args(["-ign_eof"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let asked = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let close = GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        child.stdin.take().unwrap().write_all(close.as_bytes()).unwrap();
        String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
    });
    timeout(DEADLINE, asked).await.expect("an answer in time").unwrap()
}
