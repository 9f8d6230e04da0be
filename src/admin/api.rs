//! What the admin port answers.

use super::Admin;
use super::guard::{Detail, answer};
use crate::denial::Reply;
use crate::edge::TrustedPeers;
use crate::upstream::{AwayReason, Endpoint, Health, Pool, Resolved, Upstream};
use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// How many streams one answer lists.
const STREAMS_MAX: usize = 1_000;

pub(super) fn json_answer(status: StatusCode, value: &impl Serialize) -> Response {
    answer(Reply::new(status).json("application/json", value))
}

/// The process answers.
pub(super) async fn alive(Extension(detail): Extension<Detail>) -> Response {
    health(StatusCode::OK, "alive", detail, [&[], &[]])
}

/// Whether traffic should come here. A store that is out of reach degrades the gateway and does not
/// take it out: its policies say what holds then. So does a name that has no address yet.
pub(super) async fn ready(
    State(admin): State<Arc<Admin>>,
    Extension(detail): Extension<Detail>,
) -> Response {
    let stores = admin.stores.all();
    let unresolved = admin.unresolved_names();
    let down = stores.into_iter().filter(|(_, is_up)| !is_up);
    let down: Vec<String> = down.map(|(name, _)| name).collect();
    let is_whole = down.is_empty() && unresolved.is_empty();
    let (status, word) = match (admin.is_ready.is_set(), is_whole) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (true, true) => (StatusCode::OK, "ready"),
        (true, false) => (StatusCode::OK, "degraded"),
    };
    health(status, word, detail, [&down, &unresolved])
}

/// One word for a probe; for those who have the token, what it comes from.
fn health(
    status: StatusCode,
    word: &'static str,
    detail: Detail,
    [down, unresolved]: [&[String]; 2],
) -> Response {
    let whole = json!({ "status": word, "stores_down": down, "names_unresolved": unresolved });
    match detail {
        Detail(false) => (status, word).into_response(),
        Detail(true) => json_answer(status, &whole),
    }
}

/// Walks through all leases on a blocking thread: a million take up to 65 ms, and the
/// thread that answers here has the connections to the stores, too.
async fn on_blocking_thread(walk: impl FnOnce() -> Response + Send + 'static) -> Response {
    let walked = tokio::task::spawn_blocking(walk).await;
    // It fails only when the runtime stops.
    walked.unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())
}

/// Everything that is counted, for Prometheus.
pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    on_blocking_thread(move || metrics_text(&admin)).await
}

fn metrics_text(admin: &Admin) -> Response {
    admin.refresh();
    match admin.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The configuration that runs, with its secrets masked.
pub(super) async fn config(State(admin): State<Arc<Admin>>) -> Response {
    json_answer(StatusCode::OK, &admin.config_as_json())
}

/// Every route, the more specific first.
pub(super) async fn routes(State(admin): State<Arc<Admin>>) -> Response {
    let gateway = admin.live.load();
    let rows: Value = gateway.route_summaries().iter().map(|row| row.as_json()).collect();
    json_answer(StatusCode::OK, &rows)
}

/// Every upstream with its endpoints, whether they are asked and why, and where its names lead.
pub(super) async fn upstreams(State(admin): State<Arc<Admin>>) -> Response {
    let gateway = admin.live.load();
    let rows = gateway.upstreams.iter().map(|upstream| {
        let pool = upstream.pool();
        let endpoints: Vec<Value> = pool.endpoints.iter().map(endpoint).collect();
        let names: Vec<Value> = upstream.resolved().iter().map(name).collect();
        json!({
            "name": &*upstream.name,
            "in_flight": in_flight(upstream, &pool),
            "breaker": breaker(upstream),
            "endpoints": endpoints,
            "surplus": pool.surplus,
            "names": names,
        })
    });
    json_answer(StatusCode::OK, &rows.collect::<Vec<Value>>())
}

/// How many requests are under way, and how many may be; `null`: as many as come.
fn in_flight(upstream: &Upstream, pool: &Pool) -> Value {
    let now: u32 = pool.endpoints.iter().map(|endpoint| endpoint.load.in_flight()).sum();
    json!({
        "now": now,
        "limit": upstream.in_flight_limit(),
        "per_endpoint": pool.in_flight_max(),
    })
}

/// Whether requests are let through, and why not; `null` where there is no breaker.
fn breaker(upstream: &Upstream) -> Value {
    let Some((state, why)) = upstream.breaker() else { return Value::Null };
    json!({
        "state": state.name(),
        "why": why.map(|(why, _)| why.sentence()),
        "asked_again_in_seconds": why.map(|(_, left)| left.as_secs_f64()),
    })
}

fn endpoint(endpoint: &Endpoint) -> Value {
    let health = &endpoint.health;
    let away = health.away();
    // What checks say comes first: it holds longer.
    let checked = health.answer().map(|answer| answer.to_string());
    let why = match health.is_well() {
        false => checked.clone(),
        true => away.map(|(why, _)| why.sentence().to_owned()),
    };
    json!({
        "address": endpoint.address,
        "written": &*endpoint.written,
        "weight": endpoint.weight,
        "priority": endpoint.priority,
        "in_flight": endpoint.load.in_flight(),
        "well": health.is_well(),
        "state": state(health),
        "why": why,
        "back_in_seconds": away.map(|(_, left)| left.as_secs_f64()),
        "failures_in_row": endpoint.record.failures_in_row(),
        "requests": endpoint.record.over(),
        "checked": checked,
    })
}

/// The states of an endpoint that has an address.
const STATES: [&str; 5] = ["well", "warming", "unwell", "ejected", "avoided"];

fn state(health: &Health) -> &'static str {
    match (health.is_well(), health.away(), health.is_warming()) {
        (false, ..) => "unwell",
        (true, Some((AwayReason::Ejected(_), _)), _) => "ejected",
        (true, Some((AwayReason::Refused, _)), _) => "avoided",
        (true, None, true) => "warming",
        (true, None, false) => "well",
    }
}

