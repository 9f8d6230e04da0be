//! YAML into typed values that remember their place. The only room that knows the parser.
//!
//! What the values mean is not known here: each room reads its own part of the file.
//!
//! The parser goes over the text once and gives a tree, each part with its place. Variables are
//! filled in value by value when types are read from it, so that no value can change the structure
//! of the file. What is wrong is told and taken out on the way, so that the operator gets every
//! problem at once and each with its line and a caret.
//!
//! ```text
//!   the file's text ────────────────┐
//!         │                         │ serde_yaml → Tree
//!         │ environment::missing    ▼
//!         │ each `${NAME}` without  schema_check: the Tree beside the schema of `T`:
//!         │ a value or a default    unknown and missing keys, values of a wrong kind; leaves
//!         │                         a Tree that fits, with stand-ins for what is wrong
//!         │                         │
//!         │                         │ typed: Deserialize of `T`; scalar: each single value
//!         │                         │   environment::fill, Scalar::read → a type, At: its place
//!         ▼                         ▼
//!     Vec<Problem>      +      Vec<Problem>, and a `T` if enough is left
//!         └───────────────┬─────────┘
//!                         ▼
//!     problem::Report: sorted by line, each with its line of the file and a caret
//! ```
//!
//! A text that is not YAML at all has no tree. `parser_messages` says the parser's error in words
//! of ours. Otherwise `gateway::compile` looks up names and adds its own problems, with the places
//! that `At` has kept; of a draft, `Draft::counts` tells which of them are more than an echo.

mod environment;
mod joined;
mod list;
mod scalar_or;
mod map_or_list;
mod scalar;
mod named;
mod schema_check;
mod tree;
mod typed;
mod parser_messages;
mod cause;
mod include;
pub mod groups;

pub use environment::Environment;
pub use include::included;
pub use joined::{Keys, joined};
pub use list::OneOrMany;
pub use map_or_list::MapOrList;
pub use named::Named;
pub use scalar::{Scalar, scalar};
pub use scalar_or::ScalarOr;

use crate::problem::{Level, Place, Problem};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_yaml::{DuplicateKeyPolicy, Location, Options};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

/// The largest configuration that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// How many nodes a configuration may unfold to by its aliases.
const NODES_MAX: usize = 100_000;

/// What could be read of a file, and what is wrong with it so far.
#[derive(Debug)]
pub struct Draft<T> {
    /// `None` if too much of it is wrong.
    pub value: Option<T>,
    /// Variables without a value, what does not fit the schema, and values that cannot be read.
    pub problems: Vec<Problem>,
    /// Whether all of its structure was understood: keys, names and kinds of values.
    is_whole: bool,
    /// Where an example stands in for a value that was told of.
    stand_ins: HashSet<Place>,
}

impl<T> Draft<T> {
    /// What of `later` problems counts, which were found in a value that is not quite what the file
    /// says: nothing that comes of what is missing in it.
    pub fn counts(&self, later: Vec<Problem>) -> Vec<Problem> {
        let counts = |problem: &Problem| {
            let is_real = problem.at.is_none_or(|at| !self.stand_ins.contains(&at));
            let is_there = self.is_whole || !problem.is_of_absence;
            is_real && is_there && problem.level == Level::Error
        };
        if self.problems.is_empty() { later } else { later.into_iter().filter(counts).collect() }
    }
}

/// Reads `source` as a `T`, with the variables of `env` filled in. `Err` holds everything that is
/// wrong.
pub fn parse<T>(source: &str, env: &Environment) -> Result<T, Vec<Problem>>
where
    T: DeserializeOwned + JsonSchema,
{
    match draft(source, env) {
        Draft { value: Some(value), problems, .. } if problems.is_empty() => Ok(value),
        Draft { problems, .. } => Err(problems),
    }
}

/// Reads `source` as a `T` as far as that is possible, with the variables of `env` filled in.
pub fn draft<T>(source: &str, env: &Environment) -> Draft<T>
where
    T: DeserializeOwned + JsonSchema,
{
    draft_with(source, env, |_| (Vec::new(), Vec::new()))
}

