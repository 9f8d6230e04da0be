//! As much HTTP/2 (RFC 9113) as a generator needs: frames of a GET out, frames of its answer in.
//! Header blocks are literal, and the server is told to keep no table, so that a status is read
//! from its first bytes (RFC 7541).

use std::io;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
/// The largest window (RFC 9113, 6.9.1), less what a connection begins with.
const WINDOW_BYTES: u32 = i32::MAX as u32 - 65_535;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// What a server said, as far as a generator listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// An answer began; the status, and whether it has no body.
    Head { stream: u32, is_ok: bool, is_end: bool },
    /// Bytes of a body, and whether it ends with them.
    Body { stream: u32, bytes: usize, is_end: bool },
    /// An answer will not come.
    Reset { stream: u32 },
    /// The connection will end.
    Goodbye,
    /// Something that wants these frames back.
    Question([u8; HEAD_BYTES + 8], usize),
    /// Nothing that matters here.
    Other,
}

/// What a client sends first: no table, no push, and windows that never fill.
#[must_use]
pub fn opening() -> Vec<u8> {
    const HEADER_TABLE_SIZE: u16 = 1;
    const ENABLE_PUSH: u16 = 2;
    let settings = [(HEADER_TABLE_SIZE, 0u32), (ENABLE_PUSH, 0)];
    let settings = settings.map(|(name, value)| {
        [name.to_be_bytes().as_slice(), value.to_be_bytes().as_slice()].concat()
    });
    let update = frame(WINDOW_UPDATE, 0, 0, &WINDOW_BYTES.to_be_bytes());
    [PREFACE, &frame(SETTINGS, 0, 0, &settings.concat()), &update].concat()
}

/// The header block of a GET. Texts of 127 bytes or more are not what a bench asks for.
#[must_use]
pub fn get(authority: &str, path: &str) -> Vec<u8> {
    const METHOD_GET: u8 = 0x82;
    const SCHEME_HTTPS: u8 = 0x87;
    const LITERAL_PATH: u8 = 0x04;
    const LITERAL_AUTHORITY: u8 = 0x01;
    let mut block = vec![METHOD_GET, SCHEME_HTTPS];
    for (name, text) in [(LITERAL_PATH, path), (LITERAL_AUTHORITY, authority)] {
        block.push(name);
        block.push(u8::try_from(text.len()).unwrap_or(u8::MAX).min(126));
        block.extend_from_slice(text.as_bytes());
    }
    block
}

/// The frame that asks with `block`.
pub fn ask(stream: u32, block: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&frame(HEADERS, END_HEADERS | END_STREAM, stream, block));
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The first frame of `bytes` and its length; `None` until it is complete.
pub fn read(bytes: &[u8]) -> io::Result<Option<(Said, usize)>> {
    let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let Some(payload) = bytes.get(HEAD_BYTES..HEAD_BYTES + length) else { return Ok(None) };
    let (kind, flags) = (head[3], head[4]);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let is_end = flags & END_STREAM != 0;
    let said = match kind {
        HEADERS => Said::Head { stream, is_ok: is_ok(payload), is_end },
        DATA => Said::Body { stream, bytes: length, is_end },
        RST_STREAM => Said::Reset { stream },
        GOAWAY => Said::Goodbye,
        SETTINGS | PING if flags & ACK == 0 => answer(kind, payload),
        CONTINUATION => return Err(io::Error::other("a head in more than one frame")),
        _ => Said::Other,
    };
    Ok(Some((said, HEAD_BYTES + length)))
}

/// Settings are taken, a ping comes back.
fn answer(kind: u8, payload: &[u8]) -> Said {
    let payload = if kind == PING { payload } else { &[] };
    let frame = frame(kind, ACK, 0, payload);
    let mut bytes = [0; HEAD_BYTES + 8];
    let length = frame.len().min(bytes.len());
    bytes[..length].copy_from_slice(&frame[..length]);
    Said::Question(bytes, length)
}

/// Whether a header block begins with `:status: 200`, after changes of the table's size.
fn is_ok(block: &[u8]) -> bool {
    const STATUS_200: u8 = 0x88;
    let is_size = |byte: &u8| byte & 0xe0 == 0x20;
    block.iter().find(|byte| !is_size(byte)) == Some(&STATUS_200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_only_once_it_is_complete() {
        let whole = frame(HEADERS, END_HEADERS, 3, &[0x20, 0x88, 0x0f]);
        assert_eq!(read(&whole[..whole.len() - 1]).unwrap(), None);
        let head = Said::Head { stream: 3, is_ok: true, is_end: false };
        assert_eq!(read(&whole).unwrap(), Some((head, whole.len())));
        let body = frame(DATA, END_STREAM, 3, b"four");
        let said = Said::Body { stream: 3, bytes: 4, is_end: true };
        assert_eq!(read(&body).unwrap(), Some((said, body.len())));
    }

    #[test]
    fn another_status_is_not_taken_for_200() {
        let refused = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x8d]);
        let head = Said::Head { stream: 1, is_ok: false, is_end: true };
        assert_eq!(read(&refused).unwrap(), Some((head, refused.len())));
    }

    #[test]
    fn a_ping_comes_back() {
        let ping = frame(PING, 0, 0, b"12345678");
        let Some((Said::Question(bytes, length), _)) = read(&ping).unwrap() else {
            panic!("no answer is due");
        };
        assert_eq!(&bytes[..length], frame(PING, ACK, 0, b"12345678"));
    }
}
