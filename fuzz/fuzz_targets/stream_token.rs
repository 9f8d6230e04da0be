//! Any text as a stream token: refused, because nobody can guess the secret; and a token of ours
//! that was changed in one place is refused, too.
//! The input: where to change it, to what; then the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgate::concurrency::{StreamTokenKey, Subject};
use streamgate_lease::LeaseId;

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
const NOW: u64 = 1_790_000_000;

fuzz_target!(|bytes: &[u8]| {
    let key = StreamTokenKey::new(SECRET, None);
    let subject = Subject { account: b"account", session: "session" };
    let [place, letter, text @ ..] = bytes else { return };
    if let Ok(text) = str::from_utf8(text) {
        assert!(key.verify(text, subject, NOW).is_err(), "a forged token: {text}");
    }
    let good = key.sign(&LeaseId::of("session", None), NOW + 60, subject);
    assert!(key.verify(&good, subject, NOW).is_ok());
    let mut changed = good.clone().into_bytes();
    let place = usize::from(*place) % changed.len();
    changed[place] = *letter & 0x7f;
    let changed = String::from_utf8(changed).expect("ASCII");
    let is_taken = key.verify(&changed, subject, NOW).is_ok();
    assert!(!is_taken || changed == good, "{changed} is taken for {good}");
});
