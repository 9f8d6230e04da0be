//! Every task the gateway runs, and the runtime it runs on.

use crate::admin::Admin;
use crate::gateway::Gateway;
use crate::observe::Observe;
use crate::session::KeySet;
use crate::shared::Shared;
use crate::upstream::Probe;
use axum::Router;
use parking_lot::Mutex;
use pingora::apps::ServerApp;
use pingora::server::Fds;
use pingora::services::{Service as _, listening::Service};
use pingora_runtime::Runtime;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::sync::watch;

/// Runs a listener's service on the edge runtime, one accept loop per worker.
pub(super) fn listen<A: ServerApp + Send + Sync + 'static>(
    runtime: &Runtime,
    mut service: Service<A>,
    fds: Arc<Mutex<Fds>>,
    stopped: watch::Receiver<bool>,
) {
    runtime.get_handle().spawn(async move {
        service.start_service(Some(fds), stopped, 1).await;
    });
}

/// Waits on `runtime` for `future`, from outside of it.
pub(super) fn wait<T>(runtime: &Runtime, future: impl Future<Output = T>) -> T {
    runtime.get_handle().block_on(future)
}

/// Starts what runs beside requests.
pub(super) struct House<'a> {
    runtime: &'a Runtime,
    stopped: watch::Receiver<bool>,
    observe: Observe,
}

impl<'a> House<'a> {
    pub(super) fn new(
        runtime: &'a Runtime,
        stopped: watch::Receiver<bool>,
        observe: Observe,
    ) -> Self {
        House { runtime, stopped, observe }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.get_handle().spawn(task);
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
    pub(super) fn keep(&self, shared: &Shared, gateway: &Gateway, admin: &Arc<Admin>) {
        for (_, keeper) in shared.take_keepers() {
            self.spawn(keeper.run(self.stop()));
        }
        for store in shared.open_stores() {
            if let Some(mut revocations) = store.revocations() {
                let (stop, observe) = (self.stop(), self.observe.clone());
                let (admin, name) = (Arc::clone(admin), store.name.clone());
                self.spawn(async move {
                    let listen = async {
                        loop {
                            let is_up = revocations.until_changed().await;
                            admin.stores.enter(&name, is_up);
                            observe.store_changed(&name, is_up);
                        }
                    };
                    tokio::select! { () = stop => {}, () = listen => {} }
                });
            }
        }
        for probe in gateway.upstreams.iter().filter_map(|upstream| upstream.probe()) {
            self.spawn(check_health(probe, self.stop(), self.observe.clone()));
        }
        for verifier in &gateway.verifiers {
            for key_set in verifier.key_sets() {
                self.spawn(refresh(key_set.clone(), self.stopped.clone(), self.observe.clone()));
            }
        }
    }

    /// Serves the admin port.
    pub(super) fn serve_admin(&self, socket: TcpListener, router: Router) {
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

async fn check_health(mut probe: Probe, stop: impl Future<Output = ()>, observe: Observe) {
    let rounds = async {
        loop {
            for change in probe.round().await {
                observe.endpoint_changed(probe.upstream(), &change);
            }
            tokio::time::sleep(probe.interval()).await;
        }
    };
    tokio::select! { () = stop => {}, () = rounds => {} }
}

async fn refresh(key_set: Arc<KeySet>, stopped: watch::Receiver<bool>, observe: Observe) {
    key_set.run(stopped, |set, refresh| observe.key_set_refreshed(set, refresh)).await;
}
