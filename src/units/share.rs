//! A share of something, in per cent.

use crate::yaml::Scalar;
use std::fmt;

/// A share, written `20%`. It may be more than the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

/// The largest share that is written.
const PERCENT_MAX: u32 = 1_000;

impl Share {
    /// So many per cent.
    pub const fn percent(percent: u32) -> Self {
        Share(percent)
    }

    /// In per cent.
    pub fn as_percent(self) -> u64 {
        u64::from(self.0)
    }

    /// This share of `whole`, rounded down.
    pub fn of(self, whole: u64) -> u64 {
        whole.saturating_mul(self.as_percent()) / 100
    }
}

impl Scalar for Share {
    const KIND: &'static str = "a share";
    const EXAMPLE: &'static str = "20%";
    const EXPECTED: &'static str = "a share in whole per cent such as `20%`, up to `1000%`";

    fn read(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').ok_or_else(String::new)?;
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
        match number.parse() {
            Ok(percent @ 1..=PERCENT_MAX) if is_plain => Ok(Share(percent)),
            _ => Err(String::new()),
        }
    }

    fn advice(text: &str) -> Option<String> {
        let number: f64 = text.trim().trim_end_matches('%').trim().parse().ok()?;
        // Others write a part of one.
        let percent = if text.contains('%') || 1.0 < number { number } else { number * 100.0 };
        let percent = percent.round();
        (1.0..=f64::from(PERCENT_MAX)).contains(&percent).then(|| format!("write `{percent}%`"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}
