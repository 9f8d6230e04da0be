//! Processes on their cores: what is measured has one to itself, all the rest share the other.
//! Real-time priority keeps other people's compilers out of the figures, as far as that goes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::clock::nanos;

/// A process that does not listen after this long is not going to.
const READY_MAX: Duration = Duration::from_secs(20);

/// Which cores a process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The core of the contender alone.
    Contender,
    /// The core of everything else: generator, origin and store.
    Rest,
    /// Wherever the scheduler puts it.
    Anywhere,
}

/// How processes are started here.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// Each process at a real-time priority.
    pub real_time: bool,
}

/// A child process that ends when this value does.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// What it listens on.
    pub address: SocketAddr,
    /// What it listens on for TLS.
    pub secure: Option<SocketAddr>,
}

impl Process {
    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already; that is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bench {
    /// With real-time priority if this user may, else without (and the report says so).
    #[must_use]
    pub fn find(wanted: bool) -> Self {
        let tried = Command::new("chrt").args(["--rr", "1", "true"]).stderr(Stdio::null()).status();
        Self { real_time: wanted && tried.is_ok_and(|status| status.success()) }
    }

    /// Moves this process, which is the generator, to its core and priority.
    pub fn pin(self, place: Place) -> io::Result<()> {
        if let Some(core) = core(place) {
            let mut set = CpuSet::new();
            set.set(core)?;
            sched_setaffinity(Pid::from_raw(0), &set)?;
        }
        if self.real_time {
            let id = std::process::id().to_string();
            Command::new("chrt").args(["--rr", "--pid", "1", &id]).status()?;
        }
        Ok(())
    }

    /// Starts `program` at `place` and waits until it accepts connections on `address`.
    pub fn start(
        self,
        program: &Path,
        arguments: &[String],
        environment: &[(&str, String)],
        place: Place,
        address: SocketAddr,
    ) -> io::Result<Process> {
        // Its end is tied to ours, however we end.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "taskset"]);
        match core(place) {
            Some(core) => command.args(["--cpu-list", &core.to_string()]),
            None => command.args(["--cpu-list", &format!("0-{}", cores() - 1)]),
        };
        // These starters replace themselves, so the child's id is the program's.
        let class = if self.real_time { ["chrt", "--rr", "1"] } else { ["chrt", "--other", "0"] };
        command.args(class).arg(program).args(arguments);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut process = Process { child: command.spawn()?, address, secure: None };
        process.wait_until_ready(program)?;
        Ok(process)
    }
}

impl Process {
    fn wait_until_ready(&mut self, program: &Path) -> io::Result<()> {
        let deadline = nanos() + u64::try_from(READY_MAX.as_nanos()).unwrap_or(u64::MAX);
        while TcpStream::connect(self.address).is_err() {
            let name = program.display();
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("{name} ended while starting: {status}")));
            }
            if nanos() > deadline {
                return Err(io::Error::other(format!("{name} never listened")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

fn core(place: Place) -> Option<usize> {
    match place {
        Place::Contender => Some(0),
        Place::Rest => Some(1),
        Place::Anywhere => None,
    }
}

/// How many cores the machine has, whichever of them this process may use.
#[must_use]
pub fn cores() -> usize {
    let list = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    list.lines().filter(|line| line.starts_with("processor")).count().max(1)
}

/// An address of this host that nobody listens on.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
