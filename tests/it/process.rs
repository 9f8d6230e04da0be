//! The gateway as a program: a child process with a configuration file of its own.

use crate::harness::DEADLINE;
use crate::raw_client::{Answer, RawClient};
use serde_json::Value;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

/// A directory that is gone with the test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("streamgate-it-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What can't be removed is left to the system.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running `streamgate run`.
pub(crate) struct Process {
    child: Child,
    lines: BufReader<ChildStderr>,
    /// What it said before it was ready, and nobody has asked for.
    unread: VecDeque<String>,
    pub(crate) edge: SocketAddr,
    /// Of all listeners, in the order of the file; the first is `edge`.
    pub(crate) listeners: Vec<SocketAddr>,
    pub(crate) admin: SocketAddr,
    pub(crate) directory: Directory,
}

/// The program that is tested.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_streamgate");

/// The command that runs `program`, behind the words of another one that starts it.
pub(crate) fn command(
    directory: &Directory,
    yaml: &str,
    prefix: &[&str],
    program: &Path,
) -> Command {
    let file = directory.file("gateway.yaml");
    std::fs::write(&file, yaml).unwrap();
    let mut words = prefix.iter().map(Path::new).chain([program]);
    let mut command = Command::new(words.next().expect("one at least"));
    command.args(words).arg("--config").arg(file).arg("run");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.env_remove("RUST_LOG").kill_on_drop(true);
    command
}

impl Process {
    /// Starts it and waits until it says that it is ready.
    pub(crate) async fn start(yaml: &str) -> Self {
        Self::start_behind(&[], yaml).await
    }

    /// The same, started by another command.
    pub(crate) async fn start_behind(prefix: &[&str], yaml: &str) -> Self {
        let directory = Directory::new();
        let command = command(&directory, yaml, prefix, Path::new(PROGRAM));
        Self::started_by(directory, command).await
    }

    /// The process that this command starts, once it says that it is ready.
    pub(crate) async fn started_by(directory: Directory, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let (mut listeners, mut unread) = (Vec::new(), VecDeque::new());
        loop {
            let mut line = String::new();
            timeout(DEADLINE, lines.read_line(&mut line)).await.expect("it starts").unwrap();
            let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"));
            let address = |name: &str| said["fields"][name].as_str()?.parse().ok();
            listeners.extend(address("address"));
            if let Some(admin) = address("admin") {
                let edge = *listeners.first().expect("listeners are printed first");
                return Process { child, lines, unread, edge, listeners, admin, directory };
            }
            unread.push_back(line);
        }
    }

    /// What it is configured with now.
    pub(crate) fn yaml(&self) -> String {
        std::fs::read_to_string(self.directory.file("gateway.yaml")).unwrap()
    }

    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends it this signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let kill = std::process::Command::new("kill").args(["-s", name, &pid]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits until it says something with this in it; returns the whole line.
    pub(crate) async fn says(&mut self, what: &str) -> String {
        loop {
            let mut line = self.unread.pop_front().unwrap_or_default();
            if line.is_empty() {
                let read = timeout(DEADLINE, self.lines.read_line(&mut line)).await;
                assert_ne!(read.expect(what).unwrap(), 0, "it has ended without saying: {what}");
            }
            if line.contains(what) {
                return line;
            }
        }
    }

    /// Waits until it ends: its exit code, and what it said.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        timeout(DEADLINE, self.lines.read_to_string(&mut said)).await.expect("it ends").unwrap();
        let status = timeout(DEADLINE, self.child.wait()).await.expect("it ends").unwrap();
        (status.code(), said)
    }

    /// Waits until the process itself ends, also when another one writes on where it wrote.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        timeout(DEADLINE, self.child.wait()).await.expect("it ends").unwrap().code()
    }

    /// Closes the reader's end of its standard output.
    pub(crate) fn close_stdout(&mut self) {
        self.child.stdout = None;
    }

    /// What its admin port answers to a question without a token.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        RawClient::open(self.admin).await.ask(ask).await
    }

    /// The value of one series, as `/metrics` prints it; 0 when it is not there.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = self.admin("/metrics").await.body;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// How much memory it has in use, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let pid = self.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

/// Runs it where it can't run: its exit code, and what it said.
pub(crate) async fn failed(yaml: &str) -> (Option<i32>, String) {
    let directory = Directory::new();
    let output =
        timeout(DEADLINE, command(&directory, yaml, &[], Path::new(PROGRAM)).output()).await;
    let output = output.expect("it ends").unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}
