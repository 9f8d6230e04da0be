//! `Authorization` fields of any kind: a token that is found is a piece of a field; and in what is
//! passed on nobody finds a bearer token, by the rule of this gateway or by a plainer one.
//! The input: the fields, by their lines.

#![no_main]

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use streamgate::request::authorization;

fuzz_target!(|text: &str| {
    let mut fields = HeaderMap::new();
    for value in text.lines().filter_map(|line| HeaderValue::from_str(line).ok()) {
        fields.append(header::AUTHORIZATION, value);
    }
    let is_shown = authorization::bearer_tokens(&fields).next().is_some();
    for token in authorization::bearer_tokens(&fields) {
        assert!(!token.is_empty() && !token.contains(','), "{token}");
        assert!(text.contains(token), "{token} stands nowhere in {text}");
    }
    let Some(kept) = authorization::without_bearer(&fields) else {
        return assert!(!is_shown, "{text} holds a token, and is passed on");
    };
    let mut passed_on = HeaderMap::new();
    for value in kept {
        let shown = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        for (at, word) in shown.match_indices("bearer") {
            let (before, behind) = (&shown[..at], &shown[at + word.len()..]);
            let begins = before.is_empty() || before.ends_with([',', ' ', '\t']);
            let ends = behind.is_empty() || behind.starts_with([' ', '\t']);
            assert!(!(begins && ends), "{shown} is passed on");
        }
        passed_on.append(header::AUTHORIZATION, value);
    }
    assert!(authorization::bearer_tokens(&passed_on).next().is_none(), "{text}");
    assert!(authorization::without_bearer(&passed_on).is_none(), "{text}");
});
