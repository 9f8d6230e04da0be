//! `streamgate reload`: has a running gateway read its configuration again, and says how that went.

use super::ask_admin::{self, Answer, post};
use super::{Failure, say};
use crate::config::Loaded;
use serde_json::{Value, json};

/// Asks the gateway and returns its answer. What is wrong with the file is printed.
pub(super) fn reload(
    options: &ask_admin::AdminOptions,
    load: impl FnOnce() -> Result<Loaded, Failure>,
) -> Result<Value, Failure> {
    let answer = post(options, load, "/api/reload", || Ok(json!({})))?;
    match answer.status {
        200 if answer.body["generation"].is_u64() => Ok(answer.body),
        422 if answer.body["problems"].is_array() => {
            print_problems(&answer);
            Err(Failure::Told)
        }
        _ => Err(answer.failure()),
    }
}

fn print_problems(answer: &Answer) {
    for problem in answer.body["problems"].as_array().into_iter().flatten() {
        let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        say(&format!("{}: {}", text("level"), text("text")));
        if let Some(line) = problem["line"].as_u64() {
            say(&format!("  --> {}:{line}", text("file")));
        }
        if problem["help"].is_string() {
            say(&format!("  help: {}", text("help")));
        }
    }
    say("streamgate: the configuration has mistakes, so nothing was changed");
}
