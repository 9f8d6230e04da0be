//! Two gateways that are configured alike, and what they say of themselves.

use load::bench::{Bench, Place, Process, free_address};
use load::gateway::basics;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Short, so that a drill is: what follows from it scales with it.
pub(crate) const TTL: Duration = Duration::from_secs(24);
/// What the gateway gives a store if nothing else is said.
pub(crate) const COMMAND_MAX: Duration = Duration::from_millis(50);
pub(crate) const CONNECT_MAX: Duration = Duration::from_millis(250);
/// Streams of one account.
pub(crate) const LIMIT: usize = 2;
/// Of one account, on a machine that is busy.
pub(crate) const BUSY_LIMIT: usize = 3;
const WORKERS: usize = 2;
const SCRAPE_MAX: Duration = Duration::from_secs(2);

/// A gateway of this run.
pub(crate) struct Gateway {
    _process: Process,
    pub(crate) edge: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// What a gateway's metrics say, by the name of the family.
pub(crate) type Figures = BTreeMap<String, f64>;

/// Where a gateway listens: for viewers, and for its operator.
pub(crate) type Addresses = (SocketAddr, SocketAddr);

/// What the gateways are to stand between.
pub(crate) struct Wiring {
    pub(crate) store: String,
    pub(crate) origin: SocketAddr,
    /// How long one too many plays on. None at all, where it is to be seen when the store's count
    /// holds again.
    pub(crate) grandfather: &'static str,
}

/// What hashes the accounts of the drill.
const PEPPER: &str = "a-pepper-for-the-drill-0123456789abcdef";

fn configuration((edge, admin): Addresses, wiring: &Wiring) -> String {
    let Wiring { store, origin, grandfather } = wiring;
    let ttl = TTL.as_secs();
    let basics = basics(edge, admin, WORKERS, store);
    format!(
        r#"{basics}concurrency:
  standard:
    store: shared
    pepper: "{PEPPER}"
    limit: {{ default: {LIMIT} }}
    ttl: {ttl}s
    when_store_fails: local
    degraded: {{ grandfather: {grandfather} }}
upstreams:
  origin: {{ endpoints: ["{origin}"] }}
routes:
  - name: media
    match: {{ path: "/media/{{*rest}}" }}
    filters: [ {{ session: viewers }}, {{ concurrency: standard }} ]
    upstream: origin
"#
    )
}

/// What the gateways of `busy` are to stand between.
pub(crate) struct Busy {
    pub(crate) store: String,
    pub(crate) origin: SocketAddr,
}

impl Busy {
    /// Nothing runs out while the machine is busy. Where streams are taken over there is one each.
    pub(crate) fn text(&self, (edge, admin): Addresses) -> String {
        let Self { store, origin } = self;
        let basics = basics(edge, admin, WORKERS, store);
        format!(
            r#"{basics}concurrency:
  standard:
    store: shared
    pepper: "{PEPPER}"
    limit: {{ default: {BUSY_LIMIT} }}
    ttl: 10m
  takeover:
    store: shared
    pepper: "{PEPPER}-of-takeovers"
    limit: {{ default: 1 }}
    when_full: replace_oldest
upstreams:
  origin: {{ endpoints: ["{origin}"] }}
routes:
  - name: media
    match: {{ path: "/media/{{*rest}}" }}
    filters: [ {{ session: viewers }}, {{ concurrency: standard }} ]
    upstream: origin
  - name: takeover
    match: {{ path: "/takeover/{{*rest}}" }}
    filters: [ {{ session: viewers }}, {{ concurrency: takeover }} ]
    upstream: origin
"#
        )
    }
}

impl Gateway {
    /// Starts one and waits until it listens.
    pub(crate) fn start(
        bench: Bench,
        program: &Path,
        folder: &Path,
        wiring: &Wiring,
    ) -> io::Result<Self> {
        Self::start_with(bench, program, folder, |addresses| configuration(addresses, wiring))
    }

    /// The same with a file of its own.
    pub(crate) fn start_with(
        bench: Bench,
        program: &Path,
        folder: &Path,
        text: impl FnOnce(Addresses) -> String,
    ) -> io::Result<Self> {
        let (edge, admin) = (free_address()?, free_address()?);
        let file = folder.join(format!("gateway-{}.yaml", edge.port()));
        std::fs::create_dir_all(folder)?;
        std::fs::write(&file, text((edge, admin)))?;
        let words = ["run".to_owned(), "--config".to_owned(), file.display().to_string()];
        let quiet = [("RUST_LOG", "off".to_owned())];
        let process = bench.start(program, &words, &quiet, Place::Anywhere, edge)?;
        Ok(Self { _process: process, edge, admin })
    }
}

/// What the gateway with this admin port says now; families with labels are added up.
pub(crate) async fn figures(admin: SocketAddr) -> io::Result<Figures> {
    let asked = async {
        let mut stream = TcpStream::connect(admin).await?;
        let head = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        io::Result::Ok(text)
    };
    let text = timeout(SCRAPE_MAX, asked).await.map_err(io::Error::other)??;
    let mut figures = Figures::new();
    for line in text.lines().filter(|line| line.starts_with("streamgate_")) {
        let (series, value) = line.rsplit_once(' ').unwrap_or((line, ""));
        let name = series.split('{').next().unwrap_or(series);
        *figures.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap_or(0.0);
    }
    Ok(figures)
}