/// The same, with the texts that `include` finds for what is named there, and with what is wrong
/// with them.
pub fn draft_with<T>(
    source: &str,
    env: &Environment,
    include: impl FnOnce(Vec<At<String>>) -> (Vec<Arc<str>>, Vec<Problem>),
) -> Draft<T>
where
    T: DeserializeOwned + JsonSchema,
{
    let failed =
        |problems| Draft { value: None, problems, is_whole: false, stand_ins: HashSet::new() };
    if source.len() > FILE_BYTES_MAX {
        let text = format!("the file has more than {FILE_BYTES_MAX} bytes");
        let help = "give some of the routes to files of their own, which `include` names";
        return failed(vec![Problem::of_file(text).help(help)]);
    }
    let (mut root, mut problems) = include::part(source, 0, env);
    if let Some(root) = &mut root {
        let (texts, told) = include(env.during(|| include::named(root)));
        problems.extend(told);
        for (text, number) in texts.iter().zip(1..) {
            let (other, told) = include::part(text, number, env);
            problems.extend(told);
            match other {
                Some(other) => problems.extend(include::merge(root, other)),
                // What stands there is not known, so whoever names it makes no second mistake.
                None => return failed(problems),
            }
        }
    }
    let Some(mut root) = root else { return failed(problems) };
    problems.extend(groups::expand(&mut root));
    let checked = schema_check::check(root, &schemars::schema_for!(T).to_value());
    problems.retain(|missing| !checked.problems.iter().any(|told| covers(told, missing)));
    let is_whole = checked.problems.is_empty();
    problems.extend(checked.problems);
    if !checked.is_usable {
        return failed(problems);
    }
    let (read, notes) = scalar::noting(|| env.during(|| typed::read(&checked.root)));
    problems.extend(notes.problems);
    let value = match read {
        Ok(value) => Some(value),
        Err(misfit) => {
            problems.extend(misfit_problem(&misfit.said, misfit.place));
            None
        }
    };
    assert!(value.is_some() || !problems.is_empty(), "what can't be read is told");
    Draft { value, problems, is_whole, stand_ins: notes.stand_ins.into_iter().collect() }
}

/// Whether `told` says already what is wrong at the place of a variable.
fn covers(told: &Problem, variable: &Problem) -> bool {
    let (Some(told), Some(variable)) = (told.at, variable.at) else { return false };
    told.line == variable.line
        && told.column <= variable.column
        && variable.column < told.column + told.length.max(1)
}

/// A value that fits the schema and not the type; empty if it was told already.
fn misfit_problem(said: &str, place: Option<Place>) -> Option<Problem> {
    let problem = match place {
        _ if said.is_empty() => return None,
        Some(place) => Problem::at(place, said),
        None => Problem::of_file(said),
    };
    Some(problem.help("`streamgate schema` tells what is possible here"))
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

    /// Whether the file has it, and it is no default.
    pub fn is_written(&self) -> bool {
        self.place != Place::default()
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
pub struct Entries<T> {
    read: Vec<(At<String>, T)>,
    /// The names of those that could not be read, which was told.
    lost: Vec<At<String>>,
    /// None of it could be read, which was told.
    is_lost: bool,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Entries { read: Vec::new(), lost: Vec::new(), is_lost: false }
    }
}

impl<T> Entries<T> {
    /// The entries in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = (&At<String>, &T)> {
        self.read.iter().map(|(name, value)| (name, value))
    }

    /// The names of entries that could not be read.
    pub fn lost(&self) -> &[At<String>] {
        &self.lost
    }

    /// Whether no entry could be read, so that any name may be one of them.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// The entries without their names.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.read.iter().map(|(_, value)| value)
    }

    /// The names with their places.
    pub fn places(&self) -> Vec<&At<String>> {
        self.read.iter().map(|(name, _)| name).collect()
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
        let mut entries = Entries::default();
        while let Some(name) = map.next_key::<At<String>>()? {
            match map.next_value() {
                Ok(value) => entries.read.push((name, value)),
                Err(misfit) => {
                    if let Some(problem) = misfit_problem(&misfit.to_string(), Some(name.place)) {
                        scalar::note(problem);
                    }
                    entries.lost.push(name);
                }
            }
        }
        Ok(entries)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(EntriesVisitor(PhantomData)) {
            // What is wrong was told.
            Err(misfit) if misfit.to_string().is_empty() => {
                Ok(Entries { is_lost: true, ..Entries::default() })
            }
            read => read,
        }
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
