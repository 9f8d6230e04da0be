//! Every task the gateway runs, and the runtime it runs on.

use crate::admin::Admin;
use crate::concurrency::Policy;
use crate::gateway::{Gateway, Shared};
use crate::observe::Observe;
use crate::session::KeySet;
use crate::store::{Endings, Revocations};
use crate::upstream::Probe;
use axum::Router;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a thread may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// The threads for what is not on a request's path.
pub(super) struct Aside {
    /// Health checks, the admin port, key sets, what stores publish.
    housekeeping: Runtime,
    /// The renewers: nothing waits behind a tick.
    keeping: Runtime,
}

impl Aside {
    pub(super) fn start() -> io::Result<Self> {
        let thread = |name| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(1).thread_name(name).enable_all().build()
        };
        Ok(Aside { housekeeping: thread("housekeeping")?, keeping: thread("keeping")? })
    }

    /// Waits for `future`, from outside of these threads.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.housekeeping.block_on(future)
    }

    /// Ends them, whatever they do.
    pub(super) fn end(self) {
        for runtime in [self.housekeeping, self.keeping] {
            runtime.shutdown_timeout(ENDS_WITHIN);
        }
    }
}

/// Starts what runs beside requests.
pub(super) struct House<'a> {
    aside: &'a Aside,
    stopped: watch::Receiver<bool>,
    observe: Observe,
    tasks: Vec<JoinHandle<()>>,
}

impl<'a> House<'a> {
    pub(super) fn new(aside: &'a Aside, stopped: watch::Receiver<bool>, observe: Observe) -> Self {
        House { aside, stopped, observe, tasks: Vec::new() }
    }

    /// What was started; it ends by itself once it is told to stop.
    pub(super) fn tasks(self) -> Vec<JoinHandle<()>> {
        self.tasks
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(self.aside.housekeeping.spawn(task));
    }

    /// Resolves when the gateway stops.
    fn stop(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopped = self.stopped.clone();
        async move {
            // An error means that the gateway is gone, which is as final.
            let _ = stopped.wait_for(|is_over| *is_over).await;
        }
    }

    /// Keeps leases alive, answers true, endpoints known and key sets fresh.
    pub(super) fn keep(&mut self, shared: &Shared, gateway: &Gateway, admin: &Arc<Admin>) {
        for (_, renewer) in shared.take_renewers() {
            self.tasks.push(self.aside.keeping.spawn(renewer.run(self.stop())));
        }
        for store in shared.open_stores() {
            if let Some(runner) = store.runner() {
                self.spawn(until(self.stop(), runner.run()));
            }
            if let Some(revocations) = store.revocations() {
                let (admin, observe) = (Arc::clone(admin), self.observe.clone());
                let listen = hear_revocations(revocations, store.name.clone(), admin, observe);
                self.spawn(until(self.stop(), listen));
            }
            if let Some(endings) = store.endings() {
                let policies = gateway.policies.clone();
                self.spawn(until(self.stop(), hear_endings(endings, policies)));
            }
        }
        for probe in gateway.upstreams.iter().filter_map(|upstream| upstream.probe()) {
            self.spawn(until(self.stop(), check_health(probe, self.observe.clone())));
        }
        for verifier in &gateway.verifiers {
            for key_set in verifier.key_sets() {
                self.spawn(refresh(key_set.clone(), self.stopped.clone(), self.observe.clone()));
            }
        }
    }

    /// Serves the admin port.
    pub(super) fn serve_admin(&mut self, socket: TcpListener, router: Router) {
        let stop = self.stop();
        self.spawn(async move {
            let served = match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => axum::serve(socket, router).with_graceful_shutdown(stop).await,
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                tracing::error!(%error, "the admin port is closed");
            }
        });
    }
}

/// Runs a task that has no end of its own until the gateway stops.
async fn until(stop: impl Future<Output = ()>, task: impl Future<Output = ()>) {
    tokio::select! { () = stop => {}, () = task => {} }
}

async fn hear_revocations(
    mut revocations: Revocations,
    store: String,
    admin: Arc<Admin>,
    observe: Observe,
) {
    loop {
        let is_up = revocations.until_changed().await;
        admin.stores.enter(&store, is_up);
        observe.store_changed(&store, is_up);
    }
}

async fn hear_endings(mut endings: Endings, policies: Vec<Arc<Policy>>) {
    loop {
        let ended = endings.next().await;
        for policy in &policies {
            policy.leases().mark_stale(&ended.holder, &ended.id);
        }
    }
}

async fn check_health(mut probe: Probe, observe: Observe) {
    loop {
        for change in probe.round().await {
            observe.endpoint_changed(probe.upstream(), &change);
        }
        tokio::time::sleep(probe.interval()).await;
    }
}

async fn refresh(key_set: Arc<KeySet>, stopped: watch::Receiver<bool>, observe: Observe) {
    key_set.run(stopped, |set, refresh| observe.key_set_refreshed(set, refresh)).await;
}
