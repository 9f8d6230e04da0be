//! One look-up: the hosts file first, then name servers.

use super::target::host_of;
use super::{HostName, Open, REREAD_AFTER, Resolver, Target};
use futures_util::future::{join, join_all};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// One server that a name leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share among those of the same name: 1, or what an SRV record says in proportion.
    pub weight: u32,
    /// Host and port as a client names them.
    pub host: Arc<str>,
}

impl Found {
    /// The server at an address that is known.
    pub fn at(address: SocketAddr) -> Self {
        let host = format!("{}:{}", host_of(address), address.port()).into();
        Found { address, weight: 1, host }
    }
}

/// Why a look-up gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Name servers say that there is no such name, or no address of it.
    #[error("no such name, or no address of it")]
    NotFound,
    /// Name servers say that there are no such SRV records.
    #[error("`{0}` has no SRV records; a host is written with its port, as in `name:8080`")]
    NoService(String),
    /// No answer.
    #[error("no name server answered in time")]
    Timeout,
    /// An answer that is none.
    #[error("{0}")]
    Failed(String),
}

impl LookupError {
    /// For metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            LookupError::NotFound | LookupError::NoService(_) => "not_found",
            LookupError::Timeout => "timeout",
            LookupError::Failed(_) => "failed",
        }
    }
}

/// Servers that one name leads to at most; more are left out.
const ADDRESSES_MAX: usize = 128;

/// Hosts that are looked up for one SRV name at most.
const HOSTS_MAX: usize = 64;

/// The largest weight of a server beside others of its SRV name.
const WEIGHT_MAX: u32 = 10;

/// What lies under an SRV name unless it is one itself.
const SERVICE: &str = "_http._tcp.";

/// What is known of hosts from look-ups before, by family. A family whose look-up fails keeps it.
pub(super) type Known = HashMap<HostName, [Vec<IpAddr>; 2]>;

/// What a name leads to now.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) found: Vec<Found>,
    /// As the records say.
    pub(super) ttl: Duration,
    /// Addresses that this machine has no way to, while it has one to others.
    pub(super) unrouted: Vec<IpAddr>,
    /// How many are left out because they are too many.
    pub(super) surplus: usize,
}

/// Looks `target` up.
pub(super) async fn look(
    resolver: &Resolver,
    target: &Target,
    known: &mut Known,
) -> Result<Looked, LookupError> {
    let (name, port) = match target {
        Target::Address(address) => {
            let (found, ttl) = (vec![Found::at(*address)], Duration::MAX);
            return Ok(Looked { found, ttl, unrouted: Vec::new(), surplus: 0 });
        }
        Target::Service(name) => {
            let (found, ttl, surplus) = service(&*resolver.open()?, name, known).await?;
            return Ok(bounded(found, ttl, surplus, is_routed));
        }
        Target::Host(name, port) => (name, *port),
        Target::Peer(name) => (name, 0),
    };
    let (addresses, ttl) = host(&*resolver.open()?, name, known).await?;
    let found = servers(name, port, 1, &addresses);
    // Whoever connects to us need not be reached from here: it may stand behind another proxy.
    let is_of_use = if matches!(target, Target::Peer(_)) { |_| true } else { is_routed };
    Ok(bounded(found, ttl, 0, is_of_use))
}

/// What is used of an answer.
fn bounded(
    mut found: Vec<Found>,
    ttl: Duration,
    surplus: usize,
    is_of_use: fn(SocketAddr) -> bool,
) -> Looked {
    let unrouted = take_unrouted(&mut found, is_of_use);
    found.sort();
    found.dedup_by_key(|found| found.address);
    let surplus = surplus + found.len().saturating_sub(ADDRESSES_MAX);
    found.truncate(ADDRESSES_MAX);
    Looked { found, ttl, unrouted, surplus }
}

