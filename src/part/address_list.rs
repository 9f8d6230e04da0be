//! A list of addresses, in the file or in one beside it, and the set that it is compiled to: sorted
//! ranges, so that a list of a hundred thousand networks costs a request a few comparisons.

use super::Parts;
use crate::fetch;
use crate::problem::{Place, Problem};
use crate::units::{FilePath, Network};
use crate::yaml::{At, OneOrMany, Scalar};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The largest file of addresses that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Addresses and networks.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressList {
    /// `192.0.2.1`, `10.0.0.0/8` or `2001:db8::/32`; one or a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    addresses: Option<OneOrMany<Network>>,
    /// A file with one address or network in each line; `#` begins a comment. It is read again with
    /// the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<At<FilePath>>,
}

impl AddressList {
    /// The set of all that is written, which stands at `place`.
    pub fn compile(&self, place: Place, parts: &Parts) -> Result<AddressSet, Vec<Problem>> {
        if self.addresses.is_none() && self.file.is_none() {
            let help = "write `addresses: [\"10.0.0.0/8\"]` or `file: addresses.txt`";
            let problem = Problem::at(place, "no address is named here").help(help);
            return Err(vec![problem.of_absence()]);
        }
        let written = self.addresses.iter().flat_map(|all| all.whole().iter());
        let mut networks: Vec<Network> = written.map(|network| network.value).collect();
        if let Some(file) = &self.file {
            networks.extend(read(file, parts).map_err(|problem| vec![problem])?);
        }
        Ok(AddressSet::new(&networks))
    }
}

fn read(file: &At<FilePath>, parts: &Parts) -> Result<Vec<Network>, Problem> {
    let shown = file.0.display();
    let help = "one address or network in each line, such as `10.0.0.0/8`; `#` begins a comment";
    let bytes = fetch::file(&parts.base_dir().join(&file.0), FILE_BYTES_MAX)
        .map_err(|error| file.problem(format!("`{shown}` can't be read: {error}")).help(help))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| file.problem(format!("`{shown}` is not UTF-8")).help(help))?;
    let mut networks = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let written = line.split('#').next().unwrap_or(line).trim();
        if written.is_empty() {
            continue;
        }
        let network = Network::read(written).map_err(|why| {
            let why = if why.is_empty() { Network::KIND.to_owned() } else { why };
            let text = match why == Network::KIND {
                true => format!("line {} of `{shown}` is not {why}", index + 1),
                false => format!("line {} of `{shown}`: {why}", index + 1),
            };
            file.problem(text).help(help)
        })?;
        networks.push(network);
    }
    Ok(networks)
}

/// Addresses that are searched quickly.
#[derive(Debug, Default)]
pub struct AddressSet {
    /// From and to, in order; none meets another.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl AddressSet {
    fn new(networks: &[Network]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network.bounds() {
                (IpAddr::V4(from), IpAddr::V4(to)) => v4.push((from.to_bits(), to.to_bits())),
                (IpAddr::V6(from), IpAddr::V6(to)) => v6.push((from.to_bits(), to.to_bits())),
                _ => unreachable!("a network is of one kind"),
            }
        }
        AddressSet { v4: merged(v4), v6: merged(v6) }
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether the address is one of them. An IPv4 address that is written as an IPv6 one is the
    /// IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(ip) => holds(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => holds(&self.v6, ip.to_bits()),
        }
    }
}

/// The same addresses in order, in as few ranges as it takes.
fn merged<N: Ord + Copy>(mut ranges: Vec<(N, N)>) -> Box<[(N, N)]> {
    ranges.sort();
    let mut all: Vec<(N, N)> = Vec::with_capacity(ranges.len());
    for (from, to) in ranges {
        match all.last_mut() {
            Some((_, end)) if from <= *end => *end = (*end).max(to),
            _ => all.push((from, to)),
        }
    }
    all.into()
}

fn holds<N: Ord + Copy>(ranges: &[(N, N)], at: N) -> bool {
    let behind = ranges.partition_point(|(from, _)| *from <= at);
    behind.checked_sub(1).is_some_and(|index| at <= ranges[index].1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| Network::read(text).expect(text)).collect()
    }

    #[test]
    fn addresses_are_in_it_however_they_are_written() {
        let set = AddressSet::new(&networks(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "192.0.2.1",
            "2001:db8::/32",
            "::ffff:198.51.100.0/120",
            "255.255.255.255",
        ]));
        for (address, expected) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("::ffff:10.2.3.4", true),
            ("9.255.255.255", false),
            ("11.0.0.0", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("198.51.100.7", true),
            ("::ffff:198.51.101.7", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::", false),
            ("0.0.0.0", false),
            ("255.255.255.255", true),
        ] {
            assert_eq!(set.contains(address.parse().expect("an address")), expected, "{address}");
        }
        assert!(AddressSet::default().is_empty() && !set.is_empty());
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_networks(
            nets in prop::collection::vec((any::<u32>(), 0_u8..=32), 0..20),
            wide in prop::collection::vec((any::<u128>(), 0_u8..=128), 0..20),
            pick in any::<u32>(),
        ) {
            let net = |ip: IpAddr, bits: u8| {
                Network::read(&format!("{ip}/{bits}")).expect("a network")
            };
            let v4 = nets.iter().map(|(ip, bits)| {
                let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
                net(Ipv4Addr::from_bits(ip & mask).into(), *bits)
            });
            let v6 = wide.iter().map(|(ip, bits)| {
                let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                net(Ipv6Addr::from_bits(ip & mask).into(), *bits)
            });
            let all: Vec<Network> = v4.chain(v6).collect();
            let set = AddressSet::new(&all);
            let edges = all.iter().map(|network| network.bounds()).flat_map(|(a, b)| [a, b]);
            let mut asked: Vec<IpAddr> = edges.collect();
            asked.push(Ipv4Addr::from_bits(pick).into());
            for address in asked {
                let by_hand = all.iter().any(|network| network.contains(address));
                prop_assert_eq!(set.contains(address), by_hand, "{}", address);
            }
        }
    }
}
