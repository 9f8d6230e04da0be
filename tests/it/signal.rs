//! Signals, terminals and targets of logs that go away: none of them cuts an answer or ends a log.

use crate::harness::{DEADLINE, until};
use crate::origin::{Origin, proxying_yaml};
use crate::process::{Directory, Process};
use crate::raw_client::RawClient;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, Command};
use tokio::time::timeout;

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const LOST: &str = "streamgate_access_log_dropped_total";

/// A gateway's configuration that logs to `to`.
fn logging_to(to: &str) -> String {
    // Nobody listens there: the gateway's own answers are logged like any other.
    proxying_yaml("", "endpoints: ['127.0.0.1:1']").replace("to: off", &format!("to: {to}"))
}

async fn ask(process: &Process) {
    assert_eq!(RawClient::open(process.edge).await.ask(GET).await.status, 502);
}

/// The lines of a log that are whole.
fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn no_signal_cuts_an_answer() {
    let origin = Origin::listen().await;
    let yaml = proxying_yaml("", &format!("endpoints: ['{}']", origin.address));
    let mut process = Process::start(&yaml).await;
    let mut slow = RawClient::open(process.edge).await;
    slow.say(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    assert_eq!(slow.head().await.status, 200);
    for name in ["HUP", "USR1"] {
        process.signal(name);
        process.says(&format!("\"SIG{name}\"")).await;
    }
    for name in ["ALRM", "VTALRM", "PROF", "PWR", "STKFLT"] {
        process.signal(name);
        let said = process.says(&format!("\"SIG{name}\"")).await;
        assert!(said.contains("no meaning here"), "{said}");
    }
    process.signal("XFSZ");
    process.signal("RTMIN");
    process.says("a realtime signal").await;
    process.signal("QUIT");
    process.says("asked to stop").await;
    for name in ["QUIT", "TERM", "INT", "HUP", "USR1", "USR2"] {
        process.signal(name);
    }
    process.says("stopping already").await;
    upstream.say("5\r\nworld\r\n0\r\n\r\n").await;
    assert_eq!(slow.bytes(25).await, b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n");
    let (code, said) = process.ended().await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn a_log_that_was_moved_away_is_opened_again() {
    for name in ["HUP", "USR1"] {
        let mut process = Process::start(&logging_to("{ file: access.log }")).await;
        // A path begins where the configuration is.
        let (log, moved) = (process.directory.file("access.log"), process.directory.file("old"));
        ask(&process).await;
        until("a line is written", || async { lines(&log).len() == 1 }).await;
        fs::rename(&log, &moved).unwrap();
        ask(&process).await;
        until("it goes into the moved file", || async { lines(&moved).len() == 2 }).await;
        process.signal(name);
        process.says("was opened again").await;
        ask(&process).await;
        until("a new file has it", || async { lines(&log).len() == 1 }).await;
        assert_eq!(lines(&moved).len(), 2, "{name}");
        assert_eq!(process.metric(LOST).await, 0.0);
    }
}

/// Some seventy lines, and a part of one.
const QUOTA_BYTES: u64 = 20_000;

/// A gateway whose log has used up its quota, so that lines are lost; and how many were asked for.
async fn at_its_quota() -> (Process, u64) {
    // The soft limit, so that it can be lifted.
    let limit = format!("--fsize={QUOTA_BYTES}:unlimited");
    let yaml = logging_to("{ file: access.log }");
    let mut process = Process::start_behind(&["prlimit", &limit], &yaml).await;
    let mut asked = 0;
    while process.metric(LOST).await == 0.0 {
        ask(&process).await;
        asked += 1;
        assert!(asked < 100_000, "lines are counted that have no room");
    }
    process.says("can't be written").await;
    let log = process.directory.file("access.log");
    // From now on nothing waits: what comes is given up at the next attempt.
    until("each line is in the file or counted", || async {
        lines(&log).len() as f64 + process.metric(LOST).await == asked as f64
    })
    .await;
    assert_eq!(fs::metadata(&log).unwrap().len(), QUOTA_BYTES, "the last line is cut somewhere");
    (process, asked)
}

/// Asks once, and waits until the line is in this file; the log says that it recovered.
async fn recovers(process: &mut Process, log: &Path, lines_before: usize) {
    ask(process).await;
    until("a line is written", || async { lines(log).len() == lines_before + 1 }).await;
    let said = process.says("can be written again").await;
    let said: Value = serde_json::from_str(&said).unwrap();
    let lost = process.metric(LOST).await;
    assert_eq!(said["fields"]["lost"].as_f64(), Some(lost), "{said}");
}

#[tokio::test]
async fn a_log_at_its_quota_goes_on_when_the_limit_is_lifted() {
    let (mut process, asked) = at_its_quota().await;
    let log = process.directory.file("access.log");
    let before = lines(&log).len();
    let pid = process.pid().to_string();
    let lift = ["--pid", &pid, "--fsize=unlimited"];
    assert!(std::process::Command::new("prlimit").args(lift).status().unwrap().success());
    recovers(&mut process, &log, before).await;
    // The line that was cut has a line of its own, and is counted.
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), before + 2, "{text}");
    assert_eq!(before as f64 + process.metric(LOST).await, asked as f64);
}

#[tokio::test]
async fn a_log_at_its_quota_goes_on_when_its_file_is_truncated_or_opened_again() {
    for is_moved in [false, true] {
        let (mut process, asked) = at_its_quota().await;
        let log = process.directory.file("access.log");
        let before = lines(&log).len();
        if is_moved {
            fs::rename(&log, process.directory.file("old")).unwrap();
            process.signal("USR1");
            process.says("was opened again").await;
        } else {
            // As `copytruncate` does it; nobody tells the gateway.
            fs::File::create(&log).unwrap();
        }
        recovers(&mut process, &log, 0).await;
        let text = fs::read_to_string(&log).unwrap();
        assert_eq!(text.lines().count(), 1, "no rest of a cut line, no empty one: {text}");
        assert_eq!(before as f64 + process.metric(LOST).await, asked as f64);
    }
}

#[tokio::test]
async fn a_log_whose_reader_is_gone_costs_no_answer() {
    let mut process = Process::start(&logging_to("stdout")).await;
    process.close_stdout();
    let lost = || async {
        ask(&process).await;
        process.metric(LOST).await > 0.0
    };
    until("lost lines are counted", lost).await;
    process.terminate();
    let (code, said) = process.ended().await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn what_fails_with_every_request_is_told_once_a_second_with_a_count() {
    const REQUESTS: u64 = 200;
    let process = Process::start(&logging_to("off")).await;
    let began = tokio::time::Instant::now();
    for _ in 0..REQUESTS {
        ask(&process).await;
    }
    process.terminate();
    let (code, said) = process.ended().await;
    let seconds = began.elapsed().as_secs();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("registry/src"), "no path of the machine that built it: {said}");
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told = lines.filter(|line| line["fields"]["message"] == "an upstream gave no answer");
    let told: Vec<u64> = told.map(|line| line["fields"]["times"].as_u64().unwrap()).collect();
    // One at once, one a second, and what was left at the end.
    assert!(told.len() as u64 <= seconds + 3, "{told:?} in {seconds} s");
    assert_eq!(told.iter().sum::<u64>(), REQUESTS, "{told:?}");
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_request() {
    // Each request has many lines, and a pipe takes 64 KiB.
    let process = Process::start_behind(&["env", "RUST_LOG=trace"], &logging_to("off")).await;
    for _ in 0..300 {
        ask(&process).await;
    }
    process.terminate();
    let (code, said) = process.ended().await;
    assert_eq!(code, Some(0));
    assert!(said.len() > 64 * 1024, "{} bytes", said.len());
    assert!(!said.contains("registry/src"), "no path of the machine that built it");
}

/// A terminal of its own, in which a shell runs the gateway behind `prefix`.
struct InTerminal {
    terminal: Child,
    directory: Directory,
}

impl InTerminal {
    async fn start(prefix: &str) -> Self {
        let directory = Directory::new();
        let (file, said) = (directory.file("gateway.yaml"), directory.file("said"));
        fs::write(&file, logging_to("off")).unwrap();
        let program = env!("CARGO_BIN_EXE_streamgate");
        let line = format!(
            "echo $$ > {}; exec {prefix} {program} --config {} run 2> {} > {}",
            directory.file("pid").display(),
            file.display(),
            said.display(),
            directory.file("out").display(),
        );
        // Whoever runs the tests may have had the hangup ignored, and that is inherited.
        let mut command = Command::new("env");
        command.args([
            "--default-signal=HUP",
            "script",
            "--quiet",
            "--command",
            &line,
            "/dev/null",
        ]);
        command.env("SHELL", "/bin/sh");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let terminal = command.env_remove("RUST_LOG").kill_on_drop(true).spawn().unwrap();
        let started = InTerminal { terminal, directory };
        started.says("\"ready\"").await;
        started
    }

    fn said(&self) -> String {
        fs::read_to_string(self.directory.file("said")).unwrap_or_default()
    }

    async fn says(&self, what: &str) {
        let seen = std::cell::Cell::new(0);
        let is_said = || {
            let said = self.said();
            // A test that fails shows what was said instead.
            if seen.replace(said.len()) != said.len() {
                println!("waiting for {what}: {said}");
            }
            said.contains(what)
        };
        until(what, || async { is_said() }).await;
    }

    fn signal(&self, name: &str) {
        let pid = fs::read_to_string(self.directory.file("pid")).unwrap();
        let kill = std::process::Command::new("kill").args(["-s", name, pid.trim()]).status();
        assert!(kill.unwrap().success());
    }

    /// Closes it as a window is closed, or as a connection breaks.
    async fn close(&mut self) {
        timeout(DEADLINE, self.terminal.kill()).await.expect("it ends").unwrap();
    }
}

#[tokio::test]
async fn a_terminal_that_goes_away_starts_the_drain_and_a_hangup_by_hand_does_not() {
    let mut started = InTerminal::start("").await;
    started.signal("HUP");
    started.says("\"SIGHUP\"").await;
    assert!(!started.said().contains("asked to stop"), "{}", started.said());
    started.close().await;
    started.says("the loss of its terminal").await;
    started.says("every request was answered").await;
}

#[tokio::test]
async fn under_nohup_a_terminal_may_go_away() {
    let mut started = InTerminal::start("nohup").await;
    started.close().await;
    // The hangup of the terminal, and one by hand behind it.
    started.says("\"SIGHUP\"").await;
    started.signal("USR1");
    started.says("\"SIGUSR1\"").await;
    assert!(!started.said().contains("asked to stop"), "{}", started.said());
    started.signal("TERM");
    started.says("every request was answered").await;
}
