//! YAML into typed values that remember their place. The only room that knows the parser.
//!
//! What the values mean is not known here: each room reads its own part of the file.
//!
//! `parse` goes over the text twice, so that the operator gets every problem at once and each with
//! its line and a caret. The second pass fills in the variables value by value, so that no value
//! can change the structure of the file.
//!
//! ```text
//!   the file's text ────────────────┬──────────────────────────────┐
//!         │                         │                              │
//!         │ environment::missing    │ first pass, untyped          │ second pass, typed
//!         │ each `${NAME}` without  │                              │ (only if every variable
//!         │ a value or a default    ▼                              │  has a value)
//!         │                 serde_yaml → Tree                      ▼
//!         │                         │                  serde_yaml → Deserialize of `T`
//!         │                         │ schema_check                 │
//!         │                         │ the Tree beside the          │ scalar: each single value
//!         │                         │ JSON Schema of `T`: unknown  │   environment::fill
//!         │                         │ and missing keys, values of  │   Scalar::read → a type
//!         │                         │ the wrong kind               │   At: its line and column
//!         │                         │                              │
//!         ▼                         ▼                              ▼
//!     Vec<Problem>      +      Vec<Problem>      +      `T`, or Vec<Problem>
//!         └───────────────┬─────────┴──────────────────────────────┘
//!                         ▼
//!     problem::Report: sorted by line, each with its line of the file and a caret
//! ```
//!
//! A text that is not YAML at all ends the first pass. `parser_messages` says the parser's error in
//! words of ours. Then `gateway::compile` looks up names and adds its own problems, with the places
//! that `At` has kept.

mod environment;
mod joined;
mod list;
mod scalar_or;
mod scalar;
mod named;
mod schema_check;
mod tree;
mod parser_messages;

pub use environment::Environment;
pub use joined::{Keys, joined};
pub use list::OneOrMany;
pub use named::Named;
pub use scalar::{Scalar, scalar};
pub use scalar_or::ScalarOr;

use crate::problem::{Place, Problem};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_yaml::{DuplicateKeyPolicy, Location, Options, Spanned};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// The largest configuration that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// How many nodes a configuration may unfold to by its aliases.
const NODES_MAX: usize = 100_000;

/// Reads `source` as a `T`, with the variables of `env` filled in. `Err` holds everything that is
/// wrong: variables without a value, what does not fit the schema, and each value that cannot be
/// read.
pub fn parse<T>(source: &str, env: &Environment) -> Result<T, Vec<Problem>>
where
    T: DeserializeOwned + JsonSchema,
{
    if source.len() > FILE_BYTES_MAX {
        let text = format!("the file has more than {FILE_BYTES_MAX} bytes");
        return Err(vec![Problem::of_file(text).help("it is read whole: split its routes")]);
    }
    let mut problems = env.missing(source);
    let is_filled = problems.is_empty();
    match schema_check::check(source, &schemars::schema_for!(T).to_value()) {
        Ok(found) => problems.extend(found),
        Err(error) => {
            problems.push(parser_messages::problem(&error, source));
            return Err(problems);
        }
    }
    if !is_filled {
        // A value whose variable is missing would be wrong only for that reason.
        return Err(problems);
    }
    let fits_schema = problems.is_empty();
    let (read, misread) =
        scalar::collecting(|| env.during(|| serde_yaml::from_str_with_options(source, strict())));
    problems.extend(misread);
    match read {
        Ok(value) if problems.is_empty() => return Ok(value),
        Err(error) if fits_schema => problems.push(parser_messages::problem(&error, source)),
        // What does not fit the schema was reported already, in a better message.
        Ok(_) | Err(_) => {}
    }
    Err(problems)
}

fn strict() -> Options {
    let mut options = Options::default();
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    options.strict_booleans = true;
    options.with_snippet = false;
    options.alias_limits.max_total_replayed_events = NODES_MAX;
    options
}

fn place(location: Location) -> Option<Place> {
    let length = u32::try_from(location.span().len()).unwrap_or(0);
    let (line, column) = (location.line() as u32, location.column() as u32);
    (line > 0).then_some(Place { line, column: column.max(1), length })
}

/// A value and where it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At<T> {
    /// The value itself.
    pub value: T,
    /// Its line and column in the file.
    pub place: Place,
}

impl<T> At<T> {
    /// A default, which has no place in the file.
    pub fn unwritten(value: T) -> Self {
        At { value, place: Place::default() }
    }

    /// A problem with this value, at its place.
    pub fn problem(&self, text: impl Into<String>) -> Problem {
        Problem::at(self.place, text)
    }
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        let place = place(spanned.referenced).unwrap_or_default();
        Ok(At { value: spanned.value, place })
    }
}

impl<T: Serialize> Serialize for At<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

/// A mapping from names the operator chose to `T`, in the file's order, each name with its place.
#[derive(Clone, Debug)]
pub struct Entries<T>(Vec<(At<String>, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Entries(Vec::new())
    }
}

impl<T> Entries<T> {
    /// The entries in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = (&At<String>, &T)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The entries without their names.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }

    /// The names with their places.
    pub fn places(&self) -> Vec<&At<String>> {
        self.0.iter().map(|(name, _)| name).collect()
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping from names to settings")
    }

    /// A section whose entries are all commented out is empty.
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Entries::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntriesVisitor(PhantomData))
    }
}

impl<T: Serialize> Serialize for Entries<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(name, value)| (name.as_str(), value)))
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Entries_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        schemars::json_schema!({ "type": ["object", "null"], "additionalProperties": value })
    }
}

/// Implements `Deserialize` for types that are `Scalar`.
macro_rules! scalars {
    ($($name:ty),+ $(,)?) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                $crate::yaml::scalar(d)
            }
        }
    )+};
}
pub(crate) use scalars;

#[cfg(test)]
mod tests;
