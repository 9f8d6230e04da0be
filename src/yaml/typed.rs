//! From what stands in the file to types: a serde deserializer over the tree. What the check has
//! taken out or replaced is not met here, so one mistake does not keep the rest from being read.

use super::At;
use super::tree::{Kind, Node, Tree};
use crate::problem::Place;
use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::fmt;
use std::marker::PhantomData;

/// How a type asks for its place: as a pair of this name, of the place and the value.
const AT: &str = "streamgate:At";

/// Reads `node` as a `T`.
pub(super) fn read<'de, T: Deserialize<'de>>(node: &'de Node) -> Result<T, Misfit> {
    T::deserialize(Typed(node))
}

/// Why a tree that fits its schema is no such type. `said` is empty if it was told already.
#[derive(Debug)]
pub(super) struct Misfit {
    pub(super) said: String,
    pub(super) place: Option<Place>,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl std::error::Error for Misfit {}

impl serde::de::Error for Misfit {
    fn custom<T: fmt::Display>(said: T) -> Self {
        Misfit { said: said.to_string(), place: None }
    }
}

struct Typed<'de>(&'de Node);

impl<'de> Typed<'de> {
    fn placed<T>(&self, read: Result<T, Misfit>) -> Result<T, Misfit> {
        read.map_err(|misfit| Misfit { place: misfit.place.or(Some(self.0.place)), ..misfit })
    }
}

impl<'de> Deserializer<'de> for Typed<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let read = match &self.0.value {
            Tree::Nothing => visitor.visit_unit(),
            Tree::Value(single) => visitor.visit_borrowed_str(&single.text),
            Tree::List(items) => visitor.visit_seq(Items(items.iter())),
            Tree::Mapping(entries) => {
                visitor.visit_map(Pairs { rest: entries.iter(), entry: None })
            }
            Tree::Broken => Err(Misfit { said: String::new(), place: None }),
        };
        self.placed(read)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.0.value {
            Tree::Value(single) if single.kind == Kind::YesNo => {
                visitor.visit_bool(single.text.eq_ignore_ascii_case("true"))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.0.value {
            Tree::Nothing => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        with_place(name, self.0.place, self, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let read = match &self.0.value {
            Tree::Value(single) => visitor.visit_enum(Variant { name: &single.text, node: None }),
            Tree::Mapping(entries) => match entries.as_slice() {
                [(name, node)] => visitor.visit_enum(Variant { name, node: Some(node) }),
                _ => return self.deserialize_any(visitor),
            },
            _ => return self.deserialize_any(visitor),
        };
        self.placed(read)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple map struct identifier
    }
}

struct Items<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Misfit;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Misfit> {
        self.0.next().map(|item| seed.deserialize(Typed(item))).transpose()
    }
}

struct Pairs<'de> {
    rest: std::slice::Iter<'de, (At<String>, Node)>,
    entry: Option<&'de Node>,
}

impl<'de> MapAccess<'de> for Pairs<'de> {
    type Error = Misfit;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Misfit> {
        let Some((key, entry)) = self.rest.next() else { return Ok(None) };
        self.entry = Some(entry);
        seed.deserialize(Name(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Misfit> {
        let entry = self.entry.take().expect("serde asks for a key before its value");
        seed.deserialize(Typed(entry))
    }
}

/// A key of a mapping.
struct Name<'de>(&'de At<String>);

impl<'de> Deserializer<'de> for Name<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_borrowed_str(&self.0.value)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        with_place(name, self.0.place, self, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple map struct enum identifier ignored_any
    }
}

/// Reads a value, with its place if the type asks for that by the `name` of `At`.
fn with_place<'de, D: Deserializer<'de, Error = Misfit>, V: Visitor<'de>>(
    name: &'static str,
    place: Place,
    value: D,
    visitor: V,
) -> Result<V::Value, Misfit> {
    match name {
        AT => visitor.visit_seq(PlaceAndValue { place: Some(place), value: Some(value) }),
        _ => value.deserialize_any(visitor),
    }
}

/// What a type gets that asks for its place.
struct PlaceAndValue<D> {
    place: Option<Place>,
    value: Option<D>,
}

impl<'de, D: Deserializer<'de, Error = Misfit>> SeqAccess<'de> for PlaceAndValue<D> {
    type Error = Misfit;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Misfit> {
        if let Some(place) = self.place.take() {
            let numbers = [place.line, place.column, place.length];
            return seed.deserialize(SeqDeserializer::new(numbers.into_iter())).map(Some);
        }
        self.value.take().map(|value| seed.deserialize(value)).transpose()
    }
}

struct AtVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AtVisitor<T> {
    type Value = At<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its place")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<At<T>, A::Error> {
        let missing = || serde::de::Error::custom("a value without a place");
        let (line, column, length) = pair.next_element()?.ok_or_else(missing)?;
        let value = pair.next_element()?.ok_or_else(missing)?;
        Ok(At { value, place: Place { line, column, length } })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple_struct(AT, 2, AtVisitor(PhantomData))
    }
}

/// One of several names, alone or with settings.
struct Variant<'de> {
    name: &'de str,
    node: Option<&'de Node>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Misfit;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Misfit> {
        let name: StrDeserializer<'de, Misfit> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> Variant<'de> {
    fn settings(&self) -> Result<Typed<'de>, Misfit> {
        let missing = || serde::de::Error::custom(format!("`{}` has no settings", self.name));
        self.node.map(Typed).ok_or_else(missing)
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Misfit;

    fn unit_variant(self) -> Result<(), Misfit> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Misfit> {
        seed.deserialize(self.settings()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.settings()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.settings()?.deserialize_any(visitor)
    }
}
