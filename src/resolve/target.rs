//! Where something is, as the file says it: an address, or a name that leads to addresses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
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
}

impl Target {
    /// Reads `127.0.0.1:80`, `[::1]:80`, `name:80`, or `name` for its SRV records. `Err` says what
    /// would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Target::Address(address));
        }
        if let Some(why) = other_notation(text) {
            return Err(why);
        }
        match text.rsplit_once(':') {
            Some((host, port)) => {
                let port = port.parse().ok().filter(|port| *port != 0);
                let port = port.ok_or("a port is a number from 1 to 65535: write `name:8080`")?;
                Ok(Target::Host(HostName::parse(host)?, port))
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
            Target::Service(name) => name.fmt(f),
        }
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
        _ if text.contains('%') => {
            "addresses with a zone can't be endpoints: write an address that is routed".to_owned()
        }
        _ if text.contains('*') => "write the name of one host: `name:8080`".to_owned(),
        _ => return address_alone(text),
    };
    Some(right)
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
        let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let is_label = |label: &str| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(may_be)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        match name.split('.').all(is_label) {
            true => Ok(HostName(text.to_ascii_lowercase().into())),
            false if !text.is_ascii() => {
                Err("write a name in its ASCII form, which begins with `xn--`".to_owned())
            }
            false => Err("write a host name of letters, digits, `-` and `.`".to_owned()),
        }
    }

    /// As it was written; a dot at its end keeps the search list away.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
