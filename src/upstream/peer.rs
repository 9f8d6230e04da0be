//! What Pingora needs to connect to an endpoint, with every timeout set: its own defaults are none.

use super::tls::Identity;
use super::{Protocol, Timeouts};
use pingora::protocols::ALPN;
use pingora::upstreams::peer::HttpPeer;
use std::hash::BuildHasher;
use std::net::SocketAddr;

/// How many requests may share one HTTP/2 connection. Pingora's default is one.
const H2_STREAMS_MAX: usize = 100;

pub(super) fn template(
    upstream: &str,
    address: SocketAddr,
    protocol: Protocol,
    timeouts: &Timeouts,
    identity: Option<&Identity>,
) -> HttpPeer {
    let name = identity.map_or("", |identity| identity.name.as_str());
    let mut peer = HttpPeer::new(address, identity.is_some(), name.to_owned());
    // Two upstreams may share an address and differ in protocol, timeouts, authorities or our own
    // certificate, of all of which Pingora's pool of connections looks at a serial number alone.
    let authorities = identity.map(|it| (name, &it.authorities_der, it.own_print));
    let key = (upstream, protocol == Protocol::H2, authorities);
    peer.client_cert_key = identity.and_then(|identity| identity.own.clone());
    peer.group_key = foldhash::quality::FixedState::default().hash_one(key);
    let options = &mut peer.options;
    // So they are by default; nothing here may turn them off.
    (options.verify_cert, options.verify_hostname) = (true, true);
    options.ca = identity.and_then(|identity| identity.authorities.clone());
    options.connection_timeout = Some(timeouts.connect.0);
    options.total_connection_timeout = Some(timeouts.connect.0);
    options.read_timeout = Some(timeouts.read.0);
    options.write_timeout = Some(timeouts.write.0);
    options.idle_timeout = Some(timeouts.idle.0);
    options.max_h2_streams = H2_STREAMS_MAX;
    options.alpn = match protocol {
        Protocol::Http1 => ALPN::H1,
        Protocol::H2c => ALPN::H2,
        Protocol::H2 => ALPN::H2H1,
    };
    peer
}
