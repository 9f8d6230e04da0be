//! The load by HTTP/2: on each connection many streams, each asked again as soon as it is answered.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::clock::nanos;
use crate::generator::{Mark, Outcome, Plan};
use crate::http2::{self, Said};
use crate::marks::Marks;
use crate::secure::{Stream, is_early};

const EVENTS_PER_POLL: usize = 64;
const READ_BYTES: usize = 64 * 1024;

/// How streams are asked, and what answers them.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    /// At the same time on one connection.
    pub count: usize,
    /// Bytes that a right answer has.
    pub body: usize,
}

/// One connection with its streams. Ids of clients are odd and go up by two (RFC 9113, 5.1.1), and
/// an answer's place is found by its id: streams are asked in turn.
struct Connection {
    stream: Stream,
    out: Vec<u8>,
    arrived: Vec<u8>,
    next: u32,
    /// What is under way: id, when it was asked, bytes of the body so far, whether all was well.
    asked: Vec<Asked>,
}

#[derive(Clone, Copy)]
struct Asked {
    id: u32,
    since: u64,
    bytes: usize,
    is_ok: bool,
}

/// Runs `plan` with that many streams on each of its connections.
pub fn run(plan: Plan<'_>, streams: Streams, mark: impl FnMut(Mark)) -> io::Result<Outcome> {
    let mut poll = Poll::new()?;
    let open = |index| Connection::open(&plan, &poll, Token(index));
    let mut connections = (0..plan.connections).map(open).collect::<io::Result<Vec<_>>>()?;
    let mut marks = Marks::of(&plan, mark);
    let mut outcome = Outcome::default();
    let mut events = Events::with_capacity(EVENTS_PER_POLL);
    let mut buffer = vec![0; READ_BYTES];
    for connection in &mut connections {
        (0..streams.count).for_each(|_| connection.ask(&plan.requests[0]));
    }
    loop {
        let now = nanos();
        marks.pass(now);
        if now >= marks.end() {
            outcome.latencies_ns.sort_unstable();
            return Ok(outcome);
        }
        match poll.poll(&mut events, Some(Duration::from_millis(10))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            let connection = &mut connections[event.token().0];
            connection.progress(&mut buffer, |connection, said| {
                let Some(done) = connection.take(said)? else { return Ok(()) };
                count(&mut outcome, &marks, done, streams.body);
                connection.ask(&plan.requests[0]);
                Ok(())
            })?;
        }
    }
}

fn count<F: FnMut(Mark)>(outcome: &mut Outcome, marks: &Marks<F>, done: Asked, body: usize) {
    let now = nanos();
    if !marks.counts(now) {
        return;
    }
    if !done.is_ok {
        outcome.refused += 1;
    } else if done.bytes != body {
        outcome.failed += 1;
    } else {
        outcome.done += 1;
        outcome.latencies_ns.push(now.saturating_sub(done.since));
    }
}

impl Connection {
    fn open(plan: &Plan<'_>, poll: &Poll, token: Token) -> io::Result<Self> {
        let mut socket = TcpStream::connect(plan.target)?;
        socket.set_nodelay(true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut socket, token, interest)?;
        let stream = Stream::new(socket, plan.client.map(|client: &Arc<_>| client))?;
        let (arrived, asked) = (Vec::new(), Vec::new());
        Ok(Self { stream, out: http2::opening(), arrived, next: 1, asked })
    }

    fn ask(&mut self, block: &[u8]) {
        http2::ask(self.next, block, &mut self.out);
        self.asked.push(Asked { id: self.next, since: nanos(), bytes: 0, is_ok: false });
        self.next += 2;
    }

    /// Reads what is there, hands each thing said to `hear`, and writes what there is to say.
    fn progress(
        &mut self,
        buffer: &mut [u8],
        mut hear: impl FnMut(&mut Self, Said) -> io::Result<()>,
    ) -> io::Result<()> {
        self.stream.advance()?;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.arrived.extend_from_slice(&buffer[..count]),
                Err(error) if is_early(&error) => break,
                Err(error) => return Err(error),
            }
        }
        let arrived = std::mem::take(&mut self.arrived);
        let mut at = 0;
        while let Some((said, length)) = http2::read(&arrived[at..])? {
            at += length;
            hear(self, said)?;
        }
        self.arrived = arrived;
        self.arrived.drain(..at);
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if is_early(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The request that is answered by this, if one is.
    fn take(&mut self, said: Said) -> io::Result<Option<Asked>> {
        let (id, bytes, is_end, is_ok) = match said {
            Said::Head { stream, is_ok, is_end } => (stream, 0, is_end, Some(is_ok)),
            Said::Body { stream, bytes, is_end } => (stream, bytes, is_end, None),
            Said::Reset { stream } => (stream, 0, true, Some(false)),
            Said::Goodbye => return Err(io::Error::other("the server ends the connection")),
            Said::Question(bytes, length) => {
                self.out.extend_from_slice(&bytes[..length]);
                return Ok(None);
            }
            Said::Other => return Ok(None),
        };
        let place = self.asked.iter().position(|asked| asked.id == id);
        let place = place.ok_or_else(|| io::Error::other("an answer to nothing"))?;
        let asked = &mut self.asked[place];
        asked.bytes += bytes;
        asked.is_ok = is_ok.unwrap_or(asked.is_ok);
        Ok(is_end.then(|| self.asked.swap_remove(place)))
    }
}
