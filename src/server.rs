//! Runs a gateway: binds its addresses, starts its runtimes and tasks, and stops them in order.
//!
//! The only room that spawns. Pingora's own `Server` is not used: it would take the signals and the
//! process for itself, and one process could not hold two gateways.

mod bind;
mod task;
mod worker;

use crate::admin::{self, Admin};
use crate::config::Loaded;
use crate::edge::{Edge, InFlight, Listener};
use crate::fetch;
use crate::gateway::{Gateway, Shared};
use crate::metrics::Metrics;
use crate::observe::{AccessLog, Observe, Stopper, access};
use crate::problem::Report;
use crate::proxy::Proxy;
use arc_swap::ArcSwap;
use bind::Taken;
use futures_util::future::join_all;
use parking_lot::Mutex;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::prelude::fast_timeout::set_fast_timeout_to_tokio_threshold;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::Fds;
use pingora::server::configuration::ServerConf;
use pingora::services::{Service as _, listening::Service};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::time::Duration;
use task::{Aside, House};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::info;
use worker::{Job, Workers};

/// How long that may take to end; someone may be connected to the admin port.
const HOUSE_ENDS_WITHIN: Duration = Duration::from_secs(1);

/// Unused connections to upstreams that are kept, per worker. Pingora's 128 are few for an edge:
/// below the number of requests under way, connections are closed and opened again all the time.
const UPSTREAM_POOL_PER_WORKER: usize = 1_024;

/// Pingora's own timers are for shorter waits than any of ours. They read the clock whether or not
/// there is anything to wait for, and stay until they are due; tokio's cost nothing then, and go
/// when the wait is over (`benches/README.md`).
const PINGORA_TIMERS_MAX: Duration = Duration::ZERO;

/// What is read ahead from a client's connection (`benches/README.md`).
const CONNECTION_READ_BYTES: usize = 1_024;

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Config(Report),
    #[error(transparent)]
    Taken(#[from] Taken),
    #[error("{0}: {1}")]
    Io(String, io::Error),
}

/// A gateway that runs. Dropped without `stop`, it is cut off.
pub struct Running {
    /// Each listener's name and the address it really has.
    pub listeners: Vec<(String, SocketAddr)>,
    pub admin: SocketAddr,
    pub shared: Arc<Shared>,
    pub metrics: Metrics,
    /// What was said of the configuration that still runs.
    pub warnings: Report,
    /// No new connections.
    stop: watch::Sender<bool>,
    /// All is done.
    end: watch::Sender<bool>,
    admin_state: Arc<Admin>,
    in_flight: InFlight,
    workers: Workers,
    tasks: Vec<JoinHandle<()>>,
    aside: Aside,
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
    let bound: Vec<(Arc<Listener>, TcpListener)> = bound.collect::<Result<_, Taken>>()?;
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
    let door = Door { live: live.clone(), observe: observe.clone(), in_flight, stopped };
    let jobs = (0..config.workers.number()).map(|_| door.job(&bound));
    let jobs = jobs.collect::<io::Result<Vec<Job>>>();
    let threads = |error| StartError::Io("the workers".to_owned(), error);
    let workers = jobs.and_then(Workers::start).map_err(threads)?;
    let aside = Aside::start().map_err(threads)?;
    let in_flight = door.in_flight;
    let admin_state = Arc::new(Admin::new(
        &loaded.config,
        live.clone(),
        &shared,
        observe.clone(),
        in_flight.clone(),
    ));
    let (end, ended) = watch::channel(false);
    let mut house = House::new(&aside, ended, observe);
    house.keep(&shared, &live.load(), &admin_state);
    house.serve_admin(admin_socket, admin::router(Arc::clone(&admin_state)));
    let tasks = house.tasks();
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
        aside,
        log,
    })
}

impl Running {
    /// Waits until the process is asked to end: SIGTERM or Ctrl-C.
    pub fn wait_for_signal(&self) -> io::Result<()> {
        self.aside.wait(async {
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
        self.aside.wait(none);
        self.workers.end();
        // Until here leases are kept and the admin port tells what goes on.
        let _ = self.end.send(true);
        let ended = async {
            let _ = tokio::time::timeout(HOUSE_ENDS_WITHIN, join_all(self.tasks)).await;
        };
        self.aside.wait(ended);
        self.aside.end();
        if let Some((stopper, thread)) = self.log {
            stopper.stop();
            // A panic of the log's thread was already told by itself.
            let _ = thread.join();
        }
        info!("stopped");
    }
}

fn address(socket: &TcpListener) -> Result<SocketAddr, StartError> {
    socket.local_addr().map_err(|error| StartError::Io("a bound socket".to_owned(), error))
}

/// What every worker opens for clients.
struct Door {
    live: Arc<ArcSwap<Gateway>>,
    observe: Observe,
    in_flight: InFlight,
    stopped: watch::Receiver<bool>,
}

impl Door {
    /// One worker's accept loops, one per listener, each on its own handle of the socket.
    fn job(&self, bound: &[(Arc<Listener>, TcpListener)]) -> io::Result<Job> {
        let mut services = Vec::new();
        for (listener, socket) in bound {
            let address = socket.local_addr()?;
            services.push((self.service(listener, address), fds(address, socket.try_clone()?)));
        }
        let stopped = self.stopped.clone();
        Ok(Box::pin(async move {
            let loops = services.iter_mut().map(|(service, fds)| {
                service.start_service(Some(Arc::clone(fds)), stopped.clone(), 1)
            });
            join_all(loops).await;
        }))
    }

    fn service(&self, listener: &Arc<Listener>, address: SocketAddr) -> Service<App> {
        let conf = Arc::new(ServerConf {
            threads: 1,
            upstream_keepalive_pool_size: UPSTREAM_POOL_PER_WORKER,
            ..ServerConf::default()
        });
        let proxy = Proxy::new(self.live.clone(), self.observe.clone(), listener.clone());
        let proxy = http_proxy(&conf, proxy);
        let (observe, in_flight) = (self.observe.clone(), self.in_flight.clone());
        let app = Edge::new(proxy, listener.clone(), observe, in_flight);
        let mut service = Service::new(listener.name.to_string(), app);
        // Pingora's 64 KiB would be held by every silent client; requests are read into a buffer of
        // their own anyway. This much lets the first byte and the rest of a head come in one call.
        // The write buffer stays: it joins a head and a small body in one packet.
        let buffer = L4BufferSettings::default().read(CONNECTION_READ_BYTES);
        service.add_listener(ListenerConfig::tcp(address.to_string()).l4_buffer(buffer));
        service
    }
}

type App = Edge<HttpProxy<Proxy>>;

/// Hands a bound socket to Pingora, which looks for it under its address.
fn fds(address: SocketAddr, socket: TcpListener) -> Arc<Mutex<Fds>> {
    let mut fds = Fds::new();
    fds.add(address.to_string(), socket.into_raw_fd());
    Arc::new(Mutex::new(fds))
}

type LogThread = Option<(Stopper, std::thread::JoinHandle<()>)>;

/// Opens the access log and starts the thread that writes it.
fn open_log(target: &access::Target) -> Result<(AccessLog, LogThread), StartError> {
    let mut out: Box<dyn io::Write + Send> = match target {
        access::Target::Off => return Ok((AccessLog::default(), None)),
        access::Target::Stdout => Box::new(io::stdout()),
        access::Target::File(path) => {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(&path.0);
            let told = |error| StartError::Io(format!("the access log {path}"), error);
            Box::new(file.map_err(told)?)
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
