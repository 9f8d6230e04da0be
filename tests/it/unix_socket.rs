//! Listeners on sockets of Unix: who may connect, who the client is, and what becomes of the file
//! when the configuration, the process or the program changes.

use crate::access::Logged;
use crate::authority::{Authority, ask, secure};
use crate::h2_client::{Http2Client, get, whole};
use crate::harness::{DEADLINE, Gateway, until};
use crate::origin::{Origin, mirror, proxying_with, proxying_yaml};
use crate::process::{Directory, PROGRAM, Process, command, failed};
use crate::raw_client::RawClient;
use crate::reload::Reloadable;
use crate::upgrade::{Successor, replace, start, upgraded, yaml as upgradable};
use rustls::version::TLS13;
use serde_json::{Value, json};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use streamgate::yaml::Environment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

const GET: &str = "GET /faults/status/204 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";

/// A second listener, at `path`, behind the fields of the first.
fn also(path: &Path, fields: &str) -> String {
    format!(" }}, {{ name: local, address: 'unix:{}'{fields}", path.display())
}

/// A gateway that listens at `path`, too, and asks `upstream`.
async fn serving(path: &Path, fields: &str) -> Gateway {
    proxying_with(&also(path, fields), &format!("endpoints: ['{}']", mirror(&[]).await))
}

/// All that is said on one connection to `path` when these bytes are sent.
async fn told(path: &Path, bytes: &str) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    // A reset is an end, too.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut said)).await.expect("it hangs up");
    String::from_utf8(said).unwrap()
}

