//! The first line of a request, read along before Pingora parses it.
//!
//! Some players write into a target what no URL may hold: quotes, `<`, `>`, UTF-8. Pingora would
//! refuse some of it without a word and pass on the rest. Here it is percent-encoded, which means
//! the same (RFC 3986 §2.1). What cannot be meant, a control byte or a space in a query, is
//! remembered: Pingora would encode it, and nobody would know any more that it was there.

use crate::denial::{Code, Denial};

/// The target of a request with what no URL may hold encoded; `None` if there is nothing of it.
pub(super) fn encoded(target: &str) -> Option<Vec<u8>> {
    let mut line = RequestLine { place: Place::Path, ..RequestLine::default() };
    line.read(target.as_bytes())
}

/// How far the line of one request was read.
#[derive(Debug, Default)]
pub(super) struct RequestLine {
    place: Place,
    last: u8,
    /// Spaces behind the `?`; the one before the version ends the target.
    spaces: usize,
    /// The first byte of the query that cannot be meant.
    misplaced: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Empty lines may come before a request (RFC 9112 §2.2).
    #[default]
    Before,
    Method,
    Path,
    Query,
    Behind,
}

impl RequestLine {
    /// Reads what came next; `Some` is what is to be parsed in its place.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.place == Place::Before && is_usual(bytes) {
            self.place = Place::Behind;
            return None;
        }
        let mut encoded: Option<Vec<u8>> = None;
        for (at, &byte) in bytes.iter().enumerate() {
            if self.is_over() {
                if let Some(encoded) = &mut encoded {
                    encoded.extend_from_slice(&bytes[at..]);
                }
                break;
            }
            self.step(byte);
            if self.must_encode(byte) {
                let encoded = encoded.get_or_insert_with(|| bytes[..at].to_vec());
                encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
            } else if let Some(encoded) = &mut encoded {
                encoded.push(byte);
            }
        }
        encoded
    }

    /// Whether its end was read.
    pub(super) fn is_over(&self) -> bool {
        self.place == Place::Behind
    }

    /// Refuses a query that holds what cannot be meant.
    pub(super) fn check(&self) -> Result<(), Denial> {
        let Some(byte) = self.misplaced else { return Ok(()) };
        let name = match byte {
            0 => "NUL".to_owned(),
            b' ' => "a space".to_owned(),
            byte => format!("the control byte 0x{byte:02X}"),
        };
        let why = format!("the query holds {name} as it is; it is written `%{byte:02X}`");
        Err(Denial::from(Code::RequestMalformed).because(why))
    }

    fn step(&mut self, byte: u8) {
        match (self.place, byte) {
            (Place::Before, b'\r' | b'\n') => {}
            (Place::Before, _) => self.place = Place::Method,
            (_, b'\n') => self.end(),
            (Place::Method, b' ') => self.place = Place::Path,
            (Place::Path, b'?') => self.place = Place::Query,
            (Place::Query, b' ') => self.spaces += 1,
            (Place::Query, byte) if byte.is_ascii_control() && self.spaces == 0 => {
                self.misplaced.get_or_insert(byte);
            }
            _ => {}
        }
        self.last = byte;
    }

    fn end(&mut self) {
        if 1 < self.spaces {
            self.misplaced.get_or_insert(b' ');
        }
        // A line without a version: what ends it is no part of the query.
        if self.spaces == 0 && self.last == b'\r' && self.misplaced == Some(b'\r') {
            self.misplaced = None;
        }
        self.place = Place::Behind;
    }

    fn must_encode(&self, byte: u8) -> bool {
        match self.place {
            Place::Path => matches!(byte, b'"' | b'<' | b'>' | b'`' | 0x80..),
            Place::Query => matches!(byte, b'"' | b'<' | b'>' | 0x80..),
            Place::Before | Place::Method | Place::Behind => false,
        }
    }
}

/// Whether `bytes` begin with a whole line that holds nothing to encode or to remember. Nearly all
/// requests come so, and the steps of [`RequestLine`] would take ten times as long.
fn is_usual(bytes: &[u8]) -> bool {
    let mut spaces = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        match LINE_BYTES[usize::from(byte)] {
            LineByte::Plain => {}
            LineByte::Space => spaces += 1,
            LineByte::Return if bytes.get(at + 1) == Some(&b'\n') => {}
            LineByte::End => return 0 < at && bytes[0] != b'\r' && spaces == 2,
            LineByte::Return | LineByte::Odd => return false,
        }
    }
    false
}

