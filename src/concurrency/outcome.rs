//! What comes of a claim to play: a request may go on, or not, and how that is counted.

use crate::denial::Denial;
use streamgate_lease::Lease;

/// Why a request may go on.
#[derive(Clone, Debug)]
pub enum Admission {
    /// The stream holds its slot.
    Held(Lease, Outcome),
    /// The store is down and the policy is `open`: nothing was counted.
    Uncounted,
}

/// How a decision came about: the label of `streamgate_stream_decisions_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A new stream got a slot.
    Admitted,
    /// The stream had its slot already.
    Renewed,
    /// A new stream got the slot of another.
    Takeover,
    /// The store did not answer, and this gateway admitted the stream alone.
    AdmittedDegraded,
    /// The store did not answer, and the policy lets everybody play then.
    AdmittedFailOpen,
    /// The account was full.
    Denied,
    /// The stream had ended.
    Ended,
    /// The store did not answer, and the policy refuses then; or it was too slow to answer.
    Unavailable,
}

impl Outcome {
    /// Every outcome, for the metrics.
    pub const ALL: [Outcome; 8] = [
        Outcome::Admitted,
        Outcome::Renewed,
        Outcome::Takeover,
        Outcome::AdmittedDegraded,
        Outcome::AdmittedFailOpen,
        Outcome::Denied,
        Outcome::Ended,
        Outcome::Unavailable,
    ];

    /// The value of the label and the log field.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Admitted => "admitted",
            Outcome::Renewed => "renewed",
            Outcome::Takeover => "takeover",
            Outcome::AdmittedDegraded => "admitted_degraded",
            Outcome::AdmittedFailOpen => "admitted_fail_open",
            Outcome::Denied => "denied",
            Outcome::Ended => "ended",
            Outcome::Unavailable => "unavailable",
        }
    }
}

/// A refusal and the outcome it is counted as.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What the client gets.
    pub denial: Denial,
    /// What is counted.
    pub outcome: Outcome,
}

/// The store is away, and only it could tell.
pub(super) fn unavailable() -> Refusal {
    Refusal { denial: Denial::enforcement_unavailable(), outcome: Outcome::Unavailable }
}

/// The store has given no word yet; the player is to ask again soon.
pub(super) fn late() -> Refusal {
    Refusal { denial: Denial::enforcement_late(), outcome: Outcome::Unavailable }
}
