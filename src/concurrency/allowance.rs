//! How many streams an account may play: what its plan says in a claim of the token, or the
//! default.
//!
//! Issuers write a number in many ways: some have claims of text alone, some know no whole numbers,
//! and some write `null` for what is not there. What can't be used is counted and named once, so
//! that a plan of one does not become the default without a word.

use crate::session::Session;
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// A limit and where it comes from.
pub(super) struct Allowance {
    claim: Option<Box<str>>,
    default: u32,
}

impl Allowance {
    /// What the claim of this name says, or `default`.
    pub(super) fn new(claim: Option<&str>, default: u32) -> Self {
        Allowance { claim: claim.map(Into::into), default }
    }

    /// The limit of this session's account. A claim that can't be used is noted.
    pub(super) fn of(&self, session: &Session, unusable: &UnusableClaims) -> u32 {
        let Some(claim) = &self.claim else { return self.default };
        match session.claim(claim).map_or(Claimed::Absent, claimed) {
            Claimed::Limit(limit) => limit,
            Claimed::Absent => self.default,
            Claimed::Unusable => {
                unusable.note(claim);
                self.default
            }
        }
    }
}

/// What a claim says.
#[derive(Debug, PartialEq, Eq)]
enum Claimed {
    Absent,
    Limit(u32),
    Unusable,
}

fn claimed(value: &Value) -> Claimed {
    let limit = match value {
        Value::Null => return Claimed::Absent,
        Value::Number(number) => match number.as_u64() {
            Some(whole) => u32::try_from(whole).ok(),
            None => number.as_f64().and_then(whole),
        },
        Value::String(text) => digits(text),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    limit.map_or(Claimed::Unusable, Claimed::Limit)
}

/// `5.0`, as those write five who know one kind of number.
fn whole(number: f64) -> Option<u32> {
    let is_whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    is_whole.then_some(number as u32)
}

/// `"5"`, and `"5.0"`.
fn digits(text: &str) -> Option<u32> {
    let (digits, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_zero = !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0');
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_zero && is_number).then(|| digits.parse().ok()).flatten()
}

/// Claims of limits that could not be used.
#[derive(Debug, Default)]
pub struct UnusableClaims {
    total: AtomicU64,
    names: Mutex<Names>,
    news: Notify,
}

/// There are no more than the limits of a policy.
#[derive(Debug, Default)]
struct Names {
    all: Vec<Box<str>>,
    told: usize,
}

impl UnusableClaims {
    fn note(&self, claim: &str) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let mut names = self.names.lock();
        if !names.all.iter().any(|known| **known == *claim) {
            names.all.push(claim.into());
            self.news.notify_one();
        }
    }

    /// How often a default stood in for a claim.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Waits for a claim that could not be used and was not told before.
    pub async fn next(&self) -> Box<str> {
        loop {
            if let Some(name) = self.untold() {
                return name;
            }
            self.news.notified().await;
        }
    }

    fn untold(&self) -> Option<Box<str>> {
        let mut names = self.names.lock();
        let name = names.all.get(names.told)?.clone();
        names.told += 1;
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_are_read_as_issuers_write_them() {
        for (value, expected) in [
            (json!(0), Some(0)),
            (json!(2), Some(2)),
            (json!(4_294_967_295_u64), Some(u32::MAX)),
            (json!(1.0), Some(1)),
            (json!(5.0), Some(5)),
            (json!(1e9), Some(1_000_000_000)),
            (json!(-0.0), Some(0)),
            (json!("1"), Some(1)),
            (json!("05"), Some(5)),
            (json!("5.0"), Some(5)),
            (json!("4294967295"), Some(u32::MAX)),
        ] {
            assert_eq!(claimed(&value), Claimed::Limit(expected.expect("a limit")), "{value}");
        }
        assert_eq!(claimed(&Value::Null), Claimed::Absent);
        for value in [
            json!(-1),
            json!(1.5),
            json!(-1.0),
            json!(5_000_000_000_u64),
            json!(1e300),
            json!(""),
            json!("unlimited"),
            json!("-1"),
            json!("+1"),
            json!(" 1"),
            json!("1.5"),
            json!("1."),
            json!(".0"),
            json!("1e3"),
            json!("0x5"),
            json!("\u{661}"),
            json!("4294967296"),
            json!(true),
            json!([2]),
            json!({ "max": 2 }),
        ] {
            assert_eq!(claimed(&value), Claimed::Unusable, "{value}");
        }
    }

    #[tokio::test]
    async fn each_claim_is_named_once_and_counted_always() {
        let unusable = UnusableClaims::default();
        for claim in ["max_streams", "max_4k", "max_streams"] {
            unusable.note(claim);
        }
        assert_eq!(unusable.total(), 3);
        assert_eq!(&*unusable.next().await, "max_streams");
        assert_eq!(&*unusable.next().await, "max_4k");
        assert_eq!(unusable.untold(), None);
    }
}
