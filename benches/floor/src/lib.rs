//! A bare Pingora proxy: one fixed upstream, no filter, no log, Pingora's own defaults.
//! Not a gateway. Its flags change one setting at a time, to learn what that setting is worth.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use clap::Parser;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

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
    /// Give every session and peer the timeouts that an edge needs.
    #[arg(long)]
    timeouts: bool,
}

struct Floor {
    upstream: SocketAddr,
    template: Option<HttpPeer>,
    proxy_tasks: bool,
    timeouts: bool,
}

fn peer(upstream: SocketAddr, timeouts: bool) -> HttpPeer {
    use std::time::Duration;
    let mut peer = HttpPeer::new(upstream, false, String::new());
    if timeouts {
        peer.options.connection_timeout = Some(Duration::from_secs(2));
        peer.options.read_timeout = Some(Duration::from_secs(30));
        peer.options.write_timeout = Some(Duration::from_secs(30));
        peer.options.idle_timeout = Some(Duration::from_secs(50));
    }
    peer
}

#[async_trait]
impl ProxyHttp for Floor {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn early_request_filter(&self, session: &mut Session, _: &mut ()) -> Result<()> {
        if self.proxy_tasks {
            session.set_proxy_tasks_enabled(true);
        }
        if self.timeouts {
            session.set_keepalive(Some(60));
            session.set_write_timeout(Some(std::time::Duration::from_secs(30)));
        }
        Ok(())
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(match &self.template {
            Some(template) => template.clone(),
            None => peer(self.upstream, self.timeouts),
        }))
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
    let floor = Floor {
        upstream: flags.upstream,
        template: flags
            .peer_template
            .then(|| peer(flags.upstream, flags.timeouts)),
        proxy_tasks: flags.proxy_tasks,
        timeouts: flags.timeouts,
    };
    let mut service = http_proxy_service(&Arc::clone(&server.configuration), floor);
    let buffers = L4BufferSettings {
        read: flags.read_buffer,
        write: flags.write_buffer,
    };
    service.add_listener(ListenerConfig::tcp(flags.listen.to_string()).l4_buffer(buffers));
    server.add_service(service);
    server.run_forever();
}
