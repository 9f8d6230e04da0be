//! Sockets that this process did not bind itself: those of the gateway whose place it takes, and
//! those that systemd has bound for it.
//!
//! A gateway that is upgraded starts the new one with a channel as its standard input, and sends on
//! it one message for each socket. The last message of the old one says that there are no more; the
//! only message of the new one says that it is ready, or why it can't be.

use super::ADMIN;
use rustix::cmsg_space;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, send, sendmsg,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tracing::{info, warn};

/// Says that the standard input is the channel; its value is the version of what is said there.
pub const CHANNEL_VARIABLE: &str = "STREAMGATE_UPGRADE";
pub(super) const CHANNEL_VERSION: &str = "1";

/// The longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// What is said on the channel.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// The socket that comes with the message: who listens on it, and where the file says it is.
    Socket { name: String, address: SocketAddr },
    /// There are no more of them.
    AllSockets,
    /// Whoever was started takes connections.
    Ready,
    /// It can't; that is why.
    Failed(String),
}

impl Message {
    /// Sends it with a socket, if there is one.
    pub(super) fn send(
        &self,
        channel: impl AsFd,
        socket: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let text = serde_json::to_vec(self).expect("it is plain data");
        let Some(socket) = socket else {
            send(channel, &text, SendFlags::NOSIGNAL)?;
            return Ok(());
        };
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut along = SendAncillaryBuffer::new(&mut space);
        let sockets = [socket];
        let has_room = along.push(SendAncillaryMessage::ScmRights(&sockets));
        assert!(has_room, "there is room for one socket");
        sendmsg(channel, &[IoSlice::new(&text)], &mut along, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for the next one; `None`: the other side has gone.
    pub(super) fn receive(channel: impl AsFd) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut along = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        // With a timeout of the socket, a signal ends the wait.
        let received = retry_on_intr(|| {
            recvmsg(&channel, &mut [IoSliceMut::new(&mut bytes)], &mut along, flags)
        });
        let received = match received {
            // It ended without having read all.
            Err(Errno::CONNRESET) => return Ok(None),
            received => received?,
        };
        let sockets = along.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        });
        let socket = sockets.flatten().next();
        if received.bytes == 0 {
            return Ok(None);
        }
        let is_cut = received.flags.contains(ReturnFlags::TRUNC);
        let message = serde_json::from_slice(&bytes[..received.bytes]).ok().filter(|_| !is_cut);
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "it is no message of ours");
        Ok(Some((message.ok_or_else(unknown)?, socket)))
    }

    /// Why it can't: as much of it as there is room for.
    fn failed(why: &str) -> Self {
        // In JSON a character may take six bytes.
        Message::Failed(why.chars().take(MESSAGE_BYTES_MAX / 8).collect())
    }
}

/// A listening socket, as it is given away.
pub(super) struct Socket {
    pub(super) name: String,
    /// Where the file says it is.
    pub(super) address: SocketAddr,
    pub(super) socket: TcpListener,
}

impl Socket {
    /// The admin port's, which the file has at `address`.
    pub(super) fn of_admin(address: SocketAddr, socket: &TcpListener) -> io::Result<Self> {
        Ok(Socket { name: ADMIN.to_owned(), address, socket: socket.try_clone()? })
    }

    /// Another handle of it.
    pub(super) fn again(&self) -> io::Result<Self> {
        let (name, address) = (self.name.clone(), self.address);
        Ok(Socket { name, address, socket: self.socket.try_clone()? })
    }
}

/// Sockets that this process was given when it was started. Those that nobody takes are closed.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Given>,
    /// The gateway whose place is taken waits there for a word.
    channel: Option<OwnedFd>,
}

#[derive(Debug)]
struct Given {
    /// Who listened on it before; systemd does not say.
    name: Option<String>,
    /// Where the file says it is.
    address: SocketAddr,
    socket: TcpListener,
}

impl Inherited {
    /// What this process was given. `version` is that of the channel, if there is one
    /// ([`CHANNEL_VARIABLE`]).
    pub fn of_process(version: Option<&str>) -> io::Result<Self> {
        match version {
            Some(CHANNEL_VERSION) => {
                Inherited::of_channel(io::stdin().as_fd().try_clone_to_owned()?)
            }
            _ => Inherited::of_systemd(),
        }
    }

