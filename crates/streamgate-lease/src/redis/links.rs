//! How the servers of a store are reached: the one that has a key, and all of them side by side.
//!
//! One server or a master behind sentinels is one [`Link`]; a cluster is one per primary, each with
//! its own breaker, so a shard that is dead is the trouble of its own accounts. Whatever happens, a
//! question is answered within the two deadlines together.

use super::address::{Address, AddressInvalid, Shape};
use super::cluster::Cluster;
use super::dial::{Access, Dial, Sentinel};
use super::feed::Feed;
use super::link::{Deadlines, Link};
use super::place::Place;
use super::question::Question;
use super::slot;
use super::tls::{Tls, TlsInvalid};
use super::trouble::Trouble;
use crate::store::StoreError;
use ::redis::aio::PubSub;
use ::redis::{Client, Cmd, FromRedisValue, ScriptInvocation, Value, cmd};
use std::fmt;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// The servers of one store. Shared by whoever asks them anything.
pub struct Links {
    address: Address,
    pub(super) deadlines: Deadlines,
    servers: Servers,
}

enum Servers {
    One(Arc<Link>),
    Cluster(Box<Cluster>),
}

/// Those of many questions that one server answers.
pub(super) struct Part {
    pub(super) link: Arc<Link>,
    /// Their places among all of them.
    pub(super) which: Vec<usize>,
    /// Their slots are only on their way there.
    pub(super) asking: bool,
}

impl Links {
    /// The servers at an address, with the default deadlines and the system's roots for TLS.
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// [`AddressInvalid`] if the text is no address.
    pub fn new(url: &str) -> Result<Self, AddressInvalid> {
        Self::with(url, Deadlines::default())
    }

    /// Likewise, with deadlines of its own.
    ///
    /// # Errors
    /// [`AddressInvalid`] if the text is no address.
    pub fn with(url: &str, deadlines: Deadlines) -> Result<Self, AddressInvalid> {
        let address = Address::parse(url)?;
        Self::over(&address, deadlines, &Tls::default()).map_err(|_| AddressInvalid::Host)
    }

    /// The servers at an address. Connects to nothing yet.
    ///
    /// # Errors
    /// [`TlsInvalid`] if certificates or key cannot be read.
    pub fn over(address: &Address, deadlines: Deadlines, tls: &Tls) -> Result<Self, TlsInvalid> {
        let servers = match &address.shape {
            Shape::Cluster => Servers::Cluster(Box::new(Cluster::new(address, deadlines, tls)?)),
            Shape::One => {
                let host = &address.hosts[0];
                let client = Access::new(address, tls).named(host)?;
                let host = Place::named(host).map(|place| place.host).unwrap_or_default();
                Servers::One(Arc::new(Link::new(Dial::Server(client), &host, deadlines)))
            }
            Shape::Sentinel(name) => {
                let access = Access::new(address, tls);
                let sentinel = Sentinel::new(name, access, &address.hosts)?;
                Servers::One(Arc::new(Link::new(Dial::Sentinel(sentinel), "", deadlines)))
            }
        };
        Ok(Self { address: address.clone(), deadlines, servers })
    }

    /// Sends one command about one key to the server that has it.
    ///
    /// # Errors
    /// [`StoreError`] within the deadlines.
    pub async fn query<T: FromRedisValue>(
        &self,
        key: &str,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        let reply = self.ask(slot::of(key), &Question::Command(command)).await?;
        ::redis::from_redis_value(reply)
            .map_err(|_| StoreError::Protocol("an answer of another kind".to_owned()))
    }

