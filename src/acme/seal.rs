//! What makes a store that many can read, or write to, good enough for keys: all that is kept there
//! is sealed (AES-256-GCM) with a key that is derived from a secret of the operator (HKDF).
//!
//! What is sealed is bound to the name that it lies under, so it can't be moved to another one:
//! neither another listener's certificate nor a proof can be put in a certificate's place.
//! A key has a name of its own, by which one of two secrets is found while it is being changed.

use crate::units::Secret;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use std::fmt;

const SALT: &[u8] = b"streamgate acme 1";

/// How what is sealed begins: another form would begin otherwise.
const FORM: u8 = 1;

const NAME_BYTES: usize = 8;
const KEY_BYTES: usize = 32;

/// Seals with one secret, and opens with one or two.
pub(super) struct Seal(Vec<Key>);

struct Key {
    name: [u8; NAME_BYTES],
    key: LessSafeKey,
}

/// What was opened.
pub(super) struct Unsealed {
    pub(super) plain: Vec<u8>,
    /// The secret that it was sealed with is the current one.
    pub(super) is_current: bool,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(***)")
    }
}

impl Seal {
    /// The first secret seals, all of them open.
    pub(super) fn new<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Self {
        Seal(secrets.map(Key::of).collect())
    }

    /// Seals what lies under `name` in the store. `None`: the system has no randomness.
    pub(super) fn close(&self, name: &str, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.0.first()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let head = [&[FORM][..], &key.name, &nonce].concat();
        let mut sealed = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.key.seal_in_place_append_tag(nonce, Aad::from(about(&head, name)), &mut sealed).ok()?;
        Some([head, sealed].concat())
    }

    /// What was sealed under `name`, if it was sealed with one of the secrets and is whole.
    pub(super) fn open(&self, name: &str, sealed: &[u8]) -> Option<Unsealed> {
        let (head, rest) = sealed.split_at_checked(1 + NAME_BYTES + NONCE_LEN)?;
        let (form, key_name) = head[..=NAME_BYTES].split_first()?;
        let nonce: [u8; NONCE_LEN] = head[1 + NAME_BYTES..].try_into().ok()?;
        let at = self.0.iter().position(|key| *form == FORM && key.name == *key_name)?;
        let (nonce, mut plain) = (Nonce::assume_unique_for_key(nonce), rest.to_vec());
        let about = Aad::from(about(head, name));
        let length = self.0[at].key.open_in_place(nonce, about, &mut plain).ok()?.len();
        plain.truncate(length);
        Some(Unsealed { plain, is_current: at == 0 })
    }
}

/// What is not secret and must be as it was all the same.
fn about(head: &[u8], name: &str) -> Vec<u8> {
    [head, name.as_bytes()].concat()
}

impl Key {
    fn of(secret: &Secret) -> Self {
        struct Length;
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                NAME_BYTES + KEY_BYTES
            }
        }
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret.reveal().as_bytes());
        let mut bytes = [0; NAME_BYTES + KEY_BYTES];
        let derived = prk.expand(&[b"key"], Length).and_then(|okm| okm.fill(&mut bytes));
        derived.expect("HKDF gives so few bytes");
        let (name, key) = bytes.split_first_chunk().expect("the name stands in front");
        let key = UnboundKey::new(&AES_256_GCM, key).expect("a key of 32 bytes");
        Key { name: *name, key: LessSafeKey::new(key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Scalar;

    const OLD: &str = "an old secret of thirty-two bytes or more";
    const NEW: &str = "a new secret of thirty-two bytes or more!";

    fn seal(secrets: &[&str]) -> Seal {
        let secrets: Vec<_> = secrets.iter().map(|it| Secret::read(it).expect("good")).collect();
        Seal::new(secrets.iter())
    }

    #[test]
    fn who_has_the_secret_opens_it_under_its_own_name_alone() {
        let sealed = seal(&[OLD]).close("certificate", b"a key").expect("sealed");
        assert!(!sealed.windows(5).any(|bytes| bytes == b"a key"));
        for (secrets, name, is_current) in [
            (&[OLD][..], "certificate", Some(true)),
            (&[OLD, NEW], "certificate", Some(true)),
            (&[NEW, OLD], "certificate", Some(false)),
            (&[NEW], "certificate", None),
            (&[OLD], "account", None),
            (&[OLD], "", None),
        ] {
            let opened = seal(secrets).open(name, &sealed);
            assert_eq!(opened.as_ref().map(|it| it.is_current), is_current, "{secrets:?} {name}");
            assert!(opened.is_none_or(|it| it.plain == b"a key"));
        }
    }

    #[test]
    fn what_was_changed_or_cut_is_not_opened() {
        let by = seal(&[OLD]);
        let sealed = by.close("certificate", b"a key").expect("sealed");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(by.open("certificate", &changed).is_none(), "byte {at}");
            assert!(by.open("certificate", &sealed[..at]).is_none(), "{at} bytes");
        }
        assert_ne!(by.close("certificate", b"a key"), Some(sealed), "none is like another");
    }
}
