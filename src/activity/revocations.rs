//! Hears from the store that sessions were ended through other gateways or by the auth service, and
//! makes the cache forget them.

use super::revocation_key::RevocationKey;
use super::session_cache::SessionCache;
use std::sync::Arc;
use streamgate_lease::StoreError;
use streamgate_lease::redis::{Client, Event, Subscription};

/// The channel on which the id of each ended session is published, or the key of an account whose
/// sessions were all ended.
pub(super) const REVOKED_CHANNEL: &str = "sg:revoked";

/// Listens to sessions being ended.
pub struct Revocations {
    subscription: Subscription,
    cache: Arc<SessionCache>,
}

impl Revocations {
    pub(super) fn new(client: Arc<Client>, cache: Arc<SessionCache>) -> Self {
        Revocations { subscription: Subscription::new(client, REVOKED_CHANNEL), cache }
    }

    /// Waits until messages of the store come, or come no longer, and why. Meanwhile it makes the
    /// cache forget each session that is revoked.
    pub async fn until_changed(&mut self) -> Result<(), StoreError> {
        loop {
            match self.subscription.next().await {
                Event::Message(message) => self.forget(&String::from_utf8_lossy(&message)),
                Event::Subscribed => {
                    // What was published while nobody listened is lost: trust nothing older.
                    self.cache.forget_all();
                    return Ok(());
                }
                Event::Interrupted(error) => return Err(error),
            }
        }
    }

    /// Forgets the session with this id and the account with this key: the message does not say
    /// which it is, because an issuer may give sessions any id.
    fn forget(&self, message: &str) {
        self.cache.forget(message);
        if let Some(key) = RevocationKey::parse(message) {
            self.cache.forget_account(key.tag());
        }
    }
}
