//! The metrics of starts that came to nothing.

use super::family::Families;
use prometheus::IntCounterVec;

/// What became of the slots of starts that failed.
#[derive(Debug)]
pub(crate) struct StartMetrics {
    pub(super) failed: IntCounterVec,
    pub(super) left: IntCounterVec,
}

impl StartMetrics {
    pub(super) fn new(f: &mut Families) -> Self {
        StartMetrics {
            failed: f.counters(
                "stream_starts_failed_total",
                "Starts whose first answer was an error, or reached nobody, and whose slots were \
                 given back.",
                &["policy"],
            ),
            left: f.counters(
                "stream_starts_left_total",
                "Starts that got no answer and whose slots, if they have one, only a ttl frees.",
                &["policy"],
            ),
        }
    }
}
