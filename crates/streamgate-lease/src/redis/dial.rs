//! How a connection is made: to a given server, or to whatever the sentinels say is the master now.
//!
//! It keeps no connection and no deadline; it is asked again whenever one is needed, so a failover
//! is followed by dialling again.

use super::address::Address;
use super::place::Place;
use super::tls::{Tls, TlsInvalid};
use super::trouble::said;
use crate::store::StoreError;
use ::redis::aio::{MultiplexedConnection, PubSub};
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisResult, TlsCertificates,
    Value, cmd,
};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

/// Commands waiting to be written; beyond it askers wait their turn, within their deadline.
const QUEUED_COMMANDS_MAX: usize = 1024;

/// Who we are at every server of a store, whichever it is.
#[derive(Clone)]
pub(super) struct Access {
    who: ConnectionInfo,
    tls: Option<TlsCertificates>,
}

/// Where to connect.
pub(super) enum Dial {
    Server(Client),
    Sentinel(Sentinel),
}

/// Those who know which server is the master of a name.
pub(super) struct Sentinel {
    name: String,
    access: Access,
    /// Whoever answered last stands first.
    order: Mutex<Vec<Client>>,
}

impl Access {
    pub(super) fn new(address: &Address, tls: &Tls) -> Self {
        let tls = address.is_tls().then(|| tls.certificates());
        Self { who: address.hosts[0].clone(), tls }
    }

    /// A client for one of the hosts that the address names.
    pub(super) fn named(&self, host: &ConnectionInfo) -> Result<Client, TlsInvalid> {
        let client = match &self.tls {
            Some(tls) => Client::build_with_tls(host.clone(), tls.clone()),
            None => Client::open(host.clone()),
        };
        client.map_err(|_| TlsInvalid)
    }

    /// A client for a server that others named.
    pub(super) fn client(&self, place: &Place) -> Result<Client, TlsInvalid> {
        let (host, port) = (place.host.clone(), place.port);
        let addr = match self.tls {
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            None => ConnectionAddr::Tcp(host, port),
        };
        self.named(&self.who.clone().set_addr(addr))
    }
}

impl Dial {
    /// A connection, and to where, by `until`.
    pub(super) async fn connect(
        &self,
        until: Instant,
    ) -> Result<(Client, MultiplexedConnection), StoreError> {
        match self {
            Self::Server(client) => Ok((client.clone(), within(until, connection(client)).await?)),
            Self::Sentinel(sentinel) => sentinel.master(until).await,
        }
    }

    /// A connection that hears what is published, and to where, by `until`.
    pub(super) async fn listen(&self, until: Instant) -> Result<(PubSub, Client), StoreError> {
        let client = match self {
            Self::Server(client) => client.clone(),
            Self::Sentinel(sentinel) => sentinel.master(until).await?.0,
        };
        let pubsub = within(until, client.get_async_pubsub()).await?;
        Ok((pubsub, client))
    }

    /// Whether this is not where it would connect to now. Nobody answering is no news.
    pub(super) async fn has_left(&self, client: &Client, until: Instant) -> bool {
        match self {
            Self::Server(_) => false,
            Self::Sentinel(sentinel) => sentinel.has_left(client, until).await,
        }
    }
}

impl Sentinel {
    pub(super) fn new(
        name: &str,
        access: Access,
        hosts: &[ConnectionInfo],
    ) -> Result<Self, TlsInvalid> {
        // Sentinels have no databases, and mostly no users.
        let bare = |host: &ConnectionInfo| host.clone().set_redis_settings(Default::default());
        let order = hosts.iter().map(|host| access.named(&bare(host))).collect::<Result<_, _>>()?;
        Ok(Self { name: name.to_owned(), access, order: Mutex::new(order) })
    }

    /// Asks one after the other. Each has its share of the time that is left, so one that hangs
    /// does not keep us from those behind it.
    ///
    /// The redis crate's sentinel client is not used: it keeps its connections to sentinels behind
    /// one lock and gives each a second of its own, and we have 250 ms for all.
    async fn master(&self, until: Instant) -> Result<(Client, MultiplexedConnection), StoreError> {
        let order = self.order.lock().clone();
        let mut why = StoreError::Timeout;
        for (n, sentinel) in order.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(order.len() - n).unwrap_or(u32::MAX);
            match within(Instant::now() + share, self.ask(sentinel)).await {
                Ok(Ok(found)) => {
                    self.prefer(sentinel);
                    return Ok(found);
                }
                Ok(Err(error)) | Err(error) => why = error,
            }
        }
        Err(why)
    }

    /// Whether the master is another server now. As long as one sentinel says that it is not, no
    /// server is troubled with the question.
    async fn has_left(&self, client: &Client, until: Instant) -> bool {
        let trusted = self.order.lock()[0].clone();
        let asked = async { self.ask_where(&mut connection(&trusted).await?).await };
        let named = within(until, asked).await.ok().flatten();
        if named.is_some_and(|(host, port)| format!("{host}:{port}") == addr(client)) {
            return false;
        }
        self.master(until).await.is_ok_and(|(master, _)| addr(&master) != addr(client))
    }

    /// What one of them says; and the server has to agree that it is the master, because a
    /// sentinel may not have heard of a failover yet.
    async fn ask(
        &self,
        sentinel: &Client,
    ) -> RedisResult<Result<(Client, MultiplexedConnection), StoreError>> {
        let Some((host, port)) = self.ask_where(&mut connection(sentinel).await?).await? else {
            return Ok(Err(StoreError::Unavailable("its sentinels do not know it".to_owned())));
        };
        let Ok(client) = self.access.client(&Place { host, port }) else {
            return Ok(Err(StoreError::Unavailable("TLS".to_owned())));
        };
        let mut master = connection(&client).await?;
        match cmd("ROLE").query_async::<Value>(&mut master).await? {
            Value::Array(words) if words.first().is_some_and(is_master) => Ok(Ok((client, master))),
            _ => Ok(Err(StoreError::Unavailable("no master yet".to_owned()))),
        }
    }

    /// The password of the servers is told to a sentinel only if it asks for one.
    async fn ask_where(
        &self,
        sentinel: &mut MultiplexedConnection,
    ) -> RedisResult<Option<(String, u16)>> {
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let who = self.access.who.redis_settings();
        match (question.query_async(sentinel).await, who.password()) {
            (Err(error), Some(password)) if error.code() == Some("NOAUTH") => {
                cmd("AUTH").arg(who.username()).arg(password).exec_async(sentinel).await?;
                question.query_async(sentinel).await
            }
            (reply, _) => reply,
        }
    }

    fn prefer(&self, sentinel: &Client) {
        let mut order = self.order.lock();
        if let Some(at) = order.iter().position(|other| addr(other) == addr(sentinel)) {
            order[..=at].rotate_right(1);
        }
    }
}

/// Where a client connects to, to compare and not to show.
pub(super) fn addr(client: &Client) -> String {
    client.get_connection_info().addr().to_string()
}

fn is_master(word: &Value) -> bool {
    matches!(word, Value::BulkString(word) if word == b"master")
}

async fn connection(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUED_COMMANDS_MAX);
    client.get_multiplexed_async_connection_with_config(&config).await
}

async fn within<T>(
    until: Instant,
    what: impl Future<Output = RedisResult<T>>,
) -> Result<T, StoreError> {
    match timeout(until.saturating_duration_since(Instant::now()), what).await {
        Ok(reply) => reply.map_err(|error| said(&error)),
        Err(_) => Err(StoreError::Timeout),
    }
}
