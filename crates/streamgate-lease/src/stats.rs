//! What a node did and has, counted. Numbers only: names and labels are the caller's business.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// Why this node's renewer lost leases, each counted since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Stopped by their own player, through another node.
    pub released: u64,
    /// Stopped by somebody of the account, or by support.
    pub terminated: u64,
    /// A newcomer took the slot.
    pub replaced: u64,
    /// A later playback of its own login had begun, and somebody needed the slot.
    pub superseded: u64,
    /// The slot was gone and all are taken by others.
    pub refused: u64,
    /// The slot was gone and the id is not the renewer's to start again; the next request asks.
    pub gone: u64,
}

/// One node's counters (since start) and gauges (now).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Gauge: entries in the table, ended ones that are still remembered included.
    pub table_entries: u64,
    /// Gauge: streams admitted by this node alone that the store has not heard of yet.
    pub provisional: u64,
    /// Gauge: for how long the store has not answered. None while it does.
    pub degraded_for: Option<Duration>,
    /// How long the store has not answered, since start and in all.
    pub degraded: Duration,
    /// Streams that the store adopted beyond the limit.
    pub adopted_over_limit: u64,
    /// Starts that were refused because this node had started as many alone as it may.
    pub starts_refused: u64,
    /// Streams that the store admitted because this node asked for them.
    pub admitted: u64,
    /// Refusals for want of room that this node passed on.
    pub refused: u64,
    /// Claims answered that the id has ended.
    pub ended: u64,
    /// Streams ended by admissions that this node asked for, as a later playback of their login had
    /// begun.
    pub superseded: u64,
    /// Slots of starts that failed, given back.
    pub given_back: u64,
    /// Starts without an answer of which nobody knows whether they have a slot; a ttl frees it.
    pub starts_left: u64,
    /// Starts that were admitted by this node alone.
    pub admitted_locally: u64,
    /// Slots renewed.
    pub renewals: u64,
    /// Renewals that were due and that the store did not take: it did not answer, or was not asked
    /// after it had failed. Each is due again at the next tick.
    pub renewals_skipped: u64,
    /// Leases that the renewer claimed and was granted: provisional ones, ones that the store had
    /// lost, and ones whose renewal had left a doubt.
    pub registered: u64,
    /// Leases lost while the renewer held them.
    pub lost: Lost,
    /// Entries that had to leave the table because it was full.
    pub evicted: u64,
    /// Events that were dropped because the subscriber's channel was full.
    pub events_dropped: u64,
    /// Ticks of the renewer.
    pub ticks: u64,
    /// How long the last tick took.
    pub last_tick: Duration,
    /// Times that the store could not answer.
    pub store_errors: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) admitted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) ended: AtomicU64,
    pub(crate) superseded: AtomicU64,
    pub(crate) given_back: AtomicU64,
    pub(crate) starts_left: AtomicU64,
    pub(crate) admitted_locally: AtomicU64,
    pub(crate) adopted_over_limit: AtomicU64,
    pub(crate) starts_refused: AtomicU64,
    pub(crate) renewals: AtomicU64,
    pub(crate) renewals_skipped: AtomicU64,
    pub(crate) registered: AtomicU64,
    pub(crate) lost_released: AtomicU64,
    pub(crate) lost_terminated: AtomicU64,
    pub(crate) lost_replaced: AtomicU64,
    pub(crate) lost_superseded: AtomicU64,
    pub(crate) lost_refused: AtomicU64,
    pub(crate) lost_gone: AtomicU64,
    pub(crate) events_dropped: AtomicU64,
    pub(crate) ticks: AtomicU64,
    pub(crate) last_tick_us: AtomicU64,
    pub(crate) store_errors: AtomicU64,
}

/// Counts one more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Since when the store has not answered, and how long that has been in all.
#[derive(Debug, Default)]
pub(crate) struct Outage(Mutex<(Option<Instant>, Duration)>);

impl Outage {
    /// The store answered, or it did not.
    pub(crate) fn note(&self, answered: bool) {
        let mut outage = self.0.lock();
        match (outage.0, answered) {
            (None, false) => outage.0 = Some(Instant::now()),
            (Some(since), true) => *outage = (None, outage.1 + since.elapsed()),
            _ => {}
        }
    }

    /// How long it lasts by now, if it does, and all of them together.
    pub(crate) fn read(&self) -> (Option<Duration>, Duration) {
        let (since, before) = *self.0.lock();
        let lasts = since.map(|since| since.elapsed());
        (lasts, before + lasts.unwrap_or_default())
    }
}

impl Counters {
    /// All of them now; the gauges of the table are left at zero for it to fill in.
    pub(crate) fn read(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Stats {
            admitted: read(&self.admitted),
            refused: read(&self.refused),
            ended: read(&self.ended),
            superseded: read(&self.superseded),
            given_back: read(&self.given_back),
            starts_left: read(&self.starts_left),
            admitted_locally: read(&self.admitted_locally),
            adopted_over_limit: read(&self.adopted_over_limit),
            starts_refused: read(&self.starts_refused),
            renewals: read(&self.renewals),
            renewals_skipped: read(&self.renewals_skipped),
            registered: read(&self.registered),
            lost: Lost {
                released: read(&self.lost_released),
                terminated: read(&self.lost_terminated),
                replaced: read(&self.lost_replaced),
                superseded: read(&self.lost_superseded),
                refused: read(&self.lost_refused),
                gone: read(&self.lost_gone),
            },
            events_dropped: read(&self.events_dropped),
            ticks: read(&self.ticks),
            last_tick: Duration::from_micros(read(&self.last_tick_us)),
            store_errors: read(&self.store_errors),
            ..Stats::default()
        }
    }
}
