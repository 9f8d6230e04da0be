//! A session's id, stored inside the session and not on the heap: it goes upstream with every
//! request, and a cache miss costs more than copying a cache line.

use smallvec::SmallVec;

/// The longest id that needs no memory of its own, in bytes: a UUID has 36.
const INLINE_BYTES: usize = 40;

/// A session's id.
#[derive(PartialEq, Eq)]
pub(super) struct Id(SmallVec<[u8; INLINE_BYTES]>);

impl Id {
    pub(super) fn new(text: &str) -> Self {
        Id(SmallVec::from_slice(text.as_bytes()))
    }

    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("it was made of a text")
    }
}
