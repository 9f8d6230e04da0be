//! How far a use carries a session, and writing that to Redis: only forward, never beyond the
//! token's end, and never out of nothing.

use redis::{Value, cmd};
use std::time::Duration;
use streamgate_lease::StoreError;
use streamgate_lease::redis::Client;

/// Until when a session lives that is used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// So long from now, in milliseconds: by the store's clock, whatever ours shows.
    For(u64),
    /// To the end of its token, in milliseconds since 1970: nothing carries it further.
    To(u64),
}

impl Reach {
    /// Whether both end with the same token's end, so that writing this one changes nothing.
    pub(super) fn is_same_end(&self, other: &Reach) -> bool {
        matches!(self, Reach::To(_)) && self == other
    }
}

/// Where a use at `now_ms` carries a session whose token ends at `expires_at` (Unix seconds).
/// `None`: nowhere, the token is past its end and passes only by the leeway between clocks.
pub(super) fn reach(idle: Duration, expires_at: u64, now_ms: u64) -> Option<Reach> {
    let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
    let end_ms = expires_at.saturating_mul(1_000);
    match end_ms.checked_sub(now_ms)? {
        0 => None,
        left_ms if left_ms <= idle_ms => Some(Reach::To(end_ms)),
        _ => Some(Reach::For(idle_ms)),
    }
}

/// Moves the expiries of these keys.
///
/// `GT` makes a late or doubled write harmless: an expiry only moves forward. But to `GT` a key
/// without an expiry is one that lives for ever, so those that did not move are asked a second
/// time, with `NX`. Neither makes a key that is not there: a session that was ended stays so.
pub(super) async fn extend(links: &Client, keys: &[(String, Reach)]) -> Result<(), StoreError> {
    let moved = write(links, keys.iter(), "GT").await?;
    let left = keys.iter().zip(moved).filter(|(_, moved)| !moved).map(|(key, _)| key);
    let left: Vec<_> = left.collect();
    match left.is_empty() {
        true => Ok(()),
        false => write(links, left.into_iter(), "NX").await.map(drop),
    }
}

async fn write(
    links: &Client,
    keys: impl Iterator<Item = &(String, Reach)>,
    condition: &str,
) -> Result<Vec<bool>, StoreError> {
    let write = |(key, reach): &(String, Reach)| {
        let (verb, ms) = match reach {
            Reach::For(ms) => ("PEXPIRE", ms),
            Reach::To(at_ms) => ("PEXPIREAT", at_ms),
        };
        let mut command = cmd(verb);
        command.arg(key).arg(*ms).arg(condition);
        (key.clone(), command)
    };
    let commands: Vec<_> = keys.map(write).collect();
    let values = links.query_all(&commands).await;
    values.into_iter().map(|value| Ok(value? == Value::Int(1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_carries_as_far_as_idle_and_never_beyond_the_token() {
        let idle = Duration::from_secs(60);
        let cases = [
            (1_000, Some(Reach::For(60_000))),
            (161, Some(Reach::For(60_000))),
            (160, Some(Reach::To(160_000))),
            (101, Some(Reach::To(101_000))),
            (100, None),
            (50, None),
            (u64::MAX, Some(Reach::For(60_000))),
        ];
        for (expires_at, expected) in cases {
            assert_eq!(reach(idle, expires_at, 100_000), expected, "{expires_at}");
        }
        assert!(Reach::To(5).is_same_end(&Reach::To(5)));
        assert!(!Reach::For(5).is_same_end(&Reach::For(5)));
    }
}
