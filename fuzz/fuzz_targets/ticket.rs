//! Any text as a casting ticket: refused, because nobody can guess the secret; and a ticket of ours
//! that was changed in one place is refused, too. What opens is what was sealed, and it is good for
//! its own path and for nothing above that.
//! The input: where to change it, to what; a text; the path of the ticket, and one asked for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use streamgate::concurrency::{TicketKey, TicketsConfig};
use streamgate::request::{TICKET_MARK, Ticket};
use streamgate::units::{Secret, Time};
use streamgate::yaml::{At, Scalar};

static KEY: LazyLock<TicketKey> = LazyLock::new(|| {
    let secret = Secret::read("a secret of thirty-two bytes or more").expect("a secret");
    let use_within = At::unwritten(Time::secs(60));
    let config = TicketsConfig { secret: At::unwritten(secret), also: None, use_within };
    TicketKey::new(&Arc::from("policy"), &config)
});

fuzz_target!(|input: (u16, u8, &str, String, &str)| {
    let (place, letter, text, path, asked) = input;
    assert!(KEY.open(text).is_none(), "a forged ticket: {text}");
    assert!(KEY.open(&format!("{TICKET_MARK}{text}")).is_none(), "a forged ticket: {text}");
    let ticket = Ticket {
        policy: "policy".into(),
        lease: [7; 16],
        use_by_ms: 1,
        ends_at_ms: 2,
        path,
        token: "a.b.c".to_owned(),
        device: None,
        title: None,
    };
    if ticket.covers(asked) {
        assert!(asked.starts_with(&ticket.path), "{asked} is not below {}", ticket.path);
    }
    let sealed = KEY.seal(&ticket).expect("a short token");
    let opened = KEY.open(&sealed).map(|opened| (opened.lease, opened.path, opened.token));
    let expected = Some((ticket.lease, ticket.path.clone(), ticket.token.clone()));
    assert!(opened == expected || 8192 < sealed.len(), "it opens as it was sealed");
    let mut changed = sealed.clone().into_bytes();
    let place = usize::from(place) % changed.len();
    changed[place] = letter & 0x7f;
    let changed = String::from_utf8(changed).expect("ASCII");
    assert!(changed == sealed || KEY.open(&changed).is_none(), "{changed} is taken for {sealed}");
});
