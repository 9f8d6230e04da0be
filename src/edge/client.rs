//! Who the client of a request is, as filters, logs and upstreams are to see it.
//!
//! A client is the other end of the connection, unless that is a peer that the listener trusts: a
//! load balancer, or what ends TLS. A trusted peer says who asked it, in `X-Forwarded-For`, and it
//! may itself repeat what another peer says. Each hop appends the address that it sees, so the list
//! is read from its right end: an entry was written by the hop at its right, or by the peer. It is
//! believed as long as its writer is trusted; the first address that is not trusted is the client,
//! and what stands at its left is a client's own word.
//!
//! ```text
//! X-Forwarded-For: 1.2.3.4, 203.0.113.9, 10.0.0.7      the peer is 10.0.0.2
//!                  └ its word └ the client └ trusted   both of 10.0.0.0/8 are trusted
//! ```
//!
//! `X-Forwarded-Proto` and, where `trusted_host` says so, `X-Forwarded-Host` are told by the same
//! hop as the client's address. `Forwarded` (RFC 7239) is not read and never passed on.

use super::listener::Listener;
use super::peer::Peer;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED_HOST: &str = "x-forwarded-host";

/// The client of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// `None` when the connection has none, as one to a socket of Unix, and nobody who is trusted
    /// tells another.
    pub address: Option<IpAddr>,
    /// The scheme of the URL that the client asked for.
    pub scheme: Scheme,
    /// The host that the client asked for, where a trusted peer says so in place of `Host`.
    pub host: Option<HeaderValue>,
    /// What the peer says of the request is believed.
    pub is_peer_trusted: bool,
}

impl Client {
    /// The client whose request with these header `fields` came from `peer`.
    pub fn of(peer: &Peer, fields: &HeaderMap, listener: &Listener) -> Self {
        let (address, scheme) = (peer.address, peer.scheme());
        let is_peer_trusted = peer.is_trusted(listener);
        if !is_peer_trusted {
            if listener.trusted.has_names() && fields.contains_key(FORWARDED_FOR) {
                listener.trusted.doubt();
            }
            return Client { address, scheme, host: None, is_peer_trusted };
        }
        let (address, teller) = find(address, fields, listener);
        let scheme = told(fields, FORWARDED_PROTO, teller).and_then(read_scheme).unwrap_or(scheme);
        let host = match listener.trusted_host {
            true => told(fields, FORWARDED_HOST, teller).and_then(read_host),
            false => None,
        };
        Client { address, scheme, host, is_peer_trusted }
    }
}

/// The client's address, and the number of the hop that told it; 0 is the peer itself. A hop that
/// can't be read ends the chain: the client is then the last one that was told.
fn find(peer: Option<IpAddr>, fields: &HeaderMap, listener: &Listener) -> (Option<IpAddr>, usize) {
    let mut client = (peer, 0);
    for (teller, entry) in from_the_right(fields, FORWARDED_FOR).enumerate() {
        let Some(address) = read_address(entry) else { break };
        client = (Some(address), teller);
        if !listener.trusts(address) {
            break;
        }
    }
    client
}

/// What hop number `teller` says in the field `name`. A hop that overwrites the field says it for
/// those behind it, too.
fn told<'a>(fields: &'a HeaderMap, name: &str, teller: usize) -> Option<&'a [u8]> {
    from_the_right(fields, name).take(teller + 1).last()
}

/// The entries of a list, the last one first. Several lines of a field are one list.
fn from_the_right<'a>(fields: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let lines = fields.get_all(name).into_iter().rev();
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
    entries.map(<[u8]>::trim_ascii)
}

/// An address, with or without a port; an IPv6 address also in brackets.
fn read_address(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let address = match text.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => match text.parse::<SocketAddr>() {
            Ok(both) => both.ip(),
            Err(_) => bracketed()?.into(),
        },
    };
    Some(address.to_canonical())
}

/// Some proxies tell a WebSocket by its own scheme.
fn read_scheme(entry: &[u8]) -> Option<Scheme> {
    let is = |name: &str| entry.eq_ignore_ascii_case(name.as_bytes());
    match () {
        () if is("https") || is("wss") => Some(Scheme::HTTPS),
        () if is("http") || is("ws") => Some(Scheme::HTTP),
        () => None,
    }
}

/// Whether it is the name of a host at all, is asked of every head.
fn read_host(entry: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_bytes(entry).ok().filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests;
