//! One mapping that is read as two types: a type that takes keys of its own, and one for the rest.
//!
//! `#[serde(flatten)]` would do the same, but it reads values from a copy in which nobody knows any
//! more where they were written.

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A type that reads single keys of a mapping.
pub trait Keys: Default {
    /// Reads the value of `key` if the key is one of its own; returns whether it is.
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// Reads one mapping: `K` takes its keys, `T` gets the others.
pub fn joined<'de, T, K, D>(deserializer: D) -> Result<(T, K), D::Error>
where
    T: Deserialize<'de>,
    K: Keys,
    D: Deserializer<'de>,
{
    deserializer.deserialize_map(JoinedVisitor(PhantomData))
}

struct JoinedVisitor<T, K>(PhantomData<(T, K)>);

impl<'de, T: Deserialize<'de>, K: Keys> Visitor<'de> for JoinedVisitor<T, K> {
    type Value = (T, K);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let mut keys = K::default();
        let rest = Rest { map, keys: &mut keys };
        let value = T::deserialize(MapAccessDeserializer::new(rest))?;
        Ok((value, keys))
    }
}

/// The mapping without what `keys` takes.
struct Rest<'k, A, K> {
    map: A,
    keys: &'k mut K,
}

impl<'de, A: MapAccess<'de>, K: Keys> MapAccess<'de> for Rest<'_, A, K> {
    type Error = A::Error;

    fn next_key_seed<S>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error>
    where
        S: DeserializeSeed<'de>,
    {
        while let Some(key) = self.map.next_key::<String>()? {
            if !self.keys.read(&key, &mut self.map)? {
                let key: StringDeserializer<A::Error> = key.into_deserializer();
                return seed.deserialize(key).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}
