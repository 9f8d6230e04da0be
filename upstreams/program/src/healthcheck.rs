//! Asks a running service whether it is healthy, for containers that have no curl. Not a client.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// Longest wait for each of connecting, asking and being answered.
const TIMEOUT: Duration = Duration::from_secs(3);

/// 0 when `/healthz` at that address says 200, else 1 and a sentence on stderr.
pub fn ask(listen: SocketAddr) -> ExitCode {
    match status_line(reachable(listen)) {
        Ok(line) if line.starts_with("HTTP/1.1 200 ") => ExitCode::SUCCESS,
        Ok(line) => {
            eprintln!("not well: {line}");
            ExitCode::FAILURE
        }
        Err(problem) => {
            eprintln!("not well: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// A service that listens on every address is asked on the loopback one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn status_line(address: SocketAddr) -> std::io::Result<String> {
    let mut connection = TcpStream::connect_timeout(&address, TIMEOUT)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    let ask = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(ask.as_bytes())?;
    let mut head = [0; 64];
    let read = connection.read(&mut head)?;
    let text = String::from_utf8_lossy(&head[..read]);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
