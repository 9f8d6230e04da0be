//! `streamgate upgrade`: has a running gateway start the program that stands in its place now, and
//! says whether it has taken over.

use super::Failure;
use super::ask_admin::{self, post};
use crate::config::Loaded;
use serde_json::{Value, json};

/// Asks the gateway and returns its answer.
pub(super) fn upgrade(
    options: &ask_admin::AdminOptions,
    load: impl FnOnce() -> Result<Loaded, Failure>,
) -> Result<Value, Failure> {
    let answer = post(options, load, "/api/upgrade", || Ok(json!({})))?;
    match answer.status {
        200 if answer.body["pid"].is_u64() => Ok(answer.body),
        _ => Err(answer.failure()),
    }
}
