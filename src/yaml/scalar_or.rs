//! A single value, or a mapping that says more than the value can.

use super::{At, Scalar, scalar};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// `3`, or `{ claim: max_streams, default: 3 }`: a single value, or the mapping that it is short
/// for.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(untagged)]
pub enum ScalarOr<T, M> {
    /// A single value, with its place.
    Value(At<T>),
    /// The mapping.
    Full(M),
}

/// What the file says. The place of a single value is added by the caller, who knows it.
enum Written<M> {
    Value(String),
    Full(M),
}

struct WrittenVisitor<M>(PhantomData<M>);

impl<'de, M: Deserialize<'de>> Visitor<'de> for WrittenVisitor<M> {
    type Value = Written<M>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value or a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        M::deserialize(MapAccessDeserializer::new(map)).map(Written::Full)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Written::Value(text.to_owned()))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Written::Value(number.to_string()))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Written::Value(number.to_string()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Written::Value(number.to_string()))
    }

    fn visit_bool<E: serde::de::Error>(self, yes: bool) -> Result<Self::Value, E> {
        Ok(Written::Value(yes.to_string()))
    }
}

impl<'de, M: Deserialize<'de>> Deserialize<'de> for Written<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor(PhantomData))
    }
}

impl<'de, T: Scalar, M: Deserialize<'de>> Deserialize<'de> for ScalarOr<T, M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let At { value, place } = At::<Written<M>>::deserialize(deserializer)?;
        Ok(match value {
            Written::Value(text) => {
                ScalarOr::Value(At { value: scalar::read(&text, place), place })
            }
            Written::Full(settings) => ScalarOr::Full(settings),
        })
    }
}

impl<T: JsonSchema, M: JsonSchema> JsonSchema for ScalarOr<T, M> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Brief_{}_{}", T::schema_name(), M::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        let full = generator.subschema_for::<M>();
        schemars::json_schema!({ "anyOf": [value, full] })
    }
}
