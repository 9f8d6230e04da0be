//! Another process in place of this one, without a connection lost.
//!
//! ```text
//! start the program that stands where this one was started from, with the same arguments
//! give it every listening socket; from here on both could accept
//! wait until it says that it is ready: it has read its file, looked names up, opened its listeners
//! │ it says why it can't, ends, or takes too long: it is ended, and this one goes on
//! ▼
//! tell systemd whom it has now
//! stop in order: nobody is refused, since the sockets are open in the other process
//! ```
//!
//! nginx and HAProxy do the same with other means: a variable with numbers of descriptors, and a
//! socket that the new process connects to. Here the new one needs no path that it could find taken
//! or be kept from, and what it says can't be said by anybody else.

use super::inherited::{CHANNEL_VARIABLE, CHANNEL_VERSION, GivenSocket, Message};
use super::reload::Reloader;
use super::service_manager;
use super::socket_file::SocketFile;
use crate::admin::{UpgradeOutcome, UpgradeRequest};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{error, info};

/// How long a new process may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How long one that has failed may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// What a process must not take from this one: it is meant for this one's number.
const NOT_INHERITED: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// How this process was started.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// By its command line. Call it at the start: a relative path begins at the directory that it
    /// was started from.
    pub fn new(words: impl IntoIterator<Item = OsString>) -> Self {
        let mut words = words.into_iter();
        let path = words.next().map(PathBuf::from).unwrap_or_default();
        // A bare name is looked for again, in `PATH`.
        let is_bare = path.components().count() == 1;
        let path = if is_bare { path } else { std::path::absolute(&path).unwrap_or(path) };
        Program { path, arguments: words.collect() }
    }

    fn command(&self, channel: OwnedFd) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).stdin(Stdio::from(channel));
        command.env(CHANNEL_VARIABLE, CHANNEL_VERSION);
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        command
    }
}

/// Grants upgrades, one after another, until one has succeeded.
pub(super) struct Upgrader {
    /// `None`: the gateway is not the business of its process.
    program: Option<Program>,
    reloader: Arc<Reloader>,
    /// Set to true: another process has taken the place of this one.
    is_replaced: watch::Sender<bool>,
}

impl Upgrader {
    /// It starts nothing. What is returned with it turns true when another process has taken the
    /// place of this one.
    pub(super) fn new(
        program: Option<Program>,
        reloader: &Arc<Reloader>,
    ) -> (Self, watch::Receiver<bool>) {
        let (is_replaced, replaced) = watch::channel(false);
        (Upgrader { program, reloader: Arc::clone(reloader), is_replaced }, replaced)
    }

    pub(super) async fn run(self, mut asked: mpsc::Receiver<UpgradeRequest>) {
        while let Some(request) = asked.recv().await {
            info!(cause = request.cause, "another process is to take the place of this one");
            let outcome = self.alone(&mut asked).await;
            match &outcome {
                UpgradeOutcome::Done { pid } => {
                    info!(pid, "another process has taken the listeners over");
                }
                UpgradeOutcome::Refused(why) | UpgradeOutcome::Failed(why) => {
                    error!(why, "no other process has taken over, so this one goes on");
                }
            }
            let is_done = matches!(outcome, UpgradeOutcome::Done { .. });
            if let Some(answer) = request.answer {
                // Whoever asked may be gone.
                let _ = answer.send(outcome);
            }
            if is_done {
                let _ = self.is_replaced.send(true);
                // Whoever asks from now on is told that the gateway stops.
                return;
            }
        }
    }

    /// One upgrade. Who asks for another one meanwhile is told that it is under way.
    async fn alone(&self, asked: &mut mpsc::Receiver<UpgradeRequest>) -> UpgradeOutcome {
        let mut upgrade = pin!(self.upgrade());
        loop {
            let other = tokio::select! {
                outcome = &mut upgrade => return outcome,
                Some(other) = asked.recv() => other,
            };
            if let Some(answer) = other.answer {
                let why = "an upgrade is under way already".to_owned();
                // Whoever asked may be gone.
                let _ = answer.send(UpgradeOutcome::Refused(why));
            }
        }
    }

