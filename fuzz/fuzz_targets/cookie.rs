//! The cookies of a request, from any bytes that may stand in a header field: a value ends at its
//! semicolon, and a cookie that is withheld from an upstream is not there any more.

#![no_main]

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use streamgate::request::cookie;

fuzz_target!(|bytes: &[u8]| {
    let mut fields = HeaderMap::new();
    for field in bytes.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(field) else { return };
        fields.append(header::COOKIE, value);
    }
    for value in cookie::values(&fields, "session") {
        assert!(!value.contains(';'), "{value:?} is more than one cookie");
    }
    if let Some(rest) = cookie::without(&fields, &["session".to_owned()]) {
        let value = HeaderValue::from_maybe_shared(rest).expect("a part of what was a value");
        fields.clear();
        fields.insert(header::COOKIE, value);
    }
    assert_eq!(cookie::values(&fields, "session").next(), None, "the session is still there");
});
