//! ConnectionSlot: the place for one shared connection, with its circuit breaker and its server's
//! clock. It sends nothing itself.

use super::breaker::Breaker;
use super::offset::ServerClock;
use ::redis::Client as RedisClient;
use ::redis::aio::MultiplexedConnection;
use parking_lot::Mutex;
use std::sync::Arc;

/// Holds a connection, or none yet. Each slot has a breaker of its own: an answer on one connection
/// says nothing of another one whose packets the network drops.
#[derive(Default)]
pub(crate) struct ConnectionSlot {
    pub(crate) breaker: Breaker,
    /// The clock of the server that the connection leads to.
    pub(crate) clock: ServerClock,
    /// Held by the caller that opens a connection; the others wait for it.
    pub(crate) connecting: tokio::sync::Mutex<()>,
    current: Mutex<Option<Arc<Connection>>>,
}

/// An open connection, and the server that it leads to.
pub(crate) struct Connection {
    pub(crate) multiplexed: MultiplexedConnection,
    pub(crate) server: RedisClient,
}

impl ConnectionSlot {
    /// The connection, if one is open.
    pub(crate) fn current(&self) -> Option<Arc<Connection>> {
        self.current.lock().clone()
    }

    /// Puts a new connection into the slot. It may lead to another server, with another clock.
    pub(crate) fn replace(&self, connection: Connection) -> Arc<Connection> {
        let connection = Arc::new(connection);
        *self.current.lock() = Some(Arc::clone(&connection));
        self.clock.forget();
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
