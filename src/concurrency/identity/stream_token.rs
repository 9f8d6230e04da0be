//! The signed stream token: it names the lease that a request belongs to.
//!
//! Fifty characters of base64url over `version, expiry, lease, tag`. The tag is HMAC-SHA-256, cut
//! to 128 bits. It signs the bytes in front of it and the subject: the account's hash and the
//! session, each framed by its length. So a token is good for one stream of one login until it
//! expires, and no store has to be asked. A token alone admits nobody: the session's own token must
//! come with it.
//!
//! How a token travels is in `token_transport.rs`; the filter decides who gets one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use streamgate_lease::LeaseId;

/// The first byte. Whatever else the secret signs must not begin with it; a JWT begins with `e`.
const VERSION: u8 = 1;

const TAG_BYTES: usize = 16;
const BODY_BYTES: usize = 1 + 4 + 16;
const TOKEN_BYTES: usize = BODY_BYTES + TAG_BYTES;

/// How long every token is.
pub const TOKEN_CHARS: usize = 50;

/// The account and the session that a token is for. Nobody else can use it.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// What the account's holder prints as.
    pub account: &'a [u8],
    /// The session's id.
    pub session: &'a str,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamTokenError {
    /// It was cut, forged, or made for another subject. The client does not learn which.
    Invalid,
    /// The signature is good and the token has expired.
    Expired,
}

/// What signs tokens and verifies them: a secret, and a second one that only verifies.
#[derive(Clone)]
pub struct StreamTokenKey {
    /// Keyed once, so that a token costs only three blocks of SHA-256.
    current: Hmac<Sha256>,
    also: Option<Hmac<Sha256>>,
}

impl std::fmt::Debug for StreamTokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamTokenKey(***)")
    }
}

impl StreamTokenKey {
    /// Signs with `secret`. Tokens that were signed with `also` are accepted, too.
    pub fn new(secret: &[u8], also: Option<&[u8]>) -> Self {
        let keyed = |secret: &[u8]| {
            Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length")
        };
        StreamTokenKey { current: keyed(secret), also: also.map(keyed) }
    }

