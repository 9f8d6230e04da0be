//! A real Redis of our own, and how many commands it was sent.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use crate::bench::{Bench, Place, Process, free_address};

/// A child redis-server that keeps nothing on disk.
#[derive(Debug)]
pub struct Store {
    /// The running server.
    pub process: Process,
}

/// Calls by command name since the server started; calls that a script makes count, too.
pub type Commands = BTreeMap<String, u64>;

impl Store {
    /// Starts a server. It must be installed: `apt-get install redis-server`.
    pub fn start(bench: Bench) -> io::Result<Self> {
        let address = free_address()?;
        let port = address.port().to_string();
        let words = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let words = words.map(ToOwned::to_owned);
        let program = Path::new("redis-server");
        let process = bench.start(program, &words, &[], Place::Rest, address)?;
        Ok(Self { process })
    }

    /// What was called so far, our own question apart.
    pub fn commands(&self) -> io::Result<Commands> {
        let mut stream = TcpStream::connect(self.process.address)?;
        stream.write_all(b"INFO commandstats\r\n")?;
        let mut reader = BufReader::new(stream);
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = size.trim_start_matches('$').trim().parse();
        let mut text = vec![0; size.map_err(|_| io::Error::other("INFO without a size"))?];
        reader.read_exact(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().filter_map(calls).filter(|(name, _)| name != "info").collect())
    }
}

fn calls(line: &str) -> Option<(String, u64)> {
    let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(':')?;
    let calls = figures.strip_prefix("calls=")?.split(',').next()?;
    Some((name.to_owned(), calls.parse().ok()?))
}

/// How many calls there were between two readings.
#[must_use]
pub fn calls_between(earlier: &Commands, later: &Commands) -> u64 {
    later.values().sum::<u64>().saturating_sub(earlier.values().sum())
}
