//! Looks host names up: A, AAAA and SRV, in `/etc/hosts` and at name servers.
//!
//! The system's own call for that is not used: it tells no TTL, knows no SRV and blocks a thread.
//! Nothing here is asked on a request's way. A [`Follower`] looks one name up again and again and
//! keeps the last good answer; whoever uses names owns followers and decides what a change means.

mod follower;
mod target;
mod lookup;

pub use follower::{Follower, Lookup};
pub use lookup::{Found, LookupError};
pub use target::{HostName, Target};

use crate::problem::Problem;
use crate::units::{Address, Time};
use crate::yaml::At;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts};
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, TokioResolver};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How host names are looked up: `resolver` in the file.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Resolver")]
pub struct Config {
    /// The name servers; left out: those of `/etc/resolv.conf`.
    pub servers: Vec<At<Address>>,
    /// How long one look-up may take, second tries included.
    pub timeout: Time,
    /// An answer counts at least so long, however short its TTL is.
    pub ttl_min: At<Time>,
    /// An answer counts at most so long, however long its TTL is.
    pub ttl_max: At<Time>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            servers: Vec::new(),
            timeout: Time::secs(4),
            ttl_min: At::unwritten(Time::secs(1)),
            ttl_max: At::unwritten(Time::secs(30)),
        }
    }
}

impl Config {
    /// The resolver that this entry describes. It asks nobody yet.
    pub fn compile(&self) -> Result<Resolver, Problem> {
        if self.ttl_max.0 < self.ttl_min.0 {
            let (min, max) = (self.ttl_min.value, self.ttl_max.value);
            let text = format!("`ttl_max` ({max}) is less than `ttl_min` ({min})");
            let place = if self.ttl_max.place.line == 0 { &self.ttl_min } else { &self.ttl_max };
            return Err(place.problem(text).help("let `ttl_max` be at least `ttl_min`"));
        }
        let settings = Settings {
            servers: self.servers.iter().map(|server| server.0).collect(),
            timeout: self.timeout.0,
            ttl_min: self.ttl_min.0,
            ttl_max: self.ttl_max.0,
        };
        Ok(Resolver(Arc::new(Inner { settings, open: Mutex::default() })))
    }
}

#[derive(Debug)]
struct Settings {
    /// Empty: those of the system.
    servers: Vec<SocketAddr>,
    timeout: Duration,
    ttl_min: Duration,
    ttl_max: Duration,
}

/// Looks names up. A clone is the same resolver.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    settings: Settings,
    open: Mutex<Option<(Instant, Arc<Open>)>>,
}

impl Default for Resolver {
    fn default() -> Self {
        Config::default().compile().expect("the defaults fit together")
    }
}

/// What the system says about names, as it was read last.
struct Open {
    hosts: Hosts,
    servers: TokioResolver,
    /// Why the system names no servers.
    unread: Option<String>,
}

/// `/etc/hosts` and `/etc/resolv.conf` are read again after this: both change under a process that
/// runs long.
const REREAD_AFTER: Duration = Duration::from_secs(5);

/// A lost packet leaves time for another.
const ATTEMPTS: usize = 2;

impl Resolver {
    /// How long one look-up may take.
    pub fn timeout(&self) -> Duration {
        self.0.settings.timeout
    }

    fn ttl_min(&self) -> Duration {
        self.0.settings.ttl_min
    }

    fn ttl_max(&self) -> Duration {
        self.0.settings.ttl_max
    }

    /// The system's answers and servers, read again if that was long ago.
    fn open(&self) -> Result<Arc<Open>, LookupError> {
        let mut open = self.0.open.lock();
        match &*open {
            Some((read_at, open)) if read_at.elapsed() < REREAD_AFTER => Ok(Arc::clone(open)),
            _ => {
                let new = Arc::new(self.0.settings.open()?);
                *open = Some((Instant::now(), Arc::clone(&new)));
                Ok(new)
            }
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.settings.fmt(f)
    }
}

impl Settings {
    fn open(&self) -> Result<Open, LookupError> {
        // A machine without the file still has its hosts file, and perhaps `servers`.
        let read = read_system_conf();
        let unread = read.as_ref().err().map(|error| format!("/etc/resolv.conf: {error}"));
        let (config, mut options) = read.unwrap_or_default();
        let (domain, search, servers) = config.into_parts();
        let servers = match self.servers.is_empty() {
            true => servers,
            false => self.servers.iter().map(|server| name_server(*server)).collect(),
        };
        self.bound(&mut options);
        let config = ResolverConfig::from_parts(domain, search, servers);
        let provider = TokioRuntimeProvider::default();
        let servers = TokioResolver::builder_with_config(config, provider).with_options(options);
        let servers = servers.build().map_err(|error| LookupError::Failed(error.to_string()))?;
        Ok(Open { hosts: Hosts::from_system().unwrap_or_default(), servers, unread })
    }

    fn bound(&self, options: &mut ResolverOpts) {
        options.attempts = ATTEMPTS - 1;
        options.timeout = self.timeout / ATTEMPTS as u32;
        // Followers know what counts how long; a second memory would only be older.
        options.cache_size = 0;
        // The hosts file is asked before the search list is gone through, here.
        options.use_hosts_file = ResolveHosts::Never;
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.to_vec())
}

#[cfg(test)]
mod tests;
