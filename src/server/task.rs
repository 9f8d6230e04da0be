//! The background tasks of the gateway, and the runtimes that they run on.

use super::certificate::CertificateFollower;
use super::names::{self, Name};
use crate::activity::{Revocations, WriteBehind};
use crate::admin::{Admin, StoreService};
use crate::concurrency::Policy;
use crate::edge::Listener;
use crate::gateway::{Gateway, Shared};
use crate::observe::{Event, Observe};
use crate::part::Lasting;
use crate::session::KeySet;
use crate::session::key_set::Refresh;
use crate::store::{Endings, Store};
use crate::upstream::Probe;
use axum::Router;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::redis::{Health, Monitor};
use streamgate_lease::{Events, StoreError};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a runtime may take to end.
const RUNTIME_ENDS_WITHIN: Duration = Duration::from_secs(1);

/// The runtimes, one thread each, for all work that no request waits for.
pub(super) struct BackgroundRuntimes {
    /// Health checks, the admin port, key sets, messages from stores.
    housekeeping: Runtime,
    /// The renewal of leases, on a thread of its own so that nothing delays it.
    keeping: Runtime,
}

impl BackgroundRuntimes {
    pub(super) fn start() -> io::Result<Self> {
        let thread = |name| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(1).thread_name(name).enable_all().build()
        };
        Ok(BackgroundRuntimes {
            housekeeping: thread("housekeeping")?,
            keeping: thread("keeping")?,
        })
    }

    /// Runs `future` to its end and returns its result. Call it from another thread.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.housekeeping.block_on(future)
    }

    /// Runs `future` on the thread for housekeeping and waits for its result, on any thread.
    pub(super) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let (sent, came) = std::sync::mpsc::channel();
        self.housekeeping.spawn(async move {
            // The receiver waits below.
            let _ = sent.send(future.await);
        });
        came.recv().expect("the runtime lives as long as this waits, and the future ends")
    }

    /// Ends all runtimes, also when a task still runs.
    pub(super) fn end(self) {
        for runtime in [self.housekeeping, self.keeping] {
            runtime.shutdown_timeout(RUNTIME_ENDS_WITHIN);
        }
    }
}

/// Starts the background tasks and keeps their handles.
pub(super) struct BackgroundTasks<'a> {
    runtimes: &'a BackgroundRuntimes,
    stopped: watch::Receiver<bool>,
    observe: Observe,
    tasks: Vec<JoinHandle<()>>,
}

impl<'a> BackgroundTasks<'a> {
    pub(super) fn new(
        runtimes: &'a BackgroundRuntimes,
        stopped: watch::Receiver<bool>,
        observe: Observe,
    ) -> Self {
        BackgroundTasks { runtimes, stopped, observe, tasks: Vec::new() }
    }

    /// The handles of all tasks that were started. Each task ends by itself when the gateway stops.
    pub(super) fn tasks(self) -> Vec<JoinHandle<()>> {
        self.tasks
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(self.runtimes.housekeeping.spawn(task));
    }

    /// Resolves when the gateway stops.
    fn stop(&self) -> impl Future<Output = ()> + Send + use<> {
        until_true(self.stopped.clone())
    }

    /// Starts the tasks that renew leases, follow the stores' messages, report starts and ends of
    /// streams if somebody wants them, check endpoints and refresh key sets.
    pub(super) fn start(&mut self, shared: &Shared, gateway: &Gateway, admin: &Arc<Admin>) {
        for (_, renewer) in shared.take_renewers() {
            self.tasks.push(self.runtimes.keeping.spawn(renewer.run(self.stop())));
        }
        for store in shared.open_stores() {
            let sessions = shared.session_store(&store);
            if let Some(writes) = WriteBehind::take(&sessions) {
                self.spawn(until(self.stop(), writes.run()));
            }
            let (observe, admin) = (self.observe.clone(), Arc::clone(admin));
            let report = StoreReport { store: Arc::clone(&store), admin, observe };
            if let Some(monitor) = store.monitor() {
                self.spawn(until(self.stop(), follow_health(monitor, report.clone())));
            }
            if let Some(revocations) = sessions.revocations() {
                self.spawn(until(self.stop(), follow_revocations(revocations, report)));
            }
            if let Some(endings) = store.endings() {
                let policies = gateway.policies.clone();
                self.spawn(until(self.stop(), follow_endings(endings, policies)));
            }
        }
        for policy in &gateway.policies {
            if let Some(renewer) = policy.take_shadow_renewer() {
                self.tasks.push(self.runtimes.keeping.spawn(renewer.run(self.stop())));
            }
            self.spawn(until(self.stop(), report_claims(policy.clone(), self.observe.clone())));
        }
        if self.observe.takes_streams() {
            for policy in &gateway.policies {
                let (events, name) = (policy.leases().events(), policy.name.clone());
                let task = report_streams(events, name, self.observe.clone());
                self.spawn(until(self.stop(), task));
            }
        }
        self.spawn(until(self.stop(), tell_repeated(self.observe.clone())));
        for probe in Probe::all(&gateway.upstreams) {
            self.spawn(until(self.stop(), check_health(probe, self.observe.clone())));
        }
        for verifier in &gateway.verifiers {
            for key_set in verifier.key_sets() {
                self.spawn(refresh(key_set.clone(), self.stopped.clone(), self.observe.clone()));
            }
        }
    }

