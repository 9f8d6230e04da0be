//! Connections that were used once and then only wait: what each of them holds in memory.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::bench::Process;
use crate::client::Client;
use crate::clock::nanos;
use crate::cpu_time::{Spent, memory_kib};

/// What waiting connections cost.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// Memory before, KiB.
    pub before_kib: u64,
    /// Memory with all of them open, KiB.
    pub with_kib: u64,
    /// Connections opened.
    pub connections: usize,
    /// Processor time for opening one and asking once, in microseconds.
    pub opening_us: f64,
    /// Share of a core used while all of them wait.
    pub waiting_core: f64,
}

impl Idle {
    /// KiB per connection.
    #[must_use]
    pub fn each_kib(&self) -> f64 {
        self.with_kib.saturating_sub(self.before_kib) as f64 / self.connections as f64
    }
}

/// Opens `connections` to a process that has not had so many before, and weighs them.
/// By TLS, if there is a client's configuration.
pub fn weigh(
    process: &Process,
    connections: usize,
    path: &str,
    tls: Option<&Arc<ClientConfig>>,
) -> io::Result<Idle> {
    let plain = process.address;
    let target = if tls.is_some() { process.secure.unwrap_or(plain) } else { plain };
    // What a first request sets up once is not a connection's.
    let mut first = Client::connect_as(target, tls)?;
    for _ in 0..100 {
        first.get(path, "")?;
    }
    let before_kib = memory_kib(process.id())?;
    let spent = Spent::of(process.id())?;
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut client = Client::connect_as(target, tls)?;
        client.get(path, "")?;
        clients.push(client);
    }
    let opening = Spent::of(process.id())?.since(spent).busy_ns;
    let with_kib = memory_kib(process.id())?;
    let (start, spent) = (nanos(), Spent::of(process.id())?);
    std::thread::sleep(std::time::Duration::from_secs(1));
    let waiting = Spent::of(process.id())?.since(spent).busy_ns;
    Ok(Idle {
        before_kib,
        with_kib,
        connections,
        opening_us: opening as f64 / 1e3 / connections as f64,
        waiting_core: waiting as f64 / nanos().saturating_sub(start).max(1) as f64,
    })
}
