//! Runs a gateway: binds its addresses, starts its runtimes and tasks, and stops them in order.
//!
//! The only room that spawns. Pingora's own `Server` is not used: it would take the signals and the
//! process for itself, and one process could not hold two gateways.

mod bind;
mod listener;
mod task;
mod worker;

use crate::admin::{self, Admin};
use crate::config::Loaded;
use crate::edge::{InFlight, Listener};
use crate::fetch;
use crate::gateway::{Gateway, Shared};
use crate::metrics::Metrics;
use crate::observe::{AccessLog, Observe, Stopper, access};
use crate::problem::Report;
use arc_swap::ArcSwap;
pub use bind::BindError;
use futures_util::future::join_all;
use listener::ListenerFactory;
use pingora::prelude::fast_timeout::set_fast_timeout_to_tokio_threshold;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use task::{BackgroundRuntimes, BackgroundTasks};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::info;
use worker::{Job, Workers};

/// How long background tasks may take to end: a client may be connected to the admin port.
const TASKS_END_WITHIN: Duration = Duration::from_secs(1);

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
    /// Problems of the configuration that did not keep it from starting.
    pub warnings: Report,
    /// Set to true: no new connections.
    stop: watch::Sender<bool>,
    /// Set to true: background tasks end.
    end: watch::Sender<bool>,
    admin_state: Arc<Admin>,
    in_flight: InFlight,
    workers: Workers,
    tasks: Vec<JoinHandle<()>>,
    runtimes: BackgroundRuntimes,
    log: Option<(Stopper, std::thread::JoinHandle<()>)>,
}

/// Starts the gateway that `loaded` describes. Returns once it answers.
pub fn start(loaded: Loaded) -> Result<Running, StartError> {
    fetch::install_crypto_provider();
    set_fast_timeout_to_tokio_threshold(Some(PINGORA_TIMERS_MAX));
    let (metrics, shared) = (Metrics::new(), Arc::new(Shared::default()));
    let compiled = Gateway::compile(&loaded, &shared, &metrics);
    let (gateway, warnings) = compiled.map_err(StartError::Config)?;
    let config = &loaded.config;
    let bound = config.listeners.iter().enumerate().map(|(number, written)| {
        let listener = written.compile(number);
        let socket = bind::bind(&listener.name, listener.address)?;
        Ok((Arc::new(listener), socket))
    });
    let bound: Vec<(Arc<Listener>, TcpListener)> = bound.collect::<Result<_, BindError>>()?;
    let admin_socket = bind::bind("admin", config.admin.address.0)?;
    let admin = address(&admin_socket)?;
    let (access, log) = open_log(&config.access_log.to)?;
    let observe = Observe::new(metrics.clone(), access);
    let live = Arc::new(ArcSwap::from_pointee(gateway));
    let (stop, stopped) = watch::channel(false);
    let in_flight = InFlight::default();
    let listeners = bound.iter().map(|(listener, socket)| {
        address(socket).map(|address| (listener.name.to_string(), address))
    });
    let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
    let factory =
        ListenerFactory { live: live.clone(), observe: observe.clone(), in_flight, stopped };
    let jobs = (0..config.workers.number()).map(|_| factory.job(&bound));
    let jobs = jobs.collect::<io::Result<Vec<Job>>>();
    let threads = |error| StartError::Io("the workers".to_owned(), error);
    let workers = jobs.and_then(Workers::start).map_err(threads)?;
    let runtimes = BackgroundRuntimes::start().map_err(threads)?;
    let in_flight = factory.in_flight;
    let admin_state = Arc::new(Admin::new(
        &loaded.config,
        live.clone(),
        &shared,
        observe.clone(),
        in_flight.clone(),
    ));
    let (end, ended) = watch::channel(false);
    let mut background = BackgroundTasks::new(&runtimes, ended, observe);
    background.start(&shared, &live.load(), &admin_state);
    background.serve_admin(admin_socket, admin::router(Arc::clone(&admin_state)));
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
        warnings,
        stop,
        end,
        admin_state,
        in_flight,
        workers,
        tasks,
        runtimes,
        log,
    })
}

impl Running {
    /// Waits until the process is asked to end: SIGTERM or Ctrl-C.
    pub fn wait_for_signal(&self) -> io::Result<()> {
        self.runtimes.wait(async {
            use tokio::signal::unix::{SignalKind, signal};
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                _ = terminate.recv() => Ok(()),
                interrupted = tokio::signal::ctrl_c() => interrupted,
            }
        })
    }

    /// Stops in order: not ready, no new connections, requests under way end or are cut after
    /// `drain`, then the renewers and the log.
    pub fn stop(self, drain: Duration) {
        self.admin_state.is_ready.set(false);
        let under_way = self.in_flight.now();
        info!(under_way, drain_secs = drain.as_secs(), "stopping");
        // The receivers are gone only if the services are.
        let _ = self.stop.send(true);
        let none = async {
            let _ = tokio::time::timeout(drain, self.in_flight.none()).await;
        };
        self.runtimes.wait(none);
        self.workers.end();
        // Until here leases are renewed and the admin port answers.
        let _ = self.end.send(true);
        let ended = async {
            let _ = tokio::time::timeout(TASKS_END_WITHIN, join_all(self.tasks)).await;
        };
        self.runtimes.wait(ended);
        self.runtimes.end();
        if let Some((stopper, thread)) = self.log {
            stopper.stop();
            // A panic of the log's thread was already reported by the thread.
            let _ = thread.join();
        }
        info!("stopped");
    }
}

fn address(socket: &TcpListener) -> Result<SocketAddr, StartError> {
    socket.local_addr().map_err(|error| StartError::Io("a bound socket".to_owned(), error))
}

type LogThread = Option<(Stopper, std::thread::JoinHandle<()>)>;

/// Opens the access log and starts the thread that writes it.
fn open_log(target: &access::Target) -> Result<(AccessLog, LogThread), StartError> {
    let mut out: Box<dyn io::Write + Send> = match target {
        access::Target::Off => return Ok((AccessLog::default(), None)),
        access::Target::Stdout => Box::new(io::stdout()),
        access::Target::File(path) => {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(&path.0);
            let failed = |error| StartError::Io(format!("the access log {path}"), error);
            Box::new(file.map_err(failed)?)
        }
    };
    let (log, writer) = AccessLog::open();
    let stopper = writer.stopper();
    let thread = std::thread::Builder::new().name("access log".to_owned()).spawn(move || {
        if let Err(error) = writer.run(&mut *out) {
            tracing::error!(%error, "the access log can't be written; lines are dropped");
        }
    });
    let thread = thread.map_err(|error| StartError::Io("a thread for the log".into(), error))?;
    Ok((log, Some((stopper, thread))))
}
