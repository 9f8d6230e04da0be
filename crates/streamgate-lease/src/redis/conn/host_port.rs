//! HostPort: host and port of a server, as other servers name it.
//!
//! It carries no user and no password, so it may be shown.

use ::redis::{ConnectionAddr, ConnectionInfo};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl HostPort {
    /// Reads `host:port`, where the host may be an IPv6 address with or without brackets. A server
    /// that does not know its own host leaves it out: then it is the host that we `asked`.
    pub(crate) fn parse(text: &str, asked: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Self::new(host, port.parse().ok()?, asked)
    }

    /// None for `?`, which a server says of another one whose host nobody knows.
    pub(crate) fn new(host: &str, port: u16, asked: &str) -> Option<Self> {
        match host {
            "?" => None,
            "" => Some(Self { host: asked.to_owned(), port }),
            host => Some(Self { host: host.to_owned(), port }),
        }
    }

    /// Where a client connects to. None for a Unix socket.
    pub(crate) fn of(info: &ConnectionInfo) -> Option<Self> {
        match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Self { host: host.clone(), port: *port })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_read_as_servers_write_them() {
        let read = |text| HostPort::parse(text, "asked").map(|server| (server.host, server.port));
        assert_eq!(read("10.0.0.5:6379"), Some(("10.0.0.5".into(), 6379)));
        assert_eq!(read("::1:6379"), Some(("::1".into(), 6379)));
        assert_eq!(read("[::1]:6379"), Some(("::1".into(), 6379)));
        assert_eq!(read(":6379"), Some(("asked".into(), 6379)));
        for bad in ["?:6379", "host", "host:", "host:99999"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
