//! Why a token proves nothing. For metrics and logs; what the client is told is the filter's part.

/// The reason, without any content of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no signed token of the form that is accepted here (RFC 7515, compact).
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// Its `alg` is none that its key is used with.
    #[error("the token is signed with another algorithm than its key is for")]
    Algorithm,
    /// No key that may have signed it is known.
    #[error("the token names a key that is not known")]
    UnknownKey,
    #[error("the signature is not valid")]
    BadSignature,
    /// `exp` has passed, the leeway included.
    #[error("the token has expired")]
    Expired,
    /// `nbf` lies ahead, the leeway included.
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token is from another issuer")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    /// The signed claims lack what a session needs, or hold it in a wrong form.
    #[error("the claims are not those of a session: {0}")]
    Claims(&'static str),
    /// A key set was never loaded, or is too old: nothing can be said about the token.
    #[error("the keys are not available")]
    KeysUnavailable,
}

impl Refused {
    /// Every value that `reason` can have, for the table of metrics.
    pub const REASONS: [&'static str; 10] = [
        "malformed",
        "algorithm",
        "unknown_key",
        "bad_signature",
        "expired",
        "not_yet",
        "issuer",
        "audience",
        "claims",
        "keys_unavailable",
    ];

    /// Its name as a label: one of `REASONS`.
    pub fn reason(&self) -> &'static str {
        match self {
            Refused::Malformed(_) => "malformed",
            Refused::Algorithm => "algorithm",
            Refused::UnknownKey => "unknown_key",
            Refused::BadSignature => "bad_signature",
            Refused::Expired => "expired",
            Refused::NotYet => "not_yet",
            Refused::Issuer => "issuer",
            Refused::Audience => "audience",
            Refused::Claims(_) => "claims",
            Refused::KeysUnavailable => "keys_unavailable",
        }
    }
}
