//! Why a token proves nothing. It is for metrics and logs; what the client gets is the filter's
//! work.

/// The reason. It holds no content of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a signed token in compact form (RFC 7515), or it is one that is not accepted here.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// Its `alg` is not the algorithm of its key.
    #[error("the token is signed with another algorithm than its key is for")]
    Algorithm,
    /// No key that may have signed it is known.
    #[error("the token names a key that is not known")]
    UnknownKey,
    /// The signature was not made with the key.
    #[error("the signature is not valid")]
    BadSignature,
    /// `exp` has passed, the leeway included.
    #[error("the token has expired")]
    Expired,
    /// `nbf` lies ahead, the leeway included.
    #[error("the token is not valid yet")]
    NotYet,
    /// `iss` is not what the configuration says.
    #[error("the token is from another issuer")]
    Issuer,
    /// `aud` is not what the configuration says.
    #[error("the token is for another audience")]
    Audience,
    /// The signed claims lack what a session needs, or hold it in a wrong form.
    #[error("the claims are not those of a session: {0}")]
    Claims(&'static str),
    /// A key set was never loaded, or is too old, so the token can't be checked.
    #[error("the keys are not available")]
    KeysUnavailable,
}

impl TokenError {
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
            TokenError::Malformed(_) => "malformed",
            TokenError::Algorithm => "algorithm",
            TokenError::UnknownKey => "unknown_key",
            TokenError::BadSignature => "bad_signature",
            TokenError::Expired => "expired",
            TokenError::NotYet => "not_yet",
            TokenError::Issuer => "issuer",
            TokenError::Audience => "audience",
            TokenError::Claims(_) => "claims",
            TokenError::KeysUnavailable => "keys_unavailable",
        }
    }
}
