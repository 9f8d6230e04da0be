//! What an operator reads who made a mistake: every broken file in `tests/cases/broken`, checked by
//! the real binary, with the exact report beside it.
//!
//! After a change of a message: `BLESS=1 cargo test --test it check`, then read the diff.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CONFIG: i32 = 78;

/// `streamgate check` in `dir`, with nothing set but what the cases name.
fn check(dir: &Path, file: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamgate"));
    command.args(["check", "--config", file]).current_dir(dir).env_clear();
    command.env("SESSION_SECRET", "0123456789abcdef0123456789abcdef");
    command.env("ACCOUNT_PEPPER", "pepper-pepper-pepper-pepper-pepper");
    command.output().expect("the binary runs")
}

fn broken() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/broken")
}

fn cases() -> Vec<String> {
    let entries = fs::read_dir(broken()).expect("the folder of cases").flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".yaml")).collect();
    names.sort();
    names
}

/// The report of a file that is refused.
fn refused(dir: &Path, file: &str) -> String {
    let output = check(dir, file);
    let said = String::from_utf8(output.stderr).expect("words are UTF-8");
    assert_eq!(output.status.code(), Some(CONFIG), "{file}: {said}");
    assert!(output.stdout.is_empty(), "{file}: words belong to stderr");
    said
}

#[test]
fn every_broken_file_gets_the_report_beside_it() {
    let mut differ = Vec::new();
    for name in cases() {
        let said = refused(&broken(), &name);
        let beside = broken().join(&name).with_extension("txt");
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if std::env::var_os("BLESS").is_some() {
            fs::write(&beside, said).expect("the report can be written");
        } else if said != expected {
            differ.push(format!("{name}\n--- expected\n{expected}\n--- said\n{said}"));
        }
    }
    let how = "if the new words are better: BLESS=1 cargo test --test it check";
    assert!(differ.is_empty(), "{}\n{how}", differ.join("\n"));
}

#[test]
fn no_report_repeats_a_secret() {
    for name in cases() {
        let said = refused(&broken(), &name);
        assert!(!said.contains("s3cr3t") && !said.contains("hunter2"), "{name}: {said}");
    }
}

#[test]
fn every_error_of_a_line_says_what_would_be_right() {
    for name in cases() {
        let said = refused(&broken(), &name);
        for problem in said.split("\n\n").filter(|text| text.starts_with("error: ")) {
            assert!(problem.contains("\n  = help: "), "{name}: {problem}");
        }
    }
}
