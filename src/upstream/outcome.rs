//! What an attempt tells whatever learns from outcomes.

/// What came of asking one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took no connection.
    Refused,
    /// Its answer began, with this status.
    Answered(u16),
    /// It gave no valid answer; why, in words of ours.
    Failed(&'static str),
    /// Nothing came of it: the client went away, or a kept connection was gone.
    Abandoned,
}
