//! What the signals of Unix ask of the gateway. None of them ends it by itself.
//!
//! A signal that no program handles ends it at once, and every answer with it; so each that may be
//! sent by habit has a meaning here, or is refused with a line in the log. What is left is KILL,
//! and those that tell of a crash.
//!
//! A hangup has two senders. `logrotate` and `systemctl reload` send it by hand: open the log
//! again, and read the configuration again. The kernel and the shell send it when the terminal that
//! the gateway was started from is closed: nobody is left who could stop it, so it stops by itself.
//! They are told apart by looking for that terminal. Under `nohup`, which has the hangup ignored, a
//! lost terminal means nothing.

use std::fs::{self, File};
use std::io;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;

/// How many signals may wait to be heeded. What is asked for more often is asked for already.
const WAITING_MAX: usize = 16;

/// When a terminal is looked for again after a hangup: a shell that dies tells its children a
/// moment before it gives the terminal back.
const TERMINAL_LOST_WITHIN: Duration = Duration::from_millis(500);

/// The signals that this process gets. From `open` on none of them ends it.
#[derive(Debug)]
pub struct Signals(Receiver<Signal>);

/// What is asked for, with the name of the signal that did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// End in order.
    Stop(&'static str),
    /// Open the logs again.
    Reopen(&'static str),
    /// Open the logs again, and read the configuration again.
    Reload(&'static str),
    /// Have another process take the place of this one.
    Upgrade(&'static str),
    /// It has no meaning here.
    Refuse(&'static str),
    /// A write was refused; who wrote gets an error, too.
    Ignore,
}

/// The terminal that this process belongs to.
#[derive(Clone, Copy, Debug)]
struct Terminal {
    /// Whether its loss ends the gateway.
    is_followed: bool,
}

fn table() -> Vec<(SignalKind, Signal)> {
    let raw = SignalKind::from_raw;
    let mut all = vec![
        (SignalKind::terminate(), Signal::Stop("SIGTERM")),
        (SignalKind::interrupt(), Signal::Stop("SIGINT")),
        (SignalKind::quit(), Signal::Stop("SIGQUIT")),
        // The kernel sends it once a second from the soft limit of processor time on.
        (raw(libc::SIGXCPU), Signal::Stop("SIGXCPU")),
        (SignalKind::hangup(), Signal::Reload("SIGHUP")),
        (SignalKind::user_defined1(), Signal::Reopen("SIGUSR1")),
        (SignalKind::user_defined2(), Signal::Upgrade("SIGUSR2")),
        (SignalKind::alarm(), Signal::Refuse("SIGALRM")),
        (SignalKind::io(), Signal::Refuse("SIGIO")),
        (raw(libc::SIGVTALRM), Signal::Refuse("SIGVTALRM")),
        (raw(libc::SIGPROF), Signal::Refuse("SIGPROF")),
        (raw(libc::SIGXFSZ), Signal::Ignore),
    ];
    #[cfg(target_os = "linux")]
    {
        all.push((raw(libc::SIGPWR), Signal::Refuse("SIGPWR")));
        all.push((raw(libc::SIGSTKFLT), Signal::Refuse("SIGSTKFLT")));
        let realtime = libc::SIGRTMIN()..=libc::SIGRTMAX();
        all.extend(realtime.map(|number| (raw(number), Signal::Refuse("a realtime signal"))));
    }
    all
}

impl Signals {
    /// Takes the signals of this process over, for as long as it lives. One thread waits for them.
    pub fn open() -> io::Result<Self> {
        let terminal = Terminal::open();
        let (sends, received) = channel(WAITING_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut waits = JoinSet::new();
        {
            let _entered = runtime.enter();
            for (kind, meaning) in table() {
                let mut heard = match signal(kind) {
                    // The system, or what the gateway runs under, keeps it for itself.
                    Err(_) if matches!(meaning, Signal::Refuse(_)) => continue,
                    heard => heard?,
                };
                let sends = sends.clone();
                waits.spawn(async move {
                    while heard.recv().await.is_some() {
                        heed(terminal, meaning, &sends).await;
                    }
                });
            }
        }
        let thread = std::thread::Builder::new().name("signals".to_owned());
        thread.spawn(move || runtime.block_on(waits.join_all()))?;
        Ok(Signals(received))
    }

    /// The next signal; never, if there is none.
    pub(super) async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

async fn heed(terminal: Terminal, meaning: Signal, sends: &Sender<Signal>) {
    const LOST: Signal = Signal::Stop("the loss of its terminal");
    let is_hangup = meaning == Signal::Reload("SIGHUP");
    let meant = if is_hangup && terminal.is_lost() { LOST } else { meaning };
    // A full queue asks for all of it already, or will be full of refusals.
    let _ = sends.try_send(meant);
    if is_hangup && meant != LOST && terminal.is_followed {
        tokio::time::sleep(TERMINAL_LOST_WITHIN).await;
        if terminal.is_lost() {
            let _ = sends.send(LOST).await;
        }
    }
}

impl Terminal {
    /// The terminal as it is at the start, before any signal is handled.
    fn open() -> Self {
        Terminal { is_followed: is_there() && !is_hangup_ignored() }
    }

    fn is_lost(self) -> bool {
        self.is_followed && !is_there()
    }
}

/// Whether this process has a terminal that could be closed.
fn is_there() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether whoever started us had the hangup ignored, as `nohup` does.
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (libc::SIGHUP - 1)) != 0)
}
