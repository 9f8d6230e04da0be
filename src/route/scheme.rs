//! The scheme of a URL, as routes ask for it and redirects lead to it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UrlScheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl UrlScheme {
    /// As it stands in a URL.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            UrlScheme::Http => "http",
            UrlScheme::Https => "https",
        }
    }

    /// The one that a request was asked by.
    pub(super) fn asked(is_https: bool) -> Self {
        if is_https { UrlScheme::Https } else { UrlScheme::Http }
    }

    /// The port that it has where none is written.
    pub(super) fn usual_port(self) -> u16 {
        match self {
            UrlScheme::Http => 80,
            UrlScheme::Https => 443,
        }
    }
}
