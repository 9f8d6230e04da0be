//! Stores: the connection to where leases are kept and sessions are written.
//!
//! The protocol of leases is the library's. What the gateway asks and writes about sessions is the
//! room `activity`, which uses the same connection.

mod tls;
mod url;

pub use url::Url;

use crate::problem::{Place, Problem};
use crate::units::Time;
use crate::yaml::At;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use streamgate_lease::LeaseStore;
use streamgate_lease::memory::MemoryStore;
use streamgate_lease::redis::{
    Client, Deadlines, Event, Monitor, Notice, RedisStore, Subscription, Tls,
};

/// One store as the file has it.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Store")]
pub struct Config {
    /// `memory:`, for one gateway alone, or where one Redis, a cluster or its sentinels are.
    pub url: At<Url>,
    /// For addresses that begin with `rediss`.
    pub tls: Option<At<tls::Config>>,
    /// How long the gateway waits for the store.
    #[serde(default = "timeouts")]
    pub timeouts: At<Timeouts>,
}

/// Everything that makes two stores the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    name: String,
    url: Url,
    tls: Tls,
    timeouts: Timeouts,
}

impl Settings {
    /// Reads the files that a store names.
    pub fn compile(name: &str, config: &Config, base_dir: &Path) -> Result<Self, Problem> {
        let url = config.url.value.clone();
        let tls = tls::read(&url, config.tls.as_ref(), base_dir)?;
        let timeouts = config.timeouts.value;
        if let Some(start) = timeouts.start.filter(|start| start.0 < timeouts.command.0) {
            let text =
                format!("a start of {start} is shorter than a command of {}", timeouts.command);
            let help = "a start waits at least as long as any question: raise it, or leave it out";
            return Err(config.timeouts.problem(text).help(help));
        }
        Ok(Settings { name: name.to_owned(), url, tls, timeouts })
    }

    /// A store in this process, with nothing else set.
    #[cfg(test)]
    pub(crate) fn in_process(name: &str) -> Self {
        let (tls, timeouts) = (Tls::default(), Timeouts::default());
        Settings { name: name.to_owned(), url: Url::Memory, tls, timeouts }
    }
}

/// How long a store may take before what its policies say for its failure holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "StoreTimeouts")]
pub struct Timeouts {
    /// To connect and to be admitted.
    pub connect: Time,
    /// To answer one question or renewal. One that is slower is suspected of being away.
    pub command: Time,
    /// What a stream that starts, or a session that must be active, waits for the word of a store
    /// that is slow. Left out: 500 ms, or `command` if that is longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Time>,
}

impl Timeouts {
    /// What `start` is if nothing is said, and `command` is not longer.
    pub const START: Time = Time::ms(500);

    fn deadlines(&self) -> Deadlines {
        let (connect, command) = (self.connect.0, self.command.0);
        let start = self.start.unwrap_or(Self::START).0.max(command);
        Deadlines { connect, command, start }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect: Time::ms(250), command: Time::ms(50), start: None }
    }
}

fn timeouts() -> At<Timeouts> {
    At::unwritten(Timeouts::default())
}

/// An open store. Opening connects to nothing; the first command does.
pub struct Store {
    /// The entry of `stores`.
    pub name: String,
    settings: Settings,
    backend: Backend,
}

enum Backend {
    Memory(Arc<MemoryStore>),
    Redis { client: Arc<Client>, leases: Arc<RedisStore> },
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store. It can fail only because of the certificates that the settings hold.
    pub fn open(settings: Settings) -> Result<Self, Problem> {
        let backend = match &settings.url {
            Url::Memory => Backend::Memory(Arc::new(MemoryStore::default())),
            Url::Redis(address) => {
                let deadlines = settings.timeouts.deadlines();
                let client =
                    Client::with_tls(address, deadlines, &settings.tls).map_err(|why| {
                        let text = format!("the store {}: {why}", settings.name);
                        Problem::at(Place::default(), text).help("write files in the PEM format")
                    })?;
                let client = Arc::new(client);
                Backend::Redis { leases: Arc::new(RedisStore::new(Arc::clone(&client))), client }
            }
        };
        Ok(Store { name: settings.name.clone(), settings, backend })
    }

    /// Tells this store from another, also from one of the same name at another address.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its address as it may be shown.
    pub fn url(&self) -> &Url {
        &self.settings.url
    }

    /// Whether it is memory of this process: always there, and no other process writes to it.
    pub fn is_in_process(&self) -> bool {
        matches!(self.backend, Backend::Memory(_))
    }

    /// Where leases are kept.
    pub fn leases(&self) -> Arc<dyn LeaseStore> {
        match &self.backend {
            Backend::Memory(leases) => Arc::clone(leases) as Arc<dyn LeaseStore>,
            Backend::Redis { leases, .. } => Arc::clone(leases) as Arc<dyn LeaseStore>,
        }
    }

    /// The connections to Redis, for other commands than those of leases; `None` in memory.
    pub fn client(&self) -> Option<&Arc<Client>> {
        match &self.backend {
            Backend::Memory(_) => None,
            Backend::Redis { client, .. } => Some(client),
        }
    }

    /// What finds out whether the store serves: a task must drive it while the gateway runs.
    pub fn monitor(&self) -> Option<Monitor> {
        Some(Monitor::new(Arc::clone(self.client()?)))
    }

    /// What a question to it may take.
    pub fn deadlines(&self) -> Deadlines {
        self.settings.timeouts.deadlines()
    }

    /// Streams that other gateways ended: a task must listen while the gateway runs.
    pub fn endings(&self) -> Option<Endings> {
        let client = Arc::clone(self.client()?);
        Some(Endings(Subscription::new(client, Notice::CHANNELS)))
    }
}

/// Listens to streams being ended through other gateways.
pub struct Endings(Subscription);

impl Endings {
    /// The next one. What is missed while the store is out of reach, renewals find out.
    pub async fn next(&mut self) -> Notice {
        loop {
            if let Event::Message(message) = self.0.next().await
                && let Some(notice) = Notice::parse(&message)
            {
                return notice;
            }
        }
    }
}
