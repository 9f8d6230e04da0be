//! The attributes of a cookie that the gateway sets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which requests from other sites carry the cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SameSite {
    /// None of them.
    Strict,
    /// Only those that follow a link to a page of ours.
    #[default]
    Lax,
    /// All of them.
    None,
}

impl SameSite {
    /// The rest of a `Set-Cookie` field, behind the cookie's value and age. No script can read the
    /// cookie.
    pub fn attributes(self, path: &str, secure: bool) -> String {
        let same_site = match self {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        let secure = if secure { "; Secure" } else { "" };
        format!("; Path={path}; HttpOnly; SameSite={same_site}{secure}")
    }
}
