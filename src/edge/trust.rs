//! Whom a listener trusts: networks, and hosts by name. What a name leads to changes while the
//! gateway runs; a name that leads nowhere yet trusts nobody.
//!
//! Names are followed as those of upstreams are: the last good answer stays when a look-up fails.
//! Each request asks anew whether its peer is trusted, so a change holds for open connections, too.

use crate::resolve::{Follower, HostName, Lookup, Resolver, Target};
use crate::units::Network;
use crate::yaml::{Scalar, scalars};
use arc_swap::ArcSwap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::Notify;

/// One entry of `trusted` as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedPeer {
    /// An address or a network.
    Network(Network),
    /// A host, at all its addresses.
    Host(HostName),
    /// Whoever connects to a socket of Unix: the mode of its file says who that may be.
    Socket,
}

/// How those are written who connect to a socket of Unix.
const SOCKET: &str = "unix:";

impl TrustedPeer {
    /// Whether every address of its kind is one of them.
    pub fn is_everybody(&self) -> bool {
        matches!(self, TrustedPeer::Network(network) if network.is_everybody())
    }
}

impl Scalar for TrustedPeer {
    const KIND: &'static str = "an address, a network, a host name or `unix:`";
    const EXAMPLE: &'static str = "10.0.0.0/8";
    const EXPECTED: &'static str = "an IP address such as `192.0.2.1`, a network such as \
        `10.0.0.0/8` or `2001:db8::/32`, or a host name such as `proxy.internal`, without a port; \
        or `unix:` for whoever connects to a socket of Unix";

    fn read(text: &str) -> Result<Self, String> {
        if text == SOCKET {
            return Ok(TrustedPeer::Socket);
        }
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if is_number || text.contains(['/', ':']) {
            return Network::read(text).map(TrustedPeer::Network);
        }
        HostName::parse(text).map(TrustedPeer::Host).map_err(|_| String::new())
    }
}

impl fmt::Display for TrustedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrustedPeer::Network(network) => network.fmt(f),
            TrustedPeer::Host(name) => name.fmt(f),
            TrustedPeer::Socket => f.write_str(SOCKET),
        }
    }
}

scalars!(TrustedPeer);

impl Serialize for TrustedPeer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for TrustedPeer {
    fn schema_name() -> Cow<'static, str> {
        "TrustedPeer".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": TrustedPeer::EXPECTED,
            "pattern": r"^[0-9a-zA-Z._:-]+(/[0-9]{1,3})?$|\$\{",
        })
    }
}

/// Whom a listener trusts. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct TrustedPeers(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    networks: Vec<Network>,
    /// Names, and where each leads now.
    hosts: Vec<(HostName, ArcSwap<Vec<IpAddr>>)>,
    /// Whoever connects to a socket of Unix is one of them.
    has_sockets: bool,
    /// Notified when somebody speaks as if he were trusted.
    doubt: Arc<Notify>,
}

impl TrustedPeers {
    /// Those of these entries. Names lead nowhere until they are followed.
    pub fn new<'a>(written: impl IntoIterator<Item = &'a TrustedPeer>) -> Self {
        let mut inner = Inner::default();
        for peer in written {
            match peer {
                TrustedPeer::Network(network) => inner.networks.push(*network),
                TrustedPeer::Host(name) => inner.hosts.push((name.clone(), ArcSwap::default())),
                TrustedPeer::Socket => inner.has_sockets = true,
            }
        }
        TrustedPeers(Arc::new(inner))
    }

    /// Whether a peer at this address is trusted.
    pub fn contains(&self, address: IpAddr) -> bool {
        // Asked with every request, and most listeners trust nobody.
        if self.0.networks.is_empty() && self.0.hosts.is_empty() {
            return false;
        }
        let address = address.to_canonical();
        let is_at = |(_, host): &(_, ArcSwap<Vec<IpAddr>>)| host.load().contains(&address);
        self.0.networks.iter().any(|network| network.contains(address))
            || self.0.hosts.iter().any(is_at)
    }

    /// Whether whoever connects to a socket of Unix is one of them.
    pub(super) fn has_sockets(&self) -> bool {
        self.0.has_sockets
    }

    /// Whether hosts are among them.
    pub(super) fn has_names(&self) -> bool {
        !self.0.hosts.is_empty()
    }

    /// Somebody who is not trusted speaks like one who is: a name may lead elsewhere by now. Its
    /// follower bounds how often it is looked up for that.
    pub(super) fn doubt(&self) {
        self.0.doubt.notify_waiters();
    }

    /// The names that have led nowhere so far.
    pub fn unresolved(&self) -> impl Iterator<Item = &HostName> {
        let nowhere = self.0.hosts.iter().filter(|(_, addresses)| addresses.load().is_empty());
        nowhere.map(|(name, _)| name)
    }

    /// Followers of all names.
    pub fn names(&self, resolver: &Resolver) -> Vec<TrustedName> {
        let names = self.0.hosts.iter().enumerate().map(|(place, (name, _))| {
            let (target, doubt) = (Target::Peer(name.clone()), Arc::clone(&self.0.doubt));
            let follower = Follower::new(target, resolver.clone(), doubt);
            TrustedName { trusted: self.clone(), place, follower }
        });
        names.collect()
    }
}

/// One trusted name that is followed.
#[derive(Debug)]
pub struct TrustedName {
    trusted: TrustedPeers,
    place: usize,
    follower: Follower,
}

impl TrustedName {
    /// Waits until the name is due and looks it up. Requests that come after that see the answer.
    pub async fn next(&mut self) -> Lookup {
        let lookup = self.follower.next().await;
        if lookup.is_changed {
            let addresses = lookup.found.iter().map(|found| found.address.ip().to_canonical());
            self.trusted.0.hosts[self.place].1.store(Arc::new(addresses.collect()));
        }
        lookup
    }

    /// The name as it is written.
    pub fn written(&self) -> &str {
        self.trusted.0.hosts[self.place].0.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_are_meant() {
        for (text, expected) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("::1", Some("::1")),
            ("proxy", Some("proxy")),
            ("Proxy.Internal", Some("proxy.internal")),
            ("proxy.internal.", Some("proxy.internal.")),
            ("10.0.0.1/8", None),
            ("10", None),
            ("300.1.1.1", None),
            ("0x7f.1", None),
            ("proxy:8080", None),
            ("https://proxy", None),
            ("proxy/24", None),
            ("*.internal", None),
            ("-", None),
            ("unix:", Some("unix:")),
            ("unix", Some("unix")),
            ("unix:/run/a", None),
            ("", None),
        ] {
            let read = TrustedPeer::read(text).ok().map(|peer| peer.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
