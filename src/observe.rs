//! Reports what happens. Every happening is an [`Event`], and one function, [`Observe::emit`],
//! gives it to all who listen, so that a metric and a log line cannot disagree.

pub mod access;
mod counting;
mod log;
mod repeat;
mod event;
pub mod writer;

pub use access::AccessLog;
pub use event::{Ended, Event, Http2Event, Tls};
pub use log::{config_problems, library_failed, own_lines};

use crate::metrics::Metrics;

/// Where the gateway reports what happens. A clone reports to the same places.
#[derive(Clone, Debug)]
pub struct Observe {
    /// All metrics of the gateway.
    pub metrics: Metrics,
    access: AccessLog,
}

impl Observe {
    /// Reports to these metrics and to this access log. The operator's log is the process's.
    pub fn new(metrics: Metrics, access: AccessLog) -> Self {
        Observe { metrics, access }
    }

    /// Whether a sink takes [`Event::Stream`]. If none does, nobody need subscribe to a policy's
    /// leases, and a start costs no message.
    pub fn takes_streams(&self) -> bool {
        log::takes_streams()
    }

    /// Reports `event`. Another sink is another line here.
    pub fn emit(&self, event: &Event<'_>) {
        counting::count(&self.metrics, event);
        log::write(event);
        self.access.take(event);
    }

    /// Tells what was counted because it would have repeated. `server` calls it once a second, and
    /// at the end.
    pub fn tell_repeated(&self, is_last: bool) {
        log::tell_repeated(is_last);
    }

    /// Brings the figures up to date that the log itself counts.
    pub fn refresh(&self) {
        self.metrics.show_logs(self.access.dropped(), own_lines().dropped());
    }
}
