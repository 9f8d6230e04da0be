//! What a store is asked and told about sessions, in memory and in Redis alike.
//!
//! Keys are asked one by one, side by side: in a cluster two of them may live on two servers.

use super::mark::{Mark, is_over};
use super::slide::{self, Reach};
use super::{Ended, Kind, REVOKED_CHANNEL, Session, Store};
use redis::{Script, Value, cmd};
use std::time::Duration;
use streamgate_lease::StoreError;
use streamgate_lease::redis::Client;

/// The key under which the auth service writes an active session.
const SESSION_KEY: &str = "sg:session:";

fn key(session: &str) -> String {
    format!("{SESSION_KEY}{session}")
}

impl Store {
    /// Whether the session is active: told at once if that was asked in the last seconds, else one
    /// round trip, for the session and for the mark of its account alike.
    pub(super) async fn is_active(
        &self,
        session: &Session,
        mark: Option<&Mark>,
    ) -> Result<bool, StoreError> {
        if let Some(answer) = self.was_active(session.id()) {
            return Ok(answer);
        }
        // Taken before asking: a revocation that comes meanwhile outdates the answer.
        let epoch = self.known.epoch();
        let (is_there, revoked_at) = match &self.kind {
            Kind::Memory { sessions, .. } => {
                let revoked_at = mark.and_then(|mark| sessions.revoked_at(mark));
                (sessions.is_active(session.id()), revoked_at)
            }
            Kind::Redis { links, .. } => {
                let key = key(session.id());
                tokio::try_join!(links.exists(&key), revoked_at(links, mark))?
            }
        };
        let answer = is_there && !revoked_at.is_some_and(|at| is_over(session, at));
        self.known.enter(session.id(), answer, mark.map_or(0, Mark::tag), epoch);
        Ok(answer)
    }

    /// Moves the expiries of sessions forward, of those that are there.
    pub(super) async fn extend(&self, sessions: &[(&str, Reach)]) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Memory { sessions: kept, .. } => {
                let now_ms = crate::clock::unix_ms();
                for (session, reach) in sessions {
                    let ms = match reach {
                        Reach::For(ms) => *ms,
                        Reach::To(at_ms) => at_ms.saturating_sub(now_ms),
                    };
                    kept.slide(session, Duration::from_millis(ms));
                }
                Ok(())
            }
            Kind::Redis { links, .. } => {
                let keys: Vec<_> = sessions.iter().map(|(id, reach)| (key(id), *reach)).collect();
                slide::extend(links, &keys).await
            }
        }
    }

    /// Ends one session. An error means that it was not done, or that nobody knows; a second time
    /// does no harm.
    pub(super) async fn end(&self, session: &str) -> Result<Ended, StoreError> {
        match &self.kind {
            Kind::Memory { sessions, .. } => {
                let was_active = sessions.is_active(session);
                sessions.delete(session);
                Ok(Ended { was_active, is_told: true })
            }
            Kind::Redis { links, .. } => {
                let (key, mut delete) = (key(session), cmd("DEL"));
                delete.arg(&key);
                let deleted: u64 = links.query(&key, &delete).await?;
                self.known.forget(session);
                Ok(Ended { was_active: deleted != 0, is_told: tell(links, session).await })
            }
        }
    }

    /// Ends all sessions of an account that began until now, and remembers that for so long.
    pub(super) async fn revoke(
        &self,
        mark: &Mark,
        remembered: Duration,
    ) -> Result<Ended, StoreError> {
        match &self.kind {
            Kind::Memory { sessions, .. } => {
                sessions.revoke(mark, remembered);
                Ok(Ended { was_active: true, is_told: true })
            }
            Kind::Redis { links, .. } => {
                let script = Script::new(include_str!("revoke.lua"));
                let mut invocation = script.key(mark.key());
                let life_ms = u64::try_from(remembered.as_millis()).unwrap_or(u64::MAX);
                links.invoke(&mark.key(), invocation.arg(life_ms)).await?;
                self.known.forget_account(mark.tag());
                Ok(Ended { was_active: true, is_told: tell(links, &mark.message()).await })
            }
        }
    }
}

/// Until when the sessions of an account are over, in seconds since 1970.
async fn revoked_at(links: &Client, mark: Option<&Mark>) -> Result<Option<u64>, StoreError> {
    let Some(mark) = mark else { return Ok(None) };
    let mut get = cmd("GET");
    get.arg(mark.key());
    match links.query(&mark.key(), &get).await? {
        Value::Nil => Ok(None),
        // Whatever else is there was meant to end sessions: what can't be read ends all.
        Value::BulkString(text) => Ok(Some(
            str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX),
        )),
        _ => Ok(Some(u64::MAX)),
    }
}

/// Tells all gateways. In this order: one that hears of it and asks again must find it done.
async fn tell(links: &Client, message: &str) -> bool {
    let mut publish = cmd("PUBLISH");
    publish.arg(REVOKED_CHANNEL).arg(message);
    links.query::<Value>(REVOKED_CHANNEL, &publish).await.is_ok()
}