fn name((written, resolved): &(Arc<str>, Resolved)) -> Value {
    json!({
        "name": &**written,
        "addresses": resolved.found.iter().map(|found| found.address).collect::<Vec<_>>(),
        "error": resolved.error,
        "unrouted": resolved.unrouted,
        "surplus": resolved.surplus,
    })
}

/// What this gateway keeps alive, at most `STREAMS_MAX` per policy; accounts by their hash.
pub(super) async fn streams(State(admin): State<Arc<Admin>>) -> Response {
    on_blocking_thread(move || playing(&admin)).await
}

fn playing(admin: &Admin) -> Response {
    let gateway = admin.live.load();
    let rows = gateway.policies.iter().map(|policy| {
        let leases = policy.leases();
        let playing = leases.playing(STREAMS_MAX).into_iter().map(|playing| {
            json!({
                "account": playing.holder.to_string(),
                "lease": playing.id.to_string(),
                "started_at": crate::clock::rfc3339(playing.started_at),
                "idle_seconds": playing.touched_ago.as_secs(),
                "expires_in": playing.expires_in.as_secs(),
                "provisional": playing.is_provisional,
            })
        });
        let playing: Vec<Value> = playing.collect();
        json!({ "policy": &*policy.name, "total": leases.census().playing, "streams": playing })
    });
    json_answer(StatusCode::OK, &rows.collect::<Vec<Value>>())
}

/// Lists the paths that exist.
pub(super) async fn unknown(uri: Uri) -> Response {
    let there = [
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/config",
        "/api/routes",
        "/api/upstreams",
        "/api/streams",
        "/api/sessions/revoke",
        "/api/reload",
    ];
    let error = format!("there is no {}", uri.path());
    json_answer(StatusCode::NOT_FOUND, &json!({ "error": error, "there_is": there }))
}

/// The names of an upstream that have led nowhere so far.
fn unresolved(upstream: &Upstream) -> impl Iterator<Item = Arc<str>> {
    let names = upstream.resolved().into_iter();
    names.filter(|(_, resolved)| resolved.found.is_empty()).map(|(name, _)| name)
}

impl Admin {
    fn unresolved_names(&self) -> Vec<String> {
        let gateway = self.live.load();
        let endpoints = gateway.upstreams.iter().flat_map(|upstream| unresolved(upstream));
        let trusted = self.trusted.lock();
        let peers = trusted.iter().flat_map(TrustedPeers::unresolved);
        let endpoints = endpoints.map(|name| name.to_string());
        endpoints.chain(peers.map(ToString::to_string)).collect()
    }

    /// Brings gauges up to date that others keep.
    fn refresh(&self) {
        let (metrics, gateway) = (&self.metrics, self.live.load());
        for (name, is_up) in self.stores.all() {
            metrics.store_up.with_label_values(&[&name]).set(i64::from(is_up));
        }
        metrics.requests_in_flight.set(self.in_flight.now() as i64);
        self.observe.refresh();
        for upstream in &gateway.upstreams {
            let pool = upstream.pool();
            let of = |name: &str| {
                pool.endpoints.iter().filter(|endpoint| state(&endpoint.health) == name).count()
            };
            let states = STATES.map(|name| (name, of(name))).into_iter();
            metrics.show_retries_refused(&upstream.name, upstream.retries_refused());
            let breaker = upstream.breaker().map(|(state, _)| state);
            metrics.show_bounds(&upstream.name, upstream.in_flight_limit(), breaker);
            for (state, count) in states.chain([("unresolved", unresolved(upstream).count())]) {
                let labels: [&str; 2] = [&upstream.name, state];
                metrics.upstream.endpoints.with_label_values(&labels).set(count as i64);
            }
        }
        for (_, route) in gateway.table.iter() {
            metrics.show_rates(&route.name, route.chain.rates());
        }
        for activity in &gateway.activities {
            metrics.show_sessions(activity.store_name(), &activity.sessions.figures());
        }
        for policy in &gateway.policies {
            let leases = policy.leases();
            metrics.show_leases(&policy.name, &leases.stats(), leases.census());
            metrics.show_unusable_claims(&policy.name, policy.unusable_claims.total());
        }
        for verifier in &gateway.verifiers {
            if let Some(reissue) = verifier.reissue() {
                metrics.show_reissues(verifier.name(), reissue.made());
            }
            for key_set in verifier.key_sets() {
                let now = crate::clock::unix_seconds();
                metrics.show_key_set(key_set.name(), &key_set.figures(), now);
            }
        }
    }
}
