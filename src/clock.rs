//! The wall clock, for what is dated by others: tokens and log lines.
//!
//! Never for measuring: elapsed time is tokio's, which tests can pause.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, as the claims `exp` and `nbf` count them (RFC 7519 §2, NumericDate).
pub fn unix_seconds() -> u64 {
    unix_ms() / 1_000
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Whether a time in seconds since 1970 is over, as certificates tell their ends.
pub fn is_past(unix_seconds: i64) -> bool {
    unix_seconds <= i64::try_from(self::unix_seconds()).unwrap_or(i64::MAX)
}

/// A Unix time in milliseconds as RFC 3339, for people and logs.
pub fn rfc3339(unix_ms: u64) -> String {
    let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or_default().to_string()
}
