//! Connector: opens a connection to a fixed server, or to the server that the sentinels call the
//! master now.
//!
//! It keeps no connection and no deadline. It is asked again whenever a connection is needed, so a
//! failover is followed by connecting again.

use super::credentials::Credentials;
use super::host_port::HostPort;
use super::patience::wait;
use super::reply_error::store_error;
use super::tls::TlsInvalid;
use crate::store::StoreError;
use ::redis::aio::{MultiplexedConnection, PubSub};
use ::redis::{
    AsyncConnectionConfig, Client as RedisClient, ConnectionAddr, ConnectionInfo, ErrorKind,
    RedisError, RedisResult, Value, cmd,
};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Commands that wait to be written. Beyond it callers wait for a place, within their deadline.
const QUEUED_COMMANDS_MAX: usize = 1024;

/// Where to connect.
pub(crate) enum Connector {
    Server(RedisClient),
    Sentinel(Sentinel),
}

/// The sentinels that know which server is the master of a name.
pub(crate) struct Sentinel {
    name: String,
    credentials: Credentials,
    /// The sentinel that answered last stands first.
    sentinels: Mutex<Vec<RedisClient>>,
}

impl Connector {
    /// Opens a connection by `deadline`. Also returns the server that it leads to.
    pub(crate) async fn connect(
        &self,
        deadline: Instant,
    ) -> Result<(RedisClient, MultiplexedConnection), StoreError> {
        match self {
            Self::Server(client) => Ok((client.clone(), within(deadline, connect(client)).await?)),
            Self::Sentinel(sentinel) => sentinel.master(deadline).await,
        }
    }

    /// Opens a connection for pub/sub by `deadline`. Also returns the server that it leads to.
    pub(crate) async fn connect_pubsub(
        &self,
        deadline: Instant,
    ) -> Result<(PubSub, RedisClient), StoreError> {
        let client = match self {
            Self::Server(client) => client.clone(),
            Self::Sentinel(sentinel) => sentinel.master(deadline).await?.0,
        };
        let pubsub = within(deadline, client.get_async_pubsub()).await?;
        Ok((pubsub, client))
    }

    /// The server that it always leads to, if it is one.
    pub(crate) fn address(&self) -> Option<ConnectionAddr> {
        match self {
            Self::Server(client) => Some(client.get_connection_info().addr().clone()),
            Self::Sentinel(_) => None,
        }
    }

    /// Whether a connection to `server` should be replaced: the master is another server now.
    /// False if nobody answers.
    pub(crate) async fn is_stale(&self, server: &RedisClient, deadline: Instant) -> bool {
        match self {
            Self::Server(_) => false,
            Self::Sentinel(sentinel) => sentinel.is_stale(server, deadline).await,
        }
    }
}

impl Sentinel {
    pub(crate) fn new(
        name: &str,
        credentials: Credentials,
        hosts: &[ConnectionInfo],
    ) -> Result<Self, TlsInvalid> {
        // Sentinels have no databases, and mostly no users.
        let bare = |host: &ConnectionInfo| host.clone().set_redis_settings(Default::default());
        let sentinels = hosts.iter().map(|host| credentials.client(&bare(host)));
        let sentinels = Mutex::new(sentinels.collect::<Result<_, _>>()?);
        Ok(Self { name: name.to_owned(), credentials, sentinels })
    }

