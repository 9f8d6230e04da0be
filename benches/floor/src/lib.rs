//! A bare Pingora proxy: one fixed upstream, no filter, no log, Pingora's own defaults.
//! Not a gateway. Its flags change one setting at a time, to learn what that setting is worth.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use clap::{Parser, ValueEnum};
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::prelude::*;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;

use crate::frugal::Frugal;

mod frugal;

/// One value per setting that Pingora lets us choose; what is not given keeps Pingora's default.
#[derive(Debug, Parser)]
struct Flags {
    /// Where to listen.
    listen: SocketAddr,
    /// Where every request goes.
    upstream: SocketAddr,
    /// Threads of the proxy service.
    #[arg(long)]
    threads: Option<usize>,
    /// Current-thread runtimes instead of tokio's work-stealing one.
    #[arg(long)]
    no_steal: bool,
    /// Bytes of the read buffer of each client connection.
    #[arg(long)]
    read_buffer: Option<usize>,
    /// Bytes of the write buffer of each client connection.
    #[arg(long)]
    write_buffer: Option<usize>,
    /// Idle upstream connections kept.
    #[arg(long)]
    pool: Option<usize>,
    /// Upstream reads and client writes take turns in separate steps.
    #[arg(long)]
    proxy_tasks: bool,
    /// Clone a prepared peer instead of building one per request.
    #[arg(long)]
    peer_template: bool,
    /// Close a client connection that waits for a minute.
    #[arg(long)]
    keepalive: bool,
    /// Give up a client that takes nothing for half a minute.
    #[arg(long)]
    write_timeout: bool,
    /// Timeouts that an edge needs on its peers.
    #[arg(long, value_delimiter = ',')]
    peer_timeouts: Vec<PeerTimeout>,
    /// Hold no session while a client only waits (see `frugal`).
    #[arg(long)]
    frugal: bool,
}

/// A timeout of an upstream connection.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum PeerTimeout {
    Connect,
    Read,
    Write,
    Idle,
}

struct Floor {
    flags: Flags,
    template: HttpPeer,
}

fn peer(flags: &Flags) -> HttpPeer {
    let mut peer = HttpPeer::new(flags.upstream, false, String::new());
    for timeout in &flags.peer_timeouts {
        let (slot, span) = match timeout {
            PeerTimeout::Connect => (&mut peer.options.connection_timeout, 2),
            PeerTimeout::Read => (&mut peer.options.read_timeout, 30),
            PeerTimeout::Write => (&mut peer.options.write_timeout, 30),
            PeerTimeout::Idle => (&mut peer.options.idle_timeout, 50),
        };
        *slot = Some(Duration::from_secs(span));
    }
    peer
}

#[async_trait]
impl ProxyHttp for Floor {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn early_request_filter(&self, session: &mut Session, _: &mut ()) -> Result<()> {
        if self.flags.proxy_tasks {
            session.set_proxy_tasks_enabled(true);
        }
        if self.flags.keepalive {
            session.set_keepalive(Some(60));
        }
        if self.flags.write_timeout {
            session.set_write_timeout(Some(Duration::from_secs(30)));
        }
        Ok(())
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        let prepared = self.flags.peer_template;
        Ok(Box::new(if prepared { self.template.clone() } else { peer(&self.flags) }))
    }
}

fn conf(flags: &Flags) -> ServerConf {
    let mut conf = ServerConf::default();
    if let Some(threads) = flags.threads {
        conf.threads = threads;
    }
    if let Some(pool) = flags.pool {
        conf.upstream_keepalive_pool_size = pool;
    }
    conf.work_stealing = !flags.no_steal;
    conf
}

/// Serves until it is killed. Reads its flags from the command line.
pub fn run() {
    let flags = Flags::parse();
    let mut server = Server::new_with_opt_and_conf(None, conf(&flags));
    server.bootstrap();
    let buffers = L4BufferSettings { read: flags.read_buffer, write: flags.write_buffer };
    let listener = ListenerConfig::tcp(flags.listen.to_string()).l4_buffer(buffers);
    let frugal = flags.frugal;
    let floor = Floor { template: peer(&flags), flags };
    if frugal {
        let app = Frugal::new(http_proxy(&server.configuration, floor));
        let mut service = Service::new("frugal".to_owned(), app);
        service.add_listener(listener);
        server.add_service(service);
    } else {
        let mut service = http_proxy_service(&server.configuration, floor);
        service.add_listener(listener);
        server.add_service(service);
    }
    server.run_forever();
}
