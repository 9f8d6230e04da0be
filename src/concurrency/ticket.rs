//! Casting tickets: how they are sealed and opened, and what the file says of them.
//!
//! A Chromecast and an AirPlay receiver get an address and nothing else. A ticket in that address
//! holds what proves the session, so whoever reads the address must not be able to read that:
//! AES-256-GCM, with a key that comes of the policy's own secret (HMAC-SHA-256). What is sealed for
//! one policy opens at no other.

use crate::problem::Problem;
use crate::request::{TICKET_MARK, Ticket};
use crate::units::{Secret, Time};
use crate::yaml::At;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;

/// Tickets for devices that have neither the session's cookie nor its header.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tickets")]
pub struct Config {
    /// At least 32 bytes, and no other's secret. Seals the tickets.
    pub secret: At<Secret>,
    /// Another secret whose tickets are taken: the next one, or the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also: Option<At<Secret>>,
    /// How soon a ticket must be used for the first time.
    #[serde(default = "use_within")]
    pub use_within: At<Time>,
}

fn use_within() -> At<Time> {
    At::unwritten(Time::secs(60))
}

/// The shortest secret, in bytes.
const SECRET_BYTES_MIN: usize = 32;

/// Shorter than this, a device that wakes up comes too late; longer, an address that was noted
/// somewhere is still good.
const USE_WITHIN_MIN: Duration = Duration::from_secs(5);
const USE_WITHIN_MAX: Duration = Duration::from_secs(600);

/// The longest token of a session that a ticket holds, in bytes: addresses have limits.
const TOKEN_BYTES_MAX: usize = 4096;

/// The longest ticket that is opened, in characters.
const TICKET_CHARS_MAX: usize = 8192;

impl Config {
    pub(super) fn problems(&self, others: &[&At<Secret>]) -> Vec<Problem> {
        let mut problems = Vec::new();
        for secret in [Some(&self.secret), self.also.as_ref()].into_iter().flatten() {
            if secret.reveal().len() < SECRET_BYTES_MIN {
                let text = format!("a ticket's secret needs {SECRET_BYTES_MIN} bytes");
                problems.push(secret.problem(text).help("make one: `openssl rand -hex 32`"));
            } else if others.iter().any(|other| other.value == secret.value) {
                let text = "this secret is used for something else already";
                let help = "give tickets one of their own: `openssl rand -hex 32`";
                problems.push(secret.problem(text).help(help));
            }
        }
        if !(USE_WITHIN_MIN..=USE_WITHIN_MAX).contains(&self.use_within.0) {
            let text = format!("a `use_within` of {} is out of range", self.use_within.value);
            problems.push(self.use_within.problem(text).help("write 5s to 10m, such as 60s"));
        }
        problems
    }
}

/// What seals the tickets of one policy and opens them. It does not print.
pub struct TicketKey {
    policy: Arc<str>,
    current: LessSafeKey,
    also: Option<LessSafeKey>,
    use_within: Duration,
}

impl TicketKey {
    /// The key of the policy of this name.
    pub fn new(policy: &Arc<str>, config: &Config) -> Self {
        TicketKey {
            policy: Arc::clone(policy),
            current: key(config.secret.reveal()),
            also: config.also.as_ref().map(|secret| key(secret.reveal())),
            use_within: config.use_within.0,
        }
    }

    pub(super) fn use_within(&self) -> Duration {
        self.use_within
    }

