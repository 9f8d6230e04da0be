//! A real HTTP server that publishes a key set, and a task that keeps a verifier's sets fresh.

use crate::session::{Refresh, Verifier};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time;

/// What the server answers, and how often it was asked.
pub(super) struct Published {
    answer: Mutex<(StatusCode, String)>,
    hits: Mutex<usize>,
    /// Each answer takes one.
    gate: Semaphore,
}

/// An issuer, and everything that runs for a test. All of it ends when this is dropped.
pub(super) struct Issuer {
    pub(super) published: Arc<Published>,
    pub(super) address: String,
    tasks: JoinSet<()>,
    told: Arc<Mutex<Vec<Refresh>>>,
    stop: watch::Sender<bool>,
}

impl Issuer {
    pub(super) async fn start(keys: &[Value]) -> Self {
        let published = Arc::new(Published {
            answer: Mutex::new((StatusCode::OK, document(keys))),
            hits: Mutex::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let app = Router::new().route("/jwks.json", get(answer)).with_state(published.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Issuer { published, address, tasks, told: Arc::default(), stop: watch::Sender::new(false) }
    }

    /// One line of YAML that names it.
    pub(super) fn keys(&self) -> String {
        format!("{{ jwks: {{ url: \"{}\" }} }}", self.address)
    }

    /// Runs the verifier's sets, and waits until each was refreshed once.
    pub(super) async fn run(&mut self, verifier: &Verifier) {
        self.begin(verifier);
        self.refreshed(verifier.key_sets().len()).await;
    }

    /// Ends the tasks that keep sets fresh.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Runs the verifier's sets, and waits for nothing.
    pub(super) fn begin(&mut self, verifier: &Verifier) {
        for set in verifier.key_sets() {
            let (set, told, stop) = (set.clone(), self.told.clone(), self.stop.subscribe());
            let tell = move |_: &_, refresh: &Refresh| told.lock().push(refresh.clone());
            self.tasks.spawn(async move { set.run(stop, tell).await });
        }
    }

    /// Waits until `count` refreshes were told.
    pub(super) async fn refreshed(&self, count: usize) {
        let is_told = async {
            while self.told.lock().len() < count {
                tokio::task::yield_now().await;
            }
        };
        time::timeout(Duration::from_secs(20), is_told).await.expect("a refresh");
    }

    pub(super) fn told(&self) -> Vec<Refresh> {
        self.told.lock().clone()
    }

    pub(super) fn publish(&self, keys: &[Value]) {
        self.answer(StatusCode::OK, document(keys));
    }

    pub(super) fn answer(&self, status: StatusCode, text: String) {
        *self.published.answer.lock() = (status, text);
    }

    pub(super) fn hits(&self) -> usize {
        *self.published.hits.lock()
    }

    /// Lets requests come in, but answers none until `open`.
    pub(super) fn close(&self) {
        self.published.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(super) fn open(&self) {
        self.published.gate.add_permits(1_000);
    }

    /// Waits until the server was asked `count` times.
    pub(super) async fn asked(&self, count: usize) {
        let is_asked = async {
            while self.hits() < count {
                tokio::task::yield_now().await;
            }
        };
        time::timeout(Duration::from_secs(20), is_asked).await.expect("a request");
    }
}

pub(super) fn document(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

async fn answer(State(published): State<Arc<Published>>) -> (StatusCode, String) {
    *published.hits.lock() += 1;
    let _permit = published.gate.acquire().await.unwrap();
    published.answer.lock().clone()
}

/// Lets this much time pass at once; real input and output goes on as before.
pub(super) async fn pass(time: Duration) {
    time::pause();
    time::advance(time).await;
    time::resume();
}
