//! Runs a gateway: binds its addresses, starts its runtimes and tasks, and stops them in order.
//!
//! The only room that spawns. Pingora's own `Server` is not used: it would take the signals and the
//! process for itself, and one process could not hold two gateways.

mod drain;
mod signal;
mod log;
mod bind;
mod certificate;
mod listener;
mod listeners;
mod names;
mod background;
mod generations;
mod reload;
mod runtime;
mod task;
mod changed_file;
mod worker;

use crate::admin::{self, Admin, RELOADS_WAITING_MAX, ReloadRequest, Status};
use crate::config::{Config, Loaded};
use crate::edge::InFlight;
use crate::fetch;
use crate::gateway::{Gateway, Shared};
use crate::metrics::Metrics;
use crate::observe::{Observe, config_problems};
use crate::problem::Report;
use arc_swap::ArcSwap;
use background::BackgroundTasks;
pub use bind::BindError;
pub use drain::Stopped;
use generations::Generations;
use listener::ListenerFactory;
use listeners::Listeners;
pub use log::LogThread;
use parking_lot::Mutex;
use pingora::prelude::fast_timeout::set_fast_timeout_to_tokio_threshold;
pub use reload::Source;
use reload::{Reloader, State};
use runtime::BackgroundRuntimes;
pub use signal::Signals;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use task::{until, until_true};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::info;
use worker::Workers;

/// Waits longer than this use tokio's timers in place of Pingora's own: all of ours do. Pingora's
/// timers read the clock even when there is nothing to wait for, and stay until they are due.
/// Tokio's cost nothing then, and go away when the wait is over (`benches/README.md`).
const PINGORA_TIMERS_MAX: Duration = Duration::ZERO;

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
    pub listeners: Vec<(String, SocketAddr)>,
    /// The address that the admin port really has.
    pub admin: SocketAddr,
    /// Stores and leases, which outlive a configuration.
    pub shared: Arc<Shared>,
    /// All metrics of this gateway.
    pub metrics: Metrics,
    reloader: Arc<Reloader>,
    reloads: mpsc::Sender<ReloadRequest>,
    /// Set to true: the admin port closes.
    stop: watch::Sender<bool>,
    /// Set to true: what belongs to no configuration ends.
    end: watch::Sender<bool>,
    /// The admin port's task, and others that belong to no configuration.
    tasks: Vec<JoinHandle<()>>,
    runtimes: BackgroundRuntimes,
    log: LogThread,
}

/// Starts the gateway that `loaded` describes. Returns once it answers. With a `source` the
/// configuration can be read again.
pub fn start(loaded: Loaded, source: Option<Source>) -> Result<Running, StartError> {
    fetch::install_crypto_provider();
    set_fast_timeout_to_tokio_threshold(Some(PINGORA_TIMERS_MAX));
    let (metrics, shared) = (Metrics::new(), Arc::new(Shared::default()));
    let compiled = Gateway::compile(&loaded, &shared, &metrics);
    let (gateway, warnings) = compiled.map_err(StartError::Config)?;
    config_problems(&warnings);
    let config = &loaded.config;
    let (access, log) = log::open(&config.access_log.to, loaded.base_dir())?;
    let observe = Observe::new(metrics.clone(), access);
    let (gateway, in_flight) = (Arc::new(gateway), InFlight::new(config.in_flight.0));
    let live = Arc::new(ArcSwap::new(Arc::clone(&gateway)));
    let mut listeners = Listeners::new(ListenerFactory {
        live: live.clone(),
        observe: observe.clone(),
        in_flight: in_flight.clone(),
    });
    let plan = listeners.plan(&loaded)?;
    let admin_socket = bind_admin(config)?;
    let admin = address(&admin_socket)?;
    let threads = |error| StartError::Io("the workers".to_owned(), error);
    let runtimes = BackgroundRuntimes::start().map_err(threads)?;
    let workers = Workers::start(config.workers.number()).map_err(threads)?;
    let (reloads, asked) = mpsc::channel(RELOADS_WAITING_MAX);
    let (status, to_reload) = (Status::first(loaded.hash()), reloads.clone());
    let admin_state =
        Admin::new((config, status), live.clone(), observe.clone(), in_flight.clone(), to_reload);
    let (admin_state, generations) = (Arc::new(admin_state), Generations::default());
    let background = BackgroundTasks::new(
        runtimes.handles(),
        observe.clone(),
        Arc::clone(&admin_state),
        generations.clone(),
    );
    let reloader = Reloader {
        source,
        shared: Arc::clone(&shared),
        live,
        observe,
        in_flight,
        admin: admin_state,
        runtimes: runtimes.handles(),
        generations,
        state: Mutex::new(State::new(config, listeners, background)),
    };
    let addresses = reloader.open(&gateway, plan, workers).map_err(threads)?;
    drop(gateway);
    let reloader = Arc::new(reloader);
    let ((stop, stopped), (end, ended)) = (watch::channel(false), watch::channel(false));
    let tasks =
        tasks_of_process(&reloader, ended, (admin_socket, stopped), (reloads.clone(), asked));
    reloader.admin.is_ready.set(true);
    info!(%admin, workers = config.workers.number(), "ready");
    Ok(Running {
        listeners: addresses,
        admin,
        shared,
        metrics,
        reloader,
        reloads,
        stop,
        end,
        tasks,
        runtimes,
        log,
    })
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts what belongs to no configuration. It ends when `ended` turns true, the admin port when
/// its own `stopped` does.
fn tasks_of_process(
    reloader: &Arc<Reloader>,
    ended: watch::Receiver<bool>,
    (socket, stopped): (TcpListener, watch::Receiver<bool>),
    (reloads, asked): (mpsc::Sender<ReloadRequest>, mpsc::Receiver<ReloadRequest>),
) -> Vec<JoinHandle<()>> {
    let router = admin::router(Arc::clone(&reloader.admin));
    let file = reloader.source.as_ref().map(|source| source.file.clone());
    let changed_file: Option<Task> =
        file.map(|file| Box::pin(changed_file::follow(file, reloads)) as Task);
    let tasks: [Task; 3] = [
        Box::pin(task::serve_admin(socket, router, stopped)),
        Box::pin(task::tell_repeated(reloader.observe.clone())),
        Box::pin(Arc::clone(reloader).run(asked)),
    ];
    let spawn = |task: Task| reloader.runtimes.spawn(until(until_true(ended.clone()), task));
    tasks.into_iter().chain(changed_file).map(spawn).collect()
}

/// Binds the admin port.
fn bind_admin(config: &Config) -> Result<TcpListener, BindError> {
    let admin = config.admin.address.0;
    let all: Vec<SocketAddr> = config.listeners.iter().map(|listener| listener.address.0).collect();
    bind::bind("admin", admin, &all)
}

fn address(socket: &TcpListener) -> Result<SocketAddr, StartError> {
    socket.local_addr().map_err(|error| StartError::Io("a bound socket".to_owned(), error))
}
