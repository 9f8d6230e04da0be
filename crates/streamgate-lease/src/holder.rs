//! Whose slots they are: an account, turned into something that may be logged and stored.
//!
//! It is not the account itself: nothing here can be turned back into a user name without the
//! pepper, and the pepper never prints.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use std::hash::{Hash, Hasher};

/// The shortest pepper that is accepted, in bytes.
const PEPPER_BYTES_MIN: usize = 32;
/// The scheme by which holders are made; it is part of every holder.
const VERSION: u8 = 1;

/// The secret that makes holders unguessable, and while it is being changed the other one, too.
/// Its `Debug` prints `***`.
#[derive(Clone)]
pub struct Pepper {
    current: Box<[u8]>,
    also: Option<Box<[u8]>>,
}

/// The pepper has fewer than 32 bytes, so a dictionary of user names could be tried against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pepper needs at least {PEPPER_BYTES_MIN} bytes, this one has {bytes}")]
pub struct PepperTooShort {
    bytes: usize,
}

/// Whose slots are counted: a stable 16-bit bucket, a version byte and 128 bits of
/// HMAC-SHA-256 over the account.
///
/// The bucket is a plain hash of the account. It stays the same when the pepper changes, so the
/// old and the new keys of one account share a Redis Cluster slot and one script can see both.
/// Its 16 bits say nothing about who it is.
///
/// While the pepper is being changed, a holder has another name beside the current one. Stores then
/// look under both. Two holders are equal if their current names are.
///
/// `Display` gives 34 hexadecimal characters, version and HMAC: what logs and headers show.
#[derive(Clone, Copy)]
pub struct Holder {
    mac: [u8; 16],
    bucket: [u8; 2],
    version: u8,
    also: Option<[u8; 16]>,
}

impl Pepper {
    /// Takes at least 32 bytes of secret.
    ///
    /// # Errors
    /// [`PepperTooShort`] if there are fewer.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, PepperTooShort> {
        Ok(Self { current: long_enough(secret.as_ref())?, also: None })
    }

    /// The same while it is being changed, from or to another one: whatever the store has under
    /// either is found. The order in which two gateways have the two does not matter.
    ///
    /// # Errors
    /// [`PepperTooShort`] if there are fewer than 32 bytes.
    pub fn with_also(self, secret: impl AsRef<[u8]>) -> Result<Self, PepperTooShort> {
        let also = long_enough(secret.as_ref())?;
        let also = (also != self.current).then_some(also);
        Ok(Self { also, ..self })
    }
}

fn long_enough(secret: &[u8]) -> Result<Box<[u8]>, PepperTooShort> {
    if secret.len() < PEPPER_BYTES_MIN {
        return Err(PepperTooShort { bytes: secret.len() });
    }
    Ok(secret.into())
}

fn mac(secret: &[u8], account: &str) -> [u8; 16] {
    let mut hmac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    hmac.update(account.as_bytes());
    let tag = hmac.finalize().into_bytes();
    let mut mac = [0; 16];
    mac.copy_from_slice(&tag[..16]);
    mac
}

impl Holder {
    /// The holder that an account is known by under this pepper.
    #[must_use]
    pub fn of(pepper: &Pepper, account: &str) -> Self {
        let plain = Sha256::digest(account.as_bytes());
        Self {
            mac: mac(&pepper.current, account),
            bucket: [plain[0], plain[1]],
            version: VERSION,
            also: pepper.also.as_deref().map(|also| mac(also, account)),
        }
    }

    /// The same account as a gateway names it that has the two peppers the other way round.
    #[must_use]
    pub fn other(&self) -> Option<Self> {
        self.also.map(|mac| Self { mac, also: Some(self.mac), ..*self })
    }

    /// The stable bucket that is the account's hash tag in a Redis Cluster.
    #[must_use]
    pub fn bucket(&self) -> u16 {
        u16::from_be_bytes(self.bucket)
    }

    /// A holder from the two texts that it prints as: its bucket in hexadecimal, and itself.
    #[cfg(feature = "redis")]
    pub(crate) fn parse(bucket: &str, holder: &str) -> Option<Self> {
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if (bucket.len(), holder.len()) != (4, 34) || !is_hex(bucket) || !is_hex(holder) {
            return None;
        }
        let (version, mac) = holder.split_at(2);
        Some(Self {
            mac: u128::from_str_radix(mac, 16).ok()?.to_be_bytes(),
            bucket: u16::from_str_radix(bucket, 16).ok()?.to_be_bytes(),
            version: u8::from_str_radix(version, 16).ok()?,
            also: None,
        })
    }

    /// Uniform bits for choosing a shard: the same under either pepper.
    pub(crate) fn spread(&self) -> usize {
        usize::from(self.bucket())
    }
}

impl PartialEq for Holder {
    fn eq(&self, other: &Self) -> bool {
        self.mac == other.mac && self.bucket == other.bucket && self.version == other.version
    }
}

impl Eq for Holder {}

impl Hash for Holder {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The MAC is as good as random; equal holders have equal ones.
        self.mac.hash(state);
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:032x}", self.version, u128::from_be_bytes(self.mac))
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Holder({self})")
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pepper(byte: u8) -> Pepper {
        Pepper::new([byte; 32]).expect("32 bytes are enough")
    }

    #[test]
    fn a_pepper_needs_32_bytes_and_never_prints() {
        assert_eq!(Pepper::new([7; 31]).err(), Some(PepperTooShort { bytes: 31 }));
        assert_eq!(format!("{:?}", pepper(b'k')), "Pepper(***)");
    }

    #[test]
    fn the_bucket_survives_a_new_pepper_and_the_name_does_not() {
        let old = Holder::of(&pepper(1), "alice");
        let new = Holder::of(&pepper(2), "alice");
        assert_eq!(old.bucket(), new.bucket());
        assert_ne!(old.to_string(), new.to_string());
        assert_ne!(Holder::of(&pepper(1), "alice"), Holder::of(&pepper(1), "Alice"));
    }

    #[test]
    fn while_the_pepper_changes_a_holder_has_two_names() {
        let both = |a, b| pepper(a).with_also([b; 32]).expect("32 bytes");
        let (one, two) = (Holder::of(&both(1, 2), "alice"), Holder::of(&both(2, 1), "alice"));
        assert_eq!(
            one,
            Holder::of(&pepper(1), "alice"),
            "the current name is what it is called by"
        );
        assert_eq!((one.other(), two.other()), (Some(two), Some(one)));
        assert_eq!(one.spread(), two.spread());
        assert_eq!(Holder::of(&both(1, 1), "alice").other(), None);
        assert!(pepper(1).with_also([2; 31]).is_err());
    }

    #[test]
    fn the_scheme_is_pinned_to_known_bytes() {
        // HMAC-SHA-256(0x0b × 32, "alice"), from an independent implementation (Python's hmac).
        let holder = Holder::of(&pepper(0x0b), "alice");
        assert_eq!(holder.to_string(), "0199db77b0762df8b1c0373451dc06e834");
        assert_eq!(format!("{:04x}", holder.bucket()), "2bd8");
    }
}