/// What a byte is to [`is_usual`].
#[derive(Clone, Copy)]
enum LineByte {
    Plain,
    Space,
    Return,
    End,
    Odd,
}

const LINE_BYTES: [LineByte; 256] = {
    let mut kinds = [LineByte::Odd; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        kinds[byte] = match byte as u8 {
            b'"' | b'<' | b'>' | b'`' => LineByte::Odd,
            _ => LineByte::Plain,
        };
        byte += 1;
    }
    kinds[b' ' as usize] = LineByte::Space;
    kinds[b'\r' as usize] = LineByte::Return;
    kinds[b'\n' as usize] = LineByte::End;
    kinds
};

#[cfg(test)]
mod tests {
    use super::*;

    /// What is parsed when `said` comes at once, and byte by byte.
    fn parsed(said: &[u8]) -> (Vec<u8>, Option<u8>) {
        let mut line = RequestLine::default();
        let whole = line.read(said).unwrap_or_else(|| said.to_vec());
        let mut slow = RequestLine::default();
        let bytes = said.iter().map(|byte| [*byte]);
        let pieces = bytes.map(|byte| slow.read(&byte).unwrap_or_else(|| byte.to_vec()));
        assert_eq!(pieces.collect::<Vec<_>>().concat(), whole);
        assert_eq!(slow.misplaced, line.misplaced);
        (whole, line.misplaced)
    }

    #[test]
    fn a_usual_line_is_read_at_a_glance_and_no_other() {
        for (said, is_usual) in [
            (&b"GET /a?b HTTP/1.1\r\nHost: \"a\"\r\n"[..], true),
            (b"GET /a HTTP/1.1\n", true),
            (b"GET /a HTTP/1.1\r", false),
            (b"GET /a HTTP/1.1", false),
            (b"\r\nGET /a HTTP/1.1\r\n", false),
            (b"\nGET /a HTTP/1.1\r\n", false),
            (b"GET /a?b c HTTP/1.1\r\n", false),
            (b"GET /a?b\r\n", false),
            (b"GET /a?\rb HTTP/1.1\r\n", false),
            (b"GET /a?\"b HTTP/1.1\r\n", false),
            (b"GET /a\t HTTP/1.1\r\n", false),
            (b"", false),
        ] {
            assert_eq!(super::is_usual(said), is_usual, "{}", said.escape_ascii());
        }
    }

    #[test]
    fn what_no_url_holds_is_encoded_and_nothing_else() {
        for (said, encoded) in [
            (&b"GET /a?x=1 HTTP/1.1\r\nHost: \"a\"\r\n\r\n<b>"[..], None),
            (b"\r\n\nGET /a|{}^[]?a|{}^[]'` HTTP/1.1\r\n", None),
            (b"GET /a b HTTP/1.1\r\n\r\n", None),
            (
                b"GET /a?CMCD=sid=\"a\",<b> HTTP/1.1\r\nX: \"\xc3\"\r\n\r\n\"",
                Some(&b"GET /a?CMCD=sid=%22a%22,%3Cb%3E HTTP/1.1\r\nX: \"\xc3\"\r\n\r\n\""[..]),
            ),
            (
                b"GET /\"`<\xc3\xa9?\xff HTTP/1.1\r\n",
                Some(b"GET /%22%60%3C%C3%A9?%FF HTTP/1.1\r\n"),
            ),
        ] {
            let (parsed, misplaced) = parsed(said);
            assert_eq!(parsed.escape_ascii().to_string(), {
                encoded.unwrap_or(said).escape_ascii().to_string()
            });
            assert_eq!(misplaced, None, "{}", said.escape_ascii());
        }
    }

    #[test]
    fn what_cannot_be_meant_in_a_query_is_remembered() {
        for (line, misplaced) in [
            (&b"GET /a?b c HTTP/1.1\r\n"[..], Some(b' ')),
            (b"GET /a?b  HTTP/1.1\r\n", Some(b' ')),
            (b"GET /a?\0 HTTP/1.1\r\n", Some(0)),
            (b"GET /a?b\tc d HTTP/1.1\r\n", Some(b'\t')),
            (b"GET /a?b\rc HTTP/1.1\r\n", Some(b'\r')),
            (b"GET /a?b\x7f HTTP/1.1\n", Some(0x7f)),
            (b"GET /a?b HTTP/1.1\n", None),
            (b"GET /a?b\r\n", None),
            (b"GET /a\t?%00%20+ HTTP/1.1\r\nX: a?b c\0\r\n", None),
        ] {
            assert_eq!(parsed(line).1, misplaced, "{}", line.escape_ascii());
        }
    }
}
