//! How far the head of a request has got, and whose it is, for the exchange that is being polled on
//! this thread.
//!
//! `edge/h1.rs` draws who sets this state and who reads it.

use super::in_flight::{Guard, InFlight};
use super::peer::Peer;
use crate::denial::Code;
use crate::exchange::Room;
use std::cell::Cell;

/// How far the head of one request has got.
#[derive(Clone, Copy, Debug)]
pub(super) enum HeadState {
    /// Pingora still waits for the rest of it, or parses it.
    Unread,
    /// Pingora has read it and has begun its phases.
    Read,
    /// Pingora could not parse it, or would not take it.
    Refused(Code),
}

thread_local! {
    static CURRENT: Cell<HeadState> = const { Cell::new(HeadState::Unread) };
    static PEER: Cell<Peer> = const { Cell::new(Peer::UNKNOWN) };
    /// Set together with `HeadState::Read`.
    static GUARD: Cell<Option<Guard>> = const { Cell::new(None) };
}

/// One poll of an exchange. A guard that nobody took ends with it: the poll has panicked.
pub(super) struct Entered(());

/// Enters the exchange that is about to be polled: how far its head has got, and the other end of
/// its connection.
#[must_use]
pub(super) fn enter(state: HeadState, peer: Peer) -> Entered {
    CURRENT.set(state);
    PEER.set(peer);
    Entered(())
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(GUARD.take());
    }
}

/// The guard of the request whose head was read while its exchange was polled.
pub(super) fn take_guard() -> Guard {
    GUARD.take().expect("the request was counted when its head was read")
}

impl HeadState {
    /// The state of the exchange that is being polled.
    pub(super) fn get() -> Self {
        CURRENT.get()
    }

    /// Changes the state of the exchange that is being polled.
    pub(super) fn set(self) {
        CURRENT.set(self);
    }
}

/// A request whose head has come.
#[derive(Debug)]
pub struct Opened {
    /// Who sent it.
    pub peer: Peer,
    /// How much room there is for it among the requests in flight.
    pub room: Room,
}

/// Tells the edge that the head is here: its deadline no longer applies, and the request is in
/// flight. Called within a poll of the exchange.
pub fn head_was_read(in_flight: &InFlight) -> Opened {
    HeadState::Read.set();
    let guard = in_flight.enter();
    let opened = Opened { peer: PEER.get(), room: guard.room() };
    GUARD.set(Some(guard));
    opened
}
