//! `streamgate revoke`: ends sessions through the admin port of a running gateway.

use super::Failure;
use super::ask_admin::{self, post};
use crate::config::Loaded;
use clap::Args;
use serde_json::{Value, json};
use std::io::{BufRead, Read};

/// The longest name of an account that is read, in bytes.
const ACCOUNT_BYTES_MAX: u64 = 4 * 1024;

/// Whose sessions are to end, and which gateway ends them.
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    whose: Whose,
    /// The entry of `sessions`; left out, every one with a store.
    #[arg(long, value_name = "NAME")]
    sessions: Option<String>,
    #[command(flatten)]
    gateway: ask_admin::AdminOptions,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Whose {
    /// One session, by its id (`sid`).
    #[arg(long, value_name = "SID")]
    session: Option<String>,
    /// All sessions of an account (`sub`) that began until now; `-` reads it from standard input,
    /// where nobody else on this machine sees it.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
}

/// Asks the gateway and returns its answer.
pub(super) fn revoke(
    options: &Options,
    load: impl FnOnce() -> Result<Loaded, Failure>,
) -> Result<Value, Failure> {
    let answer = post(&options.gateway, load, "/api/sessions/revoke", || {
        Ok(json!({
            "session": options.whose.session,
            "account": account(options.whose.account.as_deref()).map_err(Failure::Other)?,
            "sessions": options.sessions,
        }))
    })?;
    match answer.status == 200 && answer.body["revoked"].is_string() {
        true => Ok(answer.body),
        false => Err(answer.failure()),
    }
}

/// The account, which `-` says is on standard input.
fn account(written: Option<&str>) -> Result<Option<String>, String> {
    if written != Some("-") {
        return Ok(written.map(str::to_owned));
    }
    let mut line = String::new();
    let read = std::io::stdin().lock().take(ACCOUNT_BYTES_MAX).read_line(&mut line);
    read.map_err(|error| format!("standard input can't be read: {error}"))?;
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}