    /// Follows names whose first look-up is done.
    pub(super) fn follow(&mut self, names: Vec<Name>) {
        for name in names {
            self.spawn(until(self.stop(), names::follow(name, self.observe.clone())));
        }
    }

    /// Starts to look whether the files of these listeners change.
    pub(super) fn follow_certificates<'l>(
        &mut self,
        listeners: impl Iterator<Item = &'l Arc<Listener>>,
    ) {
        for listener in listeners {
            if let Some(follower) = CertificateFollower::of(listener, &self.observe) {
                self.spawn(until(self.stop(), follower.run()));
            }
        }
    }

    /// Serves the admin port, until the listeners close: the next process needs it, too.
    pub(super) fn serve_admin(
        &mut self,
        socket: TcpListener,
        router: Router,
        is_closing: watch::Receiver<bool>,
    ) {
        let stop = until_true(is_closing);
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

async fn until_true(mut changes: watch::Receiver<bool>) {
    // An error means that the gateway is gone, which is as final.
    let _ = changes.wait_for(|is_true| *is_true).await;
}

/// Runs a task that has no end of its own until the gateway stops.
async fn until(stop: impl Future<Output = ()>, task: impl Future<Output = ()>) {
    tokio::select! { () = stop => {}, () = task => {} }
}

/// Where it is told how a store is.
#[derive(Clone)]
struct StoreReport {
    store: Arc<Store>,
    admin: Arc<Admin>,
    observe: Observe,
}

impl StoreReport {
    /// One side of the store serves, or why it does not. It is told once, whichever side finds out.
    fn tell(&self, service: StoreService, failure: Option<&StoreError>) {
        if self.admin.stores.enter(&self.store.name, service, failure) {
            self.observe.emit(&Event::StoreChanged { store: &self.store.name, failure });
        }
    }
}

async fn follow_health(mut monitor: Monitor, report: StoreReport) {
    loop {
        let Health { failure, too_far } = monitor.next().await;
        report.tell(StoreService::Commands, failure.as_ref());
        if let Some(round_trip) = too_far {
            let deadlines = report.store.deadlines();
            let store = &report.store.name;
            report.observe.emit(&Event::StoreTooFar { store, round_trip, deadlines });
        }
    }
}

async fn follow_revocations(mut revocations: Revocations, report: StoreReport) {
    loop {
        let failure = revocations.until_changed().await.err();
        report.tell(StoreService::Messages, failure.as_ref());
    }
}

async fn tell_repeated(observe: Observe) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        observe.tell_repeated(false);
    }
}

async fn follow_endings(mut endings: Endings, policies: Vec<Arc<Policy>>) {
    loop {
        let ended = endings.next().await;
        for policy in &policies {
            match ended.is_mark {
                false => policy.leases().mark_stale(&ended.holder, &ended.id),
                true => policy.leases().mark_older(&ended.holder, &ended.id),
            }
        }
    }
}

async fn report_claims(policy: Arc<Policy>, observe: Observe) {
    loop {
        let claim = policy.unusable_claims.next().await;
        observe.emit(&Event::LimitClaimUnusable { policy: &policy.name, claim: &claim });
    }
}

async fn report_streams(mut events: Events, policy: Arc<str>, observe: Observe) {
    while let Some(event) = events.recv().await {
        observe.emit(&Event::Stream { policy: &policy, event: &event });
    }
}

async fn check_health(probe: Probe, observe: Observe) {
    loop {
        for change in probe.round().await {
            let upstream = &probe.upstream().name;
            observe.emit(&Event::EndpointChanged { upstream, change: &change });
        }
        tokio::time::sleep(probe.pause()).await;
    }
}

async fn refresh(key_set: Arc<KeySet>, stopped: watch::Receiver<bool>, observe: Observe) {
    let report = |key_set: &KeySet, refresh: &Refresh| {
        observe.emit(&Event::KeySetRefreshed { key_set, refresh });
    };
    key_set.run(stopped, report).await;
}

#[cfg(test)]
mod tests;
