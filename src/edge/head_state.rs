//! How far the head of a request has got, and whose it is, for the exchange that is being polled on
//! this thread.
//!
//! `edge/h1.rs` draws who sets this state and who reads it.

use super::peer::Peer;
use crate::denial::Code;
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
}

/// Enters the exchange that is about to be polled: how far its head has got, and the other end of
/// its connection.
pub(super) fn enter(state: HeadState, peer: Peer) {
    CURRENT.set(state);
    PEER.set(peer);
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

/// Tells the edge that the head is here: its deadline no longer applies. Returns who sent it.
pub fn head_was_read() -> Peer {
    HeadState::Read.set();
    PEER.get()
}
