//! Another process takes the place of the one that runs: nobody is refused or cut, and one that
//! can't start changes nothing. And what systemd is told of it.

use crate::audience::{Stage, TOKEN};
use crate::harness::{DEADLINE, until};
use crate::origin::{Origin, proxying_yaml};
use crate::process::{Directory, PROGRAM, Process, command};
use crate::raw_client::RawClient;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;
use tokio::time::timeout;

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
const GONE_ON: &str = "no other process has taken over, so this one goes on";

pub(crate) fn yaml(origin: SocketAddr) -> String {
    let yaml = proxying_yaml("", &format!("endpoints: ['{origin}']"));
    let with_token = format!("admin: {{ address: \"127.0.0.1:0\", token: \"{TOKEN}\" }}");
    yaml.replace("admin: { address: \"127.0.0.1:0\" }", &with_token)
}

/// A gateway whose program is a link in its directory, so that another can be put there.
pub(crate) async fn start(yaml: &str) -> Process {
    let directory = Directory::new();
    let program = directory.file("streamgate");
    symlink(PROGRAM, &program).unwrap();
    let command = command(&directory, yaml, &[], &program);
    Process::started_by(directory, command).await
}

/// Puts another program in its place.
pub(crate) fn replace(process: &Process, program: &str) {
    let link = process.directory.file("next");
    symlink(program, &link).unwrap();
    fs::rename(&link, process.directory.file("streamgate")).unwrap();
}

/// A process that another one has started. It ends with the test.
pub(crate) struct Successor(pub(crate) u32);

impl Successor {
    fn signal(&self, name: &str) {
        let pid = self.0.to_string();
        // It may have ended by itself.
        let _ = std::process::Command::new("kill").args(["-s", name, &pid]).output();
    }

    pub(crate) fn is_there(&self) -> bool {
        fs::metadata(format!("/proc/{}", self.0)).is_ok()
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

/// Has `streamgate upgrade` ask for it: its exit code, its data and its words.
async fn ask(admin: SocketAddr) -> (Option<i32>, Value, String) {
    let mut verb = tokio::process::Command::new(PROGRAM);
    verb.args(["upgrade", "--admin", &format!("http://{admin}")]);
    verb.env("STREAMGATE_ADMIN_TOKEN", TOKEN).kill_on_drop(true);
    let output = timeout(DEADLINE, verb.output()).await.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let data = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), data, said)
}

pub(crate) async fn upgraded(admin: SocketAddr) -> Successor {
    let (code, data, said) = ask(admin).await;
    assert_eq!(code, Some(0), "{said}");
    Successor(u32::try_from(data["pid"].as_u64().unwrap()).unwrap())
}

async fn is_answered(edge: SocketAddr, origin: &Origin) {
    let mut raw = RawClient::open(edge).await;
    raw.say(GET).await;
    origin.answer_once(OK).await;
    assert_eq!(raw.answer().await.status, 200);
}

