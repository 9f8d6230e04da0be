//! A socket that clients connect to, of TCP or of Unix.

use super::socket_file::SocketFile;
use crate::units::ListenAddress;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

/// A socket that is bound.
#[derive(Debug)]
pub(super) enum ListeningSocket {
    Tcp(TcpListener),
    /// All handles of it have one file; it goes away with the last of them.
    Unix(UnixListener, Arc<SocketFile>),
}

impl ListeningSocket {
    /// The socket that was given to this process, and that the file has at `address`.
    /// `is_made_here`: a gateway has bound it, and not its service manager.
    pub(super) fn given(address: &ListenAddress, socket: OwnedFd, is_made_here: bool) -> Self {
        match address {
            ListenAddress::Inet(_) => ListeningSocket::Tcp(socket.into()),
            ListenAddress::Unix(path) => {
                let file = SocketFile::of_another(path, is_made_here);
                ListeningSocket::Unix(socket.into(), Arc::new(file))
            }
        }
    }

    /// Another handle of it.
    pub(super) fn again(&self) -> io::Result<Self> {
        Ok(match self {
            ListeningSocket::Tcp(socket) => ListeningSocket::Tcp(socket.try_clone()?),
            ListeningSocket::Unix(socket, file) => {
                ListeningSocket::Unix(socket.try_clone()?, Arc::clone(file))
            }
        })
    }

    /// Where it is, with the port that the system has chosen.
    pub(super) fn address(&self) -> io::Result<ListenAddress> {
        Ok(match self {
            ListeningSocket::Tcp(socket) => socket.local_addr()?.into(),
            ListeningSocket::Unix(_, file) => ListenAddress::Unix(file.path().to_owned()),
        })
    }

    /// Its file, if it is one of Unix.
    pub(super) fn file(&self) -> Option<&Arc<SocketFile>> {
        match self {
            ListeningSocket::Tcp(_) => None,
            ListeningSocket::Unix(_, file) => Some(file),
        }
    }

    /// The bare handle; nobody closes it but who takes it.
    pub(super) fn into_raw_fd(self) -> RawFd {
        match self {
            ListeningSocket::Tcp(socket) => socket.into_raw_fd(),
            ListeningSocket::Unix(socket, _) => socket.into_raw_fd(),
        }
    }
}

impl AsFd for ListeningSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            ListeningSocket::Tcp(socket) => socket.as_fd(),
            ListeningSocket::Unix(socket, _) => socket.as_fd(),
        }
    }
}