    fn of_channel(channel: OwnedFd) -> io::Result<Self> {
        let mut sockets = Vec::new();
        loop {
            match Message::receive(&channel)? {
                Some((Message::Socket { name, address }, Some(socket))) => {
                    let socket = TcpListener::from(socket);
                    sockets.push(Given { name: Some(name), address, socket });
                }
                Some((Message::AllSockets, _)) => break,
                Some(_) => {
                    let why = "what comes on the channel is in no order";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                None => {
                    let why = "the gateway that started this one has gone";
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, why));
                }
            }
        }
        Ok(Inherited { sockets, channel: Some(channel) })
    }

    fn of_systemd() -> io::Result<Self> {
        let mut given = listenfd::ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..given.len() {
            match given.take_tcp_listener(index) {
                Ok(Some(socket)) => {
                    socket.set_nonblocking(true)?;
                    let address = socket.local_addr()?;
                    sockets.push(Given { name: None, address, socket });
                }
                Ok(None) => {}
                Err(error) => warn!(index, %error, "systemd gave a socket that can't be used"),
            }
        }
        Ok(Inherited { sockets, channel: None })
    }

    /// The socket for the listener `name` at `address`, if it was given.
    pub(super) fn take(&mut self, name: &str, address: SocketAddr) -> Option<TcpListener> {
        // A port that the system has chosen stays with its name.
        let is_its = |given: &Given| {
            given.address == address && (address.port() != 0 || given.name.as_deref() == Some(name))
        };
        let at = self.sockets.iter().position(is_its)?;
        Some(self.sockets.swap_remove(at).socket)
    }

    /// Closes what nobody has taken.
    pub(super) fn close_others(&mut self) {
        for given in self.sockets.drain(..) {
            let (name, address) = (given.name.as_deref(), given.address);
            match name {
                Some(name) => info!(name, at = %address, "nobody listens there any more"),
                None => warn!(
                    at = %address,
                    "systemd gave a socket that no listener has: write its address in the file as \
                     it is here"
                ),
            }
        }
    }

    /// Whether another gateway waits for this one.
    pub fn is_awaited(&self) -> bool {
        self.channel.is_some()
    }

    /// Tells the gateway whose place is taken that this one is ready. An error means that it has
    /// gone.
    pub fn tell_ready(&self) -> io::Result<()> {
        self.channel.as_ref().map_or(Ok(()), |channel| Message::Ready.send(channel, None))
    }

    /// Tells it why this one can't start.
    pub fn tell_failed(&self, why: &str) {
        if let Some(channel) = &self.channel {
            // Nobody is left who could be told, then.
            let _ = Message::failed(why).send(channel, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        let kind = SocketType::SEQPACKET;
        socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("two ends")
    }

    #[test]
    fn a_socket_comes_through_with_its_name() {
        let (old, new) = pair();
        let bound = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (is, address) = (bound.local_addr().expect("it is bound"), ([127, 0, 0, 1], 0).into());
        let message = Message::Socket { name: "edge".to_owned(), address };
        message.send(&old, Some(bound.as_fd())).expect("there is room");
        Message::AllSockets.send(&old, None).expect("there is room");
        drop(bound);
        let mut all = Inherited::of_channel(new).expect("they are in order");
        assert!(all.take("other", address).is_none(), "its port was chosen for another name");
        let taken = all.take("edge", address).expect("it was given");
        assert_eq!(taken.local_addr().expect("it is bound"), is);
        all.tell_ready().expect("the old one is there");
        let (said, _) = Message::receive(&old).expect("it is a message").expect("it is there");
        assert_eq!(said, Message::Ready);
    }

    #[test]
    fn a_side_that_has_gone_is_no_message() {
        let (old, new) = pair();
        drop(new);
        assert!(Message::receive(&old).expect("that is no error").is_none());
        assert!(Message::Ready.send(&old, None).is_err());
    }

    #[test]
    fn a_long_reason_fits() {
        let (old, new) = pair();
        let why = "\u{1}".repeat(10 * MESSAGE_BYTES_MAX);
        let one = Inherited { sockets: Vec::new(), channel: Some(new) };
        one.tell_failed(&why);
        let (said, _) = Message::receive(&old).expect("it is a message").expect("it is there");
        assert!(matches!(said, Message::Failed(said) if !said.is_empty()));
    }
}