/// What the upstream is told of a request with these lines in its head.
async fn mirrored(path: &Path, before: &str, lines: &str) -> Value {
    let head = format!("{before}GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n");
    let said = told(path, &head).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    let body = said.split_once("\r\n\r\n").unwrap().1;
    let json = &body[body.find('{').unwrap()..=body.rfind('}').unwrap()];
    serde_json::from_str::<Value>(json).unwrap()["fields"].take()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_socket_serves_every_protocol_to_whom_its_mode_allows() {
    let directory = Directory::new();
    let (plain, secured) = (directory.file("plain.sock"), directory.file("tls.sock"));
    let authority = Authority::new("Test Root");
    let cert = authority.issue(&["tv.example"]).write(&directory, "tv");
    let tls = format!(", tls: {{ certificates: [{cert}] }}");
    let both = format!("{}{}", also(&plain, ", http2: true"), also(&secured, &tls));
    let both = both.replacen("name: local", "name: first", 1);
    let both = both.replacen(&tls, &format!("{tls}, socket: {{ mode: \"0600\" }}"), 1);
    let upstream = format!("endpoints: ['{}']", crate::origin::replica("one").await);
    let gateway = proxying_with(&both, &upstream);
    assert_eq!((mode(&plain), mode(&secured)), (0o660, 0o600));
    assert!(told(&plain, GET).await.starts_with("HTTP/1.1 204"));
    let mut client = Http2Client::over(UnixStream::connect(&plain).await.unwrap()).await;
    assert_eq!(client.get("/faults/status/204").await.status, 204);
    let stream = UnixStream::connect(&secured).await.unwrap();
    let mut stream = secure(stream, authority.client(&[&TLS13]), "tv.example").await.unwrap();
    assert!(ask(&mut stream, GET).await.starts_with("HTTP/1.1 204"));
    let stream = UnixStream::connect(&secured).await.unwrap();
    let mut config = authority.client(&[&TLS13]);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = secure(stream, config, "tv.example").await.unwrap();
    let mut client = Http2Client::over(stream).await;
    let (answer, _) = client.send(get("/faults/status/204"), true).await;
    assert_eq!(whole(answer).await.unwrap().status, 204);
    gateway.stop().await;
    assert!(!plain.exists() && !secured.exists(), "they go with the gateway");
}

#[tokio::test]
async fn who_connects_has_no_address_unless_a_trusted_one_says_so() {
    let directory = Directory::new();
    let path = directory.file("http.sock");
    let forwarded =
        "X-Forwarded-For: 1.2.3.4, 203.0.113.9, 10.0.0.7\r\nX-Forwarded-Proto: https\r\n";
    {
        let _gateway = serving(&path, "").await;
        let fields = mirrored(&path, "", forwarded).await;
        assert_eq!(fields.get("x-forwarded-for"), None, "nobody is trusted, nobody is known");
        assert_eq!(fields["x-forwarded-proto"], "http");
    }
    until("it is gone", || async { !path.exists() }).await;
    {
        let _gateway = serving(&path, r#", trusted: ["unix:", "10.0.0.0/8"]"#).await;
        let fields = mirrored(&path, "", forwarded).await;
        assert_eq!(fields["x-forwarded-for"], "203.0.113.9", "whom a trusted hop names");
        assert_eq!(fields["x-forwarded-proto"], "https");
        let fields = mirrored(&path, "", "").await;
        assert_eq!(fields.get("x-forwarded-for"), None, "it says nothing");
        let fields = mirrored(&path, "", "X-Forwarded-For: who\r\n").await;
        assert_eq!(fields.get("x-forwarded-for"), None, "it says nothing that can be read");
    }
    until("it is gone", || async { !path.exists() }).await;
    let trusting = ", trusted: ['unix:'], trusted_host: true";
    let logged = Logged::start_with(
        &proxying_yaml(&also(&path, trusting), &format!("endpoints: ['{}']", mirror(&[]).await)),
        &Environment::default(),
    );
    let fields = mirrored(&path, "", "X-Forwarded-For: ::1\r\nX-Forwarded-Host: b\r\n").await;
    assert_eq!((&fields["x-forwarded-for"], &fields["host"]), (&json!("::1"), &json!("b")));
    mirrored(&path, "", "").await;
    let lines = logged.lines(2).await;
    assert_eq!((&lines[0]["client"], &lines[0]["listener"]), (&json!("::1"), &json!("local")));
    assert_eq!(lines[1].get("client").filter(|client| !client.is_null()), None);
}

#[tokio::test]
async fn the_proxy_protocol_names_clients_and_they_are_counted() {
    let directory = Directory::new();
    let path = directory.file("http.sock");
    let fields = ", trusted: ['unix:'], proxy_protocol: true, connections_per_client: 1";
    let gateway = serving(&path, fields).await;
    let behind = "PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n";
    let fields = mirrored(&path, behind, "X-Forwarded-For: 1.2.3.4\r\n").await;
    assert_eq!(fields["x-forwarded-for"], "203.0.113.9", "and that one is not trusted");
    let fields = mirrored(&path, "PROXY UNKNOWN\r\n", "X-Forwarded-For: 1.2.3.4\r\n").await;
    assert_eq!(fields["x-forwarded-for"], "1.2.3.4", "whoever connected speaks for itself");
    assert_eq!(told(&path, GET).await, "", "a trusted one must say whose it is");
    let reason = |reason: &str| {
        let labels = format!("{{listener=\"local\",reason=\"{reason}\"}}");
        format!("streamgate_connections_refused_total{labels}")
    };
    gateway.counts(&reason("proxy_header_missing"), 1.0).await;
    // One that is open is all that this client may have; others are not meant.
    let mut held = UnixStream::connect(&path).await.unwrap();
    held.write_all(format!("{behind}GET / HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
    held.read_u8().await.unwrap();
    let full = told(&path, &format!("{behind}{GET}")).await;
    assert!(full.starts_with("HTTP/1.1 503"), "{full}");
    gateway.counts(&reason("client_full"), 1.0).await;
    let other = format!("PROXY TCP4 203.0.113.10 10.0.0.1 1 2\r\n{GET}");
    assert!(told(&path, &other).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn what_is_in_the_way_is_told_and_what_is_stale_is_not() {
    let directory = Directory::new();
    let path = directory.file("http.sock");
    let yaml = proxying_yaml(&also(&path, ""), "endpoints: ['127.0.0.1:9']");
    drop(UnixListener::bind(&path).unwrap());
    let process = Process::start(&yaml).await;
    assert!(told(&path, GET).await.starts_with("HTTP/1.1 50"));
    let (code, said) = failed(&yaml).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("a process listens there"), "{said}");
    assert!(told(&path, GET).await.starts_with("HTTP/1.1 50"), "it was not disturbed");
    // A process that is killed leaves its file, and the next one is not kept by it.
    process.signal("KILL");
    let (_, _) = process.ended().await;
    assert!(path.exists());
    let process = Process::start(&yaml).await;
    assert!(told(&path, GET).await.starts_with("HTTP/1.1 50"));
    process.terminate();
    assert_eq!(process.ended().await.0, Some(0));
    assert!(!path.exists());
    fs::write(&path, "of somebody").unwrap();
    let (_, said) = failed(&yaml).await;
    assert!(said.contains("is no socket, so it is left alone"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "of somebody");
    let nowhere = yaml.replace("http.sock", "no/http.sock");
    let (_, said) = failed(&nowhere).await;
    assert!(said.contains("make its directory first"), "{said}");
}

#[tokio::test]
async fn a_reload_adds_moves_changes_and_removes_it() {
    let directory = Directory::new();
    let (first, second) = (directory.file("a.sock"), directory.file("b.sock"));
    let origin = Origin::listen().await;
    let yaml = proxying_yaml(", head_timeout: 9s", &format!("endpoints: ['{}']", origin.address));
    let all = Reloadable::start(&yaml, &Environment::default());
    let answers = async |path: &Path| {
        let (said, _) = tokio::join!(told(path, GET), origin.answer_once(OK));
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    };
    let added = also(&first, ", head_timeout: 8s");
    assert_eq!(all.replace(", head_timeout: 9s", &added).await.0, 200);
    answers(&first).await;
    let inode = fs::metadata(&first).unwrap().ino();
    // A request that is under way when its listener changes is answered.
    let mut held = UnixStream::connect(&first).await.unwrap();
    held.write_all(GET.as_bytes()).await.unwrap();
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let changed = ", head_timeout: 7s, socket: { mode: \"0666\" }";
    assert_eq!(all.replace(", head_timeout: 8s", changed).await.0, 200);
    answers(&first).await;
    let file = fs::metadata(&first).unwrap();
    assert_eq!((file.ino(), mode(&first)), (inode, 0o666), "the same socket, another mode");
    upstream.say(OK).await;
    let mut said = String::new();
    timeout(DEADLINE, held.read_to_string(&mut said)).await.unwrap().unwrap();
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    // What can't be had changes nothing.
    let path = |path: &PathBuf| format!("unix:{}", path.display());
    fs::write(&second, "of somebody").unwrap();
    let (code, said) = all.replace(&path(&first), &path(&second)).await;
    assert_eq!(code, 422, "{said}");
    assert!(said.to_string().contains("is no socket"), "{said}");
    answers(&first).await;
    fs::remove_file(&second).unwrap();
    assert_eq!(all.reload().await.0, 200);
    answers(&second).await;
    assert!(!first.exists(), "it has moved");
    let gone = also(&second, changed);
    assert_eq!(all.replace(&gone, ", head_timeout: 9s").await.0, 200);
    assert!(!second.exists(), "it is removed");
}

#[tokio::test]
async fn an_upgrade_hands_it_over_and_nobody_takes_it_away() {
    let directory = Directory::new();
    let path = directory.file("http.sock");
    let origin = Origin::listen().await;
    let text = upgradable(origin.address).replace("\"127.0.0.1:0\" } ]", &{
        let also = also(&path, "");
        format!("\"127.0.0.1:0\"{also} }} ]")
    });
    let answers = async |path: &Path| {
        let (said, _) = tokio::join!(told(path, GET), origin.answer_once(OK));
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    };
    let mut old = start(&text).await;
    answers(&path).await;
    let inode = fs::metadata(&path).unwrap().ino();
    replace(&old, "/bin/false");
    old.signal("USR2");
    old.says("no other process has taken over").await;
    answers(&path).await;
    replace(&old, PROGRAM);
    // Its last word is of the file's mode, too.
    let file = old.directory.file("gateway.yaml");
    fs::write(&file, text.replace(".sock'", ".sock', socket: { mode: \"0666\" }")).unwrap();
    old.says("another configuration answers").await;
    let new = upgraded(old.admin).await;
    old.says("every request was answered").await;
    assert_eq!(old.exit_code().await, Some(0));
    assert_eq!((fs::metadata(&path).unwrap().ino(), mode(&path)), (inode, 0o666));
    answers(&path).await;
    // The next one does not listen there, so the file goes away once that one is ready.
    fs::write(&file, text.replace(&also(&path, ""), "")).unwrap();
    let last = upgraded(old.admin).await;
    assert!(!path.exists());
    until("the second is gone", || async { !new.is_there() }).await;
    drop::<Successor>(last);
}

#[tokio::test]
async fn a_socket_of_the_service_manager_stays_its_own() {
    let directory = Directory::new();
    let path = directory.file("given.sock");
    let given = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let origin = Origin::listen().await;
    let fields = also(&path, ", socket: { mode: \"0666\" }");
    let yaml = proxying_yaml(&fields, &format!("endpoints: ['{}']", origin.address));
    let prefix = ["sh", "-c", "exec \"$@\" 3<&0 </dev/null", "sh"];
    let mut command = command(&directory, &yaml, &prefix, PROGRAM.as_ref());
    command.stdin(Stdio::from(OwnedFd::from(given))).env("LISTEN_FDS", "1");
    command.env_remove("LISTEN_PID");
    let process = Process::started_by(Directory::new(), command).await;
    let (said, _) = tokio::join!(told(&path, GET), origin.answer_once(OK));
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert_eq!(mode(&path), 0o640, "it says who may connect");
    process.terminate();
    assert_eq!(process.ended().await.0, Some(0));
    assert!(path.exists(), "it takes it away");
}

#[tokio::test]
async fn a_drain_closes_it_and_answers_what_is_under_way() {
    let directory = Directory::new();
    let path = directory.file("http.sock");
    let origin = Origin::listen().await;
    let upstream = format!("endpoints: ['{}']", origin.address);
    let process = Process::start(&proxying_yaml(&also(&path, ""), &upstream)).await;
    let mut held = UnixStream::connect(&path).await.unwrap();
    held.write_all(GET.as_bytes()).await.unwrap();
    let mut upstream = origin.accept().await;
    upstream.request().await;
    process.terminate();
    until("it is closed", || async { !path.exists() }).await;
    upstream.say(OK).await;
    let mut said = String::new();
    timeout(DEADLINE, held.read_to_string(&mut said)).await.unwrap().unwrap();
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert_eq!(process.ended().await.0, Some(0));
}

/// A process with one worker, which has asked the kernel for all that it asks for once it answers.
async fn alone(yaml: &str) -> Process {
    let process = Process::start(&yaml.replace("workers: 2", "workers: 1")).await;
    assert!(500 <= RawClient::open(process.edge).await.ask(GET).await.status);
    process
}

/// How many connections of those that ask wait to be accepted while the process stands still.
async fn waiting(process: &Process, asks: usize, connect: impl AsyncFn() -> bool) -> usize {
    process.signal("STOP");
    let mut waiting = 0;
    for _ in 0..asks {
        waiting += usize::from(connect().await);
    }
    process.signal("CONT");
    waiting
}

#[tokio::test]
async fn so_many_connections_wait_to_be_accepted() {
    let directory = Directory::new();
    let path = directory.file("http.sock");
    let fields = also(&path, ", socket: { backlog: 3 }");
    let yaml = proxying_yaml(&fields, "endpoints: ['127.0.0.1:9']");
    let process = alone(&yaml).await;
    assert!(told(&path, GET).await.starts_with("HTTP/1.1 50"));
    let held = std::sync::Mutex::new(Vec::new());
    let connect = async || {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_nonblocking(true).unwrap();
        let is_waiting = socket.connect(&socket2::SockAddr::unix(&path).unwrap()).is_ok();
        held.lock().unwrap().push(socket);
        is_waiting
    };
    // Linux takes one more than it is told.
    assert_eq!(waiting(&process, 9, connect).await, 4);
    // So it is with TCP, where a connection beyond is not refused: it waits to be heard.
    let yaml = proxying_yaml(", socket: { backlog: 3 }", "endpoints: ['127.0.0.1:9']");
    let process = alone(&yaml).await;
    let held = std::sync::Mutex::new(Vec::new());
    let connect = async || {
        let moment = Duration::from_millis(300);
        let connected = timeout(moment, TcpStream::connect(process.edge)).await;
        let is_waiting = matches!(connected, Ok(Ok(_)));
        held.lock().unwrap().push(connected);
        is_waiting
    };
    let waiting = waiting(&process, 8, connect).await;
    assert!((4..=5).contains(&waiting), "{waiting}");
}
