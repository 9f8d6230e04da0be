//! The file as it stands, before anything is made of it: what is a list, a mapping, a value.

use super::{At, place};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;
use std::fmt;
use std::ops::Range;

/// One part of the file, with its place around it.
pub(super) type Node = At<Tree>;

/// What stands at one place.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    /// Nothing was written, or `null`.
    Nothing,
    Value(Single),
    List(Vec<Node>),
    /// In the file's order; a key may stand there twice.
    Mapping(Vec<(At<String>, Node)>),
    /// What is wrong in it was told, and nothing can be read from it.
    Broken,
}

/// A single value.
#[derive(Clone, Debug)]
pub(super) struct Single {
    pub(super) text: String,
    pub(super) kind: Kind,
    /// Where its text stands in the file, in bytes, if YAML takes it for something else than text.
    written: Option<Range<usize>>,
}

/// What YAML takes a single value for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    YesNo,
}

impl Single {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Single { text: text.into(), kind: Kind::Text, written: None }
    }

    fn of(text: impl ToString, kind: Kind) -> Tree {
        Tree::Value(Single { text: text.to_string(), kind, written: None })
    }
}

impl Tree {
    /// What it is called in messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Tree::Nothing | Tree::Broken => "nothing",
            Tree::Value(_) => "a single value",
            Tree::List(_) => "a list",
            Tree::Mapping(_) => "a mapping",
        }
    }

    /// Gives each number the text that `source` has: `1.10` is a text where one is wanted.
    fn restore(&mut self, source: &str) {
        match self {
            Tree::Value(single) => {
                let written = single.written.take().and_then(|bytes| source.get(bytes));
                single.text = written.map_or(std::mem::take(&mut single.text), str::to_owned);
            }
            Tree::List(items) => items.iter_mut().for_each(|item| item.value.restore(source)),
            Tree::Mapping(entries) => {
                entries.iter_mut().for_each(|(_, entry)| entry.value.restore(source));
            }
            Tree::Nothing | Tree::Broken => {}
        }
    }
}

/// Reads `source` as it stands. A key may stand there twice.
pub(super) fn read(source: &str) -> Result<Node, serde_yaml::Error> {
    let mut options = super::strict();
    // Reported by the check, with the places of both.
    options.duplicate_keys = serde_yaml::DuplicateKeyPolicy::PassThrough;
    let Parsed(mut root) = serde_yaml::from_str_with_options(source, options)?;
    root.value.restore(source);
    Ok(root)
}

/// A node as the parser gives it.
struct Parsed(Node);

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Tree>::deserialize(deserializer)?;
        let mut value = spanned.value;
        if let Tree::Value(single) = &mut value
            && single.kind != Kind::Text
        {
            let span = spanned.defined.span();
            let bytes = span.byte_offset().zip(span.byte_len());
            single.written = bytes.map(|(from, length)| from as usize..(from + length) as usize);
        }
        Ok(Parsed(At { value, place: place(spanned.referenced).unwrap_or_default() }))
    }
}

/// A key as the parser gives it.
struct Key(At<String>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        let place = place(spanned.referenced).unwrap_or_default();
        Ok(Key(At { value: spanned.value, place }))
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Tree, E> {
        Ok(Single::of(yes, Kind::YesNo))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Single::of(number, Kind::Number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Single::of(number, Kind::Number))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Tree, E> {
        Ok(Single::of(number, Kind::Number))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Tree, E> {
        Ok(Single::of(number, Kind::Number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Single::of(number, Kind::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Value(Single::text(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(Parsed(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some((Key(key), Parsed(entry))) = map.next_entry()? {
            entries.push((key, entry));
        }
        Ok(Tree::Mapping(entries))
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}
