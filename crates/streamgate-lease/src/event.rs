//! What happens to the streams of this node, as values: starts, ends and refusals.
//!
//! A node tells of the leases in its own table. So on one node each stream's events alternate:
//! `Started`, perhaps `Adopted`, `Ended`, and `Started` again. A stream whose requests move to
//! another node starts there (`Start::Joined`) and expires here.

use crate::holder::Holder;
use crate::lease::{Class, Ending, LeaseId};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::mpsc::{self, error::TrySendError};

/// Something that happened to a stream on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseEvent {
    /// Whose stream it is.
    pub holder: Holder,
    /// Which stream it is.
    pub id: LeaseId,
    /// What happened.
    pub change: Change,
}

/// What happened to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It plays on this node from now on.
    Started {
        /// Who admitted it.
        how: Start,
        /// When it was admitted, in unix milliseconds of the store's clock.
        started_at: u64,
    },
    /// The store has taken over a stream that it did not have: one that this node had admitted or
    /// extended without it, or one that the store had lost. The stream plays on.
    Adopted {
        /// There was no room for it; it plays on for a while, beyond the limit.
        over_limit: bool,
    },
    /// It does not play on this node any more.
    Ended {
        /// The reason.
        why: End,
        /// When it was admitted, in unix milliseconds of the store's clock.
        started_at: u64,
    },
    /// A claim was refused. If the stream played already, as when it wanted a further class, then
    /// it plays on.
    Refused {
        /// The reason.
        why: Refusal,
    },
}

/// How a stream started on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Start {
    /// The store admitted it.
    Admitted,
    /// The store had it already: it played through another node, or before this one's restart.
    Joined,
    /// This node admitted it while the store could not be asked.
    Provisional,
}

/// Why a stream ended on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// Its own player stopped.
    Released,
    /// Somebody of the account, or support, stopped it.
    Terminated,
    /// A newcomer took its slot.
    Replaced,
    /// A later playback of its own login had begun, and somebody needed the slot.
    Superseded,
    /// The first answer to its playback was an error, and its slot was given back. Should another
    /// node have let a request of it pass, it starts again here (`Start::Joined`).
    Failed,
    /// It had been paused for long, and a newcomer needed its slot.
    Idle,
    /// Its player showed no sign of life here. It is told when the entry leaves the table: up to
    /// two ttls and a tick after the last sign of life, or when the stream starts again.
    Expired,
    /// Its slot was lost, and all slots are taken by others.
    Refused,
    /// Its slot was lost, and a renewal may not start a reusable id again.
    Gone,
    /// The table of this node was full. The stream starts again (`Start::Joined`) at its next
    /// request.
    Evicted,
}

/// Why a claim was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There is no room.
    Full {
        /// The limit that was reached.
        limit: u32,
        /// The class that has no room. None: there is no room for any stream.
        class: Option<Class>,
    },
    /// The id has ended.
    Ended(Ending),
    /// This node has started as many streams without the store as it may.
    StartsExhausted,
}

/// The events of one [`Leases`](crate::Leases), from the moment of the subscription on.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<LeaseEvent>);

/// Where events are sent: to nobody, or to the one who has subscribed.
#[derive(Debug, Default)]
pub(crate) struct Subscriber {
    /// Read before the lock is taken, so that events cost nothing while nobody has subscribed.
    is_there: AtomicBool,
    channel: Mutex<Option<mpsc::Sender<LeaseEvent>>>,
}

impl Events {
    /// The next event, as soon as there is one. None: somebody else has subscribed in the meantime,
    /// or the leases are gone.
    pub async fn recv(&mut self) -> Option<LeaseEvent> {
        self.0.recv().await
    }

    /// The next event, if there is one now.
    pub fn try_recv(&mut self) -> Option<LeaseEvent> {
        self.0.try_recv().ok()
    }
}

impl Start {
    /// One word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Joined => "joined",
            Self::Provisional => "provisional",
        }
    }
}

impl End {
    /// One word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Terminated => "terminated",
            Self::Replaced => "replaced",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::Idle => "idle",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Gone => "gone",
            Self::Evicted => "evicted",
        }
    }
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Released => Self::Released,
            Ending::Terminated => Self::Terminated,
            Ending::Replaced => Self::Replaced,
            Ending::Superseded => Self::Superseded,
            Ending::Unused => Self::Refused,
        }
    }
}

impl Subscriber {
    /// Sends events to a new subscriber from now on, and to the former one no longer.
    pub(crate) fn subscribe(&self, events_max: usize) -> Events {
        let (sender, receiver) = mpsc::channel(events_max.max(1));
        *self.channel.lock() = Some(sender);
        self.is_there.store(true, Relaxed);
        Events(receiver)
    }

    /// Sends an event, if somebody has subscribed. False: the channel is full, and it was dropped.
    pub(crate) fn send(&self, event: LeaseEvent) -> bool {
        if !self.is_there.load(Relaxed) {
            return true;
        }
        let mut channel = self.channel.lock();
        match channel.as_ref().map(|sender| sender.try_send(event)) {
            Some(Err(TrySendError::Full(_))) => false,
            Some(Err(TrySendError::Closed(_))) => {
                self.is_there.store(false, Relaxed);
                *channel = None;
                true
            }
            Some(Ok(())) | None => true,
        }
    }
}
