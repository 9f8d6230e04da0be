//! Sliding expiry: when a session that is used now expires, and how that is written to Redis. An
//! expiry only moves forward, never beyond the token's end, and never makes a session.

use redis::{Value, cmd};
use std::time::Duration;
use streamgate_lease::StoreError;
use streamgate_lease::redis::Client;

/// When a session that is used now expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewExpiry {
    /// This many milliseconds from now, by the store's clock, whatever ours shows.
    In(u64),
    /// At the end of its token, in milliseconds since 1970: no use moves it further.
    At(u64),
}

impl NewExpiry {
    /// Whether both are the end of the same token, so that writing this one changes nothing.
    pub(super) fn is_same_end(&self, other: &NewExpiry) -> bool {
        matches!(self, NewExpiry::At(_)) && self == other
    }
}

/// The new expiry of a session that is used at `now_ms` and whose token ends at `expires_at` (Unix
/// seconds). `None`: the token is past its end and passes only by the leeway between clocks.
pub(super) fn after_use(idle: Duration, expires_at: u64, now_ms: u64) -> Option<NewExpiry> {
    let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
    let end_ms = expires_at.saturating_mul(1_000);
    match end_ms.checked_sub(now_ms)? {
        0 => None,
        left_ms if left_ms <= idle_ms => Some(NewExpiry::At(end_ms)),
        _ => Some(NewExpiry::In(idle_ms)),
    }
}

/// Moves the expiries of these keys.
///
/// `GT` makes a late or doubled write harmless: an expiry only moves forward. But to `GT` a key
/// without an expiry is one that lives for ever, so those that did not move are asked a second
/// time, with `NX`. Neither makes a key that is not there: a session that was ended stays ended.
pub(super) async fn extend(
    client: &Client,
    keys: &[(String, NewExpiry)],
) -> Result<(), StoreError> {
    let moved = write(client, keys.iter(), "GT").await?;
    let left = keys.iter().zip(moved).filter(|(_, moved)| !moved).map(|(key, _)| key);
    let left: Vec<_> = left.collect();
    match left.is_empty() {
        true => Ok(()),
        false => write(client, left.into_iter(), "NX").await.map(drop),
    }
}

async fn write(
    client: &Client,
    keys: impl Iterator<Item = &(String, NewExpiry)>,
    condition: &str,
) -> Result<Vec<bool>, StoreError> {
    let write = |(key, expiry): &(String, NewExpiry)| {
        let (verb, ms) = match expiry {
            NewExpiry::In(ms) => ("PEXPIRE", ms),
            NewExpiry::At(at_ms) => ("PEXPIREAT", at_ms),
        };
        let mut command = cmd(verb);
        command.arg(key).arg(*ms).arg(condition);
        (key.clone(), command)
    };
    let commands: Vec<_> = keys.map(write).collect();
    let values = client.query_all(&commands).await;
    values.into_iter().map(|value| Ok(value? == Value::Int(1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_extends_by_idle_and_never_beyond_the_token() {
        let idle = Duration::from_secs(60);
        let cases = [
            (1_000, Some(NewExpiry::In(60_000))),
            (161, Some(NewExpiry::In(60_000))),
            (160, Some(NewExpiry::At(160_000))),
            (101, Some(NewExpiry::At(101_000))),
            (100, None),
            (50, None),
            (u64::MAX, Some(NewExpiry::In(60_000))),
        ];
        for (expires_at, expected) in cases {
            assert_eq!(after_use(idle, expires_at, 100_000), expected, "{expires_at}");
        }
        assert!(NewExpiry::At(5).is_same_end(&NewExpiry::At(5)));
        assert!(!NewExpiry::In(5).is_same_end(&NewExpiry::In(5)));
    }
}
