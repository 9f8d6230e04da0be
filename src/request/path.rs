//! One reading of a path: percent-encoding, dot segments and empty segments resolved (RFC 3986
//! §6.2.2), and what two readers could take differently refused.

use super::second_reading::hides_dots;
use std::borrow::Cow;

/// Why a path with `%2F` in it is refused, unless its route says otherwise.
pub(super) const ENCODED_SLASH: &str = "an encoded slash is not allowed in a path";

/// The path as it is matched and sent, or why it is refused.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, &'static str> {
    let normal = normalise_but_slashes(path)?;
    if has_encoded_slash(&normal) { Err(ENCODED_SLASH) } else { Ok(normal) }
}

/// Whether a normalised path holds `%2F`. One byte is found sooner than three, and most paths do
/// not hold it.
pub(super) fn has_encoded_slash(normal: &str) -> bool {
    normal.contains('%') && normal.contains("%2F")
}

/// The same of a path that may hold `%2F`.
pub(super) fn normalise_but_slashes(path: &str) -> Result<Cow<'_, str>, &'static str> {
    if !path.starts_with('/') {
        return Err("the target must be a path that begins with `/`");
    }
    if is_normal(path) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path)?;
    Ok(Cow::Owned(without_dots(&decoded)?))
}

/// Whether there is nothing to decode, resolve or refuse: true of nearly every request.
fn is_normal(path: &str) -> bool {
    let bytes = path.as_bytes();
    let plain = bytes.iter().all(|&b| b.is_ascii_graphic() && b != b'%' && b != b'\\');
    plain && !bytes.windows(2).any(|pair| pair == b"//" || pair == b"/.")
}

/// Decodes what needs no encoding, writes the rest in upper case, refuses what is ambiguous.
fn decode(path: &str) -> Result<Vec<u8>, &'static str> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => return Err("a backslash is not allowed in a path"),
            0..=0x20 | 0x7f => return Err("control characters are not allowed in a path"),
            b'%' => {
                let pair = (bytes.next().and_then(hex), bytes.next().and_then(hex));
                let (Some(high), Some(low)) = pair else {
                    return Err("a `%` in a path must be followed by two hexadecimal digits");
                };
                push_decoded(&mut decoded, high << 4 | low)?;
            }
            0x80.. => push_encoded(&mut decoded, byte),
            plain => decoded.push(plain),
        }
    }
    Ok(decoded)
}

fn push_decoded(out: &mut Vec<u8>, byte: u8) -> Result<(), &'static str> {
    match byte {
        b'\\' => return Err("an encoded backslash is not allowed in a path"),
        0..=0x1f | 0x7f => return Err("control characters are not allowed in a path"),
        b'-' | b'.' | b'_' | b'~' => out.push(byte),
        _ if byte.is_ascii_alphanumeric() => out.push(byte),
        _ => push_encoded(out, byte),
    }
    Ok(())
}

fn push_encoded(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Removes `.`, `..` and empty segments; a `..` above the root stays at the root. A path that ends
/// in a slash, or in a dot segment, still ends in a slash.
fn without_dots(path: &[u8]) -> Result<String, &'static str> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut is_open = false;
    for segment in path.split(|&byte| byte == b'/') {
        is_open = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            hidden if hides_dots(hidden) => {
                return Err("a part of the path that could be read as `.` or `..` is not allowed");
            }
            _ => kept.push(segment),
        }
    }
    let mut whole = vec![b'/'];
    whole.extend(kept.join(&b'/'));
    if is_open && whole.len() > 1 {
        whole.push(b'/');
    }
    Ok(String::from_utf8(whole).expect("decoding leaves only ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        let normal = normalise(path).expect(path);
        assert_eq!(normal, expected, "{path}");
        assert_eq!(normalise(&normal).expect("normal"), normal, "{path}: reading twice agrees");
    }

    #[test]
    fn one_path_has_one_form() {
        check("/", "/");
        check("/live/final/a.ts", "/live/final/a.ts");
        check("/a/./b/../c", "/a/c");
        check("/a//b///c", "/a/b/c");
        check("/../../etc", "/etc");
        check("/a/..", "/");
        check("/a/b/.", "/a/b/");
        check("/%7euser/%61", "/~user/a");
        check("/%2e%2e/a", "/a");
        check("/a%c3%a9", "/a%C3%A9");
        check("/a;b=%3b", "/a;b=%3B");
        check("/%25%32%66", "/%252f");
        check("/.hidden", "/.hidden");
        check("/a/...", "/a/...");
    }

    #[test]
    fn an_encoded_slash_stays_where_it_may() {
        for (path, expected) in [("/a%2fb", "/a%2Fb"), ("/a/.%2Fb/../c%2f", "")] {
            match normalise_but_slashes(path) {
                Ok(normal) => assert_eq!(normal, expected, "{path}"),
                Err(_) => assert_eq!(expected, "", "{path}"),
            }
            assert!(normalise(path).is_err(), "{path}");
        }
        assert!(!has_encoded_slash("/a%252Fb"), "an encoded percent sign is none");
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for path in [
            "/a/%252e%252e/b",
            "/%252e",
            "/a/.%252e/b",
            "/..;/b",
            "/a/..;v=1/b",
            "/a/.%3b/b",
            "/%c0%ae%c0%ae/b",
            "/a%252f..%252fb",
        ] {
            assert!(normalise(path).is_err(), "{path}");
        }
        for path in ["", "*", "a", "/%2f", "/%5C", "/a\\b", "/%00", "/%0a", "/%7f", "/%", "/%z1"] {
            assert!(normalise(path).is_err(), "{path}");
        }
    }
}