    /// Whether a key exists.
    ///
    /// # Errors
    /// [`StoreError`] within the deadlines.
    pub async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        let mut exists = cmd("EXISTS");
        exists.arg(key);
        self.query(key, &exists).await
    }

    /// Runs a script about one key, and those that share its hash tag, on the server that has
    /// them. A script that it does not know (any more) is loaded and run again.
    ///
    /// # Errors
    /// [`StoreError`] within the deadlines.
    pub async fn invoke(
        &self,
        key: &str,
        script: &ScriptInvocation<'_>,
    ) -> Result<Value, StoreError> {
        self.ask(slot::of(key), &Question::Script(script)).await
    }

    /// What is published on a channel, from when somebody first asks for it.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>, channel: &str) -> Feed {
        Feed::new(self.clone(), channel)
    }

    /// Whether they are up or down as one: a cluster is not.
    pub(super) fn fail_as_one(&self) -> bool {
        matches!(self.servers, Servers::One(_))
    }

    /// By when a question that is put now is answered.
    pub(super) fn until(&self) -> Instant {
        Instant::now() + self.deadlines.connect + self.deadlines.command
    }

    /// Asks the server that has a slot.
    pub(super) async fn ask(
        &self,
        slot: u16,
        question: &Question<'_>,
    ) -> Result<Value, StoreError> {
        let until = self.until();
        timeout_at(until, self.ask_until(slot, question, until))
            .await
            .unwrap_or(Err(StoreError::Timeout))
    }

    async fn ask_until(
        &self,
        slot: u16,
        question: &Question<'_>,
        until: Instant,
    ) -> Result<Value, StoreError> {
        let link = match &self.servers {
            Servers::One(link) => Some(link.clone()),
            Servers::Cluster(cluster) => cluster.owners(&[slot], until).await.pop().flatten(),
        };
        let link = link.ok_or_else(nobody)?;
        let trouble = match link.ask(question, false).await {
            Ok(reply) => return Ok(reply),
            Err(trouble) => trouble,
        };
        let (link, asking) = self.elsewhere(slot, trouble, until).await?;
        link.ask(question, asking).await.map_err(Trouble::into_error)
    }

    /// Where to ask instead, once.
    async fn elsewhere(
        &self,
        slot: u16,
        trouble: Trouble,
        until: Instant,
    ) -> Result<(Arc<Link>, bool), StoreError> {
        let link = match (&self.servers, &trouble) {
            (Servers::Cluster(cluster), Trouble::Moved(place)) => {
                cluster.moved(slot, place, until).await.map(|link| (link, false))
            }
            (Servers::Cluster(cluster), Trouble::Asked(place)) => {
                cluster.link(place).map(|link| (link, true))
            }
            _ => None,
        };
        link.ok_or_else(|| trouble.into_error())
    }

    /// Sorts many slots by the servers that have them; those that nobody has are left out.
    pub(super) async fn parts(&self, slots: &[u16], until: Instant) -> Vec<Part> {
        let owners = match &self.servers {
            Servers::One(link) => {
                let which = (0..slots.len()).collect();
                return vec![Part { link: link.clone(), which, asking: false }];
            }
            Servers::Cluster(cluster) => cluster.owners(slots, until).await,
        };
        let mut parts = Vec::new();
        for (at, link) in owners.into_iter().enumerate() {
            enter(&mut parts, at, link.map(|link| (link, false)));
        }
        parts
    }

    /// Those whose slots are elsewhere, sorted by the servers that have them.
    pub(super) async fn moved_parts(
        &self,
        slots: &[u16],
        moved: Vec<(usize, Trouble)>,
        until: Instant,
    ) -> Vec<Part> {
        let mut parts = Vec::new();
        for (at, trouble) in moved {
            enter(&mut parts, at, self.elsewhere(slots[at], trouble, until).await.ok());
        }
        parts
    }

    /// A connection that hears what is published anywhere in the store, and to where.
    pub(super) async fn listen(&self) -> Result<(PubSub, Client), StoreError> {
        let until = Instant::now() + self.deadlines.connect;
        let links = match &self.servers {
            Servers::One(link) => vec![link.clone()],
            Servers::Cluster(cluster) => cluster.listeners(until).await,
        };
        match links.first() {
            Some(link) => link.dial.listen(until).await,
            None => Err(nobody()),
        }
    }

    /// Whether one who listens there would listen elsewhere by now.
    pub(super) async fn has_left(&self, client: &Client) -> bool {
        let until = self.until();
        match &self.servers {
            Servers::One(link) => link.dial.has_left(client, until).await,
            Servers::Cluster(cluster) => cluster.has_left(client, until).await,
        }
    }

    /// One listens to this server, which is the master where there is one: it is to be asked, too.
    pub(super) fn stay_with(&self, place: &Client) {
        if let Servers::One(link) = &self.servers {
            link.stay_with(place);
        }
    }

    /// Whether there is a place to leave for.
    pub(super) fn may_leave(&self) -> bool {
        self.address.shape != Shape::One
    }
}

fn enter(parts: &mut Vec<Part>, at: usize, to: Option<(Arc<Link>, bool)>) {
    let Some((link, asking)) = to else {
        return;
    };
    let same = |part: &&mut Part| part.asking == asking && Arc::ptr_eq(&part.link, &link);
    match parts.iter_mut().find(same) {
        Some(part) => part.which.push(at),
        None => parts.push(Part { link, which: vec![at], asking }),
    }
}

/// What is said of a slot that no server has, as far as is known.
pub(super) fn nobody() -> StoreError {
    StoreError::Unavailable("no server has this slot".to_owned())
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Links({})", self.address)
    }
}
