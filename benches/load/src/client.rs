//! A viewer who asks one thing after the other on one connection: for checks, not for load.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::http1::{self, Head};
use crate::secure::server_name;

/// An answer that takes longer is none.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// One connection, used again for every request.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    target: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    reconnections: usize,
}

/// Both wait until something comes.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

fn open(target: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Stream> {
    let socket = TcpStream::connect(target)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    let Some(tls) = tls else { return Ok(Stream::Plain(socket)) };
    let session = ClientConnection::new(Arc::clone(tls), server_name()?);
    let session = session.map_err(io::Error::other)?;
    Ok(Stream::Secure(Box::new(StreamOwned::new(session, socket))))
}

impl Stream {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes),
            Self::Secure(secure) => secure.write_all(bytes),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Secure(secure) => secure.read(buffer),
        }
    }
}

/// An answer, complete.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// The bytes after the head.
    pub body: Vec<u8>,
}

impl Client {
    /// Connects to `target`.
    pub fn connect(target: SocketAddr) -> io::Result<Self> {
        Self::connect_as(target, None)
    }

    /// Connects to `target`; by TLS, if there is a client's configuration.
    pub fn connect_as(target: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        Ok(Self { stream: open(target, tls)?, target, tls: tls.cloned(), reconnections: 0 })
    }

    /// How often the proxy said that it closes the connection.
    #[must_use]
    pub fn reconnections(&self) -> usize {
        self.reconnections
    }

    /// Asks for `path`; `extra` are whole header lines.
    pub fn get(&mut self, path: &str, extra: &str) -> io::Result<Answer> {
        self.ask(&http1::get(self.target, path, extra))
    }

    /// Sends prepared bytes, and reads one answer. Where the proxy says that it closes the
    /// connection, the next request gets a new one.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request)?;
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => bytes.extend_from_slice(&buffer[..count]),
            }
            let head = Head::parse(&bytes).map_err(|_| ErrorKind::InvalidData)?;
            if let Some(head) = head
                && bytes.len() >= head.length + head.body
            {
                if head.closes {
                    self.reconnections += 1;
                    self.stream = open(self.target, self.tls.as_ref())?;
                }
                let body = bytes.split_off(head.length);
                let location = http1::field(&bytes, b"location:").map(String::from_utf8_lossy);
                let location = location.map(|location| location.into_owned());
                return Ok(Answer { status: head.status, location, body });
            }
        }
    }
}
