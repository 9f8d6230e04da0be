//! How far the head of a request has got, for the exchange that is being polled on this thread.
//!
//! `edge/h1.rs` draws who sets this state and who reads it.

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
}

impl HeadState {
    /// The state of the exchange that is being polled.
    pub(super) fn get() -> Self {
        CURRENT.get()
    }

    /// Enters the state of the exchange that is being polled, or is about to be.
    pub(super) fn set(self) {
        CURRENT.set(self);
    }
}

/// Tells the edge that the head is here: its deadline no longer applies.
pub fn head_was_read() {
    HeadState::Read.set();
}
