//! A session's id, which lies in the session and not behind it: it is told upstream with every
//! request, and each place that a request must look up in memory costs more than copying a line.

use smallvec::SmallVec;

/// The longest that takes no place of its own, in bytes: a UUID has 36.
const INLINE_BYTES: usize = 40;

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Id(SmallVec<[u8; INLINE_BYTES]>);

impl Id {
    pub(super) fn new(text: &str) -> Self {
        Id(SmallVec::from_slice(text.as_bytes()))
    }

    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("it was made of a text")
    }
}