    /// Asks one sentinel after another for the master, and connects to it. Each sentinel has its
    /// share of the time that is left, so one that hangs does not keep us from the next.
    ///
    /// The redis crate's sentinel client is not used: it keeps its connections to sentinels behind
    /// one lock and gives each a second of its own, and we have 250 ms for all.
    async fn master(
        &self,
        deadline: Instant,
    ) -> Result<(RedisClient, MultiplexedConnection), StoreError> {
        let sentinels = self.sentinels.lock().clone();
        let mut last_error = StoreError::Timeout;
        for (n, sentinel) in sentinels.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(sentinels.len() - n).unwrap_or(u32::MAX);
            match within(Instant::now() + share, self.connect_to_master(sentinel)).await {
                Ok(Ok(found)) => {
                    self.move_to_front(sentinel);
                    return Ok(found);
                }
                Ok(Err(error)) | Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    /// Whether the master is another server now. As long as one sentinel says that it is not, no
    /// server is asked.
    async fn is_stale(&self, server: &RedisClient, deadline: Instant) -> bool {
        let trusted = self.sentinels.lock()[0].clone();
        let asked = async { self.master_addr(&mut connect(&trusted).await?).await };
        let named = within(deadline, asked).await.ok().flatten();
        if named.is_some_and(|(host, port)| format!("{host}:{port}") == addr(server)) {
            return false;
        }
        self.master(deadline).await.is_ok_and(|(master, _)| addr(&master) != addr(server))
    }

    /// Connects to the server that one sentinel names. The server has to agree that it is the
    /// master, because a sentinel may not have heard of a failover yet.
    async fn connect_to_master(
        &self,
        sentinel: &RedisClient,
    ) -> RedisResult<Result<(RedisClient, MultiplexedConnection), StoreError>> {
        let Some((host, port)) = self.master_addr(&mut connect(sentinel).await?).await? else {
            return Ok(Err(StoreError::Unavailable("its sentinels do not know it".into())));
        };
        let Ok(client) = self.credentials.client_at(&HostPort { host, port }) else {
            return Ok(Err(StoreError::Unavailable("TLS".into())));
        };
        let mut master = connect(&client).await?;
        match cmd("ROLE").query_async::<Value>(&mut master).await? {
            Value::Array(words) if words.first().is_some_and(is_master) => Ok(Ok((client, master))),
            _ => Ok(Err(StoreError::Unavailable("no master yet".into()))),
        }
    }

    /// Asks one sentinel for host and port of the master. The password of the servers is sent to a
    /// sentinel only if it asks for one.
    async fn master_addr(
        &self,
        sentinel: &mut MultiplexedConnection,
    ) -> RedisResult<Option<(String, u16)>> {
        let mut command = cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let (username, password) = (self.credentials.username(), self.credentials.password());
        match (command.query_async(sentinel).await, password) {
            (Err(error), Some(password)) if error.code() == Some("NOAUTH") => {
                cmd("AUTH").arg(username).arg(password).exec_async(sentinel).await?;
                command.query_async(sentinel).await
            }
            (reply, _) => reply,
        }
    }

    fn move_to_front(&self, sentinel: &RedisClient) {
        let mut sentinels = self.sentinels.lock();
        if let Some(at) = sentinels.iter().position(|other| addr(other) == addr(sentinel)) {
            sentinels[..=at].rotate_right(1);
        }
    }
}

/// Where a client connects to. It is for comparing, not for showing.
pub(crate) fn addr(client: &RedisClient) -> String {
    client.get_connection_info().addr().to_string()
}

fn is_master(word: &Value) -> bool {
    matches!(word, Value::BulkString(word) if word == b"master")
}

/// The redis crate's own timeouts are off: every caller has a deadline.
async fn connect(client: &RedisClient) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUED_COMMANDS_MAX);
    match client.get_multiplexed_async_connection_with_config(&config).await {
        Err(error) if error.kind() == ErrorKind::AuthenticationFailed => {
            Err(refusal(client, &config).await.unwrap_or(error))
        }
        connected => connected,
    }
}

/// What a server says of our password. The redis crate asks, too, and does not hand on the answer.
async fn refusal(client: &RedisClient, config: &AsyncConnectionConfig) -> Option<RedisError> {
    let info = client.get_connection_info();
    let (username, password) = (info.redis_settings().username(), info.redis_settings().password());
    let bare = RedisClient::open(info.clone().set_redis_settings(Default::default())).ok()?;
    let mut server = bare.get_multiplexed_async_connection_with_config(config).await.ok()?;
    cmd("AUTH").arg(username).arg(password?).exec_async(&mut server).await.err()
}

async fn within<T>(
    deadline: Instant,
    work: impl Future<Output = RedisResult<T>> + Send,
) -> Result<T, StoreError> {
    match wait(deadline.saturating_duration_since(Instant::now()), work).await {
        Some(reply) => reply.map_err(|error| store_error(&error)),
        None => Err(StoreError::Timeout),
    }
}
