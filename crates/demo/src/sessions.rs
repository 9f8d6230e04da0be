//! A session store for the auth service that writes into the gateway's embedded one: a memory store
//! has no other writer than its own process.

use async_trait::async_trait;
use auth::{SessionStore, StoreDown};
use std::time::Duration;
use streamgate::activity::MemorySessions;
use streamgate::part::Lasting;
use streamgate::server::Running;

pub(crate) struct Embedded(MemorySessions);

impl Embedded {
    /// The first embedded store of a gateway.
    pub(crate) fn of(gateway: &Running) -> Option<Self> {
        let shared = &gateway.shared;
        let stores = shared.open_stores();
        let mut sessions = stores.iter().map(|store| shared.session_store(store));
        sessions.find_map(|sessions| sessions.memory_sessions().cloned()).map(Embedded)
    }
}

#[async_trait]
impl SessionStore for Embedded {
    async fn put(&self, sid: &str, ttl: Duration) -> Result<(), StoreDown> {
        self.0.put(sid, ttl);
        Ok(())
    }

    async fn extend(&self, sid: &str, ttl: Duration) -> Result<bool, StoreDown> {
        Ok(self.0.extend(sid, ttl))
    }

    async fn is_live(&self, sid: &str) -> Result<bool, StoreDown> {
        Ok(self.0.is_active(sid))
    }

    async fn delete(&self, sid: &str) -> Result<(), StoreDown> {
        self.0.delete(sid);
        Ok(())
    }
}
