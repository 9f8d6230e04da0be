//! The load itself: many connections in one epoll loop, closed (as fast as answers come) or open
//! (at a fixed rate, whatever the answers do; latency counts from when a request was due).
//! It cannot be slowed down into kindness: a late request is late in the figures, too.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;

use crate::arrivals::Arrivals;
use crate::clock::nanos;
use crate::connection::{Connection, Progress};
use crate::marks::Marks;
use crate::multiplexed::Streams;

const EVENTS_PER_POLL: usize = 256;
/// Reads of a response; a 1 MiB body takes few of them.
const READ_BYTES: usize = 256 * 1024;
const TIMER: Token = Token(usize::MAX);
/// How long answers may still come after the last request was due.
const DRAIN: Duration = Duration::from_secs(2);

/// What to ask, of whom, how.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The contender.
    pub target: SocketAddr,
    /// By TLS, as this client.
    pub client: Option<&'a Arc<ClientConfig>>,
    /// By HTTP/2, with that many streams on each connection.
    pub streams: Option<Streams>,
    /// Asked in turn, again and again; header blocks where there are streams.
    pub requests: &'a [Vec<u8>],
    /// Connections kept busy, or at hand.
    pub connections: usize,
    /// A new connection for every request.
    pub reconnect: bool,
    /// Arrivals per second; none: every connection asks again as soon as it is answered.
    pub rate: Option<f64>,
    /// Asked before anything counts.
    pub warm: Duration,
    /// What counts.
    pub measure: Duration,
    /// Which of the possible arrival times.
    pub seed: u64,
}

/// What happened to the requests that count.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Answered with 2xx.
    pub done: u64,
    /// Of these, on a connection whose handshake was a resumed one.
    pub resumed: u64,
    /// Answered otherwise.
    pub refused: u64,
    /// Not answered, or not in HTTP.
    pub failed: u64,
    /// From due to answered, for those with 2xx, in order of size.
    pub latencies_ns: Vec<u64>,
}

/// The two moments between which requests count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The warm-up is over.
    Begin,
    /// The measured time is over.
    End,
}

struct Run<'a, F> {
    plan: Plan<'a>,
    poll: Poll,
    connections: Vec<Connection>,
    idle: Vec<usize>,
    cursor: usize,
    arrivals: Option<Arrivals>,
    marks: Marks<F>,
    outcome: Outcome,
    buffer: Vec<u8>,
}

/// Runs `plan`; `mark` is called at the two moments, to read counters of other processes.
pub fn run(plan: Plan<'_>, mark: impl FnMut(Mark)) -> io::Result<Outcome> {
    Run::new(plan, mark)?.finish()
}

/// A span in nanoseconds.
#[must_use]
pub fn ns(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl<'a, F: FnMut(Mark)> Run<'a, F> {
    fn new(plan: Plan<'a>, mark: F) -> io::Result<Self> {
        let poll = Poll::new()?;
        let open =
            |index| Connection::open(plan.target, plan.client, poll.registry(), Token(index));
        let connections = (0..plan.connections).map(open).collect::<io::Result<Vec<_>>>()?;
        let start = nanos();
        let arrivals = plan.rate.map(|rate| Arrivals::new(rate, plan.seed, start)).transpose()?;
        if let Some(arrivals) = &arrivals {
            let descriptor = arrivals.descriptor();
            poll.registry().register(&mut SourceFd(&descriptor), TIMER, Interest::READABLE)?;
        }
        let marks = Marks::of(&plan, mark);
        Ok(Self {
            plan,
            poll,
            idle: (0..connections.len()).collect(),
            connections,
            cursor: 0,
            arrivals,
            marks,
            outcome: Outcome::default(),
            buffer: vec![0; READ_BYTES],
        })
    }

    fn finish(mut self) -> io::Result<Outcome> {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        loop {
            let now = nanos();
            self.marks.pass(now);
            if now >= self.marks.end() && (self.arrivals.is_none() || self.is_drained(now)) {
                break;
            }
            self.feed(now)?;
            let patience = Duration::from_millis(10);
            match self.poll.poll(&mut events, Some(patience)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in events.iter().filter(|event| event.token() != TIMER) {
                self.progress(event.token().0)?;
            }
        }
        self.outcome.latencies_ns.sort_unstable();
        Ok(self.outcome)
    }

    /// An open loop is over when every arrival has its answer, or will never have it.
    fn is_drained(&mut self, now: u64) -> bool {
        let waiting = self.arrivals.as_ref().map_or(0, Arrivals::waiting);
        let unanswered = waiting + self.connections.len() - self.idle.len();
        if unanswered > 0 && now < self.marks.end() + ns(DRAIN) {
            return false;
        }
        self.outcome.failed += unanswered as u64;
        true
    }

    fn feed(&mut self, now: u64) -> io::Result<()> {
        if let Some(arrivals) = &mut self.arrivals
            && now < self.marks.end()
        {
            arrivals.advance(now)?;
        }
        // Counted beforehand: a connection that fails at once comes back, and must not spin here.
        for _ in 0..self.idle.len() {
            let Some(index) = self.idle.pop() else { break };
            let due = match &mut self.arrivals {
                None => nanos(),
                Some(arrivals) => {
                    let Some(due) = arrivals.take() else {
                        self.idle.push(index);
                        break;
                    };
                    due
                }
            };
            self.ask(index, due)?;
        }
        Ok(())
    }

    fn ask(&mut self, index: usize, due: u64) -> io::Result<()> {
        let request = self.cursor % self.plan.requests.len();
        self.cursor += 1;
        if self.connections[index].ask(self.plan.requests, request, due).is_err() {
            self.count_failure(due);
            self.replace(index)?;
        }
        Ok(())
    }

    fn progress(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let (due, was_asking) = (connection.due, connection.is_asking());
        match connection.progress(self.plan.requests, &mut self.buffer) {
            Ok(Progress::Waiting) => {}
            Ok(Progress::Answered { status, reusable }) => {
                let is_resumed = connection.is_resumed();
                self.count(status, due, is_resumed);
                if self.plan.reconnect || !reusable {
                    self.replace(index)?
                } else {
                    self.idle.push(index)
                }
            }
            Err(_) if was_asking => {
                self.count_failure(due);
                self.replace(index)?;
            }
            // An idle connection that the proxy closed is made again, without a word.
            Err(_) => self.connections[index] = self.open(index)?,
        }
        Ok(())
    }

    fn open(&self, index: usize) -> io::Result<Connection> {
        let Plan { target, client, .. } = self.plan;
        Connection::open(target, client, self.poll.registry(), Token(index))
    }

    fn replace(&mut self, index: usize) -> io::Result<()> {
        self.connections[index] = self.open(index)?;
        // At the far end, so that the next turn takes another one first.
        self.idle.insert(0, index);
        Ok(())
    }

    /// Closed loop: what is answered between the marks counts. Open loop: what was due then.
    fn counts(&self, now: u64, due: u64) -> bool {
        let moment = if self.arrivals.is_some() { due } else { now };
        self.marks.counts(moment)
    }

    fn count(&mut self, status: u16, due: u64, is_resumed: bool) {
        let now = nanos();
        if !self.counts(now, due) {
            return;
        }
        if (200..300).contains(&status) {
            self.outcome.done += 1;
            self.outcome.resumed += u64::from(is_resumed);
            self.outcome.latencies_ns.push(now.saturating_sub(due));
        } else {
            self.outcome.refused += 1;
        }
    }

    fn count_failure(&mut self, due: u64) {
        if self.counts(nanos(), due) {
            self.outcome.failed += 1;
        }
    }
}
