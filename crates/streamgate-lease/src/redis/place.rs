//! Host and port of a server, as other servers name it.
//!
//! It carries no user and no password, so it may be shown.

use ::redis::{ConnectionAddr, ConnectionInfo};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Place {
    /// Reads `host:port`, where the host may be an IPv6 address with or without brackets. A server
    /// that does not know its own host leaves it out: then it is the one that was asked.
    pub(super) fn parse(text: &str, asked: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Self::of(host, port.parse().ok()?, asked)
    }

    /// `?` is what a server says of one whose host nobody knows.
    pub(super) fn of(host: &str, port: u16, asked: &str) -> Option<Self> {
        match host {
            "?" => None,
            "" => Some(Self { host: asked.to_owned(), port }),
            host => Some(Self { host: host.to_owned(), port }),
        }
    }

    /// None for a socket in the file system.
    pub(super) fn named(info: &ConnectionInfo) -> Option<Self> {
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
    fn places_are_read_as_servers_write_them() {
        let read = |text| Place::parse(text, "asked").map(|place| (place.host, place.port));
        assert_eq!(read("10.0.0.5:6379"), Some(("10.0.0.5".into(), 6379)));
        assert_eq!(read("::1:6379"), Some(("::1".into(), 6379)));
        assert_eq!(read("[::1]:6379"), Some(("::1".into(), 6379)));
        assert_eq!(read(":6379"), Some(("asked".into(), 6379)));
        for bad in ["?:6379", "host", "host:", "host:99999"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
