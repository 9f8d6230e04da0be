//! Having another process take the place of this one. The admin port asks for it and tells how it
//! went; what is done then is the business of whoever runs the gateway.

use super::Admin;
use super::api::json_answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Somebody wants another process in place of this one.
#[derive(Debug)]
pub struct UpgradeRequest {
    /// Who or what: "SIGUSR2".
    pub cause: &'static str,
    /// Where it is told how it went.
    pub answer: Option<oneshot::Sender<UpgradeOutcome>>,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeOutcome {
    /// The process with this number has the listeners; this one stops.
    Done {
        /// Its number.
        pid: u32,
    },
    /// No process was started, and this is why.
    Refused(String),
    /// One was started and is not ready, so this one goes on.
    Failed(String),
}

/// `POST /api/upgrade`.
pub(super) async fn upgrade(State(admin): State<Arc<Admin>>) -> Response {
    let (answer, told) = oneshot::channel();
    let request = UpgradeRequest { cause: "POST /api/upgrade", answer: Some(answer) };
    let failed = |status, error: String| json_answer(status, &json!({ "error": error }));
    if admin.upgrades.try_send(request).is_err() {
        let error = "an upgrade is under way, or the gateway is stopping";
        return failed(StatusCode::CONFLICT, error.to_owned());
    }
    match told.await {
        Ok(UpgradeOutcome::Done { pid }) => json_answer(StatusCode::OK, &json!({ "pid": pid })),
        Ok(UpgradeOutcome::Refused(why)) => failed(StatusCode::CONFLICT, why),
        Ok(UpgradeOutcome::Failed(why)) => failed(StatusCode::BAD_GATEWAY, why),
        Err(_) => failed(StatusCode::CONFLICT, "the gateway is stopping".to_owned()),
    }
}
