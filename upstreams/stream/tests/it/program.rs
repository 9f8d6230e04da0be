//! The program: settings from outside, exit codes, a clean stop.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

fn program(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stream"));
    command.args(words).env_clear();
    command
}

#[test]
fn bad_settings_end_with_78_and_a_sentence() {
    let check = |words: &[&str], code: i32, said: &str| {
        let output = program(words).output().unwrap();
        let heard = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{heard}");
        assert!(heard.contains(said), "{heard}");
    };
    check(&["--event", "Final!"], 78, "is not a name");
    check(&["--listen", "everywhere"], 78, "invalid value");
    check(&["--nonsense"], 64, "--nonsense");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check(&["--listen", &address], 78, "cannot listen on");
}

#[test]
fn it_serves_says_that_it_is_well_and_stops_at_a_signal() {
    // Options stand before the verb or after it.
    let words = ["--title", "film", "run", "--event", "final", "--listen", "127.0.0.1:0"];
    let mut child = program(&words).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let address = line.strip_prefix("stream: listening on http://").unwrap().to_owned();
    let asked = program(&["healthcheck", "--listen", &address]).output().unwrap();
    assert!(asked.status.success(), "{asked:?}");
    let signalled = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(signalled.unwrap().success());
    assert!(child.wait().unwrap().success());
    let asked = program(&["healthcheck", "--listen", &address]).output().unwrap();
    assert_eq!(asked.status.code(), Some(1));
}
