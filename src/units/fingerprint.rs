//! Whether two entries of two files are the same, secrets included, without showing a secret.
//!
//! A secret prints as `***`, so two entries would print the same although their secrets differ.
//! While a fingerprint is taken, a secret prints as its hash.

use serde::Serialize;
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::fmt;

thread_local! {
    static IS_TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// What stands for an entry: equal if, and only if, the entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of what was read from the file.
    pub fn of(value: &impl Serialize) -> Self {
        struct Taken;
        impl Drop for Taken {
            fn drop(&mut self) {
                IS_TAKEN.set(false);
            }
        }
        IS_TAKEN.set(true);
        let _taken = Taken;
        let json = serde_json::to_vec(value).expect("a configuration is plain data");
        Fingerprint(Sha256::digest(json).into())
    }

    /// The fingerprint of this and of something else.
    #[must_use]
    pub fn with(self, more: &[u8]) -> Self {
        let both = Sha256::new().chain_update(self.0).chain_update(Sha256::digest(more));
        Fingerprint(both.finalize().into())
    }
}

/// How a secret prints itself.
pub(super) fn print_secret(secret: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match IS_TAKEN.get() {
        true => write!(f, "{:x?}", Sha256::digest(secret)),
        false => f.write_str("***"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Secret;
    use crate::yaml::Scalar;

    #[test]
    fn another_secret_is_another_entry_and_is_not_shown() {
        let secret = |text| Secret::read(text).expect("a secret");
        let print = |text| Fingerprint::of(&secret(text));
        assert_eq!(print("one and the same"), print("one and the same"));
        assert_ne!(print("one and the same"), print("one and the sane"));
        assert_eq!(serde_json::to_string(&secret("abc")).expect("a text"), "\"***\"");
        assert_ne!(print("a").with(b"x"), print("a").with(b"y"));
        assert_ne!(print("a").with(b"x").with(b"y"), print("a").with(b"xy"));
    }
}
