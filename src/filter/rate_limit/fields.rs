//! The fields `RateLimit` and `RateLimit-Policy`, as draft-ietf-httpapi-ratelimit-headers spells
//! them: lists of structured fields (RFC 9651) whose items are the limits' names.

use crate::quota::{Left, Rate};
use http::{HeaderName, HeaderValue};
use std::fmt::Write;

/// What is left: `"client";r=49;t=1`.
pub(super) const REMAINING: HeaderName = HeaderName::from_static("ratelimit");

/// What holds: `"client";q=50;w=60`.
pub(super) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What holds. A window that is no whole number of seconds can't be said, and is left out.
pub(super) fn policy<'a>(limits: impl Iterator<Item = (&'a str, &'a Rate)>) -> HeaderValue {
    let mut text = String::new();
    for (name, rate) in limits {
        begin(&mut text, name);
        push(&mut text, format_args!(";q={}", rate.limit));
        if rate.per.subsec_nanos() == 0 {
            push(&mut text, format_args!(";w={}", rate.per.as_secs()));
        }
    }
    value(text)
}

/// What is left of each limit, and in how many seconds there is more.
pub(super) fn remaining<'a>(all: impl Iterator<Item = (&'a str, Left)>) -> HeaderValue {
    let mut text = String::new();
    for (name, left) in all {
        begin(&mut text, name);
        let seconds = left.more_in.as_secs() + u64::from(left.more_in.subsec_nanos() != 0);
        push(&mut text, format_args!(";r={};t={seconds}", left.units));
    }
    value(text)
}

fn begin(text: &mut String, name: &str) {
    if !text.is_empty() {
        text.push_str(", ");
    }
    push(text, format_args!("\"{name}\""));
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a string takes all");
}

fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("names were checked, and the rest is our own")
}
