//! The frames of one direction of a connection, read along by their heads. The library reads them,
//! too, but tells nobody of those that carry nothing, nor which of its bounds has acted.

use crate::edge::h2_bounds::PREFACE;

/// The head of a frame, in bytes (RFC 9113 §4.1).
const HEAD_BYTES: usize = 9;

/// So much of each payload is looked at: the longest that holds a reason.
const LEAD_BYTES: usize = 8;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// What is known of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A piece of a body; `is_hollow`: without a byte, and without the end.
    Data { bytes: usize, is_hollow: bool },
    /// The beginning of a head; `is_whole`: all of it.
    Head { is_whole: bool },
    /// More of a head; `is_last`: the rest of it.
    Continuation { is_last: bool },
    /// A stream is broken off, for this reason.
    Reset(u32),
    /// Everything else.
    Other,
}

/// How far the frames were read.
#[derive(Debug)]
pub(super) struct Frames {
    /// What is left to skip before the first frame.
    preface_bytes: usize,
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    lead: [u8; LEAD_BYTES],
    /// How much of the payload was read.
    payload_bytes: usize,
}

impl Frames {
    /// The frames that a client sends.
    pub(super) fn of_client() -> Self {
        Frames { preface_bytes: PREFACE.len(), ..Frames::of_gateway() }
    }

    /// The frames that the gateway sends.
    pub(super) fn of_gateway() -> Self {
        Frames {
            preface_bytes: 0,
            head: [0; HEAD_BYTES],
            head_bytes: 0,
            lead: [0; LEAD_BYTES],
            payload_bytes: 0,
        }
    }

    /// Reads what came next, and tells each frame once its kind is known.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Frame)) {
        let preface = self.preface_bytes.min(bytes.len());
        self.preface_bytes -= preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            if self.head_bytes < HEAD_BYTES {
                let n = (HEAD_BYTES - self.head_bytes).min(bytes.len());
                self.head[self.head_bytes..][..n].copy_from_slice(&bytes[..n]);
                self.head_bytes += n;
                bytes = &bytes[n..];
                if self.head_bytes < HEAD_BYTES {
                    return;
                }
            }
            let n = (self.length() - self.payload_bytes).min(bytes.len());
            let from = self.payload_bytes.min(LEAD_BYTES);
            let lead = n.min(LEAD_BYTES - from);
            self.lead[from..][..lead].copy_from_slice(&bytes[..lead]);
            let was_known = self.is_known();
            self.payload_bytes += n;
            bytes = &bytes[n..];
            if self.is_known() && !(was_known && 0 < n) {
                tell(self.frame());
            }
            if self.payload_bytes == self.length() {
                (self.head_bytes, self.payload_bytes) = (0, 0);
            }
        }
    }

    /// Whether a frame has begun and not ended.
    #[cfg(test)]
    fn is_amid(&self) -> bool {
        self.head_bytes != 0
    }

    fn length(&self) -> usize {
        let [a, b, c, ..] = self.head;
        usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
    }

    /// Whether as much of the payload was read as is looked at.
    fn is_known(&self) -> bool {
        self.length().min(LEAD_BYTES) <= self.payload_bytes
    }

    fn frame(&self) -> Frame {
        let (kind, flags) = (self.head[3], self.head[4]);
        let [a, b, c, d, ..] = self.lead;
        match kind {
            0 => Frame::Data {
                bytes: self.length(),
                is_hollow: self.length() == 0 && flags & END_STREAM == 0,
            },
            1 => Frame::Head { is_whole: flags & END_HEADERS != 0 },
            3 if self.length() == 4 => Frame::Reset(u32::from_be_bytes([a, b, c, d])),
            9 => Frame::Continuation { is_last: flags & END_HEADERS != 0 },
            _ => Frame::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&[a, b, c, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn each_frame_is_told_once_however_the_bytes_come() {
        let all = [
            frame(4, 0, &[]),
            frame(1, 4, &[0; 20]),
            frame(1, 0, &[0; 3]),
            frame(9, 0, &[]),
            frame(9, 4, &[0; 9]),
            frame(0, 0, &[1; 300]),
            frame(0, 0, &[]),
            frame(0, 1, &[]),
            frame(3, 0, &[0, 0, 0, 8]),
            frame(3, 0, &[0, 0, 0]),
            frame(6, 0, &[7; 8]),
        ];
        let said = [PREFACE.as_slice(), &all.concat()].concat();
        let expected = [
            Frame::Other,
            Frame::Head { is_whole: true },
            Frame::Head { is_whole: false },
            Frame::Continuation { is_last: false },
            Frame::Continuation { is_last: true },
            Frame::Data { bytes: 300, is_hollow: false },
            Frame::Data { bytes: 0, is_hollow: true },
            Frame::Data { bytes: 0, is_hollow: false },
            Frame::Reset(8),
            Frame::Other,
            Frame::Other,
        ];
        for size in [1, 2, 5, 8, 9, 10, 100, said.len()] {
            let (mut frames, mut told) = (Frames::of_client(), Vec::new());
            said.chunks(size).for_each(|bytes| frames.read(bytes, |frame| told.push(frame)));
            assert_eq!(told, expected, "{size} bytes at once");
            assert!(!frames.is_amid());
        }
    }
}
