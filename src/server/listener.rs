//! What every worker opens for clients: Pingora's accept loop on each bound socket, with the edge
//! and the proxy behind it.
//!
//! This is where a listener's settings become Pingora's. What happens on an accepted connection,
//! TLS included, is the edge's business.

use super::worker::Job;
use crate::edge::{Edge, InFlight, Listener, OpenConnections};
use crate::gateway::Gateway;
use crate::observe::Observe;
use crate::proxy::Proxy;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::Fds;
use pingora::server::configuration::ServerConf;
use pingora::services::{Service as _, listening::Service};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use tokio::sync::watch;

/// Unused connections to upstreams that are kept, per worker. Pingora's 128 are few for an edge:
/// below the number of requests under way, connections are closed and opened again all the time.
const UPSTREAM_POOL_PER_WORKER: usize = 1_024;

/// What is read ahead from a client's connection (`benches/README.md`).
const CONNECTION_READ_BYTES: usize = 1_024;

/// Makes the accept loops of listeners.
#[derive(Clone)]
pub(super) struct ListenerFactory {
    pub(super) live: Arc<ArcSwap<Gateway>>,
    pub(super) observe: Observe,
    pub(super) in_flight: InFlight,
    pub(super) open: OpenConnections,
}

impl ListenerFactory {
    /// One worker's accept loop of `listener`, on its own handle of the socket. It ends when
    /// `stopped` turns true.
    pub(super) fn job(
        &self,
        listener: &Arc<Listener>,
        socket: &TcpListener,
        stopped: &watch::Receiver<bool>,
    ) -> io::Result<Job> {
        let address = socket.local_addr()?;
        let mut service = self.service(listener, address);
        let (fds, stopped) = (fds(address, socket.try_clone()?), stopped.clone());
        Ok(Box::pin(async move { service.start_service(Some(fds), stopped, 1).await }))
    }

    /// The accept loop of `listener`, which is bound to `address`.
    fn service(&self, listener: &Arc<Listener>, address: SocketAddr) -> Service<App> {
        let conf = Arc::new(ServerConf {
            threads: 1,
            upstream_keepalive_pool_size: UPSTREAM_POOL_PER_WORKER,
            ..ServerConf::default()
        });
        let proxy = Proxy {
            live: self.live.clone(),
            observe: self.observe.clone(),
            listener: listener.clone(),
            in_flight: self.in_flight.clone(),
        };
        let proxy = http_proxy(&conf, proxy);
        let app = Edge::new(proxy, listener.clone(), self.observe.clone(), self.open.clone());
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
