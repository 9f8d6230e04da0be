//! The values of a cookie, from any bytes that may stand in a header field.

#![no_main]

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use streamgate::request::cookies;

fuzz_target!(|bytes: &[u8]| {
    let mut fields = HeaderMap::new();
    for field in bytes.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(field) else { return };
        fields.append(header::COOKIE, value);
    }
    for value in cookies(&fields, "session") {
        assert!(!value.contains(';'), "{value:?} is more than one cookie");
    }
});
