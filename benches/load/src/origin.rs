//! The origin behind every contender: three fixed bodies, keep-alive, one epoll loop.
//! It answers from memory, so that what is measured is the proxy in front of it.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::http1::end_of_head;

/// A request head longer than this ends its connection.
const REQUEST_MAX_BYTES: usize = 64 * 1024;
const EVENTS_PER_POLL: usize = 1024;
const ACCEPT: Token = Token(usize::MAX);

/// The bodies by the last segment of their path, with their size in bytes.
pub const BODIES: [(&str, usize); 3] = [("64b", 64), ("64k", 64 * 1024), ("1m", 1024 * 1024)];

/// The byte at `index` of every body: checks can tell a shifted or cut body from the right one.
#[must_use]
pub fn byte_at(index: usize) -> u8 {
    u8::try_from(index % 251).expect("a remainder of 251 fits in a byte")
}

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Cow<'static, [u8]>,
    sent: usize,
}

fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The prepared answers, living as long as the process.
struct Shelf {
    bodies: Vec<(&'static str, &'static [u8])>,
    missing: &'static [u8],
}

impl Shelf {
    fn new() -> Self {
        let stock = |(name, size): (&'static str, usize)| {
            let body: Vec<u8> = (0..size).map(byte_at).collect();
            (name, &*response("200 OK", &body).leak())
        };
        let bodies = BODIES.into_iter().map(stock).collect();
        Self { bodies, missing: response("404 Not Found", b"no such body\n").leak() }
    }

    fn answer(&self, head: &[u8]) -> Cow<'static, [u8]> {
        let target = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if name == b"echo" {
            // The request as it arrived: what the proxy really sent upstream.
            return Cow::Owned(response("200 OK", head));
        }
        let found = self.bodies.iter().find(|(known, _)| known.as_bytes() == name);
        Cow::Borrowed(found.map_or(self.missing, |(_, answer)| answer))
    }
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self { stream, request: Vec::new(), answer: Cow::Borrowed(&[]), sent: 0 }
    }

    /// Does what can be done without waiting. An error ends the connection.
    fn progress(&mut self, shelf: &Shelf, scratch: &mut [u8]) -> io::Result<()> {
        // A read that did not fill the buffer emptied the socket: the next bytes bring an event.
        let mut drained = false;
        loop {
            if self.sent < self.answer.len() {
                match self.stream.write(&self.answer[self.sent..]) {
                    Ok(count) => self.sent += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
                continue;
            }
            if drained {
                return Ok(());
            }
            match self.stream.read(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    drained = count < scratch.len();
                    self.take(&scratch[..count], shelf)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], shelf: &Shelf) -> io::Result<()> {
        self.request.extend_from_slice(bytes);
        let Some(end) = end_of_head(&self.request) else {
            let too_long = self.request.len() > REQUEST_MAX_BYTES;
            return if too_long { Err(ErrorKind::InvalidData.into()) } else { Ok(()) };
        };
        self.answer = shelf.answer(&self.request[..end + 4]);
        self.sent = 0;
        self.request.clear();
        Ok(())
    }
}

/// Serves until it is killed.
pub fn run(listen: SocketAddr) -> io::Result<()> {
    let shelf = Shelf::new();
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(listen)?;
    poll.registry().register(&mut listener, ACCEPT, Interest::READABLE)?;
    let mut events = Events::with_capacity(EVENTS_PER_POLL);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free = Vec::new();
    let mut scratch = vec![0; 16 * 1024];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == ACCEPT {
                accept(&listener, &poll, &mut connections, &mut free)?;
                continue;
            }
            let index = event.token().0;
            let Some(connection) = connections.get_mut(index).and_then(Option::as_mut) else {
                continue;
            };
            if connection.progress(&shelf, &mut scratch).is_err() {
                connections[index] = None;
                free.push(index);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut Vec<Option<Connection>>,
    free: &mut Vec<usize>,
) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let index = free.pop().unwrap_or(connections.len());
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(index), both)?;
        if index == connections.len() {
            connections.push(None);
        }
        connections[index] = Some(Connection::new(stream));
    }
}
