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
//! to be cut is opened again, once. A late answer is no failure; whether the server is away then,
//! the monitor finds out with a `Probe`.
//!
//! The redis crate's own `ConnectionManager` is not used: while it reconnects, with retries and
//! growing pauses, every caller waits for it. Nor is its cluster client: it retries inline (16
//! times unless told otherwise), keeps commands in a queue without a bound while it refreshes its
//! slot map, and has no breaker, so one dead shard would make everybody wait.

use super::alarm::Alarm;
use super::command::{Asking, Command};
use super::connection::{Connection, ConnectionSlot};
use super::connector::{Connector, addr};
use super::deadlines::Deadlines;
use super::offset::ServerClock;
use super::patience::{wait, wait_while};
use super::probe::Probe;
use super::reply_error::{ErrorScope, ReplyError, outage, store_error};
use crate::store::StoreError;
use ::redis::{Client as RedisClient, RedisError, RedisResult, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a command is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// For `command`.
    Command,
    /// For `start`. The server is in doubt after `command` all the same.
    Start,
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
    probe: Probe,
}

impl Node {
    /// A node at the server that `connector` leads to. Connects to nothing yet.
    pub(crate) fn new(
        connector: Connector,
        host: &str,
        deadlines: Deadlines,
        alarm: &Arc<Alarm>,
    ) -> Self {
        Self {
            connector,
            host: host.to_owned(),
            deadlines,
            interactive: ConnectionSlot::new(Arc::clone(alarm)),
            pipelined: ConnectionSlot::new(Arc::clone(alarm)),
            probe: Probe::default(),
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

    /// Why a breaker is open, if one is.
    pub(crate) fn why_resting(&self) -> Option<StoreError> {
        let slots = [&self.interactive, &self.pipelined];
        slots.into_iter().find_map(|slot| slot.breaker.why())
    }

    /// Whether it is time to probe the server: it is in doubt, or was not probed for `every`.
    pub(crate) fn is_probe_due(&self, every: Duration) -> bool {
        self.probe.is_due(self.in_doubt_since(), every)
    }

    /// How far away the server is, there and back, by the last probes that were answered.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.probe.round_trip()
    }

    /// Asks the server whether it serves, and opens or closes the breakers by its answer. `keys`
    /// are keys of it that nobody uses.
    pub(crate) async fn probe(&self, keys: &[String]) {
        let slots = [&self.interactive, &self.pipelined];
        let in_doubt = self.in_doubt_since().is_some();
        match self.probe.ask(&self.connector, &self.deadlines, keys, in_doubt).await {
            Ok(server) => {
                self.follow_master(&server);
                slots.iter().for_each(|slot| slot.breaker.close());
            }
            Err(error) => {
                slots.iter().for_each(|slot| slot.breaker.record_failure(&error));
                if error == StoreError::Timeout {
                    self.probe.measure(&self.connector).await;
                }
            }
        }
    }

    fn in_doubt_since(&self) -> Option<Instant> {
        let slots = [&self.interactive, &self.pipelined];
        slots.into_iter().filter_map(|slot| slot.breaker.probe_due()).min()
    }

    /// The server cannot serve anybody, as its answer to one command has shown.
    pub(crate) fn record_failure(&self, error: &StoreError) {
        self.interactive.breaker.record_failure(error);
    }

    /// Sends one command within the deadlines; `asking` if the slot is only migrating there.
    ///
    /// The replies of a pipeline may contain errors that concern one holder. An error that says
    /// that the server cannot serve fails all of them.
    pub(crate) async fn send(
        &self,
        command: &Command<'_>,
        patience: Patience,
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
        match self.send_once(command, patience, asking, slot, &kept).await {
            Ok(reply) => reply,
            // Cut, perhaps long ago, which says nothing of the server yet: a new connection tells,
            // and sending it again is safe.
            Err(error) if error.is_connection_dropped() => {
                slot.close(&kept);
                let fresh = self.connection(slot).await?;
                let reply = self.send_once(command, patience, asking, slot, &fresh).await;
                reply.unwrap_or_else(|error| Err(self.record_error(&error, slot, &fresh)))
            }
            Err(error) => Err(self.record_error(&error, slot, &kept)),
        }
    }

    /// Sends the command once. The outer error is not recorded yet.
    async fn send_once(
        &self,
        command: &Command<'_>,
        patience: Patience,
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
        let doubt_after = self.deadlines.command;
        let limit = match patience {
            Patience::Command => doubt_after,
            Patience::Start => self.deadlines.start.max(doubt_after),
        };
        let mut is_in_doubt = false;
        let may_go_on = |waited| {
            if doubt_after <= waited && !std::mem::replace(&mut is_in_doubt, true) {
                self.doubt(slot, shared, began);
            }
            !slot.breaker.is_open()
        };
        let Some(reply) = wait_while(limit, std::pin::pin!(reply), may_go_on).await else {
            return Ok(Err(self.give_up(slot, shared, began).into()));
        };
        let reply = reply?;
        slot.note_reply();
        Ok(match first_outage(&reply) {
            Some(error) => Err(self.record_error(&error, slot, shared)),
            None => {
                slot.breaker.record_success();
                Ok(reply)
            }
        })
    }

    /// The server is slower than it should be, or away.
    fn doubt(&self, slot: &ConnectionSlot, shared: &Arc<Connection>, began: Instant) {
        // The network may drop every packet: the next caller connects anew.
        if slot.breaker.record_timeout(began) {
            slot.close(shared);
        }
    }

    /// Nobody waits any longer for a command that was sent at `began`.
    fn give_up(
        &self,
        slot: &ConnectionSlot,
        shared: &Arc<Connection>,
        began: Instant,
    ) -> StoreError {
        slot.clock.forget();
        self.doubt(slot, shared, began);
        let is_open = slot.breaker.is_open();
        if slot.note_silence() || is_open {
            slot.close(shared);
        }
        if is_open { StoreError::Resting } else { StoreError::Timeout }
    }

    /// Tells the breaker of an error, and drops the connection if it is of no use any more.
    fn record_error(
        &self,
        error: &RedisError,
        slot: &ConnectionSlot,
        shared: &Arc<Connection>,
    ) -> ReplyError {
        let scope = ErrorScope::of(error);
        match scope {
            ErrorScope::Command => slot.breaker.record_success(),
            ErrorScope::Server | ErrorScope::Connection => {
                slot.breaker.record_failure(&store_error(error));
            }
        }
        if scope == ErrorScope::Connection {
            slot.close(shared);
        }
        ReplyError::new(error, &self.host)
    }

    /// The open connection. The first caller opens it, and the others wait for that caller.
    async fn connection(&self, slot: &ConnectionSlot) -> Result<Arc<Connection>, StoreError> {
        if let Some(open) = slot.current() {
            return Ok(open);
        }
        let began = Instant::now();
        let Some(_connecting) = wait(self.deadlines.connect, slot.connecting.lock()).await else {
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
            // Whether it is away or only slow, the monitor finds out if there is one.
            Err(StoreError::Timeout) if slot.breaker.is_monitored() => {
                slot.breaker.record_timeout(began);
                Err(StoreError::Timeout)
            }
            Err(error) => {
                slot.breaker.record_failure(&error);
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
