//! An encoded slash, `%2F`, in a path. Some servers take it for a slash and others for a character
//! of a name, so it is refused where it could be either.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of `%2F` in the path of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodedSlash {
    /// The request is refused with 400.
    #[default]
    Refuse,
    /// It stays as it is, in what the path's `{*rest}` takes.
    Pass,
}
