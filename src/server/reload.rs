//! Another configuration in place of the one that runs, without a connection lost.
//!
//! ```text
//! read and compile apart    any mistake: nothing has changed, and it is told where
//! bind new listeners        an address can't be had: nothing has changed
//! compile again             with what runs: what is the same is the same thing, with its state
//! look up new names, fetch new key sets: the first request must not meet an empty one
//! open new listeners
//! swap                      from here on new requests see the new configuration
//! close old listeners, and wait until no worker accepts for them any more
//! start the tasks of what is new; those of what is gone end with the last request that uses it
//! ```

use super::StartError;
use super::background::BackgroundTasks;
use super::changed_file::Seen;
use super::generations::Generations;
use super::inherited::{GivenSocket, Inherited};
use super::listeners::{Listeners, Plan};
use super::memory::MemoryBound;
use super::names;
use super::orders;
use super::runtime::Runtimes;
use super::service_manager;
use super::worker::Workers;
use crate::admin::{Admin, Outcome, ReloadRequest, Status};
use crate::clock;
use crate::config::{Config, Drain, Loaded};
use crate::edge::{InFlight, OpenConnections};
use crate::gateway::{Gateway, Shared, UNMATCHED};
use crate::metrics::Metrics;
use crate::observe::{Event, Observe};
use crate::problem::{Problem, Report};
use crate::session::KeySet;
use crate::units::{Fingerprint, ListenAddress};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

/// How long the first answer of a new key set is waited for.
const KEY_SETS_WITHIN: Duration = Duration::from_secs(5);

/// How often it is looked for.
const KEY_SETS_EVERY: Duration = Duration::from_millis(20);

/// How long workers may take to see that a listener is closed. One that is kept busy for longer may
/// give the next connection the old terms.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// How often it is looked whether an old configuration is in use.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Where the configuration can be read again.
pub struct Source {
    pub(super) seen: Seen,
    /// Reads it.
    pub load: Box<dyn Fn() -> Result<Loaded, Report> + Send + Sync>,
}

impl Source {
    /// The configuration in `file`, which is watched and which `load` reads. Make this value before
    /// the file is read for the first time: what is changed from now on is noticed.
    pub fn new(file: PathBuf, load: Box<dyn Fn() -> Result<Loaded, Report> + Send + Sync>) -> Self {
        Source { seen: Seen::now(file), load }
    }
}

/// Takes configurations in place of the one that runs, one after another.
pub(super) struct Reloader {
    pub(super) source: Option<Source>,
    pub(super) shared: Arc<Shared>,
    pub(super) live: Arc<ArcSwap<Gateway>>,
    pub(super) generations: Generations,
    pub(super) observe: Observe,
    pub(super) in_flight: InFlight,
    pub(super) open: OpenConnections,
    pub(super) memory: Arc<MemoryBound>,
    pub(super) admin: Arc<Admin>,
    pub(super) runtimes: Runtimes,
    pub(super) state: Mutex<State>,
}

/// What a change of the configuration changes.
pub(super) struct State {
    listeners: Listeners,
    tasks: BackgroundTasks,
    /// `None` before the start and once the gateway stops: nothing can be opened then.
    workers: Option<Workers>,
    drain: Drain,
    /// The admin port's socket, to be given away.
    admin: Option<GivenSocket>,
    fixed: Fixed,
    /// The listeners are closed, because the gateway stops.
    is_closed: bool,
}

impl State {
    pub(super) fn new(
        config: &Config,
        (listeners, admin): (Listeners, GivenSocket),
        tasks: BackgroundTasks,
    ) -> Self {
        let (drain, fixed) = (config.drain, Fixed::of(config));
        let admin = Some(admin);
        State { listeners, tasks, workers: None, drain, admin, fixed, is_closed: false }
    }
}

