//! Session tickets: a client that comes back shows one, and is spared the long handshake.
//!
//! Their keys are derived from a secret, anew each day (UTC). So workers, reloads and, where the
//! operator gives several gateways one secret, other gateways have the same keys without a word
//! between them. Without a secret in the file, one is made for the life of the process.
//!
//! What clients had to show goes into the keys, too ([`Terms`](super::terms::Terms)): a ticket that
//! was given under other terms can't even be opened. That it is for one name alone, rustls sees to.
//!
//! A ticket holds the certificate that its client has shown, and each time that it is used, another
//! is given. [`OneHandshake`] ends that chain a day after the full handshake that it began with: by
//! then whoever has shown a certificate shows it again.

use super::config::TicketsConfig;
use crate::clock;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use parking_lot::Mutex;
use rustls::server::ProducesTickets;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// For how long a key seals, and how long a ticket is good at most, in seconds.
const DAY: u64 = 24 * 3_600;

const SALT: &[u8] = b"streamgate tls tickets 1";

const NAME_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

/// Tells clients from each other by what they had to show.
pub(super) type TermsPrint = [u8; 32];

/// Of this process, where the file gives no secret.
static OWN_SECRET: LazyLock<[u8; 32]> = LazyLock::new(|| {
    let mut secret = [0; 32];
    rand::fill(&mut secret).expect("the system has randomness");
    secret
});

/// Seals and opens the tickets of clients under the same terms.
pub(super) struct Tickets {
    /// What seals, and what was sealed with before.
    secrets: Vec<hkdf::Prk>,
    terms: TermsPrint,
    keys: Mutex<Arc<Keys>>,
}

/// The keys of one day and of the days around it.
struct Keys {
    day: u64,
    /// The first seals, all of them open.
    all: Vec<Key>,
}

/// The key of one secret and one day.
struct Key {
    name: [u8; NAME_BYTES],
    key: LessSafeKey,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(***)")
    }
}

impl Tickets {
    /// Those of these terms.
    pub(super) fn new(config: Option<&TicketsConfig>, terms: TermsPrint) -> Self {
        let secrets = match config {
            None => vec![&OWN_SECRET[..]],
            Some(config) => {
                let written = [Some(&config.current), config.previous.as_ref()];
                written.into_iter().flatten().map(|secret| secret.reveal().as_bytes()).collect()
            }
        };
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT);
        let secrets: Vec<_> = secrets.into_iter().map(|secret| salt.extract(secret)).collect();
        let keys = Mutex::new(Arc::new(Keys::of(&secrets, &terms, today(clock::unix_seconds()))));
        Tickets { secrets, terms, keys }
    }

    fn keys(&self, now: u64) -> Arc<Keys> {
        let mut keys = self.keys.lock();
        if keys.day != today(now) {
            *keys = Arc::new(Keys::of(&self.secrets, &self.terms, today(now)));
        }
        Arc::clone(&keys)
    }

    /// Seals what is to be remembered of a client whose last full handshake was at `began`.
    fn seal(&self, plain: &[u8], began: u64, now: u64) -> Option<Vec<u8>> {
        let keys = self.keys(now);
        let key = &keys.all[0];
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = [&began.to_be_bytes()[..], plain].concat();
        let aad = Aad::from(key.name);
        key.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .ok()?;
        Some([&key.name[..], &nonce, &sealed].concat())
    }

    /// When the last full handshake was, and what is remembered of it.
    fn open(&self, ticket: &[u8], now: u64) -> Option<(u64, Vec<u8>)> {
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys(now);
        let key = keys.all.iter().find(|key| key.name == *name)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.key.open_in_place(nonce, Aad::from(*name), &mut sealed).ok()?;
        let (began, plain) = opened.split_first_chunk::<8>()?;
        Some((u64::from_be_bytes(*began), plain.to_vec()))
    }
}

fn today(now: u64) -> u64 {
    now / DAY
}

impl Keys {
    /// Today's, yesterday's, and tomorrow's, as another gateway's clock may be ahead.
    fn of(secrets: &[hkdf::Prk], terms: &TermsPrint, day: u64) -> Self {
        let days = [day, day.saturating_sub(1), day + 1];
        let all = days.iter().flat_map(|day| secrets.iter().map(|prk| Key::of(prk, terms, *day)));
        Keys { day, all: all.collect() }
    }
}

impl Key {
    fn of(prk: &hkdf::Prk, terms: &TermsPrint, day: u64) -> Self {
        struct Length;
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                NAME_BYTES + KEY_BYTES
            }
        }
        // Both parts have one length, so no two of them run together.
        let day = day.to_be_bytes();
        let info = [&day[..], terms];
        let mut bytes = [0; NAME_BYTES + KEY_BYTES];
        let derived = prk.expand(&info, Length).and_then(|okm| okm.fill(&mut bytes));
        derived.expect("HKDF gives so few bytes");
        let (name, key) = bytes.split_first_chunk().expect("the name stands in front");
        let key = UnboundKey::new(&AES_256_GCM_SIV, key).expect("a key of 32 bytes");
        Key { name: *name, key: LessSafeKey::new(key) }
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        DAY as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now = clock::unix_seconds();
        self.seal(plain, now, now)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, clock::unix_seconds()).map(|(_, plain)| plain)
    }
}

