//! What a path ends with behind its last dot: `m3u8`, `ts`. In lower case; case does not count.

use crate::yaml::{Scalar, scalars};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use std::borrow::Cow;

/// The extension of a path, as a route asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extension(String);

impl Extension {
    /// The extension in lower case, without a dot.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scalar for Extension {
    const KIND: &'static str = "an extension";
    const EXAMPLE: &'static str = "m3u8";
    const EXPECTED: &'static str = "an extension such as `m3u8`, or a list: `[m3u8, ts]`";

    fn read(text: &str) -> Result<Self, String> {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '~');
        match !text.is_empty() && text.chars().all(is_letter) {
            true => Ok(Extension(text.to_ascii_lowercase())),
            false => Err(String::new()),
        }
    }

    fn advice(text: &str) -> Option<String> {
        let bare = text.trim_start_matches('*').trim_start_matches('.');
        let is_plain = Extension::read(bare).is_ok();
        (is_plain && bare != text).then(|| "leave out what stands before it: `ts`".to_owned())
    }
}

scalars!(Extension);

impl Serialize for Extension {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl JsonSchema for Extension {
    fn schema_name() -> Cow<'static, str> {
        "Extension".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": Extension::EXPECTED,
            "pattern": r"^[A-Za-z0-9_~-]+$|\$\{",
        })
    }
}
