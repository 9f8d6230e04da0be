//! What every worker opens for clients: Pingora's accept loop on each bound socket, with the edge
//! and the proxy behind it.
//!
//! This is where a listener's settings become Pingora's. What happens on an accepted connection,
//! TLS included, is the edge's business.

use super::bind;
use super::socket::ListeningSocket;
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
use socket2::SockRef;
use std::fs;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
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
    ///
    /// Pingora looks for a socket under the name of its place, which is one of its own here: so no
    /// worker waits for another. With a socket of Unix it changes the mode of the file at that
    /// place, too, to one that lets everybody in; so it is shown a file that nobody sees.
    pub(super) fn job(
        &self,
        listener: &Arc<Listener>,
        socket: &ListeningSocket,
        stopped: &watch::Receiver<bool>,
    ) -> io::Result<Job> {
        let (accepting, socket) = (socket.again()?, socket.again()?);
        let decoy = UnixDatagram::unbound()?;
        let (place, endpoint) = match &accepting {
            ListeningSocket::Tcp(_) => {
                let place = format!("{} {}", accepting.address()?, accepting.as_fd().as_raw_fd());
                (place.clone(), ListenerConfig::tcp(place))
            }
            ListeningSocket::Unix(..) => {
                let place = format!("/proc/self/fd/{}", decoy.as_raw_fd());
                // It is looked for here, where an error can be told.
                fs::symlink_metadata(&place)?;
                (place.clone(), ListenerConfig::uds(place))
            }
        };
        let mut service = self.service(listener, endpoint);
        let mut fds = Fds::new();
        fds.add(place, accepting.into_raw_fd());
        let (fds, stopped) = (Arc::new(Mutex::new(fds)), stopped.clone());
        let backlog = bind::backlog(&listener.socket);
        Ok(Box::pin(async move {
            let _decoy = decoy;
            let mut serving = pin!(service.start_service(Some(fds), stopped, 1));
            // Pingora takes the socket in the first poll, and asks for a backlog of its own.
            let is_over = poll_fn(|task| Poll::Ready(serving.as_mut().poll(task).is_ready())).await;
            // What could be asked for when it was bound can be asked for again.
            let _ = SockRef::from(&socket).listen(backlog);
            drop(socket);
            if !is_over {
                serving.await;
            }
        }))
    }

    /// The accept loop of `listener` on this endpoint.
    fn service(&self, listener: &Arc<Listener>, endpoint: ListenerConfig) -> Service<App> {
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
        service.add_listener(endpoint.l4_buffer(buffer));
        service
    }
}

type App = Edge<HttpProxy<Proxy>>;
