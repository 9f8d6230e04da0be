//! Lines on their way to a file or a pipe: a bounded buffer that nobody waits for, and the loop of
//! the thread that writes it.
//!
//! What fails is tried again. A disk is full for a second, a file is moved away, a quota is used
//! up: none of them may end a log for good. Lines that could not be written are kept for
//! `KEPT_FOR`; then they are dropped and counted, so that an alert on the count is true while the
//! trouble lasts. A line that was cut in the middle is written again, whole and on a line of its
//! own.

use parking_lot::{Condvar, Mutex};
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How much may wait to be written, in bytes.
const BUFFER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long a line waits at most before it is written, and a write that failed before it is tried
/// again.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// How long after the first failure lines are kept for another attempt.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// Where lines are left; a clone leaves them in the same place.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Shared>);

/// The other end: writes the lines that were left.
#[derive(Debug)]
pub struct Writer(Arc<Shared>);

/// Asks a writer to open its target again, or to end.
#[derive(Clone, Debug)]
pub struct Control(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    asked: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    is_stopped: bool,
    is_reopened: bool,
}

/// What a writer writes to, as it was just opened.
pub struct Opened {
    /// Takes the bytes.
    pub out: Box<dyn Write + Send>,
    /// Whether what is there already ends in the middle of a line. `None`: that can't be seen.
    pub is_cut: Option<bool>,
}

/// Opens the target of a writer: at its start, after a failure, and when it is asked to.
pub type Open = Box<dyn FnMut() -> io::Result<Opened> + Send>;

/// What becomes of a target, for whoever reports it.
#[derive(Debug)]
pub enum Change {
    /// A write failed; it is tried again.
    Failed(io::Error),
    /// Writing works again; so many lines were lost meanwhile.
    Recovered(u64),
    /// The target was opened again because somebody asked.
    Reopened,
    /// It could not be opened again; what was open goes on.
    NotReopened(io::Error),
}

impl Lines {
    /// Leaves one line, which ends with a line feed. It is dropped and counted if too many wait.
    pub fn push(&self, line: &[u8]) {
        let mut waiting = self.0.waiting.lock();
        if waiting.text.len() >= BUFFER_BYTES_MAX {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            waiting.text.extend_from_slice(line);
        }
    }

    /// How many lines were lost so far.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// The writer that someone must run.
    pub fn writer(&self) -> Writer {
        Writer(Arc::clone(&self.0))
    }
}

/// For formats that write a line at a time: each write leaves one.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Control {
    /// Asks the writer to write what is left and to end.
    pub fn stop(&self) {
        self.0.waiting.lock().is_stopped = true;
        self.0.asked.notify_one();
    }

    /// Asks the writer to open its target again: the file was moved away.
    pub fn reopen(&self) {
        self.0.waiting.lock().is_reopened = true;
        self.0.asked.notify_one();
    }
}

impl Writer {
    /// A handle to ask it for something while it runs.
    pub fn control(&self) -> Control {
        Control(Arc::clone(&self.0))
    }

    /// Writes to what `open` opens, `first` of all, until it is stopped; then what is left. Blocks:
    /// run it on a thread of its own.
    pub fn run(&self, first: Opened, open: Open, report: impl FnMut(Change)) {
        let mut target = Target::new(first, open, report);
        loop {
            let (is_stopped, is_reopened) = self.take(&mut target.left);
            if is_reopened {
                target.reopen();
            }
            let lost = target.write(is_stopped);
            self.0.dropped.fetch_add(lost, Ordering::Relaxed);
            if is_stopped {
                return;
            }
        }
    }

    /// Takes the lines that wait, behind none that are still `left`; whether to stop, and whether
    /// to open the target again.
    fn take(&self, left: &mut Vec<u8>) -> (bool, bool) {
        let mut waiting = self.0.waiting.lock();
        if !waiting.is_stopped && !waiting.is_reopened {
            self.0.asked.wait_for(&mut waiting, FLUSH_EVERY);
        }
        if left.is_empty() {
            std::mem::swap(left, &mut waiting.text);
        } else if waiting.is_stopped {
            left.append(&mut waiting.text);
        }
        (waiting.is_stopped, std::mem::take(&mut waiting.is_reopened))
    }
}

/// The target while it is written to.
struct Target<R> {
    opened: Box<dyn Write + Send>,
    open: Open,
    report: R,
    /// Lines that are not written yet.
    left: Vec<u8>,
    /// Whether the last thing that was written is half a line.
    is_cut: bool,
    /// When the first of the failures happened that go on until now, and the lines lost since.
    failing: Option<(Instant, u64)>,
}

impl<R: FnMut(Change)> Target<R> {
    fn new(first: Opened, open: Open, report: R) -> Self {
        let (opened, is_cut) = (first.out, first.is_cut.unwrap_or_default());
        Target { opened, open, report, left: Vec::new(), is_cut, failing: None }
    }

    /// Opens it again; what was open stays if that fails.
    fn reopen(&mut self) {
        let change = self.open_again().map_or_else(Change::NotReopened, |()| Change::Reopened);
        (self.report)(change);
    }

    fn open_again(&mut self) -> io::Result<()> {
        let opened = (self.open)()?;
        self.opened = opened.out;
        self.is_cut = opened.is_cut.unwrap_or(self.is_cut);
        Ok(())
    }

    /// Writes what is left; returns how many lines are lost. The last time nothing is kept.
    fn write(&mut self, is_last: bool) -> u64 {
        if self.failing.is_some() {
            // The file may be another one by now, or shorter. If not, writing fails again.
            let _ = self.open_again();
        }
        let Err(error) = self.write_left() else {
            if let Some((_, lost)) = self.failing.take() {
                (self.report)(Change::Recovered(lost));
            }
            return 0;
        };
        if self.failing.is_none() {
            (self.report)(Change::Failed(error));
        }
        let (since, lost) = *self.failing.get_or_insert_with(|| (Instant::now(), 0));
        if is_last && self.open_again().is_ok() && self.write_left().is_ok() {
            return 0;
        }
        if !is_last && since.elapsed() < KEPT_FOR {
            return 0;
        }
        let lines = self.left.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.left.clear();
        self.failing = Some((since, lost + lines));
        lines
    }

    /// Writes what is left, as far as it goes; what went out whole is left no more.
    fn write_left(&mut self) -> io::Result<()> {
        if self.left.is_empty() {
            // Nothing says that writing works again.
            return match self.failing {
                Some(_) => Err(io::Error::from(ErrorKind::WouldBlock)),
                None => Ok(()),
            };
        }
        if self.is_cut {
            self.opened.write_all(b"\n")?;
            self.is_cut = false;
        }
        let mut written = 0;
        let ended = loop {
            match self.opened.write(&self.left[written..]) {
                Ok(0) => break Err(io::Error::from(ErrorKind::WriteZero)),
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
            if written == self.left.len() {
                break self.opened.flush();
            }
        };
        let whole = self.left[..written].iter().rposition(|byte| *byte == b'\n');
        let whole = whole.map_or(0, |last| last + 1);
        self.is_cut = whole < written;
        self.left.drain(..whole);
        ended
    }
}

#[cfg(test)]
mod tests;
