//! The gateway as a program: a child process with a configuration file of its own.

use crate::harness::DEADLINE;
use serde_json::Value;
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
    pub(crate) edge: SocketAddr,
    pub(crate) admin: SocketAddr,
    _directory: Directory,
}

fn command(directory: &Directory, yaml: &str) -> Command {
    let file = directory.file("gateway.yaml");
    std::fs::write(&file, yaml).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamgate"));
    command.arg("--config").arg(file).arg("run");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.env_remove("RUST_LOG").kill_on_drop(true);
    command
}

impl Process {
    /// Starts it and waits until it says that it is ready.
    pub(crate) async fn start(yaml: &str) -> Self {
        let directory = Directory::new();
        let mut child = command(&directory, yaml).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut edge = None;
        loop {
            let mut line = String::new();
            timeout(DEADLINE, lines.read_line(&mut line)).await.expect("it starts").unwrap();
            let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"));
            let address = |name: &str| said["fields"][name].as_str()?.parse().ok();
            edge = edge.or(address("address"));
            if let Some(admin) = address("admin") {
                let edge = edge.expect("listeners are printed first");
                return Process { child, lines, edge, admin, _directory: directory };
            }
        }
    }

    pub(crate) fn terminate(&self) {
        let pid = self.child.id().expect("it runs").to_string();
        let kill = std::process::Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits until it ends: its exit code, and what it said.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        timeout(DEADLINE, self.lines.read_to_string(&mut said)).await.expect("it ends").unwrap();
        let status = timeout(DEADLINE, self.child.wait()).await.expect("it ends").unwrap();
        (status.code(), said)
    }

    /// How much memory it has in use, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let pid = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

/// Runs it where it can't run: its exit code, and what it said.
pub(crate) async fn failed(yaml: &str) -> (Option<i32>, String) {
    let directory = Directory::new();
    let output = timeout(DEADLINE, command(&directory, yaml).output()).await;
    let output = output.expect("it ends").unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}
