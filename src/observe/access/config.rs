//! `access_log` in `gateway.yaml`: where the lines go.

use crate::units::FilePath;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;

/// The access log. `access_log: off` is short for `access_log: { to: off }`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Config {
    /// Where lines go.
    pub to: Target,
}

/// A place for log lines.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The standard output of the process.
    #[default]
    Stdout,
    /// Appended to; created when it is not there.
    File(FilePath),
    /// No access log.
    Off,
}

/// The same as it may be written: the target alone, or behind `to`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WrittenLog {
    Stdout,
    Off,
    /// Appended to; created when it is not there.
    File(FilePath),
    /// The same, written out.
    To(WrittenTarget),
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WrittenTarget {
    Stdout,
    Off,
    /// Appended to; created when it is not there.
    File(FilePath),
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let to = match WrittenLog::deserialize(deserializer)? {
            WrittenLog::Stdout | WrittenLog::To(WrittenTarget::Stdout) => Target::Stdout,
            WrittenLog::Off | WrittenLog::To(WrittenTarget::Off) => Target::Off,
            WrittenLog::File(path) | WrittenLog::To(WrittenTarget::File(path)) => {
                Target::File(path)
            }
        };
        Ok(Config { to })
    }
}

impl JsonSchema for Config {
    fn schema_name() -> Cow<'static, str> {
        "AccessLog".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        WrittenLog::json_schema(generator)
    }
}
