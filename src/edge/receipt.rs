//! Whether what was sent to a client reached anybody.
//!
//! A write to a client that is gone succeeds, because the kernel takes it; then the client's system
//! refuses it and breaks the connection. A read does not show that where the client has closed its
//! side before, so the kernel is asked.

use pingora::protocols::SocketDigest;

/// The states of a connection that matter here, by their numbers in Linux (`tcp_states.h`).
const CLOSED: u8 = 7;
const CLOSE_WAIT: u8 = 8;

/// What the client's system said to what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The client has not closed its side, or has what was sent: it waits for its answer.
    Taken,
    /// The client has closed its side, and its system has not said yet whether anybody reads.
    Awaited,
    /// Nobody is there: the connection is broken.
    Refused,
}

impl Receipt {
    /// As the kernel tells it. Where it tells nothing, the client is taken to be there.
    pub(super) fn told(socket: Option<&SocketDigest>) -> Self {
        let info = socket.and_then(SocketDigest::tcp_info);
        info.map_or(Receipt::Taken, |info| Receipt::of(info.tcpi_state, info.tcpi_unacked))
    }

    /// By the state of a connection, and how many packets wait to be acknowledged.
    fn of(state: u8, unacked: u32) -> Self {
        match (state, unacked) {
            (CLOSED, _) => Receipt::Refused,
            (CLOSE_WAIT, 1..) => Receipt::Awaited,
            _ => Receipt::Taken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_connection_has_nobody() {
        const ESTABLISHED: u8 = 1;
        for (state, unacked, expected) in [
            (ESTABLISHED, 0, Receipt::Taken),
            (ESTABLISHED, 3, Receipt::Taken),
            (CLOSE_WAIT, 0, Receipt::Taken),
            (CLOSE_WAIT, 1, Receipt::Awaited),
            (CLOSED, 0, Receipt::Refused),
        ] {
            assert_eq!(Receipt::of(state, unacked), expected, "{state} {unacked}");
        }
    }
}
