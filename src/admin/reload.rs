//! Having the configuration read again. The admin port asks for it and tells how it went; what is
//! done then is the business of whoever runs the gateway.

use super::Admin;
use super::api::json_answer;
use crate::clock;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;

/// How many reloads may wait. What is asked for more often is asked for already.
pub const RELOADS_WAITING_MAX: usize = 16;

/// Somebody wants the configuration to be read again.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Who or what: "SIGHUP", "the file has changed".
    pub cause: &'static str,
    /// Where it is told how it went.
    pub answer: Option<oneshot::Sender<Outcome>>,
}

/// How it went.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// New requests are answered by the configuration of the file.
    Applied(Status),
    /// Nothing has changed. It tells why.
    Rejected(Value),
    /// There is no file to read again.
    Impossible,
}

/// What is known of the configuration that runs.
#[derive(Clone, Debug)]
pub struct Status {
    /// How many configurations have run before, and this one.
    pub generation: u64,
    /// The beginning of the SHA-256 of the file's text.
    pub hash: String,
    /// When it was taken, in unix milliseconds.
    pub applied_at: u64,
    /// What of it holds only after a restart.
    pub restart_needed: Vec<&'static str>,
}

impl Status {
    /// Of the configuration that the process begins with.
    pub fn first(hash: String) -> Self {
        let (applied_at, restart_needed) = (clock::unix_ms(), Vec::new());
        Status { generation: 1, hash, applied_at, restart_needed }
    }

    fn as_json(&self) -> Value {
        json!({
            "generation": self.generation,
            "hash": self.hash,
            "applied_at": clock::rfc3339(self.applied_at),
            "restart_needed": self.restart_needed,
        })
    }
}

/// `POST /api/reload`.
pub(super) async fn reload(State(admin): State<Arc<Admin>>) -> Response {
    let (answer, told) = oneshot::channel();
    let request = ReloadRequest { cause: "POST /api/reload", answer: Some(answer) };
    // A full queue holds reloads that were not begun yet: this one would find nothing else.
    if admin.reloads.try_send(request).is_err() {
        let error = "too many reloads are waiting already";
        return json_answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": error }));
    }
    match told.await {
        Ok(Outcome::Applied(status)) => json_answer(StatusCode::OK, &status.as_json()),
        Ok(Outcome::Rejected(why)) => json_answer(StatusCode::UNPROCESSABLE_ENTITY, &why),
        Ok(Outcome::Impossible) => {
            let error = "this configuration was not read from a file";
            json_answer(StatusCode::CONFLICT, &json!({ "error": error }))
        }
        Err(_) => {
            let error = "the gateway is stopping";
            json_answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": error }))
        }
    }
}

impl Admin {
    /// The configuration that runs, with its secrets masked, and what is known of it.
    pub(super) fn config_as_json(&self) -> Value {
        let shown = self.shown.load();
        let mut all = shown.config.clone();
        if let (Value::Object(all), Value::Object(status)) = (&mut all, shown.status.as_json()) {
            all.extend(status);
            let rejected = self.last_rejected.lock().clone().unwrap_or_default();
            all.insert("last_rejected".to_owned(), rejected);
        }
        all
    }
}
