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
mod names;
mod task;
mod worker;

use crate::admin::{self, Admin};
use crate::config::{Drain, Loaded};
use crate::edge::{InFlight, Listener};
use crate::fetch;
use crate::gateway::{Gateway, Shared};
use crate::metrics::Metrics;
use crate::observe::Observe;
use crate::problem::{Problem, Report};
use arc_swap::ArcSwap;
pub use bind::BindError;
pub use drain::Stopped;
use listener::ListenerFactory;
pub use log::LogThread;
use pingora::prelude::fast_timeout::set_fast_timeout_to_tokio_threshold;
pub use signal::Signals;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use task::{BackgroundRuntimes, BackgroundTasks};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use worker::{Job, Workers};

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
    /// Each listener's name and the address that it really has.
    pub listeners: Vec<(String, SocketAddr)>,
    /// The address that the admin port really has.
    pub admin: SocketAddr,
    /// Stores and leases, which outlive a configuration.
    pub shared: Arc<Shared>,
    /// All metrics of this gateway.
    pub metrics: Metrics,
    /// How it is to stop, as the file says.
    pub drain: Drain,
    /// Set to true: no new connections.
    stop: watch::Sender<bool>,
    /// Set to true: background tasks end.
    end: watch::Sender<bool>,
    admin_state: Arc<Admin>,
    observe: Observe,
    in_flight: InFlight,
    workers: Workers,
    tasks: Vec<JoinHandle<()>>,
    runtimes: BackgroundRuntimes,
    log: LogThread,
}

/// Starts the gateway that `loaded` describes. Returns once it answers.
pub fn start(loaded: Loaded) -> Result<Running, StartError> {
    fetch::install_crypto_provider();
    set_fast_timeout_to_tokio_threshold(Some(PINGORA_TIMERS_MAX));
    let (metrics, shared) = (Metrics::new(), Arc::new(Shared::default()));
    let compiled = Gateway::compile(&loaded, &shared, &metrics);
    let (gateway, warnings) = compiled.map_err(StartError::Config)?;
    warnings.problems.iter().for_each(tell_warning);
    let config = &loaded.config;
    let (bound, admin_socket) = bind_all(&loaded)?;
    let admin = address(&admin_socket)?;
    let (access, log) = log::open(&config.access_log.to, loaded.base_dir())?;
    let observe = Observe::new(metrics.clone(), access);
    let live = Arc::new(ArcSwap::from_pointee(gateway));
    let (stop, stopped) = watch::channel(false);
    let in_flight = InFlight::new(config.in_flight.0);
    let listeners = bound.iter().map(|(listener, socket)| {
        address(socket).map(|address| (listener.name.to_string(), address))
    });
    let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
    let factory =
        ListenerFactory { live: live.clone(), observe: observe.clone(), in_flight, stopped };
    let jobs = (0..config.workers.number()).map(|_| factory.job(&bound));
    let jobs = jobs.collect::<io::Result<Vec<Job>>>();
    let threads = |error| StartError::Io("the workers".to_owned(), error);
    let runtimes = BackgroundRuntimes::start().map_err(threads)?;
    let names = names::all(&live.load(), bound.iter().map(|(listener, _)| listener));
    let names = runtimes.run(names::first_answers(names, observe.clone()));
    let workers = jobs.and_then(Workers::start).map_err(threads)?;
    let in_flight = factory.in_flight;
    let admin_state = Arc::new(Admin::new(
        &loaded.config,
        live.clone(),
        &shared,
        observe.clone(),
        in_flight.clone(),
        bound.iter().map(|(listener, _)| listener.trusted.clone()).collect(),
    ));
    let (end, ended) = watch::channel(false);
    let is_closing = factory.stopped.clone();
    let mut background = BackgroundTasks::new(&runtimes, ended, observe.clone());
    background.start(&shared, &live.load(), &admin_state);
    background.follow(names);
    background.follow_certificates(bound.iter().map(|(listener, _)| listener));
    let router = admin::router(Arc::clone(&admin_state));
    background.serve_admin(admin_socket, router, is_closing);
    let tasks = background.tasks();
    admin_state.is_ready.set(true);
    for (listener, address) in &listeners {
        info!(%listener, %address, "listening");
    }
    info!(%admin, workers = config.workers.number(), "ready");
    Ok(Running {
        listeners,
        admin,
        shared,
        metrics,
        drain: config.drain,
        stop,
        end,
        admin_state,
        observe,
        in_flight,
        workers,
        tasks,
        runtimes,
        log,
    })
}

/// A line of the log for what can run and is probably not meant.
fn tell_warning(problem: &Problem) {
    let (line, help) = (problem.at.map(|place| place.line), problem.help.as_deref());
    warn!(line, help, "the configuration: {}", problem.text);
}

/// Every listener with its socket.
type Bound = Vec<(Arc<Listener>, TcpListener)>;

/// Binds the listeners and the admin port.
fn bind_all(loaded: &Loaded) -> Result<(Bound, TcpListener), StartError> {
    let config = &loaded.config;
    let admin = config.admin.address.0;
    let all = config.listeners.iter().map(|listener| listener.address.0);
    let all: Vec<SocketAddr> = all.chain([admin]).collect();
    let bound = config.listeners.iter().enumerate().map(|(number, written)| {
        let compiled = written.compile(number, loaded.base_dir());
        // Its warnings were told when all of the file was compiled.
        let (listener, _) = compiled.map_err(|all| StartError::Config(loaded.report(all)))?;
        let socket = bind::bind(&listener.name, listener.address, &all)?;
        Ok((Arc::new(listener), socket))
    });
    Ok((bound.collect::<Result<_, StartError>>()?, bind::bind("admin", admin, &all)?))
}

fn address(socket: &TcpListener) -> Result<SocketAddr, StartError> {
    socket.local_addr().map_err(|error| StartError::Io("a bound socket".to_owned(), error))
}
