//! The key under which a store has the time when all sessions of an account were ended, and the
//! message that makes all gateways forget them. Both name the account by a hash: without the pepper
//! nobody can compute it.

use crate::session::{Revocation, Session};
use streamgate_lease::Holder;

/// What the key of a revoked account begins with.
const KEY: &str = "sg:revoked:";

/// The beginning of a message about an account. A gateway that does not know this form takes the
/// whole message for the id of a session that it has never seen, and forgets nothing.
const ABOUT_ACCOUNT: &str = "account ";

/// An account, hashed with a pepper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RevocationKey(String);

impl RevocationKey {
    pub(super) fn of(revocation: &Revocation, account: &str) -> Self {
        RevocationKey(Holder::of(&revocation.pepper, account).to_string())
    }

    /// The key in the store. Its value is a time: sessions of the account that began until then are
    /// over.
    pub(super) fn key(&self) -> String {
        format!("{KEY}{}", self.0)
    }

    /// The message that makes gateways ask again about the account's sessions.
    pub(super) fn message(&self) -> String {
        format!("{ABOUT_ACCOUNT}{}", self.0)
    }

    /// Reads a message; `None` if it is not about an account.
    pub(super) fn parse(message: &str) -> Option<Self> {
        let hash = message.strip_prefix(ABOUT_ACCOUNT)?;
        let is_hash = hash.len() == 34 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| RevocationKey(hash.to_owned()))
    }

    /// 64 bits of it, by which the cache finds the account's sessions. If two accounts share them,
    /// their sessions are only asked about once more than needed.
    pub(super) fn tag(&self) -> u64 {
        u64::from_str_radix(&self.0[18..], 16).expect("sixteen hexadecimal digits")
    }
}

/// Whether a session ended when all sessions of its account were ended at `revoked_at`. One that
/// began in that very second did, and so did one whose token does not say when it began.
pub(super) fn is_over(session: &Session, revoked_at: u64) -> bool {
    session.began_at().is_none_or(|began| began <= revoked_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use streamgate_lease::Pepper;

    #[test]
    fn a_message_reads_back_and_nothing_else_does() {
        let pepper = Pepper::new([7; 32]).expect("32 bytes");
        let revocation = Revocation { pepper, remembered: Duration::from_secs(1) };
        let key = RevocationKey::of(&revocation, "ann");
        assert!(!key.key().contains("ann") && key.tag() != 0);
        assert_eq!(RevocationKey::parse(&key.message()), Some(key.clone()));
        for other in ["", "account ", "account ann", "a-session", &key.key()] {
            assert_eq!(RevocationKey::parse(other), None, "{other}");
        }
        assert_eq!(RevocationKey::parse(&format!("{} ", key.message())), None);
    }
}
