//! Runs a gateway: binds its addresses, starts its runtimes and tasks, and stops them in order.
//!
//! The only room that spawns. Pingora's own `Server` is not used: it would take the signals and the
//! process for itself, and one process could not hold two gateways.

mod drain;
mod signal;
mod log;
mod bind;
mod socket;
mod socket_file;
mod inherited;
mod certificate;
mod listener;
mod listeners;
mod names;
mod orders;
mod background;
mod generations;
mod reload;
mod runtime;
mod task;
mod changed_file;
mod memory;
mod service_manager;
mod upgrade;
mod worker;

use crate::admin::{self, Admin, RELOADS_WAITING_MAX, ReloadRequest, Status, UpgradeRequest};
use crate::config::{Config, Loaded};
use crate::edge::{InFlight, OpenConnections, SocketConfig};
use crate::fetch;
use crate::gateway::{Gateway, Shared};
use crate::metrics::Metrics;
use crate::observe::{Observe, config_problems};
use crate::problem::Report;
use crate::units::ListenAddress;
use arc_swap::ArcSwap;
use background::BackgroundTasks;
pub use bind::BindError;
pub use drain::Stopped;
use generations::Generations;
use inherited::GivenSocket;
pub use inherited::{CHANNEL_VARIABLE, Inherited};
use listener::ListenerFactory;
use listeners::{Listeners, Plan};
pub use log::LogThread;
use memory::MemoryBound;
use parking_lot::Mutex;
use pingora::prelude::fast_timeout::set_fast_timeout_to_tokio_threshold;
pub use reload::Source;
use reload::{Reloader, State};
use runtime::BackgroundRuntimes;
pub use signal::Signals;
use socket::ListeningSocket;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use task::{until, until_true};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::info;
pub use upgrade::Program;
use upgrade::Upgrader;
use worker::Workers;

/// Waits longer than this use tokio's timers in place of Pingora's own: all of ours do. Pingora's
/// timers read the clock even when there is nothing to wait for, and stay until they are due.
/// Tokio's cost nothing then, and go away when the wait is over (`benches/README.md`).
const PINGORA_TIMERS_MAX: Duration = Duration::ZERO;

/// What the admin port is called among listeners.
const ADMIN: &str = "admin";

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration has mistakes.
    #[error("{0}")]
    Config(Report),
    /// An address could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system refused something else; the text names it.
    #[error("{0}: {1}")]
    Io(String, io::Error),
}

/// A gateway that runs. Dropping it without `stop` cuts its requests off.
pub struct Running {
    /// Each listener's name and the address that it really had at the start.
    pub listeners: Vec<(String, ListenAddress)>,
    /// The address that the admin port really has.
    pub admin: SocketAddr,
    /// Stores and leases, which outlive a configuration.
    pub shared: Arc<Shared>,
    /// All metrics of this gateway.
    pub metrics: Metrics,
    reloader: Arc<Reloader>,
    reloads: mpsc::Sender<ReloadRequest>,
    upgrades: mpsc::Sender<UpgradeRequest>,
    /// Turns true: another process has taken the place of this one.
    is_replaced: watch::Receiver<bool>,
    /// Set to true: the admin port closes.
    stop: watch::Sender<bool>,
    /// Set to true: what belongs to no configuration ends.
    end: watch::Sender<bool>,
    /// The admin port's task, and others that belong to no configuration.
    tasks: Vec<JoinHandle<()>>,
    runtimes: BackgroundRuntimes,
    log: LogThread,
}

/// Where a process comes from: what another one would have to be started with, and what this one
/// was given.
pub struct ProcessContext<'a> {
    /// How it was started.
    pub program: Program,
    /// The sockets that it was given.
    pub inherited: &'a mut Inherited,
}

/// Starts the gateway that `loaded` describes, as the business of this process: it can be replaced
/// by another one. Returns once it answers.
pub fn start_process(
    loaded: Loaded,
    source: Source,
    origin: ProcessContext<'_>,
) -> Result<Running, StartError> {
    start_with(loaded, Some(source), Some(origin))
}

/// Starts the gateway that `loaded` describes. Returns once it answers. With a `source` the
/// configuration can be read again.
pub fn start(loaded: Loaded, source: Option<Source>) -> Result<Running, StartError> {
    start_with(loaded, source, None)
}

