//! What a careless reader behind the gateway could make of a path's segment.
//!
//! The gateway decodes a path once. Some servers decode it again, take overlong UTF-8 (`%C0%AE`)
//! for the character that it stands for, or cut `;parameters` off. If `.` or `..` came of that,
//! such a server would leave the folder that the route was chosen for.

/// Whether a segment that is no dot segment could be read as one, or as one that holds one.
pub(super) fn hides_dots(segment: &[u8]) -> bool {
    // No reading of a segment without a dot, a `%` or a byte beyond ASCII has a dot in it.
    if !segment.iter().any(|&byte| byte == b'.' || byte == b'%' || !byte.is_ascii()) {
        return false;
    }
    let read = read_again(segment);
    let parts = read.split(|byte| matches!(byte, b'/' | b'\\'));
    parts.map(without_parameters).any(|part| matches!(part, b"." | b".."))
}

/// The part before what servers cut off: `;parameters`, and where a second URL would have its query
/// or a C string its end.
fn without_parameters(part: &[u8]) -> &[u8] {
    let end = part.iter().position(|byte| matches!(byte, b';' | b'?' | b'#' | 0));
    &part[..end.unwrap_or(part.len())]
}

/// The segment, decoded as often as it can be. One look at each byte is enough: what is decoded is
/// put back, and may end a further escape.
fn read_again(segment: &[u8]) -> Vec<u8> {
    let mut read = Vec::with_capacity(segment.len());
    for &byte in segment {
        read.push(byte);
        while let Some((len, meant)) = escape(&read).or_else(|| overlong(&read)) {
            read.truncate(read.len() - len);
            read.push(meant);
        }
    }
    read
}

/// A `%` with two digits at the end of `read`: how long it is, and the byte that it means.
fn escape(read: &[u8]) -> Option<(usize, u8)> {
    let [.., b'%', high, low] = read else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    Some((3, (digit(high)? << 4 | digit(low)?) as u8))
}

/// Overlong UTF-8 at the end of `read`: how long it is, and the ASCII that it means. It has two to
/// six bytes, of which some readers look at the lowest six bits alone.
fn overlong(read: &[u8]) -> Option<(usize, u8)> {
    let (&last, before) = read.split_last()?;
    if let (Some(0xc0), b'.' | b'/' | b'\\') = (before.last(), last) {
        return Some((2, last));
    }
    let low = |byte: u8| matches!(byte, 0x80..0xc0).then_some(byte & 0x3f);
    let last = low(last)?;
    match before {
        [.., lead @ (0xc0 | 0xc1)] => Some((2, (lead & 1) << 6 | last)),
        [.., lead, middle @ (0x80 | 0x81)] => {
            let ascii = (middle & 1) << 6 | last;
            let padding = [0xe0, 0xf0, 0xf8, 0xfc];
            let zeros = before[..before.len() - 1].iter().rev().take(padding.len());
            let zeros = zeros.take_while(|&&byte| byte == 0x80);
            let zeros = if *lead == 0x80 { zeros.count() } else { 0 };
            let at = before.len().checked_sub(2 + zeros)?;
            let is_padded = padding.get(zeros).is_some_and(|&pad| before[at] == pad);
            is_padded.then_some((3 + zeros, ascii))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_found_in_every_reading() {
        for segment in [
            &b"%2e"[..],
            b"%2E%2e",
            b".%2e",
            b"%252e%252e",
            b"%25252525252e",
            b"%%32%65",
            b"..;",
            b".;v=1",
            b"..%3bv=1",
            b"..%00.ts",
            b"..%3fa",
            b"..%23a",
            b"..%2f..",
            b"a%2f..%2fb",
            b"a%5c..",
            b"%c0%ae",
            b"%c0%ae.",
            b"\xc0\xae\xc0\xae",
            b"%25c0%25ae",
            b"%c0.",
            b"%c0%2e%c0%2e",
            b"%e0%80%ae",
            b"%f0%80%80%ae",
            b"%f8%80%80%80%ae",
            b"%fc%80%80%80%80%ae",
            b"..%c0%af",
            b"..%c1%9c",
            b"..%e0%81%9c",
            b"%c0%a5%32%65",
        ] {
            assert!(hides_dots(segment), "{}", segment.escape_ascii());
        }
    }

    #[test]
    fn names_with_dots_and_escapes_are_no_dots() {
        for segment in [
            &b"a.ts"[..],
            b"...",
            b".hidden",
            b"..a",
            b"a..",
            b";.",
            b";..",
            b"a;..",
            b"%252f",
            b"a%2fb",
            b"100%",
            b"%zz.",
            b"caf%C3%A9.ts",
            b"%E2%80%AE",
            b"%F0%9F%8E%AC.mp4",
            b"%80%ae",
            b"%c2%ae",
            b"",
        ] {
            assert!(!hides_dots(segment), "{}", segment.escape_ascii());
        }
    }
}
