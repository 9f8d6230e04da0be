//! An account as the store knows it when all its sessions are ended: a hash that only those can
//! make who have the pepper, and the message that tells all gateways.

use crate::session::{Revocation, Session};
use streamgate_lease::Holder;

/// What the key of a revoked account begins with.
const KEY: &str = "sg:revoked:";

/// What a message begins with that is about an account. A gateway that does not know the form takes
/// the whole for the id of a session that it has never heard of, and forgets nothing.
const ABOUT_ACCOUNT: &str = "account ";

/// The name of an account under a pepper, of which nobody can tell the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark(String);

impl Mark {
    pub(super) fn of(revocation: &Revocation, account: &str) -> Self {
        Mark(Holder::of(&revocation.pepper, account).to_string())
    }

    /// Where the store has the time until which sessions of the account are over.
    pub(super) fn key(&self) -> String {
        format!("{KEY}{}", self.0)
    }

    /// What tells others to ask again about the account's sessions.
    pub(super) fn message(&self) -> String {
        format!("{ABOUT_ACCOUNT}{}", self.0)
    }

    /// The account that a message is about, if it is about one.
    pub(super) fn heard(message: &str) -> Option<Self> {
        let mark = message.strip_prefix(ABOUT_ACCOUNT)?;
        let is_hash = mark.len() == 34 && mark.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| Mark(mark.to_owned()))
    }

    /// 64 bits of it, by which remembered answers are found again. Two accounts that share them
    /// are only asked about once more than need be.
    pub(super) fn tag(&self) -> u64 {
        u64::from_str_radix(&self.0[18..], 16).expect("sixteen hexadecimal digits")
    }
}

/// Whether a session is among those that ended at `revoked_at`. One that began in that very second
/// is, and one that does not say when it began is older than everything.
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
        let mark = Mark::of(&revocation, "ann");
        assert!(!mark.key().contains("ann") && mark.tag() != 0);
        assert_eq!(Mark::heard(&mark.message()), Some(mark.clone()));
        for other in ["", "account ", "account ann", "a-session", &mark.key()] {
            assert_eq!(Mark::heard(other), None, "{other}");
        }
        assert_eq!(Mark::heard(&format!("{} ", mark.message())), None);
    }
}
