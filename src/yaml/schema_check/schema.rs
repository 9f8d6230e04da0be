//! A JSON Schema as the walk over the file needs it. It reads the schemas that our own types make,
//! not every schema there is: `form` lists what it knows.

use crate::yaml::scalar::STAND_IN;
use crate::yaml::tree::{Single, Tree};
use serde_json::{Map, Value};

/// What may stand at one place, and the document it refers to.
#[derive(Clone, Copy)]
pub(super) struct Schema<'s> {
    root: &'s Value,
    here: &'s Value,
}

/// What a schema allows.
pub(super) enum Form<'s> {
    /// A mapping with these keys.
    Keys {
        known: Vec<(&'s str, Schema<'s>)>,
        required: Vec<&'s str>,
    },
    /// A mapping from names that the operator chooses.
    Entries(Schema<'s>),
    List(Schema<'s>),
    /// A name out of a closed set, standing alone or as the key of its settings.
    Names {
        alone: Vec<&'s str>,
        keyed: Vec<(&'s str, Schema<'s>)>,
    },
    /// A single value, or a list or a mapping.
    Either(Schema<'s>, Schema<'s>),
    YesNo,
    /// A single value; how it is written.
    Value(Option<&'s str>),
}

impl<'s> Schema<'s> {
    pub(super) fn root(root: &'s Value) -> Self {
        Schema { root, here: root }
    }

    fn at(&self, here: &'s Value) -> Schema<'s> {
        Schema { root: self.root, here }
    }

    /// What a `$ref` refers to.
    fn resolved(&self) -> &'s Value {
        let mut here = self.here;
        while let Some(target) = here.get("$ref").and_then(Value::as_str) {
            let pointer = target.trim_start_matches('#');
            here = self.root.pointer(pointer).expect("our schema refers to its own parts");
        }
        here
    }

    fn list(here: &'s Value, key: &str) -> &'s [Value] {
        here.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Whether nothing at all may stand here.
    pub(super) fn allows_nothing(&self) -> bool {
        let here = self.resolved();
        let is_null = |kind: &Value| kind == "null";
        is_null(&here["type"])
            || here["type"].as_array().is_some_and(|kinds| kinds.iter().any(is_null))
            || Self::list(here, "anyOf").iter().any(|any| self.at(any).allows_nothing())
    }

    pub(super) fn form(&self) -> Form<'s> {
        let here = self.resolved();
        let any: Vec<Schema<'s>> = Self::list(here, "anyOf")
            .iter()
            // A group of routes was taken apart before.
            .filter(|any| any["type"] != "null" && any["x-group"] != true)
            .map(|any| self.at(any))
            .collect();
        match any.as_slice() {
            [] => {}
            [only] => return only.form(),
            [first, second, ..] => return Form::Either(*first, *second),
        }
        // Beside `properties`, `oneOf` says which of them exclude each other.
        let is_choice = here.get("oneOf").is_some() || here.get("enum").is_some();
        if is_choice && here.get("properties").is_none() {
            return self.names(here);
        }
        let is = |kind: &str| {
            here["type"] == kind || Self::list(here, "type").iter().any(|listed| listed == kind)
        };
        if is("object") {
            self.mapping(here)
        } else if is("array") {
            Form::List(self.at(&here["items"]))
        } else if is("boolean") {
            Form::YesNo
        } else {
            Form::Value(here.get("description").and_then(Value::as_str))
        }
    }

    /// What may stand in for a value that is wrong or missing.
    pub(super) fn stand_in(&self) -> Option<Tree> {
        match self.form() {
            Form::Value(_) => Some(Tree::Value(Single::text(STAND_IN))),
            Form::Either(value, _) => value.stand_in(),
            Form::List(_) => Some(Tree::List(Vec::new())),
            Form::Entries(_) => Some(Tree::Mapping(Vec::new())),
            Form::Keys { .. } | Form::Names { .. } | Form::YesNo => None,
        }
    }

    fn mapping(&self, here: &'s Value) -> Form<'s> {
        match here.get("properties").and_then(Value::as_object) {
            Some(properties) => Form::Keys {
                known: self.properties(properties),
                required: Self::list(here, "required").iter().filter_map(Value::as_str).collect(),
            },
            None => Form::Entries(self.at(&here["additionalProperties"])),
        }
    }

    fn properties(&self, properties: &'s Map<String, Value>) -> Vec<(&'s str, Schema<'s>)> {
        properties.iter().map(|(name, schema)| (name.as_str(), self.at(schema))).collect()
    }

    fn names(&self, here: &'s Value) -> Form<'s> {
        let variants = Self::list(here, "oneOf").iter().chain([here]);
        let (mut alone, mut keyed) = (Vec::new(), Vec::new());
        for variant in variants {
            alone.extend(variant.get("const").and_then(Value::as_str));
            alone.extend(Self::list(variant, "enum").iter().filter_map(Value::as_str));
            if let Some(properties) = variant.get("properties").and_then(Value::as_object) {
                keyed.extend(self.properties(properties));
            }
        }
        Form::Names { alone, keyed }
    }
}

impl<'s> Form<'s> {
    /// The names of a closed set.
    pub(super) fn names(&self) -> Vec<&'s str> {
        match self {
            Form::Names { alone, keyed } => {
                alone.iter().copied().chain(keyed.iter().map(|(key, _)| *key)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What is wanted, and how it is written, for messages.
    pub(super) fn wanted(&self) -> (&'static str, String) {
        let keys = |names: Vec<&str>| {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}: …`")).collect();
            names.join(", ")
        };
        match self {
            Form::Keys { known, required } => {
                let all = known.iter().map(|(name, _)| *name).collect();
                let names = if required.is_empty() { all } else { required.clone() };
                ("a mapping", format!("write {}", keys(names)))
            }
            Form::Entries(_) => {
                ("a mapping", "write names of your choice, without dashes: `name: …`".to_owned())
            }
            Form::List(_) => ("a list", "write each item behind a dash: `- …`".to_owned()),
            Form::Names { alone, keyed } => {
                let alone = alone.iter().map(|name| format!("`{name}`"));
                let keyed = keyed.iter().map(|(name, _)| format!("`{name}: …`"));
                let all: Vec<String> = alone.chain(keyed).collect();
                ("one of several names", format!("write one of {}", all.join(", ")))
            }
            Form::Either(..) => ("a text or a list", "write one, or a list of them".to_owned()),
            Form::YesNo => ("`true` or `false`", "write `true` or `false`".to_owned()),
            Form::Value(Some(expected)) => ("a single value", format!("write {expected}")),
            Form::Value(None) => ("a single value", "write a text".to_owned()),
        }
    }
}
