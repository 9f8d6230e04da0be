//! One mapping, or a list of such mappings.

use super::At;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// `{ … }`, or a list of the same, each with its place.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(transparent)]
pub struct MapOrList<M>(At<Vec<At<M>>>);

impl<M> MapOrList<M> {
    /// All of them, with the place of the whole.
    pub fn whole(&self) -> &At<Vec<At<M>>> {
        &self.0
    }
}

/// What the file says. The place of a single mapping is added by the caller, who knows it.
enum Written<M> {
    One(M),
    Many(Vec<At<M>>),
}

struct WrittenVisitor<M>(PhantomData<M>);

impl<'de, M: Deserialize<'de>> Visitor<'de> for WrittenVisitor<M> {
    type Value = Written<M>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping or a list of mappings")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        M::deserialize(MapAccessDeserializer::new(map)).map(Written::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element()? {
            all.push(one);
        }
        Ok(Written::Many(all))
    }
}

impl<'de, M: Deserialize<'de>> Deserialize<'de> for Written<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor(PhantomData))
    }
}

impl<'de, M: Deserialize<'de>> Deserialize<'de> for MapOrList<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let At { value, place } = At::<Written<M>>::deserialize(deserializer)?;
        let value = match value {
            Written::One(value) => vec![At { value, place }],
            Written::Many(all) => all,
        };
        Ok(MapOrList(At { value, place }))
    }
}

impl<M: JsonSchema> JsonSchema for MapOrList<M> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("MapOrList_{}", M::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<M>();
        schemars::json_schema!({
            "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }]
        })
    }
}
