//! Sockets that this process did not bind itself: those of the gateway whose place it takes, and
//! those that systemd has bound for it.
//!
//! A gateway that is upgraded starts the new one with a channel as its standard input, and sends on
//! it one message for each socket. The last message of the old one says that there are no more; the
//! only message of the new one says that it is ready, or why it can't be.

use super::ADMIN;
use super::socket::ListeningSocket;
use super::socket_file::SocketFile;
use crate::units::ListenAddress;
use crate::yaml::Scalar;
use rustix::cmsg_space;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, send, sendmsg,
};
use serde::{Deserialize, Serialize};
use socket2::SockRef;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
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
    Socket {
        name: String,
        address: String,
        /// Of a socket of Unix: a gateway has made its file, and not the service manager.
        #[serde(default)]
        is_made_here: bool,
    },
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
pub(super) struct GivenSocket {
    pub(super) name: String,
    /// Where the file says it is.
    pub(super) address: ListenAddress,
    pub(super) socket: ListeningSocket,
}

impl GivenSocket {
    /// What is said with it on the channel.
    pub(super) fn message(&self) -> Message {
        Message::Socket {
            name: self.name.clone(),
            address: self.address.to_string(),
            is_made_here: self.socket.file().is_some_and(|file| file.is_made_here()),
        }
    }

    /// The admin port's, which the file has at `address`.
    pub(super) fn of_admin(address: SocketAddr, socket: &TcpListener) -> io::Result<Self> {
        let socket = ListeningSocket::Tcp(socket.try_clone()?);
        Ok(GivenSocket { name: ADMIN.to_owned(), address: address.into(), socket })
    }

    /// Another handle of it.
    pub(super) fn again(&self) -> io::Result<Self> {
        let (name, address) = (self.name.clone(), self.address.clone());
        Ok(GivenSocket { name, address, socket: self.socket.again()? })
    }
}

/// Sockets that this process was given when it was started. Those that nobody takes are closed.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Given>,
    /// The files of sockets of Unix that the other gateway leaves to this one, once it is ready.
    files: Vec<Arc<SocketFile>>,
    /// The gateway whose place is taken waits there for a word.
    channel: Option<OwnedFd>,
}

#[derive(Debug)]
struct Given {
    /// Who listened on it before; systemd does not say.
    name: Option<String>,
    /// Where the file says it is.
    address: ListenAddress,
    socket: ListeningSocket,
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
        let invalid = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        loop {
            match Message::receive(&channel)? {
                Some((Message::Socket { name, address, is_made_here }, Some(socket))) => {
                    let address = ListenAddress::read(&address);
                    let address = address.map_err(|_| invalid("a socket is at no address"))?;
                    let socket = ListeningSocket::given(&address, socket, is_made_here);
                    sockets.push(Given { name: Some(name), address, socket });
                }
                Some((Message::AllSockets, _)) => break,
                Some(_) => return Err(invalid("what comes on the channel is in no order")),
                None => {
                    let why = "the gateway that started this one has gone";
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, why));
                }
            }
        }
        let files = sockets.iter().filter_map(|given| given.socket.file().cloned()).collect();
        Ok(Inherited { sockets, files, channel: Some(channel) })
    }

    fn of_systemd() -> io::Result<Self> {
        let mut given = listenfd::ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..given.len() {
            let (address, socket) = match of_unix(&mut given, index) {
                Some(found) => found,
                None => match given.take_tcp_listener(index) {
                    Ok(Some(socket)) => (socket.local_addr()?.into(), OwnedFd::from(socket)),
                    Ok(None) => continue,
                    Err(error) => {
                        warn!(index, %error, "systemd gave a socket that can't be used");
                        continue;
                    }
                },
            };
            SockRef::from(&socket).set_nonblocking(true)?;
            let socket = ListeningSocket::given(&address, socket, false);
            sockets.push(Given { name: None, address, socket });
        }
        Ok(Inherited { sockets, ..Inherited::default() })
    }

    /// The socket for the listener `name` at `address`, if it was given.
    pub(super) fn take(&mut self, name: &str, address: &ListenAddress) -> Option<ListeningSocket> {
        // A port that the system has chosen stays with its name.
        let is_its = |given: &Given| {
            given.address == *address
                && (!address.is_chosen_late() || given.name.as_deref() == Some(name))
        };
        let at = self.sockets.iter().position(is_its)?;
        Some(self.sockets.swap_remove(at).socket)
    }

    /// Closes what nobody has taken.
    pub(super) fn close_others(&mut self) {
        for given in self.sockets.drain(..) {
            let (name, address) = (given.name.as_deref(), &given.address);
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
    pub fn tell_ready(&mut self) -> io::Result<()> {
        let Some(channel) = &self.channel else { return Ok(()) };
        Message::Ready.send(channel, None)?;
        // Those that no listener has go away with this.
        self.files.drain(..).for_each(|file| file.take_over());
        Ok(())
    }

    /// Tells it why this one can't start.
    pub fn tell_failed(&self, why: &str) {
        if let Some(channel) = &self.channel {
            // Nobody is left who could be told, then.
            let _ = Message::failed(why).send(channel, None);
        }
    }
}

/// The socket of Unix that systemd gave at this place, if it is one with a path.
fn of_unix(given: &mut listenfd::ListenFd, index: usize) -> Option<(ListenAddress, OwnedFd)> {
    let socket = given.take_unix_listener(index).ok()??;
    let address = socket.local_addr().ok()?;
    Some((ListenAddress::Unix(address.as_pathname()?.to_owned()), socket.into()))
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
        let address = ListenAddress::from(SocketAddr::from(([127, 0, 0, 1], 0)));
        let is = ListenAddress::from(bound.local_addr().expect("it is bound"));
        let message = Message::Socket {
            name: "edge".to_owned(),
            address: address.to_string(),
            is_made_here: false,
        };
        message.send(&old, Some(bound.as_fd())).expect("there is room");
        Message::AllSockets.send(&old, None).expect("there is room");
        drop(bound);
        let mut all = Inherited::of_channel(new).expect("they are in order");
        assert!(all.take("other", &address).is_none(), "its port was chosen for another name");
        let taken = all.take("edge", &address).expect("it was given");
        assert_eq!(taken.address().expect("it is bound"), is);
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
        let one = Inherited { channel: Some(new), ..Inherited::default() };
        one.tell_failed(&why);
        let (said, _) = Message::receive(&old).expect("it is a message").expect("it is there");
        assert!(matches!(said, Message::Failed(said) if !said.is_empty()));
    }
}
