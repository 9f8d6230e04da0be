//! Which tasks run, and for how long.

use super::certificate::CertificateFollower;
use super::generations::Generations;
use super::listeners::Plan;
use super::names::{self, Name};
use super::orders::Orders;
use super::runtime::Runtimes;
use super::task::{
    StoreReport, check_health, follow_endings, follow_health, follow_revocations, refresh,
    report_breaker, report_claims, report_ejections, report_streams, until, until_true,
};
use crate::activity::WriteBehind;
use crate::admin::Admin;
use crate::concurrency::Policy;
use crate::gateway::{Gateway, Shared};
use crate::observe::Observe;
use crate::part::Lasting;
use crate::session::KeySet;
use crate::store::Store;
use crate::upstream::{Probe, Upstream};
use std::sync::Arc;
use streamgate_lease::Leases;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The tasks of all that runs in the background. Each belongs to a part of the configuration, and
/// ends when no configuration that is in use has that part any more.
pub(super) struct BackgroundTasks {
    runtimes: Runtimes,
    observe: Observe,
    admin: Arc<Admin>,
    generations: Generations,
    running: Vec<Running>,
}

/// The tasks of one part.
struct Running {
    owner: Owner,
    /// Set to true: they end.
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// A part of the configuration that has tasks.
#[derive(Clone)]
enum Owner {
    Store(Arc<Store>),
    Leases(Leases),
    Policy(Arc<Policy>),
    Upstream(Arc<Upstream>),
    KeySet(Arc<KeySet>),
}

impl Owner {
    /// All that have tasks. Those of leases are their renewer, which `Shared` gives.
    fn all(gateway: &Gateway) -> Vec<Owner> {
        let stores = gateway.stores.iter().cloned().map(Owner::Store);
        let policies = gateway.policies.iter().cloned().map(Owner::Policy);
        let upstreams = gateway.upstreams.iter().cloned().map(Owner::Upstream);
        let key_sets = gateway.verifiers.iter().flat_map(|verifier| verifier.key_sets());
        let key_sets = key_sets.cloned().map(Owner::KeySet);
        let leases = gateway.policies.iter().map(|policy| Owner::Leases(policy.leases().clone()));
        stores.chain(policies).chain(upstreams).chain(key_sets).chain(leases).collect()
    }

    fn is(&self, other: &Owner) -> bool {
        match (self, other) {
            (Owner::Store(one), Owner::Store(other)) => Arc::ptr_eq(one, other),
            (Owner::Policy(one), Owner::Policy(other)) => Arc::ptr_eq(one, other),
            (Owner::Upstream(one), Owner::Upstream(other)) => Arc::ptr_eq(one, other),
            (Owner::KeySet(one), Owner::KeySet(other)) => Arc::ptr_eq(one, other),
            (Owner::Leases(one), Owner::Leases(other)) => one.is_same(other),
            _ => false,
        }
    }
}

impl BackgroundTasks {
    pub(super) fn new(
        runtimes: Runtimes,
        observe: Observe,
        admin: Arc<Admin>,
        generations: Generations,
    ) -> Self {
        BackgroundTasks { runtimes, observe, admin, generations, running: Vec::new() }
    }

    /// Starts the tasks of what this gateway has and no earlier one had: they renew leases, follow
    /// the stores' messages, report starts and ends of streams if somebody wants them, check
    /// endpoints, follow names and refresh key sets.
    pub(super) fn start(
        &mut self,
        shared: &Shared,
        gateway: &Gateway,
        (names, plan): (Vec<Name>, &Plan),
    ) {
        for (leases, renewer) in shared.take_renewers() {
            let (stop, stopped) = watch::channel(false);
            let task = self.runtimes.keeping.spawn(renewer.run(until_true(stopped)));
            self.running.push(Running { owner: Owner::Leases(leases), stop, tasks: vec![task] });
        }
        for owner in Owner::all(gateway) {
            if self.running.iter().all(|running| !running.owner.is(&owner)) {
                let running = self.tasks_of(owner, shared);
                self.running.push(running);
            }
        }
        for name in names {
            let stopped = match &name {
                Name::Endpoint(name) => self.stopped(Arc::clone(name.upstream())),
                Name::Peer { listener, .. } => plan.stopped(listener),
            };
            let stopped = stopped.expect("a name is one of this gateway or its listeners");
            let task = until(until_true(stopped), names::follow(name, self.observe.clone()));
            self.runtimes.spawn(task);
        }
        for (listener, stopped) in plan.listeners() {
            if let Some(follower) = CertificateFollower::of(listener, &self.observe) {
                self.runtimes.spawn(until(until_true(stopped.clone()), follower.run()));
            }
            if let Some(orders) = Orders::of(listener, &self.observe) {
                self.runtimes.spawn(until(until_true(stopped), orders.run()));
            }
        }
    }

