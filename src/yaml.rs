//! YAML into typed values that remember their place. The only room that knows the parser.
//!
//! What the values mean is not known here: each room reads its own part of the file.

mod environment;
mod named;

pub use environment::Environment;
pub use named::Named;

use crate::problem::{Place, Problem, listed, nearest};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_yaml::{DuplicateKeyPolicy, Error, Location, Options, Spanned};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// The largest configuration that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Separates a message from its remedy while both travel through serde's one string.
const HELP: &str = "\u{1f}";

/// Reads `source` as a `T`. Variables are looked up in `environment`; all that are missing are
/// reported at once, a misfit of the shape alone.
pub fn parse<T: DeserializeOwned>(source: &str, env: &Environment) -> Result<T, Vec<Problem>> {
    if source.len() > FILE_BYTES_MAX {
        let text =
            format!("the file has {} bytes; at most {FILE_BYTES_MAX} are read", source.len());
        return Err(vec![Problem::of_file(text)]);
    }
    let missing = env.missing(source);
    if !missing.is_empty() {
        return Err(missing);
    }
    env.during(|| serde_yaml::from_str_with_options(source, strict()))
        .map_err(|error| vec![problem(&error)])
}

fn strict() -> Options {
    let mut options = Options::default();
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    options.strict_booleans = true;
    options.with_snippet = false;
    options
}

/// The parser's error in our words, with a guess at what was meant.
fn problem(error: &Error) -> Problem {
    let error = error.without_snippet();
    let (text, help) = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            (format!("unknown key `{field}`"), Some(expectation(field, expected)))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("unknown name `{variant}`"), Some(expectation(variant, expected)))
        }
        Error::SerdeMissingField { field, .. } => {
            (format!("`{field}` is missing"), Some(format!("add `{field}: …` here")))
        }
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("…");
            (format!("`{key}` stands here twice"), Some("remove one of the two".to_owned()))
        }
        Error::Message { msg, .. } => match msg.split_once(HELP) {
            Some((text, help)) => (text.to_owned(), Some(help.to_owned())),
            None => (msg.clone(), None),
        },
        other => (plain(&other.render()), None),
    };
    let at = error.location().and_then(place);
    Problem { at, text, help, level: crate::problem::Level::Error }
}

/// The parser's own sentence, without the position that the report prints anyway.
fn plain(rendered: &str) -> String {
    let line = rendered.lines().next().unwrap_or("the YAML cannot be read");
    let text = line.strip_prefix("error: ").unwrap_or(line);
    match text.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, sentence)) => sentence.to_owned(),
        None => text.split(" at line ").next().unwrap_or(text).to_owned(),
    }
}

fn expectation(written: &str, expected: &[&'static str]) -> String {
    let all = listed(expected.iter().copied());
    match nearest(written, expected.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`? possible here: {all}"),
        None => format!("possible here: {all}"),
    }
}

fn place(location: Location) -> Option<Place> {
    let length = u32::try_from(location.span().len()).unwrap_or(0);
    let (line, column) = (location.line() as u32, location.column() as u32);
    (line > 0).then_some(Place { line, column: column.max(1), length })
}

/// A value and where it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub place: Place,
}

impl<T> At<T> {
    /// A default: it stands nowhere.
    pub fn unwritten(value: T) -> Self {
        At { value, place: Place::default() }
    }

    /// A problem with this very value.
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
    pub fn iter(&self) -> impl Iterator<Item = (&At<String>, &T)> {
        self.0.iter().map(|(name, value)| (name, value))
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
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
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
        schemars::json_schema!({ "type": "object", "additionalProperties": value })
    }
}

/// One value, or a list of them, each with its place.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct OneOrMany<T>(Vec<At<T>>);

impl<T> OneOrMany<T> {
    pub fn iter(&self) -> impl Iterator<Item = &At<T>> {
        self.0.iter()
    }
}

/// What stands in the file; the place of a single value is known only around it.
enum Written<T> {
    One(T),
    Many(Vec<At<T>>),
}

struct WrittenVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for WrittenVisitor<T> {
    type Value = Written<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value or a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element()? {
            all.push(one);
        }
        Ok(Written::Many(all))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        T::deserialize(text.into_deserializer()).map(Written::One)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let At { value, place } = At::<Written<T>>::deserialize(deserializer)?;
        Ok(match value {
            Written::One(value) => OneOrMany(vec![At { value, place }]),
            Written::Many(all) => OneOrMany(all),
        })
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        schemars::json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

/// One value in the file, of a kind that is written as text or a number.
pub trait Scalar: Sized {
    /// What would be right, for the error: "a time such as `30s`".
    const EXPECTED: &'static str;

    /// Reads it; `Err` says what is wrong beyond "this is not …", or is empty.
    fn read(text: &str) -> Result<Self, String>;
}

/// Reads a scalar after filling in variables. The message never repeats what a variable held.
pub fn scalar<'de, D: Deserializer<'de>, T: Scalar>(deserializer: D) -> Result<T, D::Error> {
    let written = Cow::<'de, str>::deserialize(deserializer)?;
    let filled = environment::fill(&written);
    T::read(&filled).map_err(|why| {
        let shown = written.replace('\n', "\\n");
        let text = match why.is_empty() {
            true => format!("`{shown}` is not {}", T::EXPECTED),
            false => why,
        };
        serde::de::Error::custom(format!("{text}{HELP}write {}", T::EXPECTED))
    })
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
