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

impl Outcome {
    /// Whether it speaks against the endpoint. A status does if it says that the server can't
    /// answer (502, 503, 504); others may be about the request.
    pub fn is_failure(self) -> bool {
        match self {
            Outcome::Refused | Outcome::Failed(_) => true,
            Outcome::Answered(status) => (502..=504).contains(&status),
            Outcome::Abandoned => false,
        }
    }
}