    /// The text of the ticket; `None` if its session's token is too long for an address.
    pub fn seal(&self, ticket: &Ticket) -> Option<String> {
        if TOKEN_BYTES_MAX < ticket.token.len() {
            return None;
        }
        let nonce: [u8; NONCE_LEN] = rand::rng().random();
        let mut sealed = serde_json::to_vec(ticket).expect("texts and numbers are always JSON");
        let bound = Aad::from(self.policy.as_bytes());
        self.current
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut sealed)
            .expect("a ticket is shorter than what one nonce may seal");
        Some(format!("{TICKET_MARK}{}", URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())))
    }

    /// The ticket of this text, if it was sealed for this policy and nothing in it was changed.
    pub fn open(&self, text: &str) -> Option<Ticket> {
        let text = text.strip_prefix(TICKET_MARK)?;
        if TICKET_CHARS_MAX < text.len() {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let keys = [Some(&self.current), self.also.as_ref()].into_iter().flatten();
        let opened = keys.filter_map(|key| {
            let (nonce, mut sealed) = (Nonce::assume_unique_for_key(*nonce), sealed.to_vec());
            let bound = Aad::from(self.policy.as_bytes());
            let plain = key.open_in_place(nonce, bound, &mut sealed).ok()?;
            serde_json::from_slice::<Ticket>(plain).ok()
        });
        let ticket = { opened }.next()?;
        Some(Ticket { policy: Arc::clone(&self.policy), ..ticket })
    }
}

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKey(***)")
    }
}

/// The key that comes of a secret; the same secret signs something else elsewhere without harm.
fn key(secret: &str) -> LessSafeKey {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(b"streamgate casting ticket 1");
    let key = mac.finalize().into_bytes();
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("32 bytes are a key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Scalar;
    use proptest::prelude::*;

    const ONE: &str = "one secret of thirty-two bytes or more";
    const OTHER: &str = "another secret of thirty-two bytes or more";

    fn secret(text: &str) -> At<Secret> {
        At::unwritten(Secret::read(text).expect("a secret"))
    }

    fn tickets(policy: &str, one: &str, also: Option<&str>) -> TicketKey {
        let also = also.map(secret);
        let config = Config { secret: secret(one), also, use_within: use_within() };
        TicketKey::new(&policy.into(), &config)
    }

    fn ticket() -> Ticket {
        Ticket {
            policy: "p".into(),
            lease: [7; 16],
            use_by_ms: 1,
            ends_at_ms: 2,
            path: "/live/".to_owned(),
            token: "a.b.c".to_owned(),
            device: Some("TV".to_owned()),
            title: None,
        }
    }

    #[test]
    fn what_was_sealed_opens_with_its_secret_for_its_policy_alone() {
        let text = tickets("p", ONE, None).seal(&ticket()).expect("a short token");
        assert!(!text.contains("a.b.c") && !text.contains("live"), "{text}");
        assert_eq!(tickets("p", ONE, None).open(&text), Some(ticket()));
        assert_eq!(tickets("p", OTHER, Some(ONE)).open(&text), Some(ticket()));
        assert_eq!(tickets("q", ONE, None).open(&text), None);
        assert_eq!(tickets("p", OTHER, None).open(&text), None);
        let again = tickets("p", ONE, None).seal(&ticket()).expect("a short token");
        assert_ne!(again, text, "no two are alike");
        let long = Ticket { token: "x".repeat(TOKEN_BYTES_MAX + 1), ..ticket() };
        assert_eq!(tickets("p", ONE, None).seal(&long), None);
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let one = tickets("p", ONE, None);
        let text = one.seal(&ticket()).expect("a short token");
        let sealed = URL_SAFE_NO_PAD.decode(&text[TICKET_MARK.len()..]).expect("base64");
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            let forged = format!("{TICKET_MARK}{}", URL_SAFE_NO_PAD.encode(&forged));
            assert_eq!(one.open(&forged), None, "{at}");
        }
        for cut in 0..text.len() {
            assert_eq!(one.open(&text[..cut]), None, "{cut}");
        }
        assert_eq!(one.open(&text[TICKET_MARK.len()..]), None);
    }

    proptest! {
        #[test]
        fn no_text_opens(text: String, bytes: Vec<u8>) {
            let one = tickets("p", ONE, None);
            prop_assert_eq!(one.open(&text), None);
            let forged = format!("{TICKET_MARK}{}", URL_SAFE_NO_PAD.encode(bytes));
            prop_assert_eq!(one.open(&forged), None);
        }
    }

    #[test]
    fn it_does_not_print() {
        assert_eq!(format!("{:?}", tickets("p", ONE, None)), "TicketKey(***)");
    }
}
