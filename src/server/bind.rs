//! Binds an address to listen on; when that is refused, the error names what would help.

use super::socket::ListeningSocket;
use super::socket_file::SocketFile;
use crate::edge::SocketConfig;
use crate::units::ListenAddress;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` can't listen on {address}: {error}{}", help.as_deref().unwrap_or_default())]
pub struct BindError {
    name: String,
    address: ListenAddress,
    error: io::Error,
    /// What would help, or who is in the way: `; it is held by …`.
    help: Option<String>,
}

/// Binds `address` for the listener `name`. `others` are all addresses of the gateway: an IPv6
/// address takes IPv4 as well, unless one of them has the same port for IPv4.
pub(super) fn bind(
    name: &str,
    address: &ListenAddress,
    others: &[SocketAddr],
    options: &SocketConfig,
) -> Result<ListeningSocket, BindError> {
    match address {
        ListenAddress::Inet(address) => {
            bind_tcp(name, *address, others, options).map(ListeningSocket::Tcp)
        }
        ListenAddress::Unix(path) => bind_unix(name, path, options),
    }
}

/// The same, of TCP.
pub(super) fn bind_tcp(
    name: &str,
    address: SocketAddr,
    others: &[SocketAddr],
    options: &SocketConfig,
) -> Result<TcpListener, BindError> {
    let failed = |error: io::Error| {
        let help = help(&error, address);
        BindError { name: name.to_owned(), address: address.into(), error, help }
    };
    let socket = open(address, others).map_err(failed)?;
    SockRef::from(&socket).listen(backlog(options)).map_err(failed)?;
    Ok(socket)
}

fn bind_unix(
    name: &str,
    path: &Path,
    options: &SocketConfig,
) -> Result<ListeningSocket, BindError> {
    let bound = SocketFile::bind(path, options.mode(), backlog(options));
    match bound {
        Ok((socket, file)) => Ok(ListeningSocket::Unix(socket, Arc::new(file))),
        Err(refused) => {
            let help = refused.help.map(str::to_owned).or_else(|| help_unix(&refused.error));
            let (name, address) = (name.to_owned(), ListenAddress::Unix(path.to_owned()));
            Err(BindError { name, address, error: refused.error, help })
        }
    }
}

/// How many connections may wait to be accepted.
pub(super) fn backlog(options: &SocketConfig) -> i32 {
    i32::try_from(options.backlog.0).unwrap_or(i32::MAX)
}

/// Asks the kernel for what the listener's file says, also of a socket that was bound before.
pub(super) fn set_options(
    name: &str,
    address: &ListenAddress,
    socket: &ListeningSocket,
    options: &SocketConfig,
) -> Result<(), BindError> {
    let failed = |option: &str| {
        let help = Some(format!("; the kernel does not take `socket.{option}`"));
        let (name, address) = (name.to_owned(), address.clone());
        move |error| BindError { name, address, error, help }
    };
    let raw = SockRef::from(socket);
    raw.listen(backlog(options)).map_err(failed("backlog"))?;
    if let Some(file) = socket.file() {
        return file.allow(options.mode()).map_err(failed("mode"));
    }
    let keepalive = TcpKeepalive::new().with_time(options.keepalive.value.0);
    raw.set_tcp_keepalive(&keepalive).map_err(failed("keepalive"))?;
    if let Some(time) = &options.user_timeout {
        raw.set_tcp_user_timeout(Some(time.value.0)).map_err(failed("user_timeout"))?;
    }
    if let Some(size) = &options.notsent_lowat {
        let bytes = u32::try_from(size.value.0).unwrap_or(u32::MAX);
        raw.set_tcp_notsent_lowat(bytes).map_err(failed("notsent_lowat"))?;
    }
    if let Some(name) = &options.congestion {
        raw.set_tcp_congestion(name.value.0.as_bytes()).map_err(failed("congestion"))?;
    }
    Ok(())
}

/// Another handle of a socket that is bound to this address already.
pub(super) fn again(
    name: &str,
    address: &ListenAddress,
    socket: &ListeningSocket,
) -> Result<ListeningSocket, BindError> {
    let (name, address) = (name.to_owned(), address.clone());
    socket.again().map_err(|error| BindError { name, address, error, help: None })
}

fn open(address: SocketAddr, others: &[SocketAddr]) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        let shares = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port();
        socket.set_only_v6(address.port() != 0 && others.iter().any(shares))?;
    }
    // A port whose last connections are still closing is free.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn help(error: &io::Error, address: SocketAddr) -> Option<String> {
    match error.kind() {
        io::ErrorKind::AddrInUse => holder(address).map(|who| format!("; it is held by {who}")),
        io::ErrorKind::PermissionDenied => Some(format!(
            "; ports below {} need the capability CAP_NET_BIND_SERVICE: `AmbientCapabilities` in \
             systemd, `--cap-add` in a container; or take a higher port",
            unprivileged()
        )),
        io::ErrorKind::AddrNotAvailable => {
            Some("; no interface of this machine has it: 0.0.0.0 and [::] are all there are".into())
        }
        _ => None,
    }
}

fn help_unix(error: &io::Error) -> Option<String> {
    let help = match error.kind() {
        io::ErrorKind::NotFound => "make its directory first: `RuntimeDirectory=` in systemd does",
        io::ErrorKind::PermissionDenied => "the gateway must be able to write to its directory",
        _ => return None,
    };
    Some(format!("; {help}"))
}

/// The first port that everyone may bind.
fn unprivileged() -> u16 {
    let start = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    start.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1_024)
}

/// Who listens where `address` is to listen, if Linux shows it: `nginx (pid 812)`.
fn holder(address: SocketAddr) -> Option<String> {
    let inode = listening_inode(address)?;
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let processes = processes.filter_map(|entry| entry.file_name().into_string().ok());
    // `/proc/self` and its like are other names of one that is listed by its number.
    let mut numbers = processes.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()));
    numbers.find_map(|pid| {
        let mut open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let holds = open
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()));
        let name = holds.then(|| fs::read_to_string(format!("/proc/{pid}/comm")).ok())??;
        Some(match pid == std::process::id().to_string() {
            true => format!("this process itself (pid {pid}): two of its addresses overlap"),
            false => format!("{} (pid {pid})", name.trim()),
        })
    })
}

/// The inode of the socket in the way of `address`, from the kernel's table of sockets.
fn listening_inode(address: SocketAddr) -> Option<String> {
    const LISTEN: &str = "0A";
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        table.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (ip, port) = fields.get(1)?.split_once(':')?;
            let is_it = u16::from_str_radix(port, 16) == Ok(address.port())
                && *fields.get(3)? == LISTEN
                && overlap(read_ip(ip)?, address.ip());
            is_it.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
        })
    })
}

/// Whether one port can't be bound at both. A socket for all of IPv6 may take IPv4 as well.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    let (one, other) = (one.to_canonical(), other.to_canonical());
    let takes = |all: IpAddr, ip: IpAddr| match all {
        IpAddr::V4(all) => all.is_unspecified() && ip.is_ipv4(),
        IpAddr::V6(all) => all.is_unspecified(),
    };
    one == other || takes(one, other) || takes(other, one)
}

/// An address as the kernel prints it: words in the order of this machine's bytes.
fn read_ip(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    if text.len() == 8 {
        return Some(IpAddr::V4(Ipv4Addr::from(word(0)?)));
    }
    let words = [word(0)?, word(8)?, word(16)?, word(24)?];
    let bytes: [u8; 16] = words.concat().try_into().ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn the_process_that_holds_a_port_is_named() {
        let first = bind_tcp("a", ([127, 0, 0, 1], 0).into(), &[], &SocketConfig::default())
            .expect("a free port");
        let address = first.local_addr().expect("a bound socket");
        let said = bind_tcp("b", address, &[], &SocketConfig::default())
            .expect_err("it is taken")
            .to_string();
        let pid = std::process::id();
        assert!(said.contains(&format!("this process itself (pid {pid})")), "{said}");
    }

    #[test]
    fn both_families_have_one_port() {
        let four = bind_tcp("four", ([0, 0, 0, 0], 0).into(), &[], &SocketConfig::default())
            .expect("a free port");
        let port = four.local_addr().expect("a bound socket").port();
        let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let refused = bind_tcp("six", all, &[], &SocketConfig::default())
            .expect_err("it takes IPv4 as well")
            .to_string();
        assert!(refused.contains("two of its addresses overlap"), "{refused}");
        let both = [all, four.local_addr().expect("a bound socket")];
        let six = bind_tcp("six", all, &both, &SocketConfig::default()).expect("IPv6 alone");
        TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("it listens");
        let (_, peer) = six.accept().expect("it was connected to");
        assert!(peer.is_ipv6());
    }

    #[test]
    fn alone_an_ipv6_address_takes_both_families() {
        let all = bind_tcp("all", (Ipv6Addr::UNSPECIFIED, 0).into(), &[], &SocketConfig::default())
            .expect("a free port");
        let port = all.local_addr().expect("a bound socket").port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    }

    #[test]
    fn what_would_help_is_said() {
        let address = SocketAddr::from(([0, 0, 0, 0], 80));
        for (kind, word) in [
            (io::ErrorKind::PermissionDenied, "CAP_NET_BIND_SERVICE"),
            (io::ErrorKind::AddrNotAvailable, "no interface"),
        ] {
            let help = help(&io::Error::from(kind), address).expect("there is help");
            assert!(help.contains(word), "{help}");
        }
    }

    #[test]
    fn the_kernels_table_is_read() {
        let read = |text: &str| read_ip(text).map(|ip| ip.to_string());
        let (four, six) = match cfg!(target_endian = "little") {
            true => ("0100007F", "00000000000000000000000001000000"),
            false => ("7F000001", "00000000000000000000000000000001"),
        };
        assert_eq!(read(four).as_deref(), Some("127.0.0.1"));
        assert_eq!(read(six).as_deref(), Some("::1"));
        assert_eq!(read("7F"), None);
    }
}
