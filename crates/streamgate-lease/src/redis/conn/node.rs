//! Node: one server and the connections to it. They are shared, they reconnect, and everything has
//! a deadline.
//!
//! There are two connections: one for single commands that a request waits for, one for the
//! pipelines of a renewer. A viewer who starts does not wait behind renewals then, and pipelines
//! are packed and unpacked by the thread that opened their connection, which is the renewer's.
//!
//! Each connection is opened by the first caller that needs it, so a server that is down at start
//! is no error. A command that failed is not retried: its caller gets the error at once, and a
//! circuit breaker keeps the other callers from waiting in vain. Only a connection that turns out
//! to be cut is opened again, once.
//!
//! The redis crate's own `ConnectionManager` is not used: while it reconnects, with retries and
//! growing pauses, every caller waits for it. Nor is its cluster client: it retries inline (16
//! times unless told otherwise), keeps commands in a queue without a bound while it refreshes its
//! slot map, and has no breaker, so one dead shard would make everybody wait.

use super::command::{Asking, Command};
use super::connection::{Connection, ConnectionSlot};
use super::connector::{Connector, addr};
use super::offset::ServerClock;
use super::reply_error::{ErrorScope, ReplyError, outage};
use crate::store::StoreError;
use ::redis::{Client as RedisClient, RedisError, RedisResult, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long anything may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// One command, script or pipeline, waiting for its turn included. Default 50 ms.
    pub command: Duration,
    /// To connect and to be admitted by the server; and to find out which server to ask. Default
    /// 250 ms.
    pub connect: Duration,
}

/// One server and the connections to it. All callers share it.
pub(crate) struct Node {
    pub(crate) connector: Connector,
    /// The host as we know it, for replies in which a server leaves its own host out.
    host: String,
    deadlines: Deadlines,
    /// For single commands, which a request waits for.
    interactive: ConnectionSlot,
    /// For pipelines, which nobody waits for.
    pipelined: ConnectionSlot,
}

impl Node {
    /// A node at the server that `connector` leads to. Connects to nothing yet.
    pub(crate) fn new(connector: Connector, host: &str, deadlines: Deadlines) -> Self {
        Self {
            connector,
            host: host.to_owned(),
            deadlines,
            interactive: ConnectionSlot::default(),
            pipelined: ConnectionSlot::default(),
        }
    }

    /// The host as we know it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The server's clock, as the replies to pipelines tell it.
    pub(crate) fn clock(&self) -> &ServerClock {
        &self.pipelined.clock
    }

    /// Whether a breaker is open: the server failed a moment ago and is not asked now.
    pub(crate) fn is_resting(&self) -> bool {
        self.interactive.breaker.is_open() || self.pipelined.breaker.is_open()
    }

    /// Sends one command within the deadlines; `asking` if the slot is only migrating there.
    ///
    /// The replies of a pipeline may contain errors that concern one holder. An error that says
    /// that the server cannot serve fails all of them.
    pub(crate) async fn send(
        &self,
        command: &Command<'_>,
        asking: bool,
    ) -> Result<Value, ReplyError> {
        let slot = match command {
            Command::Single(_) | Command::Script(_) => &self.interactive,
            Command::Pipeline(_) => &self.pipelined,
        };
        if !slot.breaker.allow() {
            return Err(StoreError::Resting.into());
        }
        let kept = self.connection(slot).await?;
        match self.send_once(command, asking, slot, &kept).await {
            Ok(reply) => reply,
            // Cut, perhaps long ago, which says nothing of the server yet: a new connection tells,
            // and sending it again is safe.
            Err(error) if error.is_connection_dropped() => {
                slot.close(&kept);
                let fresh = self.connection(slot).await?;
                let reply = self.send_once(command, asking, slot, &fresh).await;
                reply.unwrap_or_else(|error| Err(self.record_error(&error, slot, &fresh)))
            }
            Err(error) => Err(self.record_error(&error, slot, &kept)),
        }
    }

    /// Sends the command once. The outer error is not recorded yet.
    async fn send_once(
        &self,
        command: &Command<'_>,
        asking: bool,
        slot: &ConnectionSlot,
        shared: &Arc<Connection>,
    ) -> RedisResult<Result<Value, ReplyError>> {
        let mut connection = shared.multiplexed.clone();
        let began = Instant::now();
        let reply = async {
            match asking {
                true => command.send(&mut Asking(&mut connection)).await,
                false => command.send(&mut connection).await,
            }
        };
        let Ok(reply) = timeout(self.deadlines.command, reply).await else {
            slot.clock.forget();
            // The network may drop every packet: the next caller connects anew.
            if slot.breaker.record_timeout(began) {
                slot.close(shared);
            }
            return Ok(Err(StoreError::Timeout.into()));
        };
        let reply = reply?;
        Ok(match first_outage(&reply) {
            Some(error) => Err(self.record_error(&error, slot, shared)),
            None => {
                slot.breaker.record_success();
                Ok(reply)
            }
        })
    }

    /// Tells the breaker of an error, and drops the connection if it is of no use any more.
    fn record_error(
        &self,
        error: &RedisError,
        slot: &ConnectionSlot,
        shared: &Arc<Connection>,
    ) -> ReplyError {
        match ErrorScope::of(error) {
            ErrorScope::Command => slot.breaker.record_success(),
            ErrorScope::Server => slot.breaker.record_failure(),
            ErrorScope::Connection => {
                slot.breaker.record_failure();
                slot.close(shared);
            }
        }
        ReplyError::new(error, &self.host)
    }

    /// The open connection. The first caller opens it, and the others wait for that caller.
    async fn connection(&self, slot: &ConnectionSlot) -> Result<Arc<Connection>, StoreError> {
        if let Some(open) = slot.current() {
            return Ok(open);
        }
        let began = Instant::now();
        let Ok(_connecting) = timeout(self.deadlines.connect, slot.connecting.lock()).await else {
            return Err(StoreError::Timeout);
        };
        if let Some(open) = slot.current() {
            return Ok(open);
        }
        if slot.breaker.failed_since(began) {
            return Err(StoreError::Resting);
        }
        match self.connector.connect(began + self.deadlines.connect).await {
            Ok((server, multiplexed)) => {
                self.follow_master(&server);
                Ok(slot.replace(Connection { multiplexed, server }))
            }
            Err(error) => {
                slot.breaker.record_failure();
                Err(error)
            }
        }
    }

    /// Drops the connections to every server but the master, however well they work: an old master
    /// that has not heard of the failover takes writes until its sentinels reach it, and loses
    /// them.
    pub(crate) fn follow_master(&self, master: &RedisClient) {
        for slot in [&self.interactive, &self.pipelined] {
            slot.close_if(|connection| addr(&connection.server) != addr(master));
        }
    }
}

fn first_outage(reply: &Value) -> Option<RedisError> {
    match reply {
        Value::Array(values) => values.iter().find_map(outage).cloned().map(RedisError::from),
        _ => None,
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { command: Duration::from_millis(50), connect: Duration::from_millis(250) }
    }
}
