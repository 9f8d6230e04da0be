//! Where live sessions are written, so that a gateway can see that one has ended. Not tokens: a
//! token says who somebody is, the store says whether that still holds.

pub mod redis;

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The store could not be asked, or did not answer in time. The text is for the log.
#[derive(Debug, thiserror::Error)]
#[error("the session store failed: {0}")]
pub struct StoreDown(pub String);

/// The store that the gateway reads. A session is a key that exists; its value means nothing.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Makes the session live for `ttl`.
    async fn put(&self, sid: &str, ttl: Duration) -> Result<(), StoreDown>;

    /// Gives a live session `ttl` from now on; false when it is not live. One step: a session
    /// that is deleted at the same moment must not come back.
    async fn extend(&self, sid: &str, ttl: Duration) -> Result<bool, StoreDown>;

    /// Whether the session is live.
    async fn is_live(&self, sid: &str) -> Result<bool, StoreDown>;

    /// Ends the session, and tells every gateway that remembers it. No error if it had ended.
    async fn delete(&self, sid: &str) -> Result<(), StoreDown>;
}

/// No store: a session lives exactly as long as its token, and a logout only takes the cookie
/// away. An explicit choice, for gateways whose `sessions:` have no `active_in`.
#[derive(Debug, Clone, Copy)]
pub struct TokensOnly;

#[async_trait]
impl SessionStore for TokensOnly {
    async fn put(&self, _: &str, _: Duration) -> Result<(), StoreDown> {
        Ok(())
    }

    async fn extend(&self, _: &str, _: Duration) -> Result<bool, StoreDown> {
        Ok(true)
    }

    async fn is_live(&self, _: &str) -> Result<bool, StoreDown> {
        Ok(true)
    }

    async fn delete(&self, _: &str) -> Result<(), StoreDown> {
        Ok(())
    }
}

/// A session id that nobody can guess: 128 random bits, in an alphabet that any store takes.
pub(crate) fn fresh_sid() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}
