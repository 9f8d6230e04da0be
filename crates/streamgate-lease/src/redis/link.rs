//! One connection to one server: shared, reconnecting, with a deadline on everything.
//!
//! It is opened by the first who asks, so a server that is down at start is no error. Nothing is
//! retried: who asked is told at once, and a breaker keeps everybody else from waiting in vain.
//!
//! The redis crate's own `ConnectionManager` is not used: while it reconnects, with retries and
//! growing pauses, every caller waits for it.

use super::breaker::Breaker;
use super::feed::Feed;
use crate::store::StoreError;
use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError,
    RedisResult, ScriptInvocation, ServerErrorKind, Value, cmd,
};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Commands waiting to be written; beyond it askers wait their turn, within their deadline.
const QUEUED_COMMANDS_MAX: usize = 1024;

/// How long anything may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// One command, script or pipeline, waiting for its turn included. Default 50 ms.
    pub command: Duration,
    /// To connect and to be admitted by the server. Default 250 ms.
    pub connect: Duration,
}

/// The text is not an address of a Redis server. It is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not the address of a server: redis://[user:password@]host[:port][/db] is")]
pub struct UrlInvalid(());

/// One server and the connection to it. Shared by whoever asks it anything.
pub struct Link {
    pub(super) client: Client,
    pub(super) deadlines: Deadlines,
    breaker: Breaker,
    connection: Mutex<Option<Arc<MultiplexedConnection>>>,
    dialling: tokio::sync::Mutex<()>,
}

impl Link {
    /// A link with the default deadlines. Connects to nothing yet.
    ///
    /// # Errors
    /// [`UrlInvalid`] if the text is not `redis://…` or `unix://…`.
    pub fn new(url: &str) -> Result<Self, UrlInvalid> {
        Self::with(url, Deadlines::default())
    }

    /// A link with deadlines of its own. Connects to nothing yet.
    ///
    /// # Errors
    /// [`UrlInvalid`] if the text is not `redis://…` or `unix://…`.
    pub fn with(url: &str, deadlines: Deadlines) -> Result<Self, UrlInvalid> {
        let client = Client::open(url).map_err(|_| UrlInvalid(()))?;
        Ok(Self {
            client,
            deadlines,
            breaker: Breaker::default(),
            connection: Mutex::new(None),
            dialling: tokio::sync::Mutex::new(()),
        })
    }

    /// Sends one command.
    ///
    /// # Errors
    /// [`StoreError`] within the deadlines.
    pub async fn query<T: FromRedisValue + Send>(&self, command: Cmd) -> Result<T, StoreError> {
        self.run(async |connection| command.query_async(connection).await).await
    }

    /// Whether a key exists.
    ///
    /// # Errors
    /// [`StoreError`] within the deadlines.
    pub async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        let mut exists = cmd("EXISTS");
        exists.arg(key);
        self.query(exists).await
    }

    /// Runs a script; one that the server does not know (any more) is loaded and run again.
    ///
    /// # Errors
    /// [`StoreError`] within the deadlines.
    pub async fn invoke(&self, script: &ScriptInvocation<'_>) -> Result<Value, StoreError> {
        self.run(async |connection| script.invoke_async(connection).await).await
    }

    /// Sends many commands at once. One that fails for reasons of its own is an error among the
    /// values; one that fails because the server cannot serve fails them all.
    ///
    /// # Errors
    /// [`StoreError`] within the deadlines.
    pub async fn pipeline(&self, pipeline: &Pipeline) -> Result<Vec<Value>, StoreError> {
        self.run(async |connection| {
            let values = connection.req_packed_commands(pipeline, 0, pipeline.len()).await?;
            match values.iter().find_map(outage) {
                Some(error) => Err(error),
                None => Ok(values),
            }
        })
        .await
    }

    /// What is published on a channel, from when somebody first asks for it.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>, channel: &str) -> Feed {
        Feed::new(self.clone(), channel)
    }

    async fn run<T>(
        &self,
        ask: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        if !self.breaker.lets_through() {
            return Err(StoreError::Resting);
        }
        let shared = self.connection().await?;
        let mut connection = MultiplexedConnection::clone(&shared);
        let began = Instant::now();
        match timeout(self.deadlines.command, ask(&mut connection)).await {
            Ok(Ok(reply)) => {
                self.breaker.answered();
                Ok(reply)
            }
            Ok(Err(error)) => {
                if is_broken(&error) {
                    self.breaker.failed();
                    self.hang_up(&shared);
                } else {
                    self.breaker.answered();
                }
                Err(said(&error))
            }
            Err(_) => {
                // It may be the network that swallows everything: the next one dials afresh.
                if self.breaker.timed_out(began) {
                    self.hang_up(&shared);
                }
                Err(StoreError::Timeout)
            }
        }
    }

    /// The connection; whoever comes first opens it, and the others wait for him.
    async fn connection(&self) -> Result<Arc<MultiplexedConnection>, StoreError> {
        if let Some(connection) = self.connection.lock().clone() {
            return Ok(connection);
        }
        let began = Instant::now();
        let Ok(_dialling) = timeout(self.deadlines.connect, self.dialling.lock()).await else {
            return Err(StoreError::Timeout);
        };
        if let Some(connection) = self.connection.lock().clone() {
            return Ok(connection);
        }
        if self.breaker.failed_since(began) {
            return Err(StoreError::Resting);
        }
        let left = self.deadlines.connect.saturating_sub(began.elapsed());
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUED_COMMANDS_MAX);
        let dial = self.client.get_multiplexed_async_connection_with_config(&config);
        match timeout(left, dial).await {
            Ok(Ok(connection)) => {
                let connection = Arc::new(connection);
                *self.connection.lock() = Some(connection.clone());
                Ok(connection)
            }
            Ok(Err(error)) => {
                self.breaker.failed();
                Err(said(&error))
            }
            Err(_) => {
                self.breaker.failed();
                Err(StoreError::Timeout)
            }
        }
    }

    /// Lets go of this connection, unless somebody has already opened another one.
    fn hang_up(&self, broken: &Arc<MultiplexedConnection>) {
        let mut connection = self.connection.lock();
        if connection.as_ref().is_some_and(|current| Arc::ptr_eq(current, broken)) {
            *connection = None;
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { command: Duration::from_millis(50), connect: Duration::from_millis(250) }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.client.get_connection_info().addr())
    }
}

/// The connection is of no use any more: it is cut, or it leads to what is now a replica.
fn is_broken(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_io_error()
        || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

fn outage(value: &Value) -> Option<RedisError> {
    match value {
        Value::ServerError(error) if server_said(error.code()).is_outage() => {
            Some(error.clone().into())
        }
        _ => None,
    }
}

/// The error in our words. Details are left out: a server may repeat what it was sent, a password
/// included.
pub(super) fn said(error: &RedisError) -> StoreError {
    if error.is_timeout() {
        return StoreError::Timeout;
    }
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension => server_said(error.code().unwrap_or("ERR")),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            StoreError::Protocol(error.category().to_owned())
        }
        _ if error.is_connection_refusal() => StoreError::Unavailable("refused".to_owned()),
        _ if error.is_connection_dropped() => StoreError::Unavailable("cut off".to_owned()),
        _ => StoreError::Unavailable(error.category().to_owned()),
    }
}

/// A server's error by its code: those that pass are no fault in the conversation.
pub(super) fn server_said(code: &str) -> StoreError {
    match code {
        "ERR" | "WRONGTYPE" | "NOSCRIPT" | "EXECABORT" => StoreError::Protocol(code.to_owned()),
        _ => StoreError::Unavailable(code.to_owned()),
    }
}