    /// The token of this lease for this subject, good until `expires_at`, in seconds since 1970.
    pub fn sign(&self, lease: &LeaseId, expires_at: u64, subject: Subject<'_>) -> String {
        let mut token = [0; TOKEN_BYTES];
        token[0] = VERSION;
        // Four bytes last until 2106; a later time is cut down to that.
        let expires_at = u32::try_from(expires_at).unwrap_or(u32::MAX);
        token[1..5].copy_from_slice(&expires_at.to_be_bytes());
        token[5..BODY_BYTES].copy_from_slice(lease.bytes());
        let (body, tag) = token.split_at_mut(BODY_BYTES);
        let signed = signing(&self.current, body, subject).finalize().into_bytes();
        tag.copy_from_slice(&signed[..TAG_BYTES]);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The lease that a token names, if it is this subject's and `now` is before its end.
    pub fn verify(
        &self,
        text: &str,
        subject: Subject<'_>,
        now: u64,
    ) -> Result<LeaseId, StreamTokenError> {
        let mut token = [0; TOKEN_BYTES];
        if text.len() != TOKEN_CHARS {
            return Err(StreamTokenError::Invalid);
        }
        match URL_SAFE_NO_PAD.decode_slice_unchecked(text, &mut token) {
            Ok(TOKEN_BYTES) if token[0] == VERSION => {}
            _ => return Err(StreamTokenError::Invalid),
        }
        let (body, tag) = token.split_at(BODY_BYTES);
        let keys = [Some(&self.current), self.also.as_ref()];
        // The comparison takes as long whatever differs.
        let is_ours = |key| signing(key, body, subject).verify_truncated_left(tag).is_ok();
        if !keys.into_iter().flatten().any(is_ours) {
            return Err(StreamTokenError::Invalid);
        }
        let expires_at = u32::from_be_bytes(body[1..5].try_into().expect("four of the bytes"));
        if u64::from(expires_at) <= now {
            return Err(StreamTokenError::Expired);
        }
        Ok(LeaseId::from_bytes(body[5..].try_into().expect("sixteen of the bytes")))
    }
}

/// The MAC over everything that a tag protects.
fn signing(key: &Hmac<Sha256>, body: &[u8], subject: Subject<'_>) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(body);
    for part in [subject.account, subject.session.as_bytes()] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANN: Subject<'static> = Subject { account: b"ann's hash", session: "s-1" };
    const LEASE: LeaseId = LeaseId::from_bytes([7; 16]);

    fn key() -> StreamTokenKey {
        StreamTokenKey::new(b"a secret of thirty-two bytes or more", None)
    }

    #[test]
    fn a_token_is_good_for_its_subject_until_it_expires() {
        let token = key().sign(&LEASE, 1_000, ANN);
        assert_eq!(token.len(), TOKEN_CHARS);
        assert_eq!(key().verify(&token, ANN, 999), Ok(LEASE));
        assert_eq!(key().verify(&token, ANN, 1_000), Err(StreamTokenError::Expired));
        let far = key().sign(&LEASE, u64::MAX, ANN);
        assert_eq!(key().verify(&far, ANN, 4_000_000_000), Ok(LEASE));
    }

    #[test]
    fn nobody_else_can_use_it() {
        let token = key().sign(&LEASE, 1_000, ANN);
        let framed = |account, session| Subject { account, session };
        for other in [
            framed(b"bob's hash", "s-1"),
            framed(b"ann's hash", "s-2"),
            framed(b"ann's hash", ""),
            // The same bytes, framed otherwise.
            framed(b"ann's hashs", "-1"),
            framed(b"ann's has", "hs-1"),
        ] {
            assert_eq!(key().verify(&token, other, 1), Err(StreamTokenError::Invalid));
            // An expired token tells a stranger nothing either.
            assert_eq!(key().verify(&token, other, 2_000), Err(StreamTokenError::Invalid));
        }
    }

    #[test]
    fn a_secret_is_changed_without_stopping_anybody() {
        let old = key();
        let token = old.sign(&LEASE, 1_000, ANN);
        let new = b"another secret of thirty-two bytes and more";
        let both = StreamTokenKey::new(new, Some(b"a secret of thirty-two bytes or more"));
        assert_eq!(both.verify(&token, ANN, 1), Ok(LEASE));
        assert_eq!(
            old.verify(&both.sign(&LEASE, 1_000, ANN), ANN, 1),
            Err(StreamTokenError::Invalid)
        );
        let only_new = StreamTokenKey::new(new, None);
        assert_eq!(only_new.verify(&token, ANN, 1), Err(StreamTokenError::Invalid));
    }

    #[test]
    fn every_single_change_of_a_byte_is_refused() {
        let token = URL_SAFE_NO_PAD.decode(key().sign(&LEASE, 1_000, ANN)).expect("base64");
        for at in 0..token.len() {
            for flip in 1..=255_u8 {
                let mut forged = token.clone();
                forged[at] ^= flip;
                let forged = URL_SAFE_NO_PAD.encode(forged);
                assert_eq!(
                    key().verify(&forged, ANN, 1),
                    Err(StreamTokenError::Invalid),
                    "{at} {flip}"
                );
            }
        }
    }

    #[test]
    fn nothing_prints_the_secret() {
        assert_eq!(format!("{:?}", key()), "StreamTokenKey(***)");
    }

    proptest! {
        #[test]
        fn what_it_signs_it_verifies(
            lease: [u8; 16], end in 1_u32.., account: Vec<u8>, session: String,
        ) {
            let (lease, end) = (LeaseId::from_bytes(lease), u64::from(end));
            let subject = Subject { account: &account, session: &session };
            let token = key().sign(&lease, end, subject);
            prop_assert_eq!(key().verify(&token, subject, end - 1), Ok(lease));
        }

        #[test]
        fn another_character_anywhere_is_refused(at in 0..TOKEN_CHARS, other: char) {
            let token = key().sign(&LEASE, 1_000, ANN);
            let forged: String = token
                .chars()
                .enumerate()
                .map(|(i, c)| if i == at { other } else { c })
                .collect();
            prop_assume!(forged != token);
            prop_assert_eq!(key().verify(&forged, ANN, 1), Err(StreamTokenError::Invalid));
        }

        #[test]
        fn a_piece_of_it_is_refused(end in 0..TOKEN_CHARS, more in ".{0,8}") {
            let token = key().sign(&LEASE, 1_000, ANN);
            let forged = format!("{}{more}", &token[..end]);
            prop_assume!(forged != token);
            prop_assert_eq!(key().verify(&forged, ANN, 1), Err(StreamTokenError::Invalid));
        }

        #[test]
        fn no_text_makes_it_panic(text: String, bytes: Vec<u8>) {
            prop_assert!(key().verify(&text, ANN, 1).is_err());
            prop_assert!(key().verify(&URL_SAFE_NO_PAD.encode(bytes), ANN, 1).is_err());
        }

        #[test]
        fn no_text_of_the_right_length_makes_it_panic(text in "[A-Za-z0-9_-]{50}") {
            prop_assert!(key().verify(&text, ANN, 1).is_err());
        }
    }
}