fn servers(name: &HostName, port: u16, weight: u32, addresses: &[IpAddr]) -> Vec<Found> {
    let host: Arc<str> = format!("{}:{port}", name.as_str().trim_end_matches('.')).into();
    let found = |ip: &IpAddr| Found {
        address: SocketAddr::new(*ip, port),
        weight,
        host: Arc::clone(&host),
    };
    addresses.iter().map(found).collect()
}

/// All addresses of a host, and how long they count. It is an error if no family has any.
async fn host(
    open: &Open,
    name: &HostName,
    known: &mut Known,
) -> Result<(Vec<IpAddr>, Duration), LookupError> {
    let (families, mut ttl) = match in_hosts_file(open, name) {
        // It costs nothing to read the file again.
        Some(families) => (families, REREAD_AFTER),
        None => {
            let (v4, v6) = (RecordType::A, RecordType::AAAA);
            let both = join(records(open, name.as_str(), v4), records(open, name.as_str(), v6));
            (both.await.into(), Duration::MAX)
        }
    };
    if let [Err(a), Err(b)] = &families {
        // That a name has no addresses of one family says little beside a failure.
        return Err(if *a == LookupError::NotFound { b.clone() } else { a.clone() });
    }
    let memory = known.entry(name.clone()).or_default();
    for (kept, looked) in memory.iter_mut().zip(families) {
        match looked {
            Ok(records) => {
                ttl = ttl.min(shortest(&records));
                *kept = records.iter().filter_map(|record| record.data.ip_addr()).collect();
            }
            Err(LookupError::NotFound) => kept.clear(),
            Err(_) => {}
        }
    }
    Ok((memory.concat(), ttl))
}

/// The servers that the SRV records of a name lead to: those of the best priority that has any.
/// Also how long that counts, and how many records are left out because they are too many.
async fn service(
    open: &Open,
    name: &HostName,
    known: &mut Known,
) -> Result<(Vec<Found>, Duration, usize), LookupError> {
    let asked = match name.as_str().starts_with('_') {
        true => name.to_string(),
        false => format!("{SERVICE}{name}"),
    };
    let records = records(open, &asked, RecordType::SRV).await.map_err(|error| match error {
        LookupError::NotFound => LookupError::NoService(asked),
        error => error,
    })?;
    let mut ttl = shortest(&records);
    let mut hosts: Vec<(&SRV, HostName)> = records.iter().filter_map(srv).collect();
    hosts.sort_by_key(|(srv, _)| srv.priority);
    let surplus = hosts.len().saturating_sub(HOSTS_MAX);
    hosts.truncate(HOSTS_MAX);
    known.retain(|host, _| hosts.iter().any(|(_, named)| named == host));
    let mut last_error = LookupError::NotFound;
    for group in hosts.chunk_by(|(a, _), (b, _)| a.priority == b.priority) {
        let memories = group.iter().map(|(_, host)| {
            let memory = known.get(host).cloned();
            Known::from_iter(memory.map(|memory| (host.clone(), memory)))
        });
        let looked = group.iter().zip(memories).map(|((_, name), mut memory)| async move {
            let looked = host(open, name, &mut memory).await;
            (looked, memory)
        });
        let mut found = Vec::new();
        let weights = weights(group.iter().map(|(srv, _)| u32::from(srv.weight)).collect());
        let looked = join_all(looked).await.into_iter().zip(group).zip(weights);
        for (((looked, memory), (srv, name)), weight) in looked {
            let addresses = match looked {
                Ok((addresses, host_ttl)) => {
                    ttl = ttl.min(host_ttl);
                    addresses
                }
                Err(error) => {
                    last_error = error;
                    // A host that can't be looked up now is where it was.
                    memory.values().flatten().flatten().copied().collect()
                }
            };
            found.extend(servers(name, srv.port, weight, &addresses));
            known.extend(memory);
        }
        if !found.is_empty() {
            return Ok((found, ttl, surplus));
        }
    }
    Err(last_error)
}

/// An SRV record and its host. `.` says that there is no such service (RFC 2782).
fn srv(record: &Record) -> Option<(&SRV, HostName)> {
    let RData::SRV(srv) = &record.data else { return None };
    Some((srv, HostName::parse(&srv.target.to_ascii()).ok()?))
}

