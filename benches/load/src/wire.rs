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
}

/// Why bytes are not a response we can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl Head {
    /// The head at the start of `bytes`; `None` until it is complete.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Unreadable> {
        let Some(end) = end_of_head(bytes) else {
            return if bytes.len() > HEAD_MAX_BYTES {
                Err(Unreadable)
            } else {
                Ok(None)
            };
        };
        let status = bytes.get(9..12).and_then(digits).ok_or(Unreadable)?;
        let status = u16::try_from(status).map_err(|_| Unreadable)?;
        let body = match status {
            204 | 304 => 0,
            _ => content_length(&bytes[..end]).ok_or(Unreadable)?,
        };
        Ok(Some(Self {
            status,
            length: end + 4,
            body,
        }))
    }
}

/// Where the empty line starts that ends a head.
#[must_use]
pub fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n")
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.find(|line| {
        line.get(..NAME.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(NAME))
    })?;
    digits(line[NAME.len()..].trim_ascii())
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
        let head = Head {
            status: 200,
            length: whole.len() - 4,
            body: 64,
        };
        assert_eq!(Head::parse(whole), Ok(Some(head)));
    }

    #[test]
    fn a_head_without_a_length_is_refused_unless_it_has_no_body() {
        assert_eq!(
            Head::parse(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"),
            Err(Unreadable)
        );
        let head = Head {
            status: 204,
            length: 27,
            body: 0,
        };
        assert_eq!(
            Head::parse(b"HTTP/1.1 204 No Content\r\n\r\n"),
            Ok(Some(head))
        );
    }
}
