//! Where a cookie of ours comes along from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which requests from other sites bring the cookie along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SameSite {
    Strict,
    #[default]
    Lax,
    None,
}

impl SameSite {
    /// What stands in a `Set-Cookie` field behind the value and the age of a cookie of ours, which
    /// no script can read.
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
