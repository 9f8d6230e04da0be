//! Why there is no certificate, for people.

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The authority refused, or was not reached.
    #[error("{0}")]
    Authority(String),
    /// It is not content with the proof.
    #[error("the authority is not content with the proof: {0}")]
    Unproven(String),
    /// A file could not be written.
    #[error("`{0}` can't be written: {1}")]
    Kept(String, String),
    /// The store that all is kept in can't be asked.
    #[error("the store `{0}` can't be asked: {1}")]
    Store(String, String),
    /// What is kept there can't be opened.
    #[error(
        "what the store `{0}` keeps was sealed with another secret, or changed: have the same \
         `current` at all gateways, or the one before as `previous`; if it is lost, delete the \
         keys `{1}:*`"
    )]
    Sealed(String, String),
    /// Another gateway may have begun to order.
    #[error("the store was away for too long, so another gateway may order by now")]
    TurnLost,
    /// A file that was named can't be used.
    #[error("`ca` can't be used: {0}")]
    Ca(String),
    /// What the authority gave is no certificate for these names.
    #[error("what the authority gave is no certificate for these names")]
    Unusable,
}

impl AcmeError {
    /// Whether an authority was asked, and may have counted it.
    pub(super) fn is_authoritys(&self) -> bool {
        match self {
            AcmeError::Authority(_) | AcmeError::Unproven(_) | AcmeError::Unusable => true,
            AcmeError::Kept(..)
            | AcmeError::Store(..)
            | AcmeError::Sealed(..)
            | AcmeError::TurnLost
            | AcmeError::Ca(_) => false,
        }
    }
}

impl From<instant_acme::Error> for AcmeError {
    fn from(error: instant_acme::Error) -> Self {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        AcmeError::Authority(text)
    }
}
