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
    /// Takes them out of a head, if they are to be dropped, and says how many there were. Whoever
    /// checks the head refuses those that are left.
    pub fn apply(self, head: &mut RequestHeader) -> u64 {
        if self != Underscores::Drop {
            return 0;
        }
        let is_meant = |name: &str| name.contains('_');
        // Looked at first: nearly no request has one.
        if !head.headers.keys().any(|name| is_meant(name.as_str())) {
            return 0;
        }
        let before = head.headers.len();
        let names = head.headers.keys().filter(|name| is_meant(name.as_str()));
        for name in names.cloned().collect::<Vec<_>>() {
            head.remove_header(&name);
        }
        (before - head.headers.len()) as u64
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Underscores::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_that_is_dropped_is_told() {
        let mut head = RequestHeader::build("GET", b"/", None).expect("a head");
        for (name, value) in [("a_b", "1"), ("A_B", "2"), ("a-b", "3"), ("_", "4"), ("host", "a")] {
            head.append_header(name, value).expect("a field");
        }
        assert_eq!(Underscores::Refuse.apply(&mut head), 0);
        assert_eq!(head.headers.len(), 5, "they are left for the check of the head");
        assert_eq!(Underscores::Drop.apply(&mut head), 3);
        assert_eq!(head.headers.keys().count(), 2);
        assert_eq!(Underscores::Drop.apply(&mut head), 0);
    }
}