#[tokio::test]
async fn a_signal_replaces_it_and_what_is_under_way_ends_well() {
    let origin = Origin::listen().await;
    let mut old = start(&yaml(origin.address)).await;
    let mut downloading = RawClient::open(old.edge).await;
    downloading.say(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    assert_eq!(downloading.head().await.status, 200);
    // It is between two requests when the old process closes its listeners.
    let mut idle = RawClient::open(old.edge).await;
    idle.say(GET).await;
    origin.answer_once(OK).await;
    assert_eq!(idle.answer().await.status, 200);

    old.signal("USR2");
    let said = old.says("another process has taken the listeners over").await;
    let said: Value = serde_json::from_str(&said).unwrap();
    let new = Successor(u32::try_from(said["fields"]["pid"].as_u64().unwrap()).unwrap());
    assert_ne!(new.0, old.pid());
    old.says("listeners and the admin port are closed").await;
    idle.say(GET).await;
    origin.answer_once(OK).await;
    let last = idle.answer().await;
    assert_eq!(last.status, 200, "who asks at that moment is answered");
    assert_eq!(last.field("connection").as_deref(), Some("close"));
    // The same two addresses, and another process.
    is_answered(old.edge, &origin).await;
    assert_eq!(old.admin("/readyz").await.status, 200);

    upstream.say("5\r\nworld\r\n0\r\n\r\n").await;
    assert_eq!(downloading.bytes(25).await, b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n");
    old.says("every request was answered").await;
    assert_eq!(old.exit_code().await, Some(0));
    assert!(new.is_there());
    is_answered(old.edge, &origin).await;
    new.signal("TERM");
    old.says("every request was answered").await;
}

#[tokio::test]
async fn one_that_can_not_start_changes_nothing() {
    let origin = Origin::listen().await;
    let good = yaml(origin.address);
    let mut old = start(&good).await;
    let (file, folder) = (old.directory.file("gateway.yaml"), old.directory.path().to_owned());
    for (what, program, text, expected) in [
        ("a program that ends at once", "/bin/false", &good, "ended before it was ready"),
        ("no program", "/nowhere/streamgate", &good, "can't be started"),
        ("a program of another kind", "/etc/passwd", &good, "can't be started"),
        ("a file with a mistake", PROGRAM, &good.replace("upstream: all", "upstream: al"), "`al`"),
    ] {
        replace(&old, program);
        fs::write(&file, text).unwrap();
        let (code, _, said) = ask(old.admin).await;
        assert_eq!(code, Some(1), "{what}: {said}");
        assert!(said.contains(expected), "{what}: {said}");
        old.says(GONE_ON).await;
        is_answered(old.edge, &origin).await;
        assert_eq!(old.admin("/readyz").await.status, 200, "{what}");
    }
    // Once it can, it does.
    fs::write(&file, &good).unwrap();
    let new = upgraded(old.admin).await;
    old.says("every request was answered").await;
    assert_eq!(old.exit_code().await, Some(0));
    is_answered(old.edge, &origin).await;
    assert!(new.is_there() && folder.exists());
}

#[tokio::test]
async fn one_that_says_nothing_ends_with_the_one_that_started_it() {
    let origin = Origin::listen().await;
    let mut old = start(&yaml(origin.address)).await;
    let script = old.directory.file("silent");
    let pid = old.directory.file("pid");
    let text =
        format!("#!/bin/sh\necho $$ > {}.new\nmv {0}.new {0}\nexec sleep 600\n", pid.display());
    fs::write(&script, text).unwrap();
    std::os::unix::fs::chown(&script, None, None).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, executable).unwrap();
    replace(&old, script.to_str().unwrap());
    old.signal("USR2");
    until("it is started", || async { pid.exists() }).await;
    let silent = Successor(fs::read_to_string(&pid).unwrap().trim().parse().unwrap());
    is_answered(old.edge, &origin).await;
    // Whoever asks meanwhile is told so.
    let (code, _, said) = ask(old.admin).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("under way"), "{said}");
    old.terminate();
    old.says("every request was answered").await;
    assert_eq!(old.exit_code().await, Some(0));
    until("it is ended", || async { !silent.is_there() }).await;
}

/// How many upgrades there are; the ordinary tests have few, `just soak-upgrade` more.
fn upgrades() -> usize {
    std::env::var("SOAK_UPGRADES").map_or(3, |number| number.parse().expect("a number"))
}

/// Clients of every kind, while one process follows the other. One in five can't start.
#[tokio::test]
async fn no_request_fails_while_processes_follow_each_other() {
    let stage = Stage::build().await;
    let old = start(&stage.yaml(0)).await;
    let audience = stage.gather(&old);
    let playing = stage.all_play(&old).await;
    let mut running = Vec::new();
    for number in 1..=upgrades() {
        if number % 5 == 2 {
            replace(&old, "/bin/false");
            assert_eq!(ask(old.admin).await.0, Some(1), "upgrade {number} can't be");
            replace(&old, PROGRAM);
        } else {
            // It shows its own certificate, and those before it theirs.
            stage.renew();
            running.push(upgraded(old.admin).await);
        }
        audience.goes_on(&format!("upgrade {number}")).await;
    }
    assert_eq!(stage.leases(&old).await, playing, "no lease was lost");
    let answered = audience.goes_home().await;
    println!("{} upgrades, {answered}", upgrades());
    let last = running.pop().expect("some have succeeded");
    until("only the last is left", || async { running.iter().all(|one| !one.is_there()) }).await;
    assert!(last.is_there());
}

