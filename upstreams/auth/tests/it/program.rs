//! The program: settings from outside, exit codes, a clean stop, and accounts in a file.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use auth::AccountsAt;
use auth::session::TokensOnly;

use crate::harness::{Auth, settings};

const SECRET: (&str, &str) = ("SESSION_SECRET", "a secret that only the tests know");

fn program(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth"));
    command.args(words).env_clear().stdin(Stdio::null());
    command
}

fn check(output: &Output, code: i32, said: &str) {
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words}");
    assert!(words.contains(said), "{words}");
}

#[test]
fn bad_settings_end_with_78_and_a_sentence() {
    let run = |words: &[&str]| program(words).env(SECRET.0, SECRET.1).output().unwrap();
    check(&program(&[]).output().unwrap(), 78, "nothing to sign with");
    let short = program(&["--tokens-only"]).env("SESSION_SECRET", "short").output().unwrap();
    check(&short, 78, "HS256 needs 32 or more");
    check(&run(&[]), 78, "nowhere to write sessions");
    check(&run(&["--redis-url", "mysql://x"]), 78, "REDIS_URL");
    check(&run(&["--listen", "everywhere"]), 78, "invalid value");
    check(&run(&["--tokens-only", "--accounts", "/nowhere/at/all.db"]), 78, "account database");
    check(&run(&["--tokens-only", "--sliding-seconds", "60"]), 78, "--sliding-seconds needs");
    let zero = ["--redis-url", "redis://127.0.0.1:1/", "--sliding-seconds", "0"];
    check(&run(&zero), 78, "one second or more");
    check(&run(&["--nonsense"]), 64, "--nonsense");
    let both = ["--tokens-only", "run", "--redis-url", "redis://127.0.0.1:1/"];
    check(&run(&both), 78, "leave one of them out");
    let apart = ["--tokens-only", "--account", "a:password-1", "run", "--account", "b:password-2"];
    check(&run(&apart), 78, "every --account on the same side");
    check(&run(&["add-account", "carol"]), 78, "name the file: --accounts FILE");
    let bad = run(&["--tokens-only", "--account", "alice:s3cret:gold:many"]);
    check(&bad, 78, "account 1 of --account: max_streams");
    assert!(!String::from_utf8_lossy(&bad.stderr).contains("s3cret"));
}

#[tokio::test]
async fn an_account_added_to_the_file_can_log_in_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("accounts.db");
    let path = file.to_str().unwrap();
    let mut settings = settings(Arc::new(TokensOnly));
    settings.accounts = AccountsAt::File(file.clone());
    let auth = Auth::start(settings).await;
    assert_eq!(auth.login("carol", "sesame").await.status, 401);

    let mut adding = program(&["add-account", "carol", "--accounts", path, "--tier", "gold"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    adding.stdin.take().unwrap().write_all(b"sesame\n").unwrap();
    check(&adding.wait_with_output().unwrap(), 0, "carol can log in");
    let answer = auth.login("carol", "sesame").await;
    assert_eq!((answer.status.as_u16(), answer.json()["tier"].as_str()), (200, Some("gold")));

    let again = |words: &[&str]| program(words).env("AUTH_PASSWORD", "other").output().unwrap();
    let twice = again(&["add-account", "carol", "--accounts", path]);
    check(&twice, 78, "the account carol exists");
    check(&again(&["add-account", "carol", "--accounts", path, "--replace"]), 0, "carol");
    assert_eq!(auth.login("carol", "sesame").await.status, 401);
    assert_eq!(auth.login("carol", "other").await.status, 200);
}

#[tokio::test]
async fn a_seed_does_not_overwrite_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let at = AccountsAt::File(directory.path().join("accounts.db"));
    let mut first = settings(Arc::new(TokensOnly));
    first.accounts = at.clone();
    Auth::start(first).await;
    let mut second = settings(Arc::new(TokensOnly));
    second.accounts = at;
    second.seeds = vec!["alice:other".parse().unwrap()];
    let auth = Auth::start(second).await;
    assert_eq!(auth.login("alice", "wonderland").await.status, 200);
    assert_eq!(auth.login("alice", "other").await.status, 401);
}

#[test]
fn it_serves_says_that_it_is_well_and_stops_at_a_signal() {
    // Options stand before the verb or after it.
    for words in [
        &["--listen", "127.0.0.1:0", "--tokens-only"][..],
        &["--tokens-only", "run", "--listen", "127.0.0.1:0"],
        &["run", "--listen", "127.0.0.1:0", "--tokens-only", "--account", "ann:a-long-password"],
    ] {
        serves_and_stops(words);
    }
}

fn serves_and_stops(words: &[&str]) {
    let mut child = program(words).env(SECRET.0, SECRET.1).stderr(Stdio::piped()).spawn().unwrap();
    let address = address(&mut child);
    let asked = program(&["healthcheck", "--listen", &address]).output().unwrap();
    assert!(asked.status.success(), "{asked:?}");
    let signalled = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(signalled.unwrap().success());
    assert!(child.wait().unwrap().success());
    check(&program(&["healthcheck", "--listen", &address]).output().unwrap(), 1, "not well");
}

fn address(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let address = lines.find_map(|line| {
        let line = line.unwrap();
        line.strip_prefix("auth: listening on http://").map(str::to_owned)
    });
    address.expect("it says where it listens")
}
