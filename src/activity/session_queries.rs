//! The commands about sessions, in memory and in Redis alike.
//!
//! Keys are asked one by one, at the same time: in a cluster two of them may live on two servers.

use super::revocation_key::{RevocationKey, is_over};
use super::revocations::REVOKED_CHANNEL;
use super::session_store::{Backend, SessionStore};
use super::sliding_expiry::{self, NewExpiry};
use crate::session::Session;
use redis::{Script, Value, cmd};
use std::time::Duration;
use streamgate_lease::StoreError;
use streamgate_lease::redis::Client;

/// The key under which the auth service writes an active session.
const SESSION_KEY: &str = "sg:session:";

fn key(session: &str) -> String {
    format!("{SESSION_KEY}{session}")
}

/// What came of ending sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whether there was such a session; for all sessions of an account it is always true.
    pub was_active: bool,
    /// Whether the other gateways hear of it at once. If not, they find out within seconds.
    pub is_published: bool,
}

impl SessionStore {
    /// Whether the session is active: from the cache if that was asked in the last seconds, else
    /// with one round trip, for the session and for the revocation of its account together.
    pub(super) async fn is_active(
        &self,
        session: &Session,
        account: Option<&RevocationKey>,
    ) -> Result<bool, StoreError> {
        if let Some(answer) = self.was_active(session.id()) {
            return Ok(answer);
        }
        // Taken before asking: a revocation that comes meanwhile outdates the answer.
        let epoch = self.cache.epoch();
        let (is_there, revoked_at) = match &self.backend {
            Backend::Memory(sessions) => {
                let revoked_at = account.and_then(|account| sessions.revoked_at(account));
                (sessions.is_active(session.id()), revoked_at)
            }
            Backend::Redis(client) => {
                let key = key(session.id());
                tokio::try_join!(client.exists(&key), revoked_at(client, account))?
            }
        };
        let answer = is_there && !revoked_at.is_some_and(|at| is_over(session, at));
        let tag = account.map_or(0, RevocationKey::tag);
        self.cache.enter(session.id(), answer, tag, epoch);
        Ok(answer)
    }

    /// Moves the expiries of sessions forward. A session that is not there stays so.
    pub(super) async fn extend(&self, sessions: &[(&str, NewExpiry)]) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Memory(kept) => {
                let now_ms = crate::clock::unix_ms();
                for (session, expiry) in sessions {
                    let ms = match expiry {
                        NewExpiry::In(ms) => *ms,
                        NewExpiry::At(at_ms) => at_ms.saturating_sub(now_ms),
                    };
                    kept.slide(session, Duration::from_millis(ms));
                }
                Ok(())
            }
            Backend::Redis(client) => {
                let keys: Vec<_> = sessions.iter().map(|(id, expiry)| (key(id), *expiry)).collect();
                sliding_expiry::extend(client, &keys).await
            }
        }
    }

    /// Ends one session. An error means that it was not done, or that nobody knows; a second time
    /// does no harm.
    pub(super) async fn end(&self, session: &str) -> Result<Ended, StoreError> {
        match &self.backend {
            Backend::Memory(sessions) => {
                let was_active = sessions.is_active(session);
                sessions.delete(session);
                Ok(Ended { was_active, is_published: true })
            }
            Backend::Redis(client) => {
                let (key, mut delete) = (key(session), cmd("DEL"));
                delete.arg(&key);
                // A cut connection has the command sent twice, and the second finds nothing any
                // more: whether there was such a session is asked before.
                let was_there = client.exists(&key).await?;
                let deleted: u64 = client.query(&key, &delete).await?;
                self.cache.forget(session);
                let was_active = was_there || deleted != 0;
                Ok(Ended { was_active, is_published: publish(client, session).await })
            }
        }
    }

    /// Ends all sessions of an account that began until now. The store remembers it as long as
    /// `remembered`.
    pub(super) async fn revoke(
        &self,
        account: &RevocationKey,
        remembered: Duration,
    ) -> Result<Ended, StoreError> {
        match &self.backend {
            Backend::Memory(sessions) => {
                sessions.revoke(account, remembered);
                Ok(Ended { was_active: true, is_published: true })
            }
            Backend::Redis(client) => {
                let script = Script::new(include_str!("revoke.lua"));
                let mut invocation = script.key(account.key());
                let remembered_ms = u64::try_from(remembered.as_millis()).unwrap_or(u64::MAX);
                client.invoke(&account.key(), invocation.arg(remembered_ms)).await?;
                self.cache.forget_account(account.tag());
                Ok(Ended {
                    was_active: true,
                    is_published: publish(client, &account.message()).await,
                })
            }
        }
    }
}

/// When all sessions of an account were ended, in seconds since 1970.
async fn revoked_at(
    client: &Client,
    account: Option<&RevocationKey>,
) -> Result<Option<u64>, StoreError> {
    let Some(account) = account else { return Ok(None) };
    let mut get = cmd("GET");
    get.arg(account.key());
    match client.query_patiently(&account.key(), &get).await? {
        Value::Nil => Ok(None),
        // Whatever else is there was meant to end sessions: what can't be read ends all.
        Value::BulkString(text) => Ok(Some(
            str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX),
        )),
        _ => Ok(Some(u64::MAX)),
    }
}

/// Makes all gateways forget what they cached; call it after the write, because a gateway that
/// hears of it and asks again must find it done.
async fn publish(client: &Client, message: &str) -> bool {
    let mut publish = cmd("PUBLISH");
    publish.arg(REVOKED_CHANNEL).arg(message);
    client.query::<Value>(REVOKED_CHANNEL, &publish).await.is_ok()
}
