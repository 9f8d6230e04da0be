//! Where the gateway listens for clients: an IP address and a port, or a socket of Unix.

use super::spelling;
use crate::yaml::Scalar;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// How the path of a socket of Unix is told from an address.
const UNIX: &str = "unix:";

/// The longest path that a socket may have, in bytes: Linux ends it with one more (unix(7)).
const PATH_BYTES_MAX: usize = 107;

/// An address of a listener, written `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/gateway.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// Clients come by TCP.
    Inet(SocketAddr),
    /// Clients are processes of this machine. The path is whole, and written in one way only.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The address of TCP, if it is one.
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            ListenAddress::Inet(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        }
    }

    /// Whether the system chooses the port, so that two of them are different places.
    pub fn is_chosen_late(&self) -> bool {
        self.inet().is_some_and(|address| address.port() == 0)
    }

    /// Whether it is a socket of Unix.
    pub fn is_unix(&self) -> bool {
        matches!(self, ListenAddress::Unix(_))
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        ListenAddress::Inet(address)
    }
}

impl Scalar for ListenAddress {
    const KIND: &'static str = "an address";
    const EXAMPLE: &'static str = "127.0.0.1:8080";
    const EXPECTED: &'static str = "an IP address and a port such as `127.0.0.1:8080`, or a \
        socket of Unix such as `unix:/run/streamgate/http.sock`; a name is no place to listen at";

    fn read(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix(UNIX) else {
            return text.parse().map(ListenAddress::Inet).map_err(|_| String::new());
        };
        let mut parts = path.split('/');
        let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        match parts.next() == Some("") && path.len() > 1 && parts.all(is_plain) {
            true if path.len() <= PATH_BYTES_MAX => Ok(ListenAddress::Unix(path.into())),
            true => Err(format!("the path of a socket has {PATH_BYTES_MAX} bytes at most")),
            false => {
                Err("the path of a socket is not whole, or has parts that lead nowhere".into())
            }
        }
    }

    fn advice(text: &str) -> Option<String> {
        spelling::listen_address(text)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Inet(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_in_one_way() {
        let long = |bytes: usize| format!("unix:/{}", "x".repeat(bytes - 1));
        for (text, is_good) in [
            ("127.0.0.1:8080", true),
            ("[::1]:80", true),
            ("localhost:80", false),
            ("unix:/run/streamgate/http.sock", true),
            ("unix:/a b", true),
            (&long(PATH_BYTES_MAX), true),
            (&long(PATH_BYTES_MAX + 1), false),
            ("unix:", false),
            ("unix:/", false),
            ("unix:run/http.sock", false),
            ("unix:@abstract", false),
            ("unix:///run/http.sock", false),
            ("unix:/run/", false),
            ("unix:/run/./http.sock", false),
            ("unix:/run/../http.sock", false),
            ("unix:/run/\0", false),
            ("/run/http.sock", false),
        ] {
            let read = ListenAddress::read(text).ok().map(|address| address.to_string());
            assert_eq!(read.as_deref(), is_good.then_some(text), "{text}");
        }
    }
}
