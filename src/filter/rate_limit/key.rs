//! By what requests are counted together.

use crate::exchange::Exchange;
use crate::quota::shared::SharedKey;
use crate::request::Request;
use http::{HeaderMap, HeaderName};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

/// By what requests are counted together.
#[derive(Debug)]
pub(super) enum Key {
    /// The address, of which so many bits count where it is IPv6: a home has a network of them.
    Client {
        ipv6_bits: u8,
    },
    Account {
        ipv6_bits: u8,
    },
    Session {
        ipv6_bits: u8,
    },
    Header(HeaderName),
}

/// The key of one request.
#[derive(Debug, Hash)]
pub(super) enum Of<'a> {
    V4(u32),
    V6(u128),
    Account(&'a str),
    Session(&'a str),
    Values(Values<'a>),
    /// Nobody knows whose it is: all such requests share one key.
    Nobody,
}

/// All values of a field: who sends two is neither of them.
#[derive(Debug)]
pub(super) struct Values<'a>(&'a HeaderMap, &'a HeaderName);

impl Hash for Values<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for value in self.0.get_all(self.1) {
            value.as_bytes().hash(state);
        }
    }
}

impl Of<'_> {
    /// The key as a store knows it: a hash, so that no address, account or key stands there.
    pub(super) fn shared(&self) -> SharedKey {
        match self {
            Of::V4(ip) => SharedKey::of([&b"v4"[..], &ip.to_be_bytes()]),
            Of::V6(ip) => SharedKey::of([&b"v6"[..], &ip.to_be_bytes()]),
            Of::Account(account) => SharedKey::of([&b"account"[..], account.as_bytes()]),
            Of::Session(session) => SharedKey::of([&b"session"[..], session.as_bytes()]),
            Of::Values(Values(fields, name)) => {
                let values = fields.get_all(*name).into_iter().map(|value| value.as_bytes());
                SharedKey::of([&b"header"[..], name.as_str().as_bytes()].into_iter().chain(values))
            }
            Of::Nobody => SharedKey::of([&b"nobody"[..]]),
        }
    }
}

impl Key {
    /// Whether a session must be known, or known to be none.
    pub(super) fn is_of_session(&self) -> bool {
        matches!(self, Key::Account { .. } | Key::Session { .. })
    }

    /// The key of a request. Where a session may be missing and is, it is the client's address.
    pub(super) fn of<'a>(&'a self, request: &Request<'a>, known: &'a Exchange) -> Of<'a> {
        match (self, known.session()) {
            (Key::Account { .. }, Some(session)) => Of::Account(session.account()),
            (Key::Session { .. }, Some(session)) => Of::Session(session.id()),
            (Key::Header(name), _) if !request.headers.contains_key(name) => Of::Nobody,
            (Key::Header(name), _) => Of::Values(Values(request.headers, name)),
            (
                Key::Client { ipv6_bits } | Key::Account { ipv6_bits } | Key::Session { ipv6_bits },
                _,
            ) => network(known.client, *ipv6_bits),
        }
    }
}

fn network(client: Option<IpAddr>, ipv6_bits: u8) -> Of<'static> {
    match client.map(|client| client.to_canonical()) {
        None => Of::Nobody,
        Some(IpAddr::V4(ip)) => Of::V4(ip.to_bits()),
        Some(IpAddr::V6(ip)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(ipv6_bits)).unwrap_or(0);
            Of::V6(ip.to_bits() & mask)
        }
    }
}
