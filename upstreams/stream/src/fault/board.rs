//! What tests set and read: the health that is shown, and how often each path was asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use parking_lot::Mutex;

use crate::Service;

/// Paths that are counted at most; later ones are not.
const PATHS_MAX: usize = 10_000;

/// The service's one piece of state, and only faults write to it.
pub(crate) struct Board {
    health: AtomicU16,
    hits: Mutex<BTreeMap<String, u64>>,
}

impl Default for Board {
    fn default() -> Self {
        Self { health: AtomicU16::new(StatusCode::OK.as_u16()), hits: Mutex::default() }
    }
}

impl Board {
    /// The status that `/healthz` shows.
    pub(crate) fn health(&self) -> StatusCode {
        let code = self.health.load(Ordering::Relaxed);
        StatusCode::from_u16(code).expect("only valid statuses are stored")
    }

    pub(super) fn say_health(&self, status: StatusCode) {
        self.health.store(status.as_u16(), Ordering::Relaxed);
    }

    fn hit(&self, path: &str) {
        let mut hits = self.hits.lock();
        if let Some(count) = hits.get_mut(path) {
            *count += 1;
        } else if hits.len() < PATHS_MAX {
            hits.insert(path.to_owned(), 1);
        }
    }
}

/// Counts every request by its path, so that a test can say what reached the origin.
pub(crate) async fn count(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    service.board.hit(request.uri().path());
    next.run(request).await
}

/// How often each path was asked for since the start, or since they were forgotten.
pub(super) async fn hits(State(service): State<Arc<Service>>) -> Json<BTreeMap<String, u64>> {
    Json(service.board.hits.lock().clone())
}

pub(super) async fn forget_hits(State(service): State<Arc<Service>>) -> StatusCode {
    service.board.hits.lock().clear();
    StatusCode::NO_CONTENT
}
