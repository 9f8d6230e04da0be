//! The access log as a file of the process: opened, opened again, written by a thread.

use super::StartError;
use crate::observe::AccessLog;
use crate::observe::access::Target;
use crate::observe::writer::{Change, Control, Lines, Open, Opened, Writer};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use tracing::{error, info, warn};

/// How long the last lines may take: nobody may read the other end of the pipe any more.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(5);

/// The thread that writes a log, if there is one. It ends with this value.
#[derive(Debug, Default)]
pub struct LogThread(Option<Thread>);

#[derive(Debug)]
struct Thread {
    control: Control,
    /// Is told when the last line is written.
    ended: Receiver<()>,
}

/// Opens the access log and starts its thread. A relative path begins at `base_dir`, as every path
/// in the configuration does.
pub(super) fn open(target: &Target, base_dir: &Path) -> Result<(AccessLog, LogThread), StartError> {
    let path = match target {
        Target::Off => return Ok((AccessLog::default(), LogThread::default())),
        Target::Stdout => None,
        Target::File(path) => Some(base_dir.join(&path.0)),
    };
    let name = path.as_ref().map_or("stdout".to_owned(), |path| path.display().to_string());
    let open = move || match &path {
        Some(path) => open_file(path),
        None => open_stdout(),
    };
    let first = open().map_err(|error| StartError::Io(format!("the access log {name}"), error))?;
    let (log, writer) = AccessLog::open();
    let report = move |change| report(&name, &change);
    let thread = LogThread::start("access log", writer, (first, Box::new(open)), report);
    let thread = thread.map_err(|error| StartError::Io("a thread for the log".into(), error))?;
    Ok((log, thread))
}

fn open_file(path: &Path) -> io::Result<Opened> {
    let out = OpenOptions::new().append(true).create(true).open(path)?;
    let is_cut = out.metadata()?.is_file().then(|| ends_cut(path)).flatten();
    Ok(Opened { out: Box::new(out), is_cut })
}

/// Whether the last line of a file is cut off. `None`: we may write it and not read it.
fn ends_cut(path: &Path) -> Option<bool> {
    let mut file = File::open(path).ok()?;
    if file.seek(SeekFrom::End(0)).ok()? == 0 {
        return Some(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1)).ok()?;
    file.read_exact(&mut last).ok()?;
    Some(last != *b"\n")
}

fn open_stdout() -> io::Result<Opened> {
    open_handle(io::stdout().as_fd())
}

fn open_stderr() -> io::Result<Opened> {
    open_handle(io::stderr().as_fd())
}

/// A handle of its own, because that of the standard library keeps a part of what failed.
fn open_handle(handle: BorrowedFd<'_>) -> io::Result<Opened> {
    let out = File::from(handle.try_clone_to_owned()?);
    Ok(Opened { out: Box::new(out), is_cut: None })
}

fn report(file: &str, change: &Change) {
    match change {
        Change::Failed(error) => {
            error!(file, %error, "the access log can't be written; it is tried again");
        }
        Change::Recovered(lost) => info!(file, lost, "the access log can be written again"),
        Change::Reopened => info!(file, "the access log was opened again"),
        Change::NotReopened(error) => {
            error!(file, %error, "the access log can't be opened again; the old file goes on");
        }
    }
}

impl LogThread {
    /// A thread that writes `lines` to stderr.
    pub fn of_stderr(lines: &Lines) -> io::Result<Self> {
        let opened = (open_stderr()?, Box::new(open_stderr) as Open);
        // Where stderr fails, nobody reads that it does.
        LogThread::start("log", lines.writer(), opened, |_| ())
    }

    fn start(
        name: &str,
        writer: Writer,
        (first, open): (Opened, Open),
        report: impl FnMut(Change) + Send + 'static,
    ) -> io::Result<Self> {
        let control = writer.control();
        let (ends, ended) = channel();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            writer.run(first, open, report);
            // It fails only if nobody waits for the end.
            let _ = ends.send(());
        })?;
        Ok(LogThread(Some(Thread { control, ended })))
    }

    /// Opens the file again, which somebody has moved away.
    pub(super) fn reopen(&self) {
        if let Some(thread) = &self.0 {
            thread.control.reopen();
        }
    }

    /// Writes the last lines.
    fn end(&mut self) {
        let Some(thread) = self.0.take() else { return };
        thread.control.stop();
        if thread.ended.recv_timeout(LAST_LINES_WITHIN) == Err(RecvTimeoutError::Timeout) {
            warn!("the access log takes no lines; the last ones are lost");
        }
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        self.end();
    }
}
