//! Whatever a balancer writes before HTTP is a header, a part of one, or none; nothing panics, and
//! no byte beyond a header is asked for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgate::edge::{Beginning, ProxyHeader};

fuzz_target!(|bytes: &[u8]| {
    let mut read = 0;
    loop {
        match Beginning::of(&bytes[..read]) {
            Beginning::Part(0) => panic!("nothing is missing of a part"),
            Beginning::Part(missing) if bytes.len() < read + missing => return,
            Beginning::Part(missing) => read += missing,
            Beginning::Whole => {
                let _ = ProxyHeader::parse(&bytes[..read]);
                return;
            }
            Beginning::Other | Beginning::Malformed => return,
        }
    }
});