fn start_with(
    loaded: Loaded,
    source: Option<Source>,
    origin: Option<ProcessContext<'_>>,
) -> Result<Running, StartError> {
    fetch::install_crypto_provider();
    set_fast_timeout_to_tokio_threshold(Some(PINGORA_TIMERS_MAX));
    let mut nothing = Inherited::default();
    let (program, inherited) = match origin {
        Some(ProcessContext { program, inherited }) => (Some(program), inherited),
        None => (None, &mut nothing),
    };
    let (metrics, shared) = (Metrics::new(), Arc::new(Shared::default()));
    let gateway = compile(&loaded, &shared, &metrics)?;
    let config = &loaded.config;
    let (access, log) = log::open(&config.access_log.to, loaded.base_dir())?;
    let factory = ListenerFactory {
        live: Arc::new(ArcSwap::new(Arc::clone(&gateway))),
        observe: Observe::new(metrics.clone(), access),
        in_flight: InFlight::new(config.in_flight.0),
        open: OpenConnections::new(config.connections),
    };
    let (listeners, plan, admin_socket) = bind_all(&loaded, factory.clone(), inherited)?;
    let admin = address(&admin_socket)?;
    let threads = |error| StartError::Io("the workers".to_owned(), error);
    let runtimes = BackgroundRuntimes::start().map_err(threads)?;
    let workers = Workers::start(config.workers.number()).map_err(threads)?;
    let pulse = workers.pulse();
    let ((reloads, to_reload), (upgrades, to_upgrade)) =
        (mpsc::channel(RELOADS_WAITING_MAX), mpsc::channel(1));
    let wishes = (reloads.clone(), upgrades.clone());
    let socket = GivenSocket::of_admin(config.admin.address.0, &admin_socket).map_err(threads)?;
    let parts = ((listeners, socket), factory, &runtimes);
    let reloader = reloader((&loaded, source), Arc::clone(&shared), parts, wishes);
    let addresses = reloader.open(&gateway, plan, workers).map_err(threads)?;
    drop(gateway);
    let reloader = Arc::new(reloader);
    let ((stop, stopped), (end, ended)) = (watch::channel(false), watch::channel(false));
    let (upgrader, is_replaced) = Upgrader::new(program, &reloader);
    let router = admin::router(Arc::clone(&reloader.admin));
    let mut tasks: Vec<Task> = vec![
        Box::pin(task::serve_admin(admin_socket, router, stopped)),
        Box::pin(upgrader.run(to_upgrade)),
        Box::pin(service_manager::feed_watchdog(pulse)),
    ];
    tasks.extend(tasks_of_reloader(&reloader, (reloads.clone(), to_reload)));
    // Each ends when the process does, the admin port when its own `stopped` turns true.
    let spawn = |task| reloader.runtimes.spawn(until(until_true(ended.clone()), task));
    let tasks = tasks.into_iter().map(spawn).collect();
    reloader.admin.is_ready.set(true);
    if !inherited.is_awaited() {
        service_manager::is_ready();
    }
    info!(%admin, workers = config.workers.number(), "ready");
    Ok(Running {
        listeners: addresses,
        admin,
        shared,
        metrics,
        reloader,
        reloads,
        upgrades,
        is_replaced,
        stop,
        end,
        tasks,
        runtimes,
        log,
    })
}

/// What takes other configurations, with nothing open yet.
fn reloader(
    (loaded, source): (&Loaded, Option<Source>),
    shared: Arc<Shared>,
    (sockets, factory, runtimes): ((Listeners, GivenSocket), ListenerFactory, &BackgroundRuntimes),
    wishes: (mpsc::Sender<ReloadRequest>, mpsc::Sender<UpgradeRequest>),
) -> Reloader {
    let (config, status) = (&loaded.config, Status::first(loaded.hash()));
    let ListenerFactory { live, observe, in_flight, open } = factory;
    let admin =
        Admin::new((config, status), live.clone(), observe.clone(), in_flight.clone(), wishes);
    let (admin, generations) = (Arc::new(admin), Generations::default());
    let background = BackgroundTasks::new(
        runtimes.handles(),
        observe.clone(),
        Arc::clone(&admin),
        generations.clone(),
    );
    Reloader {
        source,
        shared,
        live,
        observe,
        in_flight,
        open,
        memory: Arc::new(MemoryBound::of(config)),
        admin,
        runtimes: runtimes.handles(),
        generations,
        state: Mutex::new(State::new(config, sockets, background)),
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What has configurations taken in place of the one that runs, looks after its memory, and tells
/// what is repeated.
fn tasks_of_reloader(
    reloader: &Arc<Reloader>,
    (reloads, asked): (mpsc::Sender<ReloadRequest>, mpsc::Receiver<ReloadRequest>),
) -> Vec<Task> {
    let seen = reloader.source.as_ref().map(|source| source.seen.clone());
    let changed_file: Option<Task> =
        seen.map(|seen| Box::pin(changed_file::follow(seen, reloads)) as Task);
    let acts = (reloader.open.clone(), reloader.in_flight.clone());
    let observe = reloader.observe.clone();
    let tasks: [Task; 3] = [
        Box::pin(memory::watch(Arc::clone(&reloader.memory), acts, observe)),
        Box::pin(task::tell_repeated(reloader.observe.clone())),
        Box::pin(Arc::clone(reloader).run(asked)),
    ];
    tasks.into_iter().chain(changed_file).collect()
}

/// Compiles the first configuration and tells what may not be meant.
fn compile(
    loaded: &Loaded,
    shared: &Shared,
    metrics: &Metrics,
) -> Result<Arc<Gateway>, StartError> {
    let compiled = Gateway::compile(loaded, shared, metrics);
    let (gateway, warnings) = compiled.map_err(StartError::Config)?;
    config_problems(&warnings);
    Ok(Arc::new(gateway))
}

/// Binds all listeners and the admin port, of which nothing is open yet.
fn bind_all(
    loaded: &Loaded,
    factory: ListenerFactory,
    inherited: &mut Inherited,
) -> Result<(Listeners, Plan, TcpListener), StartError> {
    let mut listeners = Listeners::new(factory);
    let plan = listeners.plan(loaded, inherited)?;
    let admin = bind_admin(&loaded.config, inherited)?;
    inherited.close_others();
    Ok((listeners, plan, admin))
}

/// Binds the admin port.
fn bind_admin(config: &Config, inherited: &mut Inherited) -> Result<TcpListener, BindError> {
    let admin = config.admin.address.0;
    if let Some(ListeningSocket::Tcp(socket)) = inherited.take(ADMIN, &admin.into()) {
        return Ok(socket);
    }
    let all = config.listeners.iter().filter_map(|listener| listener.address.inet());
    bind::bind_tcp(ADMIN, admin, &all.collect::<Vec<_>>(), &SocketConfig::default())
}

fn address(socket: &TcpListener) -> Result<SocketAddr, StartError> {
    socket.local_addr().map_err(|error| StartError::Io("a bound socket".to_owned(), error))
}
