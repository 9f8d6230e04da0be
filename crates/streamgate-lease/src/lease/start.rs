//! What a claim says about the start of a playback: of which login, on whose behalf, and at whose
//! cost.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// 8 bytes in base64.
const TAG_CHARS: usize = 11;

/// 64 bits of a hash: tells the logins of one holder from each other, and the paths that they ask
/// for. It says nothing about what it was made of, and counts for nothing beyond its holder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag([u8; 8]);

/// The text is not the 11 characters that a [`Tag`] prints as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tag is 11 characters of base64url")]
pub struct TagInvalid(());

/// Who makes a claim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ClaimSource {
    /// A request of the player, which is passed on if the claim is granted.
    #[default]
    Request,
    /// A request that only has a slot reserved: nothing of the playback is passed on yet, and what
    /// comes next is its first request.
    Reservation,
    /// No request: a node that keeps what it has. It starts no playback and speaks for no player.
    Node,
}

/// Whose streams end, before anybody is refused, so that a newcomer may play.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum DisplacePolicy {
    /// The older ones of its own login.
    Older,
    /// Those that make room for anybody: marked ones, and those that have been paused for long.
    #[default]
    Marked,
    /// None at all, whatever the claim would replace.
    Nobody,
}

/// Lets its holder play one lease, if it is used for the first time soon enough. Only the store can
/// tell whether it was, so no node starts it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Its first use must come before this moment, in unix milliseconds of the store's clock.
    pub use_by: u64,
    /// Until then the store remembers that it did, in the same milliseconds.
    pub ends_at: u64,
}

/// Which start is given back, and so how it can be told from others of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attempt {
    /// The slot has this version: its expiry when its first request was let pass, in unix
    /// milliseconds of the store's clock.
    Versioned(u64),
    /// The claim that was made so had no answer, or one that reached nobody, so nothing of its
    /// stream was let pass.
    Unanswered(ClaimSource),
}

impl Attempt {
    /// The start that a claim made so has begun, if nothing was let pass before; `version` is that
    /// of its first request.
    pub(crate) fn of(by: ClaimSource, is_new: bool, version: Option<u64>) -> Option<Self> {
        match by {
            ClaimSource::Request => version.map(Self::Versioned),
            ClaimSource::Reservation => is_new.then_some(Self::Unanswered(by)),
            ClaimSource::Node => None,
        }
    }

    /// How many requests the store has counted of a stream that is nothing but this start.
    #[must_use]
    pub fn passes(&self) -> u32 {
        match self {
            Self::Versioned(_) | Self::Unanswered(ClaimSource::Request) => 1,
            Self::Unanswered(ClaimSource::Reservation | ClaimSource::Node) => 0,
        }
    }
}

impl Tag {
    /// The tag of a login, or of a path.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let mut tag = [0; 8];
        tag.copy_from_slice(&digest[..8]);
        Self(tag)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for Tag {
    type Err = TagInvalid;

    fn from_str(text: &str) -> Result<Self, TagInvalid> {
        // The decoder wants room for what so many characters may hold at most: a byte more.
        let mut bytes = [0; 9];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(8) if text.len() == TAG_CHARS => {
                let mut tag = [0; 8];
                tag.copy_from_slice(&bytes[..8]);
                Ok(Self(tag))
            }
            _ => Err(TagInvalid(())),
        }
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_reads_back_as_it_prints() {
        let tag = Tag::of("session 1");
        assert_eq!(tag.to_string().parse(), Ok(tag));
        assert_ne!(tag, Tag::of("session 2"));
        for bad in ["", "AAAAAAAAAA", "AAAAAAAAAAAA", "AAAAAAAAAA=", "AAAAAAAAAA+"] {
            assert_eq!(bad.parse::<Tag>(), Err(TagInvalid(())), "{bad}");
        }
    }
}
