//! The stream service: live and on-demand HLS that really plays, made from a sample of ours.
//!
//! It is an upstream like any other: it knows nothing of sessions, limits or leases, because the
//! gateway in front of it answers for those. It is not a packager and not an origin for your
//! video; it is the smallest honest one, so that a checkout plays and a test sees real segments.
//!
//! * [`clock`] says what time it is; every live answer follows from it alone.
//! * [`sample`] holds the pictures: two renditions of six two-second segments.
//! * [`playlist`] writes playlists from numbers, and decides nothing else.
//! * `channel` maps paths to playlists and segments, live and on demand.
//! * `media` answers with bytes: ranges, validators, caching.
//! * `fault` misbehaves on request, and only where `faults` is on.

mod channel;
pub mod clock;
mod fault;
mod media;
pub mod playlist;
mod problem;
pub mod sample;
mod settings;

pub use clock::Clock;
pub use settings::{Name, NameError, Settings};

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use serde::Serialize;

use crate::fault::Board;
use crate::problem::Problem;

/// What every handler sees.
pub(crate) struct Service {
    settings: Settings,
    board: Board,
}

/// The whole service. Starts nothing: serve it with `axum::serve`, on any listener.
pub fn app(settings: Settings) -> Router {
    let faults = settings.faults;
    let service = Arc::new(Service { settings, board: Board::default() });
    let mut router = Router::new().route("/healthz", get(healthz)).merge(channel::routes());
    if faults {
        let count = from_fn_with_state(Arc::clone(&service), fault::count);
        router = router.merge(fault::routes()).layer(count);
    }
    router
        .method_not_allowed_fallback(|| async { Problem::MethodNotAllowed })
        .fallback(|| async { Problem::RouteNotFound })
        .with_state(service)
}

#[derive(Serialize)]
struct Health {
    status: u16,
    replica: String,
}

/// 200 while the service serves; a fault route can make it say something else.
async fn healthz(State(service): State<Arc<Service>>) -> (StatusCode, Json<Health>) {
    let status = service.board.health();
    let replica = service.settings.replica.clone();
    (status, Json(Health { status: status.as_u16(), replica }))
}
