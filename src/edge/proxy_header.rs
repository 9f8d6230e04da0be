//! The header of the PROXY protocol, versions 1 and 2: in front of the first byte of HTTP a load
//! balancer says whose connection it passes on.
//!
//! A connection that brings none may be HTTP, so no byte is taken that can't belong to a header:
//! [`Beginning`] says after each piece how many more may be read. What a whole header means, the
//! crate `ppp` reads.

use crc::{CRC_32_ISCSI, Crc};
use pingora::protocols::Stream;
use ppp::{v1, v2};
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use tokio::io::AsyncReadExt;

/// How version 1 begins, a line of text.
const V1_START: &[u8] = b"PROXY ";

/// The longest line of version 1, in bytes (§2.1).
const V1_BYTES_MAX: usize = 107;

/// How version 2 begins: with bytes that no other protocol begins with.
const V2_START: &[u8] = v2::PROTOCOL_PREFIX;

/// What stands before the addresses of version 2: the start, two bytes of kinds, and a length.
const V2_FIXED_BYTES: usize = V2_START.len() + 4;

/// The longest header of version 2, in bytes. Addresses need 52 of them, or 232 for sockets of
/// Unix; what a balancer says of TLS may hold a certificate.
const V2_BYTES_MAX: usize = 8 * 1024;

/// Version 2, for a connection of the balancer's own: its health checks.
const V2_LOCAL: u8 = 0x20;

/// Version 2, for a connection that is passed on.
const V2_PROXY: u8 = 0x21;

/// What stands before the value of a field of version 2: its kind and its length.
const FIELD_FIXED_BYTES: usize = 3;

/// The field of version 2 with a checksum of the header (§2.2.3).
const CHECKSUM_FIELD: u8 = 0x03;

/// The field of version 2 that tells how the client came (§2.2.6).
const TLS_FIELD: u8 = 0x20;

static CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// What a connection begins with, as far as it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// No header begins so.
    Other,
    /// A header may begin so, and has at least so many bytes more.
    Part(usize),
    /// A header, to its last byte.
    Whole,
    /// It begins as a header, and is none.
    Malformed,
}

/// What a header says of the connection that is passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The other end of it. `None`: it is the balancer's own, or its address is not said.
    pub source: Option<IpAddr>,
    /// It is TLS, which ended at the balancer.
    pub is_tls: bool,
}

impl Beginning {
    /// What `bytes`, all that has come, are.
    pub fn of(bytes: &[u8]) -> Self {
        let fits = |start: &[u8]| bytes.iter().zip(start).all(|(byte, wanted)| byte == wanted);
        match () {
            () if fits(V2_START) => Beginning::of_v2(bytes),
            () if fits(V1_START) => Beginning::of_v1(bytes),
            () => Beginning::Other,
        }
    }

    fn of_v1(bytes: &[u8]) -> Self {
        match () {
            // One byte at a time: what follows the line is HTTP.
            () if bytes.len() < V1_START.len() => Beginning::Part(1),
            () if bytes.ends_with(b"\n") => Beginning::Whole,
            () if bytes.len() < V1_BYTES_MAX => Beginning::Part(1),
            () => Beginning::Malformed,
        }
    }

    fn of_v2(bytes: &[u8]) -> Self {
        // HTTP may begin with empty lines, as this start does.
        let Some(kinds) = bytes.get(V2_START.len()..).filter(|_| V2_START.len() <= bytes.len())
        else {
            return Beginning::Part(1);
        };
        let [command, _, high, low, ..] = *kinds else {
            return Beginning::Part(V2_FIXED_BYTES - bytes.len());
        };
        let whole = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
        let is_known = matches!(command, V2_LOCAL | V2_PROXY);
        match whole.checked_sub(bytes.len()) {
            _ if !is_known || V2_BYTES_MAX < whole => Beginning::Malformed,
            Some(0) => Beginning::Whole,
            Some(missing) => Beginning::Part(missing),
            None => Beginning::Malformed,
        }
    }
}

impl ProxyHeader {
    /// Reads a whole header; `None` if it is malformed.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match bytes.get(V2_START.len()) {
            _ if bytes.starts_with(V1_START) => ProxyHeader::parse_v1(bytes),
            // Whatever it says of addresses is to be passed over (§2.2).
            Some(&V2_LOCAL) => Some(ProxyHeader::default()),
            _ => ProxyHeader::parse_v2(bytes),
        }
    }

    fn parse_v1(bytes: &[u8]) -> Option<Self> {
        let header = v1::Header::try_from(bytes).ok()?;
        let source = match header.addresses {
            v1::Addresses::Tcp4(both) => Some(IpAddr::from(both.source_address)),
            v1::Addresses::Tcp6(both) => Some(IpAddr::from(both.source_address)),
            v1::Addresses::Unknown => None,
        };
        (header.header.len() == bytes.len()).then_some(ProxyHeader { source, is_tls: false })
    }

    fn parse_v2(bytes: &[u8]) -> Option<Self> {
        let header = v2::Header::try_from(bytes).ok()?;
        let source = match header.addresses {
            v2::Addresses::IPv4(both) => Some(IpAddr::from(both.source_address)),
            v2::Addresses::IPv6(both) => Some(IpAddr::from(both.source_address)),
            v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        };
        // Where no family is said, no address need stand there, and balancers write fields at once.
        let mut at = V2_FIXED_BYTES + header.addresses.len();
        let fields = v2::TypeLengthValues::from(&bytes[at..]).collect::<Result<Vec<_>, _>>();
        let fields = match fields {
            Ok(fields) => fields,
            // They may also write what is to be passed over.
            Err(_) if header.addresses.is_empty() => return Some(ProxyHeader::default()),
            Err(_) => return None,
        };
        let mut is_tls = false;
        for field in fields {
            let value = at + FIELD_FIXED_BYTES..at + FIELD_FIXED_BYTES + field.value.len();
            at = value.end;
            match field.kind {
                TLS_FIELD => is_tls = says_tls(&field.value)?,
                CHECKSUM_FIELD if !is_intact(bytes, value) => return None,
                _ => {}
            }
        }
        Some(ProxyHeader { source, is_tls })
    }
}

/// Whether the client came by TLS: the first bit of a byte that others follow, at least the four of
/// the verdict on its certificate.
fn says_tls(value: &[u8]) -> Option<bool> {
    let [client, _, _, _, _, ..] = value else { return None };
    Some(client & 1 == 1)
}

/// Whether the checksum in these bytes of a header is that of the header with zeros in its place.
fn is_intact(header: &[u8], sum: Range<usize>) -> bool {
    let Ok(said) = <[u8; 4]>::try_from(&header[sum.clone()]) else { return false };
    let mut digest = CRC32C.digest();
    for part in [&header[..sum.start], &[0; 4], &header[sum.end..]] {
        digest.update(part);
    }
    digest.finalize() == u32::from_be_bytes(said)
}

/// Reads from `stream` until it is clear what it begins with. What was read is in `bytes`, also
/// when nobody waits for the rest any longer.
pub(super) async fn read(stream: &mut Stream, bytes: &mut Vec<u8>) -> io::Result<Beginning> {
    loop {
        let missing = match Beginning::of(bytes) {
            Beginning::Part(missing) => missing,
            clear => return Ok(clear),
        };
        let mut piece = (&mut *stream).take(missing as u64);
        if piece.read_buf(bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[cfg(test)]
mod tests;
