//! As much HTTP/1.1 as a generator and an origin need: request bytes out, response heads in.
//! Not a client: no chunked bodies, no redirects, no pipelining.

use std::net::SocketAddr;

/// A response head longer than this is an error; ours have about 200 bytes.
pub const HEAD_MAX_BYTES: usize = 16 * 1024;

/// What a response head says about the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// Bytes of the head, with the empty line.
    pub length: usize,
    /// Bytes of the body.
    pub body: usize,
    /// The connection ends with this answer.
    pub closes: bool,
}

/// Why bytes are not a response we can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl Head {
    /// The head at the start of `bytes`; `None` until it is complete.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Unreadable> {
        let Some(end) = end_of_head(bytes) else {
            return if bytes.len() > HEAD_MAX_BYTES { Err(Unreadable) } else { Ok(None) };
        };
        let status = bytes.get(9..12).and_then(digits).ok_or(Unreadable)?;
        let status = u16::try_from(status).map_err(|_| Unreadable)?;
        let body = match status {
            204 | 304 => 0,
            _ => field(&bytes[..end], b"content-length:").and_then(digits).ok_or(Unreadable)?,
        };
        let connection = field(&bytes[..end], b"connection:").unwrap_or_default();
        let closes = connection.eq_ignore_ascii_case(b"close");
        Ok(Some(Self { status, length: end + 4, body, closes }))
    }
}

/// Where the empty line starts that ends a head.
#[must_use]
pub fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n")
}

/// The value of the first field of this name, given in lower case with its colon.
#[must_use]
pub fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let matches = |start: &[u8]| start.eq_ignore_ascii_case(name);
    let line = lines.find(|line| line.get(..name.len()).is_some_and(matches))?;
    Some(line[name.len()..].trim_ascii())
}

fn digits(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The bytes of a GET. `extra` are whole header lines, each with its line end.
#[must_use]
pub fn get(target: SocketAddr, path: &str, extra: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {target}\r\n{extra}\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_only_once_it_is_complete() {
        let whole = b"HTTP/1.1 200 OK\r\nDate: x\r\ncontent-LENGTH: 64\r\n\r\nbody";
        assert_eq!(Head::parse(&whole[..40]), Ok(None));
        let (status, length, body, closes) = (200, whole.len() - 4, 64, false);
        let head = Head { status, length, body, closes };
        assert_eq!(Head::parse(whole), Ok(Some(head)));
    }

    #[test]
    fn a_head_without_a_length_is_refused_unless_it_has_no_body() {
        assert_eq!(Head::parse(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"), Err(Unreadable));
        let (status, length, body, closes) = (204, 46, 0, true);
        let head = Head { status, length, body, closes };
        let bytes = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        assert_eq!(Head::parse(bytes), Ok(Some(head)));
    }
}
