//! The one place where a start, an end and a refusal are written down: counted and sent as an
//! event, so that the two cannot disagree.

use crate::event::{Change, End, Events, LeaseEvent, Refusal, Start, Subscriber};
use crate::holder::Holder;
use crate::lease::{Full, LeaseId};
use crate::stats::{Counters, Stats, count};
use std::sync::atomic::AtomicU64;

/// Counts, and tells the subscriber.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) counters: Counters,
    events_max: usize,
    subscriber: Subscriber,
}

/// Who learned of a change. What the renewer finds lost is counted by its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    Request,
    Renewer,
}

impl Recorder {
    pub(crate) fn new(events_max: usize) -> Self {
        Self { counters: Counters::default(), events_max, subscriber: Subscriber::default() }
    }

    pub(crate) fn subscribe(&self) -> Events {
        self.subscriber.subscribe(self.events_max)
    }

    pub(crate) fn read(&self) -> Stats {
        self.counters.read()
    }

    /// Counts a change and sends it. For a change of an entry it is called under the lock of the
    /// entry's shard, so that the events of one stream are in order.
    pub(crate) fn record(&self, holder: &Holder, id: &LeaseId, change: Change, via: Via) {
        if let Some(counter) = self.counter(change, via) {
            count(counter);
        }
        if !self.subscriber.send(LeaseEvent { holder: *holder, id: *id, change }) {
            count(&self.counters.events_dropped);
        }
    }

    pub(crate) fn refused(&self, holder: &Holder, id: &LeaseId, why: Refusal) {
        self.record(holder, id, Change::Refused { why }, Via::Request);
    }

    pub(crate) fn full(&self, holder: &Holder, id: &LeaseId, full: &Full) {
        self.refused(holder, id, Refusal::Full { limit: full.limit, class: full.class });
    }

    fn counter(&self, change: Change, via: Via) -> Option<&AtomicU64> {
        let counters = &self.counters;
        match change {
            Change::Started { how: Start::Admitted, .. } => Some(&counters.admitted),
            Change::Started { how: Start::Provisional, .. } => Some(&counters.admitted_locally),
            Change::Started { how: Start::Joined, .. } => None,
            Change::Adopted { over_limit } => over_limit.then_some(&counters.adopted_over_limit),
            Change::Refused { why: Refusal::Full { .. } } => Some(&counters.refused),
            Change::Refused { why: Refusal::Ended(_) } => Some(&counters.ended),
            Change::Refused { why: Refusal::StartsExhausted } => Some(&counters.starts_refused),
            Change::Ended { .. } if via == Via::Request => None,
            Change::Ended { why, .. } => match why {
                End::Released => Some(&counters.lost_released),
                End::Terminated => Some(&counters.lost_terminated),
                End::Replaced => Some(&counters.lost_replaced),
                End::Superseded => Some(&counters.lost_superseded),
                End::Refused => Some(&counters.lost_refused),
                End::Gone => Some(&counters.lost_gone),
                End::Failed | End::Idle | End::Expired | End::Evicted => None,
            },
        }
    }
}
