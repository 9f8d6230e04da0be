//! How times, sizes, numbers and addresses are spelled elsewhere, and how they are spelled here.
//!
//! Advice may come of a variable's value, so it repeats digits and nothing else.

use super::{Size, Time};
use std::fmt::Write;

/// What a unit of time is worth in milliseconds. Elsewhere it is spelled in many ways.
const TIMES: [(&[&str], u64); 6] = [
    (&["ms", "msec", "msecs", "millis", "millisecond", "milliseconds"], 1),
    (&["s", "sec", "secs", "second", "seconds"], 1_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600_000),
    (&["d", "day", "days"], 86_400_000),
    (&["w", "week", "weeks"], 604_800_000),
];

/// What a unit of size is worth in bytes. Who writes `8GB` means a size of that order.
const SIZES: [(&[&str], u64); 5] = [
    (&["b", "byte", "bytes"], 1),
    (&["k", "kb", "kib", "ki"], 1 << 10),
    (&["m", "mb", "mib", "mi"], 1 << 20),
    (&["g", "gb", "gib", "gi"], 1 << 30),
    (&["t", "tb", "tib", "ti"], 1 << 40),
];

/// The largest number that is added up, so that nothing overflows.
const SUM_MAX: f64 = 1e15;

/// How a time is spelled here.
pub(super) fn time(text: &str) -> Option<String> {
    if let Some(number) = digits(text.trim()) {
        return match number.trim_start_matches('0') {
            "" => Some("nothing goes on without end: write a long time, such as `1h`".to_owned()),
            number => Some(format!("seconds are written `{number}s`, milliseconds `{number}ms`")),
        };
    }
    let ms = sum(text, &TIMES)?;
    if ms < 1.0 {
        return Some("nothing goes on without end: write a long time, such as `1h`".to_owned());
    }
    Some(format!("write `{}`", Time::ms(ms as u64)))
}

/// How a size is spelled here.
pub(super) fn size(text: &str) -> Option<String> {
    if matches!(text.trim().to_ascii_lowercase().as_str(), "-1" | "unlimited" | "none" | "inf") {
        return Some("there is no size without end: write a large one, as `8GiB`".to_owned());
    }
    let plain = text.trim().replace(['_', ','], "");
    if let Some(number) = digits(&plain) {
        return (plain != text).then(|| format!("write `{number}`"));
    }
    let bytes = sum(text, &SIZES)?;
    Some(format!("write `{}`", Size(bytes as u64)))
}

/// How a number is spelled here.
pub(super) fn count(text: &str) -> Option<String> {
    let plain: String = text.trim().chars().filter(|c| !matches!(c, '_' | ',' | '\'')).collect();
    let plain = plain.strip_suffix(".0").unwrap_or(&plain).trim_start_matches('+');
    let number: u32 = digits(plain)?.parse().ok()?;
    (plain != text && (1..=super::COUNT_MAX).contains(&number)).then(|| format!("write `{number}`"))
}

/// How an address to listen on is spelled here.
pub(super) fn address(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) => (host, digits(port)?),
        None => ("", digits(rest)?),
    };
    let port: u16 = port.parse().ok()?;
    let mut help = match (host, scheme) {
        ("" | "*" | "::" | "[::]" | "+" | "_" | "[*]", _) => format!(
            "write `0.0.0.0:{port}` to listen everywhere, `127.0.0.1:{port}` for this machine alone"
        ),
        ("localhost" | "ip6-localhost", _) => format!("write `127.0.0.1:{port}` or `[::1]:{port}`"),
        (ip, _) if ip.parse::<std::net::Ipv6Addr>().is_ok() => {
            format!("put an IPv6 address in brackets: `[…]:{port}`")
        }
        (ip, "") if ip.parse::<std::net::Ipv4Addr>().is_err() => return None,
        _ => format!("leave out the scheme: an IP address and the port, as `127.0.0.1:{port}`"),
    };
    if scheme == "https" {
        // A formatted write to a `String` never fails.
        let _ = write!(help, "; TLS is a key of the listener: `tls`");
    }
    Some(help)
}

