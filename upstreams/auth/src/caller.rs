//! Where a request comes from, for counting attempts. Not for deciding who somebody is.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;

/// The part of an address that one customer holds: an IPv4 address, or an IPv6 /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    Net(IpAddr),
    /// Neither a gateway nor the connection says the address.
    Unknown,
}

/// Counts from the right of `X-Forwarded-For`: the last `trusted_hops` entries were written by
/// proxies that we trust, everything left of them by whoever liked to. Where there are fewer, as
/// behind a gateway that tells the client alone, all were written by such proxies.
pub(crate) fn find(fields: &HeaderMap, peer: Option<SocketAddr>, trusted_hops: usize) -> Caller {
    let lines = fields.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok());
    let entries: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let forwarded = entries.into_iter().rev().take(trusted_hops).next_back().and_then(address);
    let found = forwarded.or(peer.map(|peer| peer.ip()));
    found.map_or(Caller::Unknown, |ip| Caller::Net(network(ip)))
}

/// An entry is an address, with or without a port.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = || entry.trim_matches(['[', ']']).parse().ok();
    bare().or_else(|| entry.parse::<SocketAddr>().ok().map(|both| both.ip()))
}

fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(forwarded: &'static str, hops: usize, expected: &str) {
        let mut fields = HeaderMap::new();
        fields.insert("x-forwarded-for", axum::http::HeaderValue::from_static(forwarded));
        let peer = "192.0.2.9:4000".parse().ok();
        let expected = Caller::Net(expected.parse().expect("a test's own text"));
        assert_eq!(find(&fields, peer, hops), expected, "{forwarded} {hops}");
    }

    #[test]
    fn only_what_trusted_proxies_wrote_counts() {
        check("203.0.113.7", 1, "203.0.113.7");
        check("203.0.113.7:5000", 1, "203.0.113.7");
        check("10.6.6.6, 203.0.113.7", 1, "203.0.113.7");
        check("10.6.6.6, 203.0.113.7, 10.0.0.1", 2, "203.0.113.7");
        check("203.0.113.7", 0, "192.0.2.9");
        check("nonsense", 1, "192.0.2.9");
        check("203.0.113.7", 2, "203.0.113.7");
        check("nonsense, 203.0.113.7", 2, "192.0.2.9");
        check("", 2, "192.0.2.9");
        check("2001:db8:1:2:3:4:5:6", 1, "2001:db8:1:2::");
        check("[2001:db8:1:2:3:4:5:6]:443", 1, "2001:db8:1:2::");
        check("::ffff:203.0.113.7", 1, "203.0.113.7");
    }
}
