//! The admin port: health, metrics, and what the gateway is made of and doing.
//!
//! Whether it is alive and ready is told to everyone, in a word. Other reading is open on loopback;
//! what changes something, and everything on any other address, needs the token.

mod api;
mod guard;
mod reload;
mod revoke;
mod upgrade;

pub use reload::{Outcome, RELOADS_WAITING_MAX, ReloadRequest, Status};
pub use upgrade::{UpgradeOutcome, UpgradeRequest};

use crate::config::Config;
use crate::edge::{InFlight, TrustedPeers};
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::observe::Observe;
use crate::units::Secret;
use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use streamgate_lease::StoreError;
use tokio::sync::mpsc;

/// The longest body that is read, in bytes.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// What the admin port knows.
pub struct Admin {
    live: Arc<ArcSwap<Gateway>>,
    metrics: Metrics,
    observe: Observe,
    in_flight: InFlight,
    /// Whom the listeners trust.
    trusted: Mutex<Vec<TrustedPeers>>,
    /// What of the configuration that runs is shown and obeyed here.
    shown: ArcSwap<Shown>,
    /// Why the last change of the configuration was not taken; `None` once one was.
    last_rejected: Mutex<Option<Value>>,
    reloads: mpsc::Sender<ReloadRequest>,
    upgrades: mpsc::Sender<UpgradeRequest>,
    is_loopback: bool,
    /// Whether `/readyz` says that traffic may come.
    pub is_ready: Flag,
    /// Which stores answer.
    pub stores: StoreStatus,
}

/// What the admin port shows and obeys of a configuration.
struct Shown {
    /// Its secrets are masked.
    config: Value,
    status: Status,
    token: Option<Secret>,
}

impl Shown {
    fn of(config: &Config, status: Status) -> Self {
        Shown {
            config: serde_json::to_value(config).expect("a configuration is plain data"),
            status,
            token: config.admin.token.as_ref().map(|token| token.value.clone()),
        }
    }
}

/// A yes or no that changes.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Sets it, for every thread.
    pub fn set(&self, yes: bool) {
        self.0.store(yes, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Which stores serve, by name.
#[derive(Debug, Default)]
pub struct StoreStatus(Mutex<BTreeMap<String, Sides>>);

/// What a store has to do for a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreService {
    /// It answers questions and takes what is written.
    Commands,
    /// It tells what other gateways have ended.
    Messages,
}

/// Whether each side serves; none: nobody knows yet.
#[derive(Debug, Default)]
struct Sides {
    commands: Option<bool>,
    messages: Option<bool>,
    /// What the store said of itself last, while it does not serve.
    said: Option<String>,
}

impl Sides {
    fn is_up(&self) -> Option<bool> {
        match (self.commands, self.messages) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }
}

impl StoreStatus {
    /// Notes whether one side of the store serves, or why it does not. Says whether that is news:
    /// the whole store is up or down now, or it has said another word of why it is down.
    pub fn enter(&self, store: &str, service: StoreService, failure: Option<&StoreError>) -> bool {
        let is_up = failure.is_none();
        let mut stores = self.0.lock();
        let sides = stores.entry(store.to_owned()).or_default();
        let before = sides.is_up();
        match service {
            StoreService::Commands => sides.commands = Some(is_up),
            StoreService::Messages => sides.messages = Some(is_up),
        }
        let now = sides.is_up();
        let word = failure.filter(|error| error.sentence().is_some()).map(StoreError::reason);
        let is_word_new = word.is_some() && word != sides.said;
        if is_word_new || now == Some(true) {
            sides.said = word;
        }
        is_word_new || (now != before && now.is_some())
    }

    /// A store that serves as long as this process does, or one of which nobody knows yet.
    pub fn open(&self, store: &str, is_in_process: bool) {
        let known = is_in_process.then_some(true);
        self.0
            .lock()
            .insert(store.to_owned(), Sides { commands: known, messages: known, said: None });
    }

    /// Forgets all stores but these.
    pub fn retain(&self, names: &[&str]) {
        self.0.lock().retain(|name, _| names.contains(&name.as_str()));
    }

    /// A store is not up until it has answered.
    fn all(&self) -> BTreeMap<String, bool> {
        let stores = self.0.lock();
        stores.iter().map(|(name, sides)| (name.clone(), sides.is_up() == Some(true))).collect()
    }
}

impl Admin {
    /// For the gateway in `live`, with the configuration that it was compiled from. Who wants
    /// another one, or another process, says so by what is sent last.
    pub fn new(
        (config, status): (&Config, Status),
        live: Arc<ArcSwap<Gateway>>,
        observe: Observe,
        in_flight: InFlight,
        (reloads, upgrades): (mpsc::Sender<ReloadRequest>, mpsc::Sender<UpgradeRequest>),
    ) -> Self {
        Admin {
            live,
            metrics: observe.metrics.clone(),
            observe,
            in_flight,
            trusted: Mutex::default(),
            shown: ArcSwap::from_pointee(Shown::of(config, status)),
            last_rejected: Mutex::default(),
            reloads,
            upgrades,
            is_loopback: config.admin.address.0.ip().is_loopback(),
            is_ready: Flag::default(),
            stores: StoreStatus::default(),
        }
    }

    /// Another configuration runs.
    pub fn show(&self, config: &Config, status: Status) {
        self.shown.store(Arc::new(Shown::of(config, status)));
        *self.last_rejected.lock() = None;
    }

    /// Whom the listeners trust that are open now.
    pub fn show_trusted(&self, trusted: Vec<TrustedPeers>) {
        *self.trusted.lock() = trusted;
    }

    /// What is known of the configuration that runs.
    pub fn status(&self) -> Status {
        self.shown.load().status.clone()
    }

    /// A change of the configuration was not taken.
    pub fn show_rejected(&self, why: Value) {
        *self.last_rejected.lock() = Some(why);
    }
}

/// The routes of the admin port.
pub fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/healthz", get(api::alive))
        .route("/readyz", get(api::ready))
        .route("/metrics", get(api::metrics))
        .route("/api/config", get(api::config))
        .route("/api/routes", get(api::routes))
        .route("/api/upstreams", get(api::upstreams))
        .route("/api/streams", get(api::streams))
        .route("/api/sessions/revoke", post(revoke::revoke))
        .route("/api/reload", post(reload::reload))
        .route("/api/upgrade", post(upgrade::upgrade))
        .fallback(api::unknown)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&admin), guard::check))
        .with_state(admin)
}
