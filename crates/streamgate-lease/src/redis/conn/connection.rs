//! ConnectionSlot: the place for one shared connection, with its circuit breaker and its server's
//! clock. It sends nothing itself.

use super::alarm::Alarm;
use super::breaker::Breaker;
use super::offset::ServerClock;
use ::redis::Client as RedisClient;
use ::redis::aio::MultiplexedConnection;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Replies that did not come in time, without one that did, before a connection is replaced.
const SILENCES_MAX: u32 = 3;

/// Holds a connection, or none yet. Each slot has a breaker of its own: an answer on one connection
/// says nothing of another one whose packets the network drops.
pub(crate) struct ConnectionSlot {
    pub(crate) breaker: Breaker,
    /// The clock of the server that the connection leads to.
    pub(crate) clock: ServerClock,
    /// Held by the caller that opens a connection; the others wait for it.
    pub(crate) connecting: tokio::sync::Mutex<()>,
    current: Mutex<Option<Arc<Connection>>>,
    /// Commands in a row that nobody waits for any longer.
    given_up: AtomicU32,
}

/// An open connection, and the server that it leads to.
pub(crate) struct Connection {
    pub(crate) multiplexed: MultiplexedConnection,
    pub(crate) server: RedisClient,
}

impl ConnectionSlot {
    /// An empty place.
    pub(crate) fn new(alarm: Arc<Alarm>) -> Self {
        Self {
            breaker: Breaker::new(alarm),
            clock: ServerClock::default(),
            connecting: tokio::sync::Mutex::default(),
            current: Mutex::default(),
            given_up: AtomicU32::new(0),
        }
    }

    /// A reply was read.
    pub(crate) fn note_reply(&self) {
        self.given_up.store(0, Relaxed);
    }

    /// A reply did not come in time. Whether that was so several times in a row: the network may
    /// drop every packet of the connection.
    pub(crate) fn note_silence(&self) -> bool {
        SILENCES_MAX <= self.given_up.fetch_add(1, Relaxed) + 1
    }

    /// The connection, if one is open.
    pub(crate) fn current(&self) -> Option<Arc<Connection>> {
        self.current.lock().clone()
    }

    /// Puts a new connection into the slot. It may lead to another server, with another clock.
    pub(crate) fn replace(&self, connection: Connection) -> Arc<Connection> {
        let connection = Arc::new(connection);
        *self.current.lock() = Some(Arc::clone(&connection));
        self.clock.forget();
        self.given_up.store(0, Relaxed);
        connection
    }

    /// Drops this connection, unless another caller has already replaced it.
    pub(crate) fn close(&self, broken: &Arc<Connection>) {
        self.close_if(|current| Arc::ptr_eq(current, broken));
    }

    /// Drops the connection if the condition holds for it.
    pub(crate) fn close_if(&self, condition: impl FnOnce(&Arc<Connection>) -> bool) {
        if self.current.lock().take_if(|current| condition(current)).is_some() {
            self.clock.forget();
        }
    }
}
