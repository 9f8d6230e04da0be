//! The environment of every contest: the programs, an origin, a store, a folder for configurations.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::{Bench, Place, Process, free_address};
use crate::gateway::{self, Wiring};
use crate::peers::Peer;
use crate::secure::Certificate;
use crate::store::Store;

/// The environment of a run. Its processes end with it.
#[derive(Debug)]
pub struct Environment {
    bench: Bench,
    programs: PathBuf,
    folder: PathBuf,
    /// What every contender shows who speaks TLS.
    pub certificate: Certificate,
    /// The origin of all contenders.
    pub origin: Process,
    /// The Redis of the gateways.
    pub store: Store,
}

/// Where this program is, and its neighbours with it.
pub fn programs() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().map(Path::to_path_buf).unwrap_or_default())
}

/// Builds what a contest needs, with the optimisation this program was built with.
pub fn build(packages: &[&str], features: &[&str]) -> io::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    for package in packages {
        command.args(["--package", package]);
    }
    for feature in features {
        command.args(["--features", feature]);
    }
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("the build failed")) }
}

impl Environment {
    /// Starts origin and store.
    pub fn start(bench: Bench) -> io::Result<Self> {
        let programs = programs()?;
        let folder = std::env::temp_dir().join(format!("load-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let address = free_address()?;
        let program = programs.join("origin");
        let origin = bench.start(&program, &[address.to_string()], &[], Place::Rest, address)?;
        let store = Store::start(bench)?;
        let certificate = Certificate::make(&folder)?;
        Ok(Self { bench, programs, folder, certificate, origin, store })
    }

    /// Starts a bare proxy: `program` is which build of it.
    pub fn floor(&self, program: &str, flags: &[&str], threads: usize) -> io::Result<Process> {
        let address = free_address()?;
        let mut words = vec![address.to_string(), self.origin.address.to_string()];
        words.extend(flags.iter().map(ToString::to_string));
        words.extend(["--threads".to_owned(), threads.to_string()]);
        self.bench.start(&self.programs.join(program), &words, &[], place(threads), address)
    }

    /// Starts the gateway.
    pub fn gateway(&self, program: &Path, workers: usize) -> io::Result<Process> {
        self.gateway_of(program, workers, false)
    }

    /// Starts a gateway that was built some time ago, beside today's.
    pub fn older_gateway(&self, program: &Path, workers: usize) -> io::Result<Process> {
        self.gateway_of(program, workers, true)
    }

    fn gateway_of(&self, program: &Path, workers: usize, is_older: bool) -> io::Result<Process> {
        let store: SocketAddr = self.store.process.address;
        let certificate = Some(&self.certificate).filter(|_| !is_older);
        let wiring = Wiring { origin: self.origin.address, store, workers, certificate };
        gateway::start(self.bench, program, &self.folder, &wiring, place(workers))
    }

    /// Starts another proxy, if it is installed.
    pub fn peer(&self, peer: Peer) -> io::Result<Option<Process>> {
        let Some(program) = peer.program() else {
            eprintln!("{} is not installed, so it is not measured", peer.name());
            return Ok(None);
        };
        let origin = self.origin.address;
        peer.start(self.bench, &program, &self.folder, origin, &self.certificate).map(Some)
    }

    /// The process ids of origin, store and `contenders`.
    #[must_use]
    pub fn process_ids(&self, contenders: &[&Process]) -> Vec<u32> {
        let own = [self.origin.id(), self.store.process.id()];
        own.into_iter().chain(contenders.iter().map(|process| process.id())).collect()
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        // A leftover folder of a few kilobytes in the temporary directory harms nobody.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One worker has a core to itself; more of them go where the scheduler wants them.
fn place(workers: usize) -> Place {
    if workers > 1 { Place::Anywhere } else { Place::Contender }
}
