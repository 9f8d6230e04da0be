//! Which slot of a holder: sixteen bytes, and how they are written.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::{cmp::Ordering, fmt, str::FromStr};

/// 16 bytes in base64.
const ID_CHARS: usize = 22;

/// A [`LeaseId`] as it prints: unpadded base64url.
pub type LeaseText = [u8; ID_CHARS];

/// Names one slot of one holder; also the opaque code by which a viewer picks a stream to stop.
///
/// `Display` gives 22 characters of unpadded base64url, and `FromStr` takes exactly those.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId([u8; 16]);

/// The text is not the 22 characters that a [`LeaseId`] prints as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lease id is 22 characters of base64url")]
pub struct LeaseIdInvalid(());

impl LeaseId {
    /// The id of a playback within a login session, or of the session itself.
    ///
    /// Both parts are framed by their length, so no two different pairs are read alike.
    #[must_use]
    pub fn of(session: &str, playback: Option<&str>) -> Self {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        };
        part(session);
        if let Some(playback) = playback {
            part(playback);
        }
        let digest = hash.finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// The id that these bytes are: for who makes ids of its own, at random.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// What it is made of.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// What it prints as, without a formatter.
    #[must_use]
    pub fn text(&self) -> LeaseText {
        let mut text = [0; ID_CHARS];
        let length = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text);
        assert_eq!(length, Ok(ID_CHARS), "16 bytes are 22 characters of base64");
        text
    }

    /// The order in which Redis has ids, which compares their texts: where it decides who goes
    /// first among equals, all stores must agree.
    pub(crate) fn cmp_as_text(&self, other: &Self) -> Ordering {
        self.text().cmp(&other.text())
    }

    /// Uniform bits for jitter.
    pub(crate) fn spread(&self) -> u64 {
        u64::from_be_bytes(self.0[..8].try_into().expect("8 of 16 bytes are 8 bytes"))
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).expect("base64 is ASCII"))
    }
}

impl FromStr for LeaseId {
    type Err = LeaseIdInvalid;

    fn from_str(text: &str) -> Result<Self, LeaseIdInvalid> {
        if text.len() != ID_CHARS {
            return Err(LeaseIdInvalid(()));
        }
        let mut id = [0; 16];
        match URL_SAFE_NO_PAD.decode_slice_unchecked(text, &mut id) {
            Ok(16) => Ok(Self(id)),
            _ => Err(LeaseIdInvalid(())),
        }
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeaseId({self})")
    }
}
