//! The keys that tokens are verified with: from secrets, files and key sets of issuers.

pub(super) mod key_source;
pub mod key_set;
pub(super) mod refresh_gate;
pub(super) mod jwk;
pub(super) mod key;
