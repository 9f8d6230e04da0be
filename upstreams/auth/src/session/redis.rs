//! Sessions in Redis or Valkey, where every gateway sees them.

use std::time::Duration;

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Cmd, FromRedisValue, Pipeline, RedisError};

use super::{SessionStore, StoreDown};

/// What a session's key begins with; the gateway reads the same.
pub const KEY_PREFIX: &str = "sg:session:";
/// The channel of ended sessions; a message is a session id.
pub const REVOKED_CHANNEL: &str = "sg:revoked";

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// Attempts to connect again before a request gets the answer that the store is down.
const RECONNECTS: usize = 1;

/// One Redis or Valkey, with a connection that comes back by itself.
#[derive(Clone)]
pub struct RedisSessions {
    connection: ConnectionManager,
}

impl RedisSessions {
    /// For a URL such as `redis://user:password@host:6379/0` or `redis+unix:///path`. Connects
    /// with the first request; call within a Tokio runtime.
    pub fn new(url: &str) -> Result<Self, StoreDown> {
        let client = redis::Client::open(url).map_err(down)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT))
            .set_number_of_retries(RECONNECTS);
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(down)?;
        Ok(Self { connection })
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreDown> {
        command.query_async(&mut self.connection.clone()).await.map_err(down)
    }
}

#[async_trait]
impl SessionStore for RedisSessions {
    async fn put(&self, sid: &str, ttl: Duration) -> Result<(), StoreDown> {
        self.ask(Cmd::new().arg("SET").arg(key(sid)).arg(1).arg("PX").arg(millis(ttl))).await
    }

    async fn extend(&self, sid: &str, ttl: Duration) -> Result<bool, StoreDown> {
        self.ask(Cmd::new().arg("PEXPIRE").arg(key(sid)).arg(millis(ttl))).await
    }

    async fn is_live(&self, sid: &str) -> Result<bool, StoreDown> {
        self.ask(Cmd::new().arg("EXISTS").arg(key(sid))).await
    }

    async fn delete(&self, sid: &str) -> Result<(), StoreDown> {
        // In this order: a gateway that hears of it and asks again must not find the key.
        let mut both = Pipeline::new();
        both.cmd("DEL").arg(key(sid)).ignore();
        both.cmd("PUBLISH").arg(REVOKED_CHANNEL).arg(sid).ignore();
        both.query_async(&mut self.connection.clone()).await.map_err(down)
    }
}

fn key(sid: &str) -> String {
    format!("{KEY_PREFIX}{sid}")
}

/// At least one millisecond: Redis refuses a lifetime of zero, and PEXPIRE would delete.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn down(problem: RedisError) -> StoreDown {
    StoreDown(problem.to_string())
}
