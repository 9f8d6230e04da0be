//! Stores: where leases live, and where it stands which sessions are still active.
//!
//! The protocol of leases is the library's; here is what the gateway asks beside it, and the memory
//! of the answers.

mod activity;
mod errand;
mod known;
mod mark;
mod memory;
mod question;
mod slide;
mod tls;
mod url;

pub use activity::{Activity, Ended};
pub use errand::{Figures, Runner};
pub use memory::MemorySessions;
pub use url::Url;

use crate::problem::{Place, Problem};
use crate::session::Session;
use crate::units::Time;
use crate::yaml::At;
use errand::Errands;
use known::Known;
use mark::Mark;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use streamgate_lease::LeaseStore;
use streamgate_lease::memory::MemoryStore;
use streamgate_lease::redis::{Client, Deadlines, Event, Notice, RedisStore, Subscription, Tls};

/// One store as the file has it.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `memory:`, for one gateway alone, or where one Redis, a cluster or its sentinels are.
    pub url: At<Url>,
    /// For addresses that begin with `rediss`.
    pub tls: Option<At<tls::Config>>,
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// All that makes two stores the same.
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
        Ok(Settings { name: name.to_owned(), url, tls, timeouts: config.timeouts })
    }
}

/// How long a store may take before what its policies say for its failure holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// To connect and to be admitted.
    pub connect: Time,
    /// To answer one question, which a request waits for.
    pub command: Time,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect: Time::ms(250), command: Time::ms(50) }
    }
}

/// The channel on which it is told that a session was ended, by its id, or all of an account.
const REVOKED_CHANNEL: &str = "sg:revoked";

/// An open store. Opening connects to nothing; the first question does.
pub struct Store {
    pub name: String,
    settings: Settings,
    kind: Kind,
    known: Arc<Known>,
    errands: Errands,
}

enum Kind {
    Memory { sessions: MemorySessions, leases: Arc<MemoryStore> },
    Redis { links: Arc<Client>, leases: Arc<RedisStore> },
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Store {
    /// A problem is one with the certificates that the settings hold.
    pub fn open(settings: Settings) -> Result<Self, Problem> {
        let known = Arc::new(Known::default());
        let kind = match &settings.url {
            Url::Memory => Kind::Memory {
                sessions: MemorySessions::new(Arc::clone(&known)),
                leases: Arc::new(MemoryStore::default()),
            },
            Url::Redis(address) => {
                let Timeouts { connect, command } = settings.timeouts;
                let deadlines = Deadlines { connect: connect.0, command: command.0 };
                let links = Client::with_tls(address, deadlines, &settings.tls).map_err(|why| {
                    let text = format!("the store {}: {why}", settings.name);
                    Problem::at(Place::default(), text).help("write files in the PEM format")
                })?;
                let links = Arc::new(links);
                Kind::Redis { leases: Arc::new(RedisStore::new(Arc::clone(&links))), links }
            }
        };
        let errands = Errands::default();
        Ok(Store { name: settings.name.clone(), settings, kind, known, errands })
    }

    /// What the store said of the session in the last seconds, if it was asked.
    pub fn was_active(&self, session: &str) -> Option<bool> {
        self.known.find(session)
    }

    /// Tells this store from another, also from one of the same name at another address.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its address as it may be shown.
    pub fn url(&self) -> &Url {
        &self.settings.url
    }

    /// Whether no other process can write to it.
    pub fn is_unwritable(&self) -> bool {
        self.settings.url == Url::Memory
    }

    /// Where leases are kept.
    pub fn leases(&self) -> Arc<dyn LeaseStore> {
        match &self.kind {
            Kind::Memory { leases, .. } => Arc::clone(leases) as Arc<dyn LeaseStore>,
            Kind::Redis { leases, .. } => Arc::clone(leases) as Arc<dyn LeaseStore>,
        }
    }

    /// The embedded session store, for whoever writes sessions from within this process.
    pub fn memory_sessions(&self) -> Option<&MemorySessions> {
        match &self.kind {
            Kind::Memory { sessions, .. } => Some(sessions),
            Kind::Redis { .. } => None,
        }
    }

    /// Streams that other gateways ended: must be listened to while the gateway runs.
    pub fn endings(&self) -> Option<Endings> {
        match &self.kind {
            Kind::Memory { .. } => None,
            Kind::Redis { links, .. } => {
                Some(Endings(Subscription::new(Arc::clone(links), Notice::CHANNEL)))
            }
        }
    }

    /// What writes uses of sessions: must be run while the gateway runs, by one task.
    pub fn runner(self: &Arc<Self>) -> Option<Runner> {
        self.errands.runner(self)
    }

    /// What became of uses of sessions.
    pub fn figures(&self) -> Figures {
        self.errands.figures()
    }

    /// What keeps the memory of answers true: must be run while the gateway runs.
    pub fn revocations(&self) -> Option<Revocations> {
        match &self.kind {
            Kind::Memory { .. } => None,
            Kind::Redis { links, .. } => Some(Revocations {
                feed: Subscription::new(Arc::clone(links), REVOKED_CHANNEL),
                known: Arc::clone(&self.known),
                is_up: false,
            }),
        }
    }
}

/// Listens to sessions being ended.
pub struct Revocations {
    feed: Subscription,
    known: Arc<Known>,
    is_up: bool,
}

impl Revocations {
    /// Waits until the store came within reach or was lost, and tells which; forgets sessions that
    /// are revoked meanwhile.
    pub async fn until_changed(&mut self) -> bool {
        loop {
            match self.feed.next().await {
                Event::Message(message) => {
                    let message = String::from_utf8_lossy(&message);
                    // Both, because a session may be called whatever an issuer likes.
                    self.known.forget(&message);
                    if let Some(mark) = Mark::heard(&message) {
                        self.known.forget_account(mark.tag());
                    }
                }
                Event::Subscribed => {
                    // What was published while nobody listened is lost: trust nothing older.
                    self.known.forget_all();
                    self.is_up = true;
                    return true;
                }
                Event::Interrupted(_) => {
                    self.is_up = false;
                    return false;
                }
            }
        }
    }
}

/// Listens to streams being ended through other gateways.
pub struct Endings(Subscription);

impl Endings {
    /// The next one. What is missed while the store is out of reach, the renewers find out.
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

#[cfg(test)]
mod tests;
