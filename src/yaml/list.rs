//! A single value, or a list of values.

use super::{At, Scalar, scalar};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// One value, or a list of them, each with its place.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(transparent)]
pub struct OneOrMany<T>(At<Vec<At<T>>>);

impl<T> OneOrMany<T> {
    /// The list itself, with the place of the whole.
    pub fn whole(&self) -> &At<Vec<At<T>>> {
        &self.0
    }
}

/// What the file says. The place of a single value is added by the caller, who knows it.
enum Written<T> {
    One(String),
    Many(Vec<At<T>>),
}

struct WrittenVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for WrittenVisitor<T> {
    type Value = Written<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one text or a list of texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element()? {
            all.push(one);
        }
        Ok(Written::Many(all))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Written::One(text.to_owned()))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor(PhantomData))
    }
}

impl<'de, T: Deserialize<'de> + Scalar> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let At { value, place } = At::<Written<T>>::deserialize(deserializer)?;
        let all = match value {
            Written::One(text) => vec![At { value: scalar::read(&text, place), place }],
            Written::Many(all) => all,
        };
        Ok(OneOrMany(At { value: all, place }))
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
        schemars::json_schema!({
            "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }]
        })
    }
}