/// What is told to a service manager: a socket in the test's place of it.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(directory: &Directory) -> Self {
        let socket = UnixDatagram::bind(directory.file("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Manager(socket)
    }

    /// The next message that begins so; others are skipped.
    async fn hears(&self, beginning: &str) -> String {
        let found = std::cell::RefCell::new(None);
        until(beginning, || async {
            let mut bytes = [0; 1024];
            while let Ok(length) = self.0.recv(&mut bytes) {
                let said = String::from_utf8(bytes[..length].to_vec()).unwrap();
                if said.starts_with(beginning) {
                    *found.borrow_mut() = Some(said);
                    return true;
                }
            }
            false
        })
        .await;
        found.into_inner().expect("it was heard")
    }
}

#[tokio::test]
async fn a_service_manager_is_told_what_happens() {
    let origin = Origin::listen().await;
    let directory = Directory::new();
    let manager = Manager::listen(&directory);
    let program = directory.file("streamgate");
    symlink(PROGRAM, &program).unwrap();
    let mut command = command(&directory, &yaml(origin.address), &[], &program);
    command.env("NOTIFY_SOCKET", directory.file("notify")).env("WATCHDOG_USEC", "100000");
    let mut old = Process::started_by(directory, command).await;
    assert_eq!(manager.hears("READY").await, "READY=1\n");
    manager.hears("WATCHDOG=1").await;
    manager.hears("WATCHDOG=1").await;
    old.signal("HUP");
    let said = manager.hears("RELOADING").await;
    assert!(said.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{said}");
    manager.hears("READY=1").await;
    old.signal("USR2");
    let said = manager.hears("MAINPID").await;
    let pid = said.strip_prefix("MAINPID=").and_then(|said| said.strip_suffix("\nREADY=1\n"));
    let new = Successor(pid.unwrap_or_else(|| panic!("{said}")).parse().unwrap());
    old.says("every request was answered").await;
    assert_eq!(old.exit_code().await, Some(0));
    manager.hears("WATCHDOG=1").await;
    new.signal("TERM");
    assert_eq!(manager.hears("STOPPING").await, "STOPPING=1\n", "the first has not said it");
}

#[tokio::test]
async fn a_socket_of_the_service_manager_is_taken() {
    let origin = Origin::listen().await;
    let given = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = given.local_addr().unwrap();
    // A client that comes before the gateway waits for it.
    let mut early = RawClient::open(address).await;
    early.say(GET).await;
    let yaml = yaml(origin.address).replacen("127.0.0.1:0", &address.to_string(), 1);
    let directory = Directory::new();
    let prefix = ["sh", "-c", "exec \"$@\" 3<&0 </dev/null", "sh"];
    let mut command = command(&directory, &yaml, &prefix, PROGRAM.as_ref());
    command.stdin(Stdio::from(OwnedFd::from(given))).env("LISTEN_FDS", "1");
    command.env_remove("LISTEN_PID");
    let process = Process::started_by(directory, command).await;
    assert_eq!(process.edge, address);
    origin.answer_once(OK).await;
    assert_eq!(early.answer().await.status, 200);
    is_answered(address, &origin).await;
}

#[tokio::test]
async fn a_socket_that_no_listener_has_is_told() {
    let origin = Origin::listen().await;
    let given = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = Directory::new();
    let prefix = ["sh", "-c", "exec \"$@\" 3<&0 </dev/null", "sh"];
    let mut command = command(&directory, &yaml(origin.address), &prefix, PROGRAM.as_ref());
    command.stdin(Stdio::from(OwnedFd::from(given))).env("LISTEN_FDS", "1");
    command.env_remove("LISTEN_PID");
    let mut process = Process::started_by(directory, command).await;
    process.says("systemd gave a socket that no listener has").await;
    is_answered(process.edge, &origin).await;
}

#[tokio::test]
async fn the_last_word_of_a_drain_waits_for_nobody_who_is_gone() {
    let origin = Origin::listen().await;
    let process = start(&yaml(origin.address)).await;
    let began = tokio::time::Instant::now();
    process.terminate();
    assert_eq!(process.ended().await.0, Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
