//! A range of addresses: one address, or those that begin with the same bits.

use crate::yaml::Scalar;
use ipnet::{IpNet, Ipv4Net};
use std::fmt;
use std::net::IpAddr;

/// Addresses, written `192.0.2.1`, `10.0.0.0/8` or `2001:db8::/32`. An IPv4 address that is written
/// as an IPv6 one (`::ffff:192.0.2.1`) is the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// An IPv4 address as an IPv6 one begins with so many bits that are the same for all of them.
const MAPPED_BITS: u8 = 96;

impl Network {
    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// The first and the last of them.
    pub fn bounds(&self) -> (IpAddr, IpAddr) {
        (self.0.network(), self.0.broadcast())
    }

    /// Whether every address of its kind is one of them.
    pub fn is_everybody(&self) -> bool {
        self.0.prefix_len() == 0
    }

    /// The same with IPv4 addresses as such.
    fn canonical(net: IpNet) -> IpNet {
        let IpNet::V6(v6) = net else { return net };
        let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_BITS));
        let v4 = v4.and_then(|(address, bits)| Ipv4Net::new(address, bits).ok());
        v4.map_or(net, IpNet::V4)
    }
}

impl Scalar for Network {
    const KIND: &'static str = "an address or a network";
    const EXAMPLE: &'static str = "10.0.0.0/8";
    const EXPECTED: &'static str =
        "an IP address such as `192.0.2.1`, or a network such as `10.0.0.0/8` or `2001:db8::/32`";

    fn read(text: &str) -> Result<Self, String> {
        let one = text.parse().map(|address: IpAddr| IpNet::from(address));
        let net = one.or_else(|_| text.parse::<IpNet>()).map_err(|_| String::new())?;
        let net = Network::canonical(net);
        match net.addr() == net.network() {
            true => Ok(Network(net)),
            // It may be a slip in either number, and the two readings trust different peers.
            false => Err("the address has bits beyond the length of its prefix".to_owned()),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.prefix_len() == self.0.max_prefix_len() {
            true => self.0.addr().fmt(f),
            false => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_its_network_however_it_is_written() {
        let holds = |network: &str, address: &str| {
            let network = Network::read(network).expect("a network");
            network.contains(address.parse().expect("an address"))
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("::ffff:10.0.0.0/104", "10.255.0.1"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!holds("2001:db8::/32", "2001:db9::1"));
        assert!(!holds("::/0", "192.0.2.1"), "all of IPv6 is nobody of IPv4");
        assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
    }
}
