//! Binds an address to listen on; when it is in use, the error names the process that holds it.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` can't listen on {address}: {error}{}", who.as_deref().unwrap_or_default())]
pub struct BindError {
    name: String,
    address: SocketAddr,
    error: io::Error,
    /// The process that holds it: `; it is held by …`.
    who: Option<String>,
}

/// Binds `address` for the listener `name`.
pub(super) fn bind(name: &str, address: SocketAddr) -> Result<TcpListener, BindError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| {
        let in_use = error.kind() == io::ErrorKind::AddrInUse;
        let who = in_use.then(|| owner(address.port())).flatten();
        let who = who.map(|who| format!("; it is held by {who}"));
        BindError { name: name.to_owned(), address, error, who }
    })
}

/// The process that listens on `port`, if Linux shows it: `nginx (pid 812)`.
fn owner(port: u16) -> Option<String> {
    let inode = listening_inode(port)?;
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
        Some(format!("{} (pid {pid})", name.trim()))
    })
}

/// The inode of the socket that listens on `port`, from the kernel's table of sockets.
fn listening_inode(port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        table.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_it = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == LISTEN;
            is_it.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_holds_a_port_is_named() {
        let first = bind("a", ([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = first.local_addr().expect("a bound socket");
        let said = bind("b", address).expect_err("it is taken").to_string();
        let pid = std::process::id();
        assert!(said.contains(&format!("(pid {pid})")), "{said}");
    }
}
