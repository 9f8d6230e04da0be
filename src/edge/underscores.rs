//! Header fields with `_` in their name. Many servers read `_` as `-`, so a client could spell a
//! field that only the gateway may set.

use pingora::http::RequestHeader;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of fields with `_` in their name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Underscores {
    /// They are taken out of the request: neither routes nor filters nor upstreams see them.
    #[default]
    Drop,
    /// The request is refused with 400.
    Refuse,
}

impl Underscores {
    /// Takes them out of a head, if they are to be dropped. Whoever checks the head refuses those
    /// that are left.
    pub fn apply(self, head: &mut RequestHeader) {
        let is_meant = |name: &str| self == Underscores::Drop && name.contains('_');
        // Looked at first: nearly no request has one.
        if head.headers.keys().any(|name| is_meant(name.as_str())) {
            let names = head.headers.keys().filter(|name| is_meant(name.as_str()));
            for name in names.cloned().collect::<Vec<_>>() {
                head.remove_header(&name);
            }
        }
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Underscores::default()
    }
}