    async fn upgrade(&self) -> UpgradeOutcome {
        let refused = |why: &str| UpgradeOutcome::Refused(why.to_owned());
        let Some(program) = &self.program else {
            return refused("this gateway is a part of another program");
        };
        if let Some(why) = refusal(std::process::id()) {
            return refused(why);
        }
        // It waits for a reload that is under way, which needs this thread.
        let reloader = Arc::clone(&self.reloader);
        let sockets = spawn_blocking(move || reloader.sockets()).await;
        let Ok(Some(sockets)) = sockets else {
            return refused("the gateway is stopping");
        };
        let sockets = match sockets {
            Ok(sockets) => sockets,
            Err(error) => return UpgradeOutcome::Failed(format!("a socket: {error}")),
        };
        let files = sockets.iter().filter_map(|given| given.socket.file().cloned());
        let files: Vec<Arc<SocketFile>> = files.collect();
        match start(program, sockets).await {
            Ok(pid) => {
                // The new process serves there, and takes them away when it is done.
                files.iter().for_each(|file| file.leave());
                service_manager::is_replaced_by(pid);
                UpgradeOutcome::Done { pid }
            }
            Err(why) => UpgradeOutcome::Failed(why),
        }
    }
}

/// Why a process of this number has no other in its place.
fn refusal(pid: u32) -> Option<&'static str> {
    (pid == 1).then_some(
        "this is the first process of its container (PID 1): the container would end with it, and \
         the new process, too; start another container in its place",
    )
}

/// Starts the program and gives it the sockets. Returns its number once it is ready.
async fn start(program: &Program, sockets: Vec<GivenSocket>) -> Result<u32, String> {
    let path = program.path.display();
    let told = |error: io::Error| format!("`{path}` can't be started: {error}");
    let flags = SocketFlags::CLOEXEC;
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
    let (ours, theirs) = pair.map_err(|error| told(error.into()))?;
    // Its end is closed here as soon as it has one, so that its going away is noticed.
    let child = program.command(theirs).spawn().map_err(told)?;
    let pid = child.id().unwrap_or_default();
    let mut unproven = Unproven(Some(child));
    let talk = spawn_blocking(move || talk(&ours, &sockets));
    let why = match timeout(READY_WITHIN, talk).await {
        Ok(Ok(Ok(()))) => {
            unproven.is_proven();
            return Ok(pid);
        }
        Ok(Ok(Err(why))) => why,
        Ok(Err(_)) | Err(_) => late(),
    };
    Err(match unproven.end().await {
        Some(status) => format!("`{path}` (pid {pid}): {why}; {status}"),
        None => format!("`{path}` (pid {pid}): {why}"),
    })
}

/// What is told of one that has gone without a word.
const ENDED: &str = "it ended before it was ready";

fn late() -> String {
    format!("it was not ready within {} s", READY_WITHIN.as_secs())
}

/// Gives the sockets away and waits for the word of who was started.
fn talk(channel: &OwnedFd, sockets: &[GivenSocket]) -> Result<(), String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => late(),
        io::ErrorKind::BrokenPipe => ENDED.to_owned(),
        _ => error.to_string(),
    };
    for direction in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(channel, direction, Some(READY_WITHIN))
            .map_err(|error| failed(error.into()))?;
    }
    for given in sockets {
        given.message().send(channel, Some(given.socket.as_fd())).map_err(failed)?;
    }
    Message::AllSockets.send(channel, None).map_err(failed)?;
    match Message::receive(channel).map_err(failed)? {
        Some((Message::Ready, _)) => Ok(()),
        Some((Message::Failed(why), _)) => Err(why),
        Some(_) => Err("it says something that has no meaning here".to_owned()),
        None => Err(ENDED.to_owned()),
    }
}

/// A process that has not said yet that it is ready. It does not outlive this.
struct Unproven(Option<Child>);

impl Unproven {
    /// It takes the place of this process, and is ended by nobody here.
    fn is_proven(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It is waited for, or it would stay as a zombie if it ended before this process.
            tokio::spawn(async move { child.wait().await });
        }
    }

    /// Ends it; how it has ended by itself, if it has.
    async fn end(&mut self) -> Option<String> {
        let mut child = self.0.take()?;
        match timeout(ENDS_WITHIN, child.wait()).await {
            Ok(Ok(status)) => Some(status.to_string()),
            _ => {
                self.0 = Some(child);
                None
            }
        }
    }
}

impl Drop for Unproven {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It has ended already, or it can't be ended.
            let _ = child.start_kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_process_of_a_container_is_not_replaced() {
        assert!(refusal(1).is_some_and(|why| why.contains("start another container")));
        assert_eq!(refusal(2), None);
    }

    #[test]
    fn a_relative_program_is_found_from_another_directory() {
        let path = |word: &str| Program::new([OsString::from(word)]).path;
        assert!(path("target/streamgate").is_absolute());
        assert_eq!(path("/usr/bin/streamgate"), PathBuf::from("/usr/bin/streamgate"));
        assert_eq!(path("streamgate"), PathBuf::from("streamgate"), "it is looked for in PATH");
    }
}
