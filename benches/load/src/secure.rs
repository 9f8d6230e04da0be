//! TLS for the bench: one certificate that every contender shows, the client that checks it, and
//! the client's end of a connection.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::net::TcpStream;
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore};

const NAME: &str = "localhost";

/// Whom a client expects.
pub fn server_name() -> io::Result<ServerName<'static>> {
    ServerName::try_from(NAME).map_err(io::Error::other)
}

/// How a new connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// With a key exchange and the certificate, each time.
    Full,
    /// With the ticket of an earlier connection.
    Resumed,
}

/// A certificate (ECDSA, P-256) in a folder. All contenders show this one.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
    /// Both in one file, as HAProxy takes them.
    pub both: PathBuf,
}

impl Certificate {
    /// Makes one and writes it into `folder`.
    pub fn make(folder: &Path) -> io::Result<Self> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]);
        let made = made.map_err(io::Error::other)?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map(|()| path)
        };
        Ok(Self {
            both: write("both.pem", &format!("{certificate}{key}"))?,
            certificate: write("certificate.pem", &certificate)?,
            key: write("key.pem", &key)?,
        })
    }

    /// A client of TLS 1.3 that trusts this certificate alone, and speaks HTTP/2 where it says so.
    pub fn client(&self, handshake: Handshake, is_http2: bool) -> io::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        let read = rustls::pki_types::CertificateDer::from_pem_file(&self.certificate);
        roots.add(read.map_err(io::Error::other)?).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]);
        let builder = builder.map_err(io::Error::other)?.with_root_certificates(roots);
        let mut client = builder.with_no_client_auth();
        if is_http2 {
            client.alpn_protocols = vec![b"h2".to_vec()];
        }
        client.resumption = match handshake {
            Handshake::Full => Resumption::disabled(),
            Handshake::Resumed => Resumption::store(Arc::new(Tickets::default())),
        };
        Ok(Arc::new(client))
    }
}

/// Tickets of one server. The library keeps eight of them, and connections come by the dozen here:
/// most would find none.
#[derive(Debug, Default)]
struct Tickets(Mutex<Vec<Tls13ClientSessionValue>>);

/// More than there are connections.
const TICKETS_MAX: usize = 256;

impl Tickets {
    fn all(&self) -> MutexGuard<'_, Vec<Tls13ClientSessionValue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut all = self.all();
        if all.len() < TICKETS_MAX {
            all.push(ticket);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.all().pop()
    }
}

/// The client's end of a connection, plain or by TLS. Nothing of it waits.
#[derive(Debug)]
pub enum Stream {
    /// Bytes as they are.
    Plain(TcpStream),
    /// By TLS.
    Secure(Box<Secure>),
}

/// The client's end of a connection by TLS.
#[derive(Debug)]
pub struct Secure {
    socket: TcpStream,
    session: ClientConnection,
}

impl Stream {
    /// The end that talks through `socket`; by TLS if there is a client's configuration.
    pub fn new(socket: TcpStream, client: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let Some(client) = client else { return Ok(Self::Plain(socket)) };
        let session = ClientConnection::new(Arc::clone(client), server_name()?);
        let session = session.map_err(io::Error::other)?;
        Ok(Self::Secure(Box::new(Secure { socket, session })))
    }

    /// Whether a short read may have more behind it.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::Secure(_))
    }

    /// Whether the client was taken for one that came before.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secure(secure) => secure.session.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// Sends what waits to be sent, such as the next step of a handshake.
    pub fn advance(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Secure(secure) => secure.advance(),
        }
    }

    /// Reads what is there.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Secure(secure) => secure.read(buffer),
        }
    }

    /// Writes as much as is taken at once.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Secure(secure) => {
                let count = secure.session.writer().write(bytes)?;
                secure.advance().map(|()| count)
            }
        }
    }
}

impl Secure {
    fn advance(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if is_early(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            if self.session.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            self.session.process_new_packets().map_err(io::Error::other)?;
            self.advance()?;
        }
    }
}

/// Nothing is wrong, it is only too early: no bytes yet, or the connection is still being made.
pub fn is_early(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}
