//! Stores: where leases live, and where it stands which sessions are still active.
//!
//! The protocol of leases is the library's; here is what the gateway asks beside it, and the memory
//! of the answers.

mod known;
mod memory;

pub use memory::MemorySessions;

use crate::units::Time;
use crate::yaml::{At, Scalar, scalars};
use known::Known;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use streamgate_lease::memory::MemoryStore;
use streamgate_lease::redis::{Deadlines, Feed, Link, News, Notice, RedisStore};
use streamgate_lease::{LeaseStore, StoreError};

/// One store as the file has it.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `memory:`, for one gateway alone, or `redis://[user:password@]host:port[/db]`.
    pub url: At<Url>,
    #[serde(default)]
    pub timeouts: Timeouts,
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

/// The address of a store. Its password is never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Url {
    Memory,
    Redis(String),
}

impl Scalar for Url {
    const KIND: &'static str = "the address of a store";
    const EXAMPLE: &'static str = "memory:";
    const EXPECTED: &'static str = "`memory:` or `redis://[user:password@]host:port[/db]`";

    fn read(text: &str) -> Result<Self, String> {
        match text.split_once(':').map(|(scheme, _)| scheme) {
            Some("memory") if text == "memory:" => Ok(Url::Memory),
            Some("redis") if Link::new(text).is_ok() => Ok(Url::Redis(text.to_owned())),
            Some("rediss" | "redis+cluster" | "redis+sentinel") => {
                Err("this version speaks to one Redis server without TLS".to_owned())
            }
            // Not repeated: it may hold a password.
            _ => Err("this is not the address of a store".to_owned()),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Url::Memory => f.write_str("memory:"),
            Url::Redis(url) => match (url.find("://"), url.rfind('@')) {
                (Some(scheme), Some(at)) => write!(f, "{}://***{}", &url[..scheme], &url[at..]),
                _ => f.write_str(url),
            },
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

scalars!(Url);

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Url {
    fn schema_name() -> Cow<'static, str> {
        "StoreUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": Url::EXPECTED })
    }
}

/// The key under which the auth service writes an active session.
const SESSION_KEY: &str = "sg:session:";

/// The channel on which it tells that one was ended: the message is the session's id.
const REVOKED_CHANNEL: &str = "sg:revoked";

/// An open store. Opening connects to nothing; the first question does.
pub struct Store {
    pub name: String,
    url: Url,
    kind: Kind,
    known: Arc<Known>,
}

enum Kind {
    Memory { sessions: MemorySessions, leases: Arc<MemoryStore> },
    Redis { link: Arc<Link>, leases: Arc<RedisStore> },
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Store {
    pub fn new(name: &str, url: &Url, timeouts: &Timeouts) -> Self {
        let known = Arc::new(Known::default());
        let kind = match url {
            Url::Memory => Kind::Memory {
                sessions: MemorySessions::new(Arc::clone(&known)),
                leases: Arc::new(MemoryStore::default()),
            },
            Url::Redis(url) => {
                let Timeouts { connect, command } = timeouts;
                let deadlines = Deadlines { connect: connect.0, command: command.0 };
                let link = Link::with(url, deadlines).expect("the URL was read as one");
                let link = Arc::new(link);
                Kind::Redis { leases: Arc::new(RedisStore::new(Arc::clone(&link))), link }
            }
        };
        Store { name: name.to_owned(), url: url.clone(), kind, known }
    }

    /// Whether the session is active: told at once if that was asked in the last seconds, else one
    /// round trip.
    pub async fn is_active(&self, session: &str) -> Result<bool, StoreError> {
        if let Some(answer) = self.known.find(session) {
            return Ok(answer);
        }
        // Taken before asking: a revocation that comes meanwhile outdates the answer.
        let epoch = self.known.epoch();
        let answer = match &self.kind {
            Kind::Memory { sessions, .. } => sessions.is_active(session),
            Kind::Redis { link, .. } => link.exists(&format!("{SESSION_KEY}{session}")).await?,
        };
        self.known.enter(session, answer, epoch);
        Ok(answer)
    }

    /// Tells this store from another, also from one of the same name at another address.
    pub fn key(&self) -> String {
        match &self.url {
            Url::Memory => format!("{} memory:", self.name),
            Url::Redis(url) => format!("{} {url}", self.name),
        }
    }

    /// Its address as it may be shown.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether no other process can write to it.
    pub fn is_unwritable(&self) -> bool {
        self.url == Url::Memory
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
            Kind::Redis { link, .. } => Some(Endings(link.subscribe(Notice::CHANNEL))),
        }
    }

    /// What keeps the memory of answers true: must be run while the gateway runs.
    pub fn revocations(&self) -> Option<Revocations> {
        match &self.kind {
            Kind::Memory { .. } => None,
            Kind::Redis { link, .. } => Some(Revocations {
                feed: link.subscribe(REVOKED_CHANNEL),
                known: Arc::clone(&self.known),
                is_up: false,
            }),
        }
    }
}

/// Listens to sessions being ended.
pub struct Revocations {
    feed: Feed,
    known: Arc<Known>,
    is_up: bool,
}

impl Revocations {
    /// Waits until the store came within reach or was lost, and tells which; forgets sessions that
    /// are revoked meanwhile.
    pub async fn until_changed(&mut self) -> bool {
        loop {
            match self.feed.next().await {
                News::Message(id) => self.known.forget(&String::from_utf8_lossy(&id)),
                News::Listening => {
                    // What was published while nobody listened is lost: trust nothing older.
                    self.known.forget_all();
                    self.is_up = true;
                    return true;
                }
                News::Interrupted(_) => {
                    self.is_up = false;
                    return false;
                }
            }
        }
    }
}

/// Listens to streams being ended through other gateways.
pub struct Endings(Feed);

impl Endings {
    /// The next one. What is missed while the store is out of reach, the keepers find out.
    pub async fn next(&mut self) -> Notice {
        loop {
            if let News::Message(message) = self.0.next().await
                && let Some(notice) = Notice::parse(&message)
            {
                return notice;
            }
        }
    }
}
