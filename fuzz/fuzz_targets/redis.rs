//! What comes from Redis or names it: messages that a lease ended, and addresses of stores.
//! What cannot be read is left out; an address that can be read does not print its password.

#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgate_lease::redis::{Address, Notice};

fuzz_target!(|bytes: &[u8]| {
    let _ = Notice::parse(bytes);
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(address) = Address::parse(text) {
        let shown = format!("{address:?} {address}");
        assert!(!shown.contains(":hunter2@"), "a password is shown: {shown}");
    }
});