/// What holds from the start to the end of the process.
#[derive(Clone, Copy)]
struct Fixed([(&'static str, Fingerprint); 3]);

impl Fixed {
    fn of(config: &Config) -> Self {
        Fixed([
            ("workers", Fingerprint::of(&config.workers)),
            ("access_log", Fingerprint::of(&config.access_log)),
            ("admin.address", Fingerprint::of(&config.admin.address)),
        ])
    }

    /// What is not as it was at the start.
    fn changed(self, config: &Config) -> Vec<&'static str> {
        let now = Fixed::of(config);
        let both = self.0.into_iter().zip(now.0);
        both.filter(|(then, now)| then != now).map(|((name, _), _)| name).collect()
    }
}

impl Reloader {
    /// Opens the listeners of the first configuration and starts its tasks. Returns each
    /// listener's name and the address that it really has.
    pub(super) fn open(
        &self,
        gateway: &Arc<Gateway>,
        plan: Plan,
        workers: Workers,
    ) -> io::Result<Vec<(String, ListenAddress)>> {
        let mut state = self.state.lock();
        self.generations.enter(gateway);
        self.start_tasks(&mut state.tasks, gateway, &plan);
        let opened = state.listeners.open(plan, &workers)?;
        state.listeners.settle(opened);
        state.workers = Some(workers);
        self.admin.show_trusted(state.listeners.trusted());
        state.listeners.addresses()
    }

    /// Looks new names up and starts the tasks of what is new.
    fn start_tasks(&self, tasks: &mut BackgroundTasks, gateway: &Gateway, plan: &Plan) {
        let mut names = tasks.names(gateway);
        names.extend(plan.names(&gateway.resolver));
        let names = self.runtimes.run(names::first_answers(names, self.observe.clone()));
        let new = || plan.listeners().map(|(listener, _)| listener);
        orders::attach(new(), &gateway.stores);
        let new: Vec<_> = new().cloned().collect();
        let observe = self.observe.clone();
        self.runtimes.run(async move { orders::first_looks(new.iter(), &observe).await });
        tasks.start(&self.shared, gateway, (names, plan));
    }

    /// Grants reloads until nobody is left who could have one.
    pub(super) async fn run(self: Arc<Self>, mut reloads: mpsc::Receiver<ReloadRequest>) {
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                request = reloads.recv() => match request {
                    Some(request) => Arc::clone(&self).grant(request).await,
                    None => return,
                },
                _ = sweep.tick() => self.sweep(),
            }
        }
    }

    async fn grant(self: Arc<Self>, request: ReloadRequest) {
        let cause = request.cause;
        // It reads files and waits for new names.
        let done = spawn_blocking(move || self.reload(cause)).await;
        if let (Some(answer), Ok(outcome)) = (request.answer, done) {
            // Whoever asked may be gone.
            let _ = answer.send(outcome);
        }
    }

    /// Reads the file again and takes what stands there. Call it where waiting is allowed.
    pub(super) fn reload(&self, cause: &'static str) -> Outcome {
        let Some(source) = &self.source else { return Outcome::Impossible };
        service_manager::is_reloading();
        let taken = (source.load)().and_then(|loaded| self.take(&loaded, cause));
        service_manager::is_ready();
        match taken {
            Ok(status) => Outcome::Applied(status),
            Err(report) => {
                self.observe.emit(&Event::ConfigRejected { cause, report: &report });
                let mut why = report.as_json();
                why["error"] = "the configuration has mistakes, so nothing was changed".into();
                why["cause"] = cause.into();
                why["at"] = clock::rfc3339(clock::unix_ms()).into();
                self.admin.show_rejected(why.clone());
                Outcome::Rejected(why)
            }
        }
    }

    fn take(&self, loaded: &Loaded, cause: &'static str) -> Result<Status, Report> {
        let mut state = self.state.lock();
        let state = &mut *state;
        // Apart from what runs: what is not taken leaves no trace in it.
        let (_, warnings) = Gateway::compile(loaded, &Shared::default(), &Metrics::new())?;
        let config = &loaded.config;
        let plan =
            state.listeners.plan(loaded, &mut Inherited::default()).map_err(
                |error| match error {
                    StartError::Config(report) => report,
                    other => loaded.report(vec![Problem::of_file(other.to_string())]),
                },
            )?;
        let (gateway, _) = Gateway::compile(loaded, &self.shared, &self.observe.metrics)?;
        let gateway = Arc::new(gateway);
        self.start_tasks(&mut state.tasks, &gateway, &plan);
        self.runtimes.run(first_keys(gateway.key_sets()));
        let opened = match &state.workers {
            Some(workers) if !state.is_closed => {
                state.listeners.open(plan, workers).map_err(|e| e.to_string())
            }
            _ => Err("the gateway is stopping".to_owned()),
        };
        let opened = opened.map_err(|why| {
            self.let_go(state);
            loaded.report(vec![Problem::of_file(why)])
        })?;
        self.generations.enter(&gateway);
        self.live.store(Arc::clone(&gateway));
        state.listeners.settle(opened);
        if let Some(pulse) = state.workers.as_ref().map(Workers::pulse) {
            self.runtimes.run(async move {
                // Whoever connects once this is told meets the new terms.
                let _ = tokio::time::timeout(CLOSED_WITHIN, pulse.all()).await;
            });
        }
        orders::attach(state.listeners.all(), &gateway.stores);
        self.admin.show_trusted(state.listeners.trusted());
        self.in_flight.set_max(config.in_flight.0);
        self.open.set_max(config.connections);
        self.memory.set(config);
        state.drain = config.drain;
        let status = Status {
            generation: self.admin.status().generation + 1,
            hash: loaded.hash(),
            applied_at: clock::unix_ms(),
            restart_needed: state.fixed.changed(config),
        };
        self.admin.show(config, status.clone());
        self.observe.emit(&Event::ConfigApplied {
            cause,
            generation: status.generation,
            hash: &status.hash,
            restart_needed: &status.restart_needed,
            warnings: &warnings,
        });
        Ok(status)
    }

    /// Lets go of what only old configurations have, once no request is answered by them.
    fn sweep(&self) {
        if !self.generations.have_ended() {
            return;
        }
        self.let_go(&mut self.state.lock());
    }

    fn let_go(&self, state: &mut State) {
        let live = self.generations.live();
        self.shared.retain(&live);
        state.tasks.retain(&live);
        let all = || live.iter();
        let routes = all().flat_map(|it| it.table.iter()).map(|(_, route)| &*route.name);
        let upstreams = all().flat_map(|it| &it.upstreams).map(|it| &*it.name);
        let policies = all().flat_map(|it| &it.policies).map(|it| &*it.name);
        let stores = all().flat_map(|it| &it.stores).map(|it| &*it.name);
        self.observe.metrics.retain(&[
            ("route", routes.chain([UNMATCHED]).collect()),
            ("upstream", upstreams.collect()),
            ("policy", policies.collect()),
            ("store", stores.collect()),
            ("listener", state.listeners.names().collect()),
        ]);
    }

    /// Opens nothing from now on and closes all listeners.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.admin = None;
        state.listeners.close();
    }

    /// All listening sockets, to be given away; `None` once the gateway stops.
    pub(super) fn sockets(&self) -> Option<io::Result<Vec<GivenSocket>>> {
        let state = self.state.lock();
        let all = || {
            let admin = state.admin.as_ref().map(GivenSocket::again).transpose()?;
            Ok(state.listeners.sockets()?.into_iter().chain(admin).collect())
        };
        (!state.is_closed).then(all)
    }

    /// Ends the workers: what they still answer is cut.
    pub(super) fn end_workers(&self) {
        let workers = self.state.lock().workers.take();
        workers.into_iter().for_each(Workers::end);
    }

    /// Has all tasks end, and returns their handles.
    pub(super) fn end_tasks(&self) -> Vec<JoinHandle<()>> {
        self.state.lock().tasks.end()
    }

    /// How the gateway is to stop.
    pub(super) fn drain(&self) -> Drain {
        self.state.lock().drain
    }
}

/// Waits until each of these was read once, or could not be.
async fn first_keys(key_sets: Vec<Arc<KeySet>>) {
    let is_pending = |set: &Arc<KeySet>| {
        let figures = set.figures();
        figures.refreshes + figures.failures == 0
    };
    let read = async {
        while key_sets.iter().any(is_pending) {
            tokio::time::sleep(KEY_SETS_EVERY).await;
        }
    };
    // A set that is late is read later.
    let _ = tokio::time::timeout(KEY_SETS_WITHIN, read).await;
}