/// Weights in proportion, from 1 to `WEIGHT_MAX`: a schedule of their sum is played through.
fn weights(written: Vec<u32>) -> Vec<u32> {
    let largest = written.iter().copied().max().unwrap_or(0).max(1);
    let scaled = |weight: u32| match largest {
        0..=WEIGHT_MAX => weight.max(1),
        _ => ((weight * WEIGHT_MAX + largest / 2) / largest).max(1),
    };
    let scaled: Vec<u32> = written.into_iter().map(scaled).collect();
    match scaled.iter().all(|weight| *weight == scaled[0]) {
        true => vec![1; scaled.len()],
        false => scaled,
    }
}

/// What the hosts file says of a name. One family in it is an answer: the other has no addresses.
fn in_hosts_file(open: &Open, name: &HostName) -> Option<[Result<Vec<Record>, LookupError>; 2]> {
    let name = Name::from_ascii(name.as_str()).ok()?;
    let families = [RecordType::A, RecordType::AAAA].map(|family| {
        let lookup = open.hosts.lookup_static_host(&Query::query(name.clone(), family));
        lookup.map(|lookup| lookup.answers().to_vec())
    });
    let is_there = families.iter().any(Option::is_some);
    is_there.then(|| families.map(|family| family.ok_or(LookupError::NotFound)))
}

/// The records of one kind, from name servers.
async fn records(open: &Open, name: &str, kind: RecordType) -> Result<Vec<Record>, LookupError> {
    // Not as a text: that would be taken for an international name, which has no underscores.
    let name = Name::from_ascii(name).map_err(|error| LookupError::Failed(error.to_string()))?;
    let lookup = open.servers.lookup(name, kind).await.map_err(|error| read(&error, open))?;
    let is_answer = lookup.answers().iter().any(|record| record.record_type() == kind);
    if is_answer { Ok(lookup.answers().to_vec()) } else { Err(LookupError::NotFound) }
}

fn read(error: &NetError, open: &Open) -> LookupError {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(_)) => LookupError::NotFound,
        NetError::Dns(DnsError::ResponseCode(code)) => {
            LookupError::Failed(format!("name servers answer: {code}"))
        }
        NetError::Timeout => LookupError::Timeout,
        NetError::NoConnections => {
            let why = open.unread.iter().map(|why| format!(": {why}")).collect::<String>();
            LookupError::Failed(format!("there is no name server that could be asked{why}"))
        }
        error => LookupError::Failed(error.to_string()),
    }
}

/// How long all of these count. Aliases on the way count, too.
fn shortest(records: &[Record]) -> Duration {
    let ttls = records.iter().map(|record| record.ttl);
    Duration::from_secs(ttls.min().map_or(0, u64::from))
}

/// Takes out the addresses that this machine has no route to, unless that leaves none: many names
/// have IPv6 addresses, and many machines no IPv6.
fn take_unrouted(found: &mut Vec<Found>, is_routed: fn(SocketAddr) -> bool) -> Vec<IpAddr> {
    let (routed, unrouted): (Vec<_>, Vec<_>) =
        found.drain(..).partition(|found| is_routed(found.address));
    if routed.is_empty() {
        *found = unrouted;
        return Vec::new();
    }
    *found = routed;
    unrouted.into_iter().map(|found| found.address.ip()).collect()
}

/// Whether the kernel knows a way. Connecting a datagram socket sends nothing.
fn is_routed(address: SocketAddr) -> bool {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    UdpSocket::bind(any).and_then(|socket| socket.connect(address)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_their_proportion_within_their_bound() {
        for (written, expected) in [
            (vec![0, 0], vec![1, 1]),
            (vec![5, 5], vec![1, 1]),
            (vec![1, 3], vec![1, 3]),
            (vec![100, 50, 0], vec![10, 5, 1]),
            (vec![65535, 1], vec![10, 1]),
        ] {
            assert_eq!(weights(written), expected);
        }
    }
}
