//! One connection to a server, and how its server behaved on it. It asks nothing itself.

use super::breaker::Breaker;
use super::offset::ServerClock;
use ::redis::Client;
use ::redis::aio::MultiplexedConnection;
use parking_lot::Mutex;
use std::sync::Arc;

/// A way to a server, open or not. Each has a breaker of its own: what is answered on one says
/// nothing of another that the network has swallowed.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) breaker: Breaker,
    /// What time it is where it leads.
    pub(super) clock: ServerClock,
    /// Whoever opens it has this.
    pub(super) dialling: tokio::sync::Mutex<()>,
    open: Mutex<Option<Arc<Open>>>,
}

/// A connection, and where it leads.
pub(super) struct Open {
    pub(super) connection: MultiplexedConnection,
    pub(super) place: Client,
}

impl Lane {
    /// The connection, if it is open.
    pub(super) fn open(&self) -> Option<Arc<Open>> {
        self.open.lock().clone()
    }

    /// From now on this is the connection. It may lead to another server, with another clock.
    pub(super) fn keep(&self, open: Open) -> Arc<Open> {
        let open = Arc::new(open);
        *self.open.lock() = Some(Arc::clone(&open));
        self.clock.forget();
        open
    }

    /// Lets go of this connection, unless somebody has already opened another one.
    pub(super) fn hang_up(&self, broken: &Arc<Open>) {
        self.hang_up_if(|open| Arc::ptr_eq(open, broken));
    }

    /// Lets go of a connection of which this is so.
    pub(super) fn hang_up_if(&self, is_to_go: impl FnOnce(&Arc<Open>) -> bool) {
        if self.open.lock().take_if(|open| is_to_go(open)).is_some() {
            self.clock.forget();
        }
    }
}
