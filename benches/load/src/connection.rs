//! One client connection of the generator: a request goes out, its answer is counted in.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::ClientConfig;

use crate::http1::Head;
use crate::secure::{Stream, is_early};

/// What a connection has to say after it was given time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The answer is not complete yet.
    Waiting,
    /// The answer is complete; its status, and whether the connection can be used again.
    Answered { status: u16, reusable: bool },
}

/// A connection, and the request on it.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// Index of the request being asked; `None` while idle.
    asking: Option<usize>,
    sent: usize,
    head: Vec<u8>,
    status: u16,
    closes: bool,
    body_left: Option<usize>,
    /// When the request was due, in the clock's nanoseconds.
    pub due: u64,
}

impl Connection {
    /// A connection that is being made; by TLS if there is a client's configuration.
    pub fn open(
        target: SocketAddr,
        client: Option<&Arc<ClientConfig>>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let mut socket = TcpStream::connect(target)?;
        socket.set_nodelay(true)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        let stream = Stream::new(socket, client)?;
        let head = Vec::new();
        Ok(Self {
            stream,
            asking: None,
            sent: 0,
            head,
            status: 0,
            closes: false,
            body_left: None,
            due: 0,
        })
    }

    /// Asks `requests[index]`, as far as the socket takes it at once.
    pub fn ask(&mut self, requests: &[Vec<u8>], index: usize, due: u64) -> io::Result<()> {
        self.asking = Some(index);
        self.sent = 0;
        self.body_left = None;
        self.due = due;
        self.send(&requests[index])
    }

    /// Does what can be done without waiting.
    pub fn progress(&mut self, requests: &[Vec<u8>], buffer: &mut [u8]) -> io::Result<Progress> {
        self.stream.advance()?;
        let Some(index) = self.asking else {
            return self.still_open(buffer);
        };
        let request = &requests[index];
        if self.sent < request.len() {
            self.send(request)?;
        }
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if is_early(&error) => return Ok(Progress::Waiting),
                Err(error) => return Err(error),
            };
            if self.take(&buffer[..count])? {
                self.asking = None;
                let (status, reusable) = (self.status, !self.closes);
                return Ok(Progress::Answered { status, reusable });
            }
            if count < buffer.len() && !self.stream.is_secure() {
                return Ok(Progress::Waiting);
            }
        }
    }

    /// Whether its handshake was a resumed one.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.stream.is_resumed()
    }

    /// Whether an answer is awaited.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// An idle connection may only be quiet; bytes or an end make it useless.
    fn still_open(&mut self, buffer: &mut [u8]) -> io::Result<Progress> {
        match self.stream.read(buffer) {
            Err(error) if is_early(&error) => Ok(Progress::Waiting),
            Err(error) => Err(error),
            Ok(_) => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        match self.stream.write(&request[self.sent..]) {
            Ok(count) => self.sent += count,
            Err(error) if is_early(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Whether these bytes complete the answer.
    fn take(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if let Some(left) = self.body_left {
            let left = left.checked_sub(bytes.len()).ok_or(ErrorKind::InvalidData)?;
            self.body_left = Some(left);
            return Ok(left == 0);
        }
        // Almost always the whole head comes in one piece; only the rest is worth a copy.
        if self.head.is_empty() {
            return self.take_head(bytes);
        }
        let mut all = std::mem::take(&mut self.head);
        all.extend_from_slice(bytes);
        self.take_head(&all)
    }

    fn take_head(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let Some(head) = Head::parse(bytes).map_err(|_| ErrorKind::InvalidData)? else {
            self.head.extend_from_slice(bytes);
            return Ok(false);
        };
        (self.status, self.closes) = (head.status, head.closes);
        let arrived = bytes.len() - head.length;
        let left = head.body.checked_sub(arrived).ok_or(ErrorKind::InvalidData)?;
        self.body_left = Some(left);
        Ok(left == 0)
    }
}
