//! Why a text is no path, host or pattern.

/// Why a text is no path or host, and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What is wrong.
    pub text: String,
    /// What would be right.
    pub help: String,
}

/// The mistake, as an error.
pub(super) fn misfit<T>(text: impl Into<String>, help: impl Into<String>) -> Result<T, Misfit> {
    Err(Misfit { text: text.into(), help: help.into() })
}