    /// Turns true when the upstream is not used any more.
    fn stopped(&self, upstream: Arc<Upstream>) -> Option<watch::Receiver<bool>> {
        let owner = Owner::Upstream(upstream);
        let running = self.running.iter().find(|running| running.owner.is(&owner))?;
        Some(running.stop.subscribe())
    }

    /// The names of upstreams that no earlier gateway had, none of them looked up.
    pub(super) fn names(&self, gateway: &Gateway) -> Vec<Name> {
        let is_new = |upstream: &&Arc<Upstream>| {
            let owner = Owner::Upstream(Arc::clone(upstream));
            self.running.iter().all(|running| !running.owner.is(&owner))
        };
        let new = gateway.upstreams.iter().filter(is_new);
        new.flat_map(|upstream| upstream.names(&gateway.resolver)).map(Name::Endpoint).collect()
    }

    /// Starts the tasks of one part.
    fn tasks_of(&self, owner: Owner, shared: &Shared) -> Running {
        let (stop, stopped) = watch::channel(false);
        let mut started = Started { runtimes: &self.runtimes, stopped, tasks: Vec::new() };
        let observe = self.observe.clone();
        match &owner {
            Owner::Store(store) => self.follow_store(store, shared, &mut started),
            Owner::Policy(policy) => {
                if let Some(renewer) = policy.take_shadow_renewer() {
                    let stop = until_true(started.stopped.clone());
                    started.tasks.push(self.runtimes.keeping.spawn(renewer.run(stop)));
                }
                started.spawn(report_claims(policy.clone(), observe.clone()));
                if self.observe.takes_streams() {
                    let (events, name) = (policy.leases().events(), policy.name.clone());
                    started.spawn(report_streams(events, name, observe));
                }
            }
            Owner::Upstream(upstream) => {
                if let Some(ejections) = upstream.take_ejections() {
                    let name = Arc::clone(&upstream.name);
                    started.spawn(report_ejections(ejections, name, observe.clone()));
                }
                if let Some(changes) = upstream.take_breaker_changes() {
                    let name = Arc::clone(&upstream.name);
                    started.spawn(report_breaker(changes, name, observe.clone()));
                }
                for probe in Probe::all(std::slice::from_ref(upstream)) {
                    started.spawn(check_health(probe, observe.clone()));
                }
            }
            Owner::KeySet(key_set) => {
                let stopped = started.stopped.clone();
                started.spawn(refresh(key_set.clone(), stopped, observe));
            }
            Owner::Leases(_) => {}
        }
        let tasks = started.tasks;
        Running { owner, stop, tasks }
    }

    fn follow_store(&self, store: &Arc<Store>, shared: &Shared, started: &mut Started<'_>) {
        let sessions = shared.session_store(store);
        if let Some(writes) = WriteBehind::take(&sessions) {
            started.spawn(writes.run());
        }
        self.admin.stores.open(&store.name, store.is_in_process());
        let (observe, admin) = (self.observe.clone(), Arc::clone(&self.admin));
        let report = StoreReport { store: Arc::clone(store), admin, observe };
        if let Some(monitor) = store.monitor() {
            started.spawn(follow_health(monitor, report.clone()));
        }
        if let Some(revocations) = sessions.revocations() {
            started.spawn(follow_revocations(revocations, report));
        }
        if let Some(endings) = store.endings() {
            started.spawn(follow_endings(endings, self.generations.clone()));
        }
    }

    /// Ends the tasks of what none of these gateways has.
    pub(super) fn retain(&mut self, live: &[Arc<Gateway>]) {
        let owners: Vec<Owner> = live.iter().flat_map(|gateway| Owner::all(gateway)).collect();
        self.running.retain(|running| {
            let is_used = owners.iter().any(|owner| owner.is(&running.owner));
            if !is_used {
                // The receivers are gone only if the tasks are.
                let _ = running.stop.send(true);
            }
            is_used
        });
        let names = live.iter().flat_map(|gateway| &gateway.stores).map(|store| &*store.name);
        self.admin.stores.retain(&names.collect::<Vec<&str>>());
    }

    /// Has all of them end, and returns their handles.
    pub(super) fn end(&mut self) -> Vec<JoinHandle<()>> {
        let ended = self.running.drain(..).flat_map(|running| {
            let _ = running.stop.send(true);
            running.tasks
        });
        ended.collect()
    }
}

/// Tasks that are started together and stop together.
struct Started<'a> {
    runtimes: &'a Runtimes,
    stopped: watch::Receiver<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Started<'_> {
    /// Runs a task of the housekeeping until all of them are to stop.
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let task = until(until_true(self.stopped.clone()), task);
        self.tasks.push(self.runtimes.spawn(task));
    }
}