/// The tickets of one handshake with a client that may show a certificate.
pub(super) struct OneHandshake {
    tickets: Arc<Tickets>,
    /// When the full handshake was that the client's ticket goes back to; 0: it has shown none.
    began: AtomicU64,
}

impl OneHandshake {
    pub(super) fn new(tickets: &Arc<Tickets>) -> Self {
        OneHandshake { tickets: Arc::clone(tickets), began: AtomicU64::new(0) }
    }

    fn seal(&self, plain: &[u8], now: u64) -> Option<Vec<u8>> {
        let began = match self.began.load(Ordering::Relaxed) {
            0 => now,
            began => began,
        };
        self.tickets.seal(plain, began, now)
    }

    fn open(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (began, plain) = self.tickets.open(ticket, now)?;
        (now < began + DAY).then(|| {
            self.began.store(began, Ordering::Relaxed);
            plain
        })
    }
}

impl fmt::Debug for OneHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tickets.fmt(f)
    }
}

impl ProducesTickets for OneHandshake {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, clock::unix_seconds())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, clock::unix_seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Secret;
    use crate::yaml::{At, Scalar};

    const NOON: u64 = 20_000 * DAY + DAY / 2;
    const PLAIN: &[u8] = b"what rustls remembers";

    fn tickets(secrets: &[&str], terms: u8) -> Tickets {
        let secret = |text: &&str| At::unwritten(Secret::read(text).expect("a secret"));
        let mut written = secrets.iter().map(secret);
        let config =
            written.next().map(|current| TicketsConfig { current, previous: written.next() });
        Tickets::new(config.as_ref(), [terms; 32])
    }

    fn opens(by: &Tickets, ticket: &[u8], now: u64) -> bool {
        by.open(ticket, now).is_some_and(|(_, plain)| plain == PLAIN)
    }

    #[test]
    fn who_has_the_secret_opens_them_for_two_days_at_most() {
        let old = "an old secret of thirty-two bytes or more".to_owned();
        let new = "a new secret of thirty-two bytes or more!".to_owned();
        let ticket = tickets(&[&old], 1).seal(PLAIN, NOON, NOON).expect("sealed");
        for (secrets, terms, now, is_open) in [
            (&[&*old][..], 1, NOON, true),
            (&[&*old], 1, NOON + DAY, true),
            (&[&*old], 1, NOON + 2 * DAY, false),
            // A clock that is behind.
            (&[&*old], 1, NOON - DAY, true),
            (&[&*old], 1, NOON - 2 * DAY, false),
            (&[&*old], 2, NOON, false),
            (&[&*new, &*old], 1, NOON, true),
            (&[&*old, &*new], 1, NOON, true),
            (&[&*new], 1, NOON, false),
            (&[], 1, NOON, false),
        ] {
            let by = tickets(secrets, terms);
            assert_eq!(opens(&by, &ticket, now), is_open, "{secrets:?} {terms} {now}");
        }
        // Two that were made by one process have one secret between them.
        let own = tickets(&[], 1).seal(PLAIN, NOON, NOON).expect("sealed");
        assert!(opens(&tickets(&[], 1), &own, NOON));
        assert!(!opens(&tickets(&[], 2), &own, NOON));
    }

    #[test]
    fn a_ticket_that_was_changed_or_cut_is_none() {
        let by = tickets(&[], 1);
        let ticket = by.seal(PLAIN, NOON, NOON).expect("sealed");
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert!(by.open(&changed, NOON).is_none(), "byte {at}");
            assert!(by.open(&ticket[..at], NOON).is_none(), "{at} bytes");
        }
        assert_ne!(by.seal(PLAIN, NOON, NOON), Some(ticket), "none is like another");
    }

    #[test]
    fn a_chain_of_tickets_ends_a_day_after_its_full_handshake() {
        let tickets = Arc::new(tickets(&[], 1));
        let first = OneHandshake::new(&tickets).seal(PLAIN, NOON).expect("sealed");
        let second = OneHandshake::new(&tickets);
        assert!(second.open(&first, NOON + DAY / 2).is_some());
        let ticket = second.seal(PLAIN, NOON + DAY / 2).expect("sealed");
        assert!(OneHandshake::new(&tickets).open(&ticket, NOON + DAY - 1).is_some());
        assert!(OneHandshake::new(&tickets).open(&ticket, NOON + DAY).is_none(), "it began then");
    }
}
