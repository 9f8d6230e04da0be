//! Who may come in, kept in SQLite. Not sessions, and never a password in the clear.

mod database;

pub use database::{Accounts, AccountsError};

use std::fmt;
use std::str::FromStr;

use crate::password::Password;

/// Longest account name and tier, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// The tier of an account that names none.
pub const TIER_DEFAULT: &str = "standard";
/// The most streams that an account can be given.
pub const STREAMS_MAX: u32 = 1_000;

/// An account's name, in the form in which names are compared: ASCII letters in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountName(String);

impl AccountName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let fits = (1..=NAME_BYTES_MAX).contains(&text.len());
        let is_plain = !text.chars().any(|c| c.is_control() || c.is_whitespace());
        if fits && is_plain { Ok(Self(text.to_ascii_lowercase())) } else { Err(SpecError::Name) }
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An account, without its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name; the token's `sub`.
    pub name: AccountName,
    /// Its tier, such as `standard` or `gold`.
    pub tier: String,
    /// How many streams may play at once; none leaves it to the gateway's policy.
    pub max_streams: Option<u32>,
}

impl Account {
    /// An account of that tier.
    pub fn new(name: AccountName, tier: &str, max_streams: Option<u32>) -> Result<Self, SpecError> {
        let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if tier.is_empty() || tier.len() > NAME_BYTES_MAX || !tier.chars().all(is_known) {
            return Err(SpecError::Tier);
        }
        if max_streams.is_some_and(|streams| streams > STREAMS_MAX) {
            return Err(SpecError::MaxStreams);
        }
        Ok(Self { name, tier: tier.to_owned(), max_streams })
    }
}

/// An account that shall exist when the service begins, with its password.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The account.
    pub account: Account,
    /// Its password.
    pub password: Password,
}

/// Why a text does not describe an account. Never repeats the text: a password is in it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SpecError {
    /// Too few or too many parts.
    #[error("an account is written name:password[:tier[:max_streams]]")]
    Form,
    /// The name.
    #[error("an account's name has 1 to {NAME_BYTES_MAX} bytes, no spaces, no control characters")]
    Name,
    /// The password.
    #[error("an account's password has 1 to {} bytes", crate::password::PASSWORD_BYTES_MAX)]
    Password,
    /// The tier.
    #[error("a tier has 1 to {NAME_BYTES_MAX} of a-z, A-Z, 0-9, - and _")]
    Tier,
    /// The number of streams.
    #[error("max_streams is a whole number from 0 to {STREAMS_MAX}")]
    MaxStreams,
}

impl FromStr for Seed {
    type Err = SpecError;

    /// From `name:password[:tier[:max_streams]]`; neither name nor password can hold a colon.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (name, password, tier, streams) = match parts[..] {
            [name, password] => (name, password, TIER_DEFAULT, None),
            [name, password, tier] => (name, password, tier, None),
            [name, password, tier, streams] => (name, password, tier, Some(streams)),
            _ => return Err(SpecError::Form),
        };
        let streams = streams.map(|text| text.parse().map_err(|_| SpecError::MaxStreams));
        let account = Account::new(name.parse()?, tier, streams.transpose()?)?;
        let password = Password::parse(password.to_owned()).map_err(|_| SpecError::Password)?;
        Ok(Self { account, password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_read_and_its_password_never_printed() {
        let seed: Seed = "Alice@example.com:s3cret:gold:5".parse().expect("a good seed");
        assert_eq!(seed.account.name.as_str(), "alice@example.com");
        assert_eq!((seed.account.tier.as_str(), seed.account.max_streams), ("gold", Some(5)));
        assert!(!format!("{seed:?}").contains("s3cret"));
        let plain: Seed = "bob:pw".parse().expect("a good seed");
        assert_eq!((plain.account.tier.as_str(), plain.account.max_streams), ("standard", None));
    }

    #[test]
    fn a_bad_seed_is_reported_by_its_part_and_not_repeated() {
        let cases = [
            ("alice", SpecError::Form),
            ("a:b:c:1:2", SpecError::Form),
            (":pw", SpecError::Name),
            ("a b:pw", SpecError::Name),
            ("a:", SpecError::Password),
            ("a:pw:", SpecError::Tier),
            ("a:pw:go ld", SpecError::Tier),
            ("a:pw:gold:many", SpecError::MaxStreams),
            ("a:pw:gold:1001", SpecError::MaxStreams),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Seed>().expect_err(text), expected, "{text}");
        }
    }
}
