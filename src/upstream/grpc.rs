//! The health protocol of gRPC (grpc.health.v1), as far as a check needs it: one question with one
//! text, one answer with one number. More of protobuf is not read here.

use bytes::Bytes;
use http::uri::PathAndQuery;

/// Fields that every call has.
pub(super) const FIELDS: [(&str, &str); 2] =
    [("content-type", "application/grpc"), ("te", "trailers")];

/// So much of an answer is read; a message has eight bytes.
pub(super) const ANSWER_BYTES_MAX: usize = 1_024;

/// A message is not compressed, and its length is told in four bytes.
const PREFIX_BYTES: usize = 5;

pub(super) fn path() -> PathAndQuery {
    PathAndQuery::from_static("/grpc.health.v1.Health/Check")
}

/// `HealthCheckRequest { service }`.
pub(super) fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        // Field 1, of a length.
        message.push(0x0a);
        varint(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).expect("a line of the file is not that long");
    let mut all = vec![0];
    all.extend_from_slice(&length.to_be_bytes());
    all.extend_from_slice(&message);
    all.into()
}

fn varint(to: &mut Vec<u8>, mut number: usize) {
    while 0x7f < number {
        to.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Whether a `HealthCheckResponse` says `SERVING`; `None`: it is none. A server that does not know
/// the service says so in its trailers, and has no message.
pub(super) fn is_serving(answer: &[u8]) -> Option<bool> {
    let (prefix, message) = answer.split_at_checked(PREFIX_BYTES).unwrap_or((&[], &[]));
    match (prefix, message) {
        // Nothing but trailers.
        ([], _) if answer.is_empty() => Some(false),
        // `UNKNOWN` is zero, which is not written.
        ([0, length @ ..], []) if length == [0; 4] => Some(false),
        // Field 1, a number.
        ([0, length @ ..], [0x08, status]) if length == [0, 0, 0, 2] => Some(*status == 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_message_with_its_length() {
        assert_eq!(&*question(""), &[0, 0, 0, 0, 0]);
        assert_eq!(&*question("ab"), b"\0\0\0\0\x04\x0a\x02ab");
        let long = question(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn an_answer_says_whether_it_serves() {
        for (answer, expected) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some(true)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(false)),
            (&[0, 0, 0, 0, 2, 8, 3], Some(false)),
            (&[0, 0, 0, 0, 0], Some(false)),
            (&[], Some(false)),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 2, 8], None),
            (&[0, 0, 0], None),
            (b"HTTP/1.1 200 OK", None),
        ] {
            assert_eq!(is_serving(answer), expected, "{answer:?}");
        }
    }
}
