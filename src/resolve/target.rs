//! Where something is, as the file says it: an address, or a name that leads to addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An IP address and a port.
    Address(SocketAddr),
    /// A name with A and AAAA records, and a port.
    Host(HostName, u16),
    /// A name with SRV records, which tell hosts and ports.
    Service(HostName),
    /// A host that connects to us, from whatever port. It is not parsed from an endpoint.
    Peer(HostName),
}

impl Target {
    /// Reads `127.0.0.1:80`, `[::1]:80`, `name:80`, or `name` for its SRV records. `Err` says what
    /// would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return address_and_port(address);
        }
        if let Some(why) = other_notation(text) {
            return Err(why);
        }
        match text.rsplit_once(':') {
            Some((host, port)) => {
                let name = HostName::parse(host)?;
                let port = port.parse().ok().filter(|port| *port != 0);
                Ok(Target::Host(name, port.ok_or_else(|| right_port(host))?))
            }
            None => HostName::parse(text).map(Target::Service),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Address(address) => address.fmt(f),
            Target::Host(name, port) => write!(f, "{name}:{port}"),
            Target::Service(name) | Target::Peer(name) => name.fmt(f),
        }
    }
}

fn right_port(host: &str) -> String {
    format!("a port is a number from 1 to 65535: write `{host}:8080`")
}

/// An address is taken if it can be connected to.
fn address_and_port(address: SocketAddr) -> Result<Target, String> {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 => {
            Err(format!("say behind which interface: {}", with_zone(*v6.ip(), v6.port())))
        }
        _ if address.port() == 0 => Err(right_port(&host_of(address))),
        _ => Ok(Target::Address(address)),
    }
}

/// The number of an interface may be another one on the next machine; its name says nothing to the
/// machine where a file is checked.
fn with_zone(ip: Ipv6Addr, port: u16) -> String {
    format!("`[{ip}%2]:{port}` if `ip link` gives it the number 2")
}

/// The address as a URL has it: in brackets if it is one of IPv6, and without a zone, which means
/// nothing to another machine (RFC 6874 §1).
pub(super) fn host_of(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// What others write, and what it is here.
fn other_notation(text: &str) -> Option<String> {
    let right = match text {
        _ if text.is_empty() => "write `name:8080` or `127.0.0.1:8080`".to_owned(),
        _ if text.starts_with(':') && !text.starts_with("::") => {
            format!("name the host, too: `127.0.0.1{text}` if it is this machine")
        }
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("name the host, too: `127.0.0.1:{text}` if it is this machine")
        }
        _ if text.starts_with("unix:") || text.starts_with('/') => {
            "sockets in the file system can't be endpoints: write `name:8080`".to_owned()
        }
        _ if text.contains('%') => zone_by_name(text),
        _ if text.contains('*') => "write the name of one host: `name:8080`".to_owned(),
        _ => return address_alone(text),
    };
    Some(right)
}

fn zone_by_name(text: &str) -> String {
    let ip = text.trim_start_matches('[').split('%').next().and_then(|ip| ip.parse().ok());
    let port = text.rsplit_once("]:").and_then(|(_, port)| port.parse().ok());
    match ip {
        Some(ip) => format!("a zone is written as a number: {}", with_zone(ip, port.unwrap_or(80))),
        None => "write a host name of letters, digits, `-` and `.`".to_owned(),
    }
}

const BRACKETS: &str = "an IPv6 address stands in brackets, its port behind: `[::1]:8080`";

/// Something that is, or was meant to be, an IP address without a port or brackets.
fn address_alone(text: &str) -> Option<String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(IpAddr::V4(address)) => return Some(format!("add the port: `{address}:8080`")),
        Ok(IpAddr::V6(_)) if bare != text => return Some(format!("add the port: `{text}:8080`")),
        // Its last group may have been meant as the port.
        Ok(IpAddr::V6(_)) => return Some(BRACKETS.to_owned()),
        Err(_) => {}
    }
    if let Some((ip, _)) = text.strip_prefix('[').and_then(|text| text.split_once("]:"))
        && ip.parse::<Ipv6Addr>().is_ok()
    {
        return Some(right_port(&format!("[{ip}]")));
    }
    let host = text.split(':').next().unwrap_or(text);
    let is_dotted = host.contains('.') && host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match text.matches(':').count() {
        2.. => Some(BRACKETS.to_owned()),
        _ if is_dotted => {
            Some("write an IP address and a port such as `127.0.0.1:8080`".to_owned())
        }
        _ => None,
    }
}

/// The name of a host or service, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostName(Arc<str>);

/// RFC 1035 §2.3.4, in bytes.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

impl HostName {
    /// Reads a name. `Err` says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if NAME_BYTES_MAX < name.len() {
            return Err(format!("a host name has at most {NAME_BYTES_MAX} characters"));
        }
        if let Some(why) = name.split('.').find_map(misfit) {
            return Err(why);
        }
        let last = name.rsplit('.').next().unwrap_or(name);
        match last.bytes().all(|byte| byte.is_ascii_digit()) {
            // Other programs read `0x7f.1` and `2130706433` as addresses.
            true => Err("an address is written as four numbers: `127.0.0.1`".to_owned()),
            false => Ok(HostName(text.to_ascii_lowercase().into())),
        }
    }

    /// As it was written; a dot at its end keeps the search list away.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why this is no part of a name, if it is none.
fn misfit(label: &str) -> Option<String> {
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match label {
        "" => Some("no part of a host name is empty: write one dot between two parts".to_owned()),
        _ if !label.is_ascii() => {
            Some("write a name in its ASCII form, which begins with `xn--`".to_owned())
        }
        _ if !label.bytes().all(may_be) => {
            Some("write a host name of letters, digits, `-` and `.`".to_owned())
        }
        _ if label.starts_with('-') || label.ends_with('-') => {
            let right = label.trim_matches('-');
            Some(format!(
                "no part of a host name begins or ends with `-`: `{right}`, not `{label}`"
            ))
        }
        _ if LABEL_BYTES_MAX < label.len() => {
            Some(format!("a part of a host name has at most {LABEL_BYTES_MAX} characters"))
        }
        _ => None,
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