/// How an address of a listener is spelled here.
pub(super) fn listen_address(text: &str) -> Option<String> {
    match text.starts_with(['/', '.', '@']) || text.starts_with("unix") {
        true => Some(
            "a socket of Unix is written `unix:` and its whole path, of 107 bytes at most: \
             `unix:/run/streamgate/http.sock`"
                .to_owned(),
        ),
        false => address(text),
    }
}

fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then_some(text)
}

/// The sum of numbers with units, as in `1h30m`, `1.5 m` or `8 GB`.
fn sum(text: &str, units: &[(&[&str], u64)]) -> Option<f64> {
    let plain = text.replace('_', "");
    let (mut rest, mut sum) = (plain.trim(), 0.0);
    while !rest.is_empty() {
        let ends = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(ends);
        let number: f64 = number.parse().ok()?;
        let behind = behind.trim_start();
        let ends = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, next) = behind.split_at(ends);
        let unit = unit.to_ascii_lowercase();
        let (_, each) = units.iter().find(|(names, _)| names.contains(&unit.as_str()))?;
        sum += number * *each as f64;
        rest = next.trim_start();
    }
    (!text.trim().is_empty() && sum < SUM_MAX).then(|| sum.round())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: Option<String>, expected: Option<&str>) {
        assert_eq!(said.as_deref(), expected);
    }

    #[test]
    fn times_of_others_are_spelled_our_way() {
        check(time("60"), Some("seconds are written `60s`, milliseconds `60ms`"));
        check(time("1d"), Some("write `24h`"));
        check(time("3m30s"), Some("write `210s`"));
        check(time("1.5m"), Some("write `90s`"));
        check(time("2 s"), Some("write `2s`"));
        check(time("30sec"), Some("write `30s`"));
        check(time("30S"), Some("write `30s`"));
        check(time("0s"), Some("nothing goes on without end: write a long time, such as `1h`"));
        check(time("soon"), None);
        check(time("-1s"), None);
        check(time("99999999999999999999h"), None);
    }

    #[test]
    fn sizes_of_others_are_spelled_our_way() {
        check(size("8GB"), Some("write `8GiB`"));
        check(size("8m"), Some("write `8MiB`"));
        check(size("8 MiB"), Some("write `8MiB`"));
        check(size("1.5k"), Some("write `1536`"));
        check(
            size("unlimited"),
            Some("there is no size without end: write a large one, as `8GiB`"),
        );
        check(size("1_000"), Some("write `1000`"));
        check(size("big"), None);
    }

    #[test]
    fn numbers_of_others_are_spelled_our_way() {
        check(count("1_000"), Some("write `1000`"));
        check(count("3.0"), Some("write `3`"));
        check(count("3"), None);
        check(count("0"), None);
    }

    #[test]
    fn addresses_of_others_are_spelled_our_way() {
        let everywhere = "write `0.0.0.0:8080` to listen everywhere, `127.0.0.1:8080` for this \
                          machine alone";
        for text in [":8080", "8080", "*:8080", ":::8080", "http://:8080"] {
            check(address(text), Some(everywhere));
        }
        check(address("localhost:80"), Some("write `127.0.0.1:80` or `[::1]:80`"));
        check(address("::1:80"), Some("put an IPv6 address in brackets: `[…]:80`"));
        check(address("example:80"), None);
        check(address("127.0.0.1:80800"), None);
        check(listen_address("*:8080"), Some(everywhere));
        for text in ["/run/a.sock", "unix:///run/a.sock", "unix:a.sock", "unix@/a", "@a", "./a"] {
            let said = listen_address(text).unwrap_or_default();
            assert!(said.contains("`unix:/run/streamgate/http.sock`"), "{text}: {said}");
        }
    }
}
