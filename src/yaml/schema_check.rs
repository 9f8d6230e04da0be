//! Whether the file fits its JSON Schema: every unknown key, missing key, wrong kind of value and
//! unknown name, all at once and each at its place.
//!
//! The schema is the one that editors use, so that an editor and `streamgate check` cannot
//! disagree. What does not fit is taken out of the tree or replaced, and the rest is read on: an
//! operator with five mistakes learns of five.

mod schema;
mod advice;
mod aliases;
mod shapes;

use super::At;
use super::tree::{Kind, Node, Single, Tree};
use crate::problem::{self, Place, Problem, listed};
use advice::{expectation, meant, split_name};
use schema::{Form, Schema};
use std::collections::HashMap;

/// A tree that fits, as far as that could be reached, and what did not.
pub(super) struct Checked {
    pub(super) root: Node,
    pub(super) problems: Vec<Problem>,
    /// Whether a type can be read from it.
    pub(super) is_usable: bool,
}

/// Compares `root` with its schema.
pub(super) fn check(mut root: Node, schema: &serde_json::Value) -> Checked {
    let mut walk = Walk { problems: Vec::new() };
    if let Tree::Nothing = root.value {
        let problem = Problem::of_file("the file is empty");
        walk.problems.push(problem.help("begin with `listeners`, `upstreams` and `routes`"));
        return Checked { root, problems: walk.problems, is_usable: false };
    }
    let is_usable = walk.node(&Schema::root(schema), &mut root, None);
    Checked { root, problems: walk.problems, is_usable }
}

struct Walk {
    problems: Vec<Problem>,
}

/// What a node is called: the key it stands behind, or the list it is an item of.
struct Name {
    key: String,
    is_item: bool,
    place: Place,
}

impl Name {
    fn of(key: &At<String>) -> Self {
        Name { key: key.value.clone(), is_item: false, place: key.place }
    }

    fn item(list: Option<&Name>, item: &Node) -> Self {
        let key = list.map_or_else(String::new, |list| list.key.clone());
        Name { key, is_item: true, place: item.place }
    }

    fn label(&self) -> String {
        match (self.is_item, self.key.as_str()) {
            (true, "") => "an item of the list".to_owned(),
            (true, key) => format!("an item of `{key}`"),
            (false, key) => format!("`{key}`"),
        }
    }
}

impl Walk {
    fn report(&mut self, place: Place, text: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::at(place, text).help(help));
    }

    /// Compares one node with what may stand there. The root has no name. Returns whether the node,
    /// with what was changed in it, can be read.
    fn node(&mut self, schema: &Schema<'_>, node: &mut Node, name: Option<&Name>) -> bool {
        let form = schema.form();
        match (&form, &mut node.value) {
            (_, Tree::Nothing) if schema.allows_nothing() => true,
            (Form::Keys { .. }, Tree::Mapping(entries)) => self.keys(&form, entries, name),
            (Form::Entries(value), Tree::Mapping(entries)) => {
                self.twice(entries);
                for (key, entry) in entries {
                    if !self.node(value, entry, Some(&Name::of(key))) {
                        // The name stays known to those who refer to it.
                        entry.value = Tree::Broken;
                    }
                }
                true
            }
            (Form::List(item), Tree::List(items)) => {
                items.retain_mut(|entry| {
                    let name = Name::item(name, entry);
                    self.node(item, entry, Some(&name))
                });
                true
            }
            (Form::Names { .. }, Tree::Value(_) | Tree::Mapping(_)) => {
                self.choice(&form, node, name)
            }
            (Form::Either(value, other), found) => match (other.form(), found) {
                (Form::List(_), Tree::List(_)) | (Form::Keys { .. }, Tree::Mapping(_)) => {
                    self.node(other, node, name)
                }
                _ => self.node(value, node, name),
            },
            (Form::YesNo, Tree::Value(single)) => {
                let wrong = advice::of_yes_no(single);
                wrong.map(|(text, help)| self.report(node.place, text, help)).is_none()
            }
            (Form::Value(expected), Tree::Value(single)) => {
                let wrong = advice::of_text(single, node.place, *expected);
                wrong.map(|(text, help)| self.report(node.place, text, help)).is_none()
            }
            _ => self.wrong_kind(&form, node, name),
        }
    }

    fn wrong_kind(&mut self, form: &Form<'_>, node: &Node, name: Option<&Name>) -> bool {
        let label = name.map_or_else(|| "the file".to_owned(), Name::label);
        let (wanted, help) = form.wanted();
        match (&node.value, name) {
            (Tree::Nothing, Some(name)) => {
                let text = format!("{label} has no value");
                self.report(name.place, text, format!("{help}, or remove it"));
            }
            (found, name) => {
                let text = format!("{label} must be {wanted}, and is {}", found.kind());
                let shape = name.and_then(|name| shapes::shape(&name.key, found));
                self.report(node.place, text, shape.unwrap_or(help));
            }
        }
        false
    }

    /// Tells and takes out what stands there a second time.
    fn twice(&mut self, entries: &mut Vec<(At<String>, Node)>) {
        let mut known: HashMap<String, Place> = HashMap::with_capacity(entries.len());
        entries.retain(|(key, _)| match known.get(&key.value) {
            None => known.insert(key.value.clone(), key.place).is_none(),
            Some(first) => {
                let line = first.line_in_words();
                let text = format!("`{}` stands here twice, first on line {line}", key.value);
                self.report(key.place, text, "remove one of the two");
                false
            }
        });
    }

    fn keys(
        &mut self,
        form: &Form<'_>,
        entries: &mut Vec<(At<String>, Node)>,
        name: Option<&Name>,
    ) -> bool {
        let Form::Keys { known, required } = form else { return false };
        self.twice(entries);
        let (mut told, mut is_usable) = (Vec::new(), true);
        let is_there = |known: &&str| entries.iter().any(|(key, _)| key.value == *known);
        let mut there: Vec<String> =
            known.iter().map(|(known, _)| *known).filter(is_there).map(str::to_owned).collect();
        entries.retain_mut(|(key, entry)| {
            let Some((_, schema)) = known.iter().find(|(known, _)| *known == key.value) else {
                // Anchors may be kept at the top, under keys of the operator's own.
                if name.is_none() && key.starts_with("x-") {
                    return false;
                }
                let Some(meant) = self.unknown_key(key, known) else { return false };
                told.push(meant.clone());
                if name.is_some() || !is_entries(&meant, known) || there.contains(&meant) {
                    return false;
                }
                // Who names one of its entries makes no second mistake.
                there.push(meant.clone());
                (key.value, entry.value) = (meant, Tree::Broken);
                return true;
            };
            if self.node(schema, entry, Some(&Name::of(key))) {
                return true;
            }
            told.push(key.value.clone());
            if let Form::Entries(_) = schema.form() {
                entry.value = Tree::Broken;
                return true;
            }
            match schema.stand_in().filter(|_| required.contains(&key.as_str())) {
                Some(tree) => entry.value = tree,
                None => return false,
            }
            true
        });
        let place = name.map(|name| name.place).unwrap_or_default();
        let mut missing = Vec::new();
        for key in required {
            if entries.iter().any(|(there, _)| there.value == *key) {
                continue;
            }
            if !told.iter().any(|told| told == key) {
                missing.push(*key);
            }
            let schema = known.iter().find(|(known, _)| known == key).map(|(_, schema)| schema);
            match schema.and_then(Schema::stand_in) {
                Some(value) => {
                    entries.push((At { value: (*key).to_owned(), place }, At { value, place }));
                }
                None => is_usable = false,
            }
        }
        self.missing(&missing, name);
        is_usable
    }

    /// Tells of a key that is not known here. Returns the known one that was meant, if any.
    fn unknown_key(&mut self, key: &At<String>, known: &[(&str, Schema<'_>)]) -> Option<String> {
        let names: Vec<&str> = known.iter().map(|(known, _)| *known).collect();
        if let Some((first, rest)) = split_name(&key.value, &names) {
            let text = format!("the colon behind `{first}` has no space");
            let rest = if problem::is_secret(first) { "…" } else { rest };
            let problem = Problem::at(key.place, text).help(format!("write `{first}: {rest}`"));
            self.problems.push(if rest == "…" { problem.hidden() } else { problem });
            return Some(first.to_owned());
        }
        let meant = meant(&key.value, &names).map(|(key, _)| key.to_owned());
        if meant.is_none()
            && let Some(outer) = owner(&key.value, known)
        {
            let text = format!("`{}` belongs into `{outer}`", key.value);
            self.report(key.place, text, format!("write `{outer}: {{ {}: … }}`", key.value));
            return Some(outer.to_owned());
        }
        let text = format!("unknown key `{}`", key.value);
        self.report(key.place, text, expectation(&key.value, &names));
        meant
    }

    fn missing(&mut self, keys: &[&str], name: Option<&Name>) {
        let (all, verb) = match keys {
            [] => return,
            [key] => (format!("`{key}`"), "is"),
            [init @ .., last] => (format!("{} and `{last}`", listed(init.iter().copied())), "are"),
        };
        let adding: Vec<String> = keys.iter().map(|key| format!("`{key}: …`")).collect();
        let help = format!("add {}", adding.join(" and "));
        match name {
            Some(name) => {
                self.report(name.place, format!("{all} {verb} missing in {}", name.label()), help);
            }
            None => {
                let problem = Problem::of_file(format!("{all} {verb} missing")).help(help);
                self.problems.push(problem);
            }
        }
    }

    /// One of several names, alone or as the key of its settings.
    fn choice(&mut self, form: &Form<'_>, node: &mut Node, name: Option<&Name>) -> bool {
        let Form::Names { alone, keyed } = form else { return false };
        if let Tree::Value(single) = &node.value {
            return self.lone_name(form, single, node, name);
        }
        match &mut node.value {
            Tree::Mapping(entries) => match entries.as_mut_slice() {
                [] => return self.wrong_kind(form, node, name),
                [(key, settings)] => match keyed.iter().find(|(known, _)| *known == key.value) {
                    Some((_, schema)) => return self.node(schema, settings, Some(&Name::of(key))),
                    None if alone.contains(&key.value.as_str()) => {
                        let wrong = format!("`{}` has no settings", key.value);
                        self.report(key.place, wrong, format!("write `{}` alone", key.value));
                    }
                    None => self.unknown_name(form, &key.value, key.place),
                },
                [_, (second, _), ..] => {
                    let text = format!("`{}` stands in the item of another name", second.value);
                    self.report(second.place, text, "give each an item of its own: `- name: …`");
                }
            },
            _ => return self.wrong_kind(form, node, name),
        }
        false
    }

    fn unknown_name(&mut self, form: &Form<'_>, written: &str, place: Place) {
        let text = format!("unknown name `{written}`");
        self.report(place, text, expectation(written, &form.names()));
    }

    /// A name that stands alone.
    fn lone_name(
        &mut self,
        form: &Form<'_>,
        single: &Single,
        node: &Node,
        name: Option<&Name>,
    ) -> bool {
        let Form::Names { alone, keyed } = form else { return false };
        let text = single.text.as_str();
        let keys: Vec<&str> = keyed.iter().map(|(key, _)| *key).collect();
        let split = split_name(text, &keys);
        if single.kind == Kind::Text && alone.contains(&text) {
            return true;
        } else if keys.contains(&text) {
            let wrong = format!("`{text}` has settings, and stands here without");
            self.report(node.place, wrong, format!("write `{text}: …`"));
        } else if let Some((key, rest)) = split {
            let what = if text.contains(": ") { "quotes make" } else { "a missing space makes" };
            let is_secret = problem::is_secret(key);
            let rest = if is_secret { "…" } else { rest };
            let problem =
                Problem::at(node.place, format!("{what} one text of `{key}` and its value"));
            let problem = problem.help(format!("write `{key}: {rest}`, without quotes"));
            self.problems.push(if is_secret { problem.hidden() } else { problem });
        } else if single.kind == Kind::YesNo {
            let label = name.map_or_else(|| "the file".to_owned(), Name::label);
            let off = alone.contains(&"off") && text.eq_ignore_ascii_case("false");
            let help = match off {
                true => "some tools turn `off` into `false`: write `\"off\"`, in quotes".to_owned(),
                false => format!("possible here: {}", listed(form.names().into_iter())),
            };
            self.report(node.place, format!("{label} is one of several names, not `{text}`"), help);
        } else if text.contains("${") {
            let wrong = "variables are not filled in here, where one of several names stands";
            let help = format!("write one of {}", listed(form.names().into_iter()));
            self.report(node.place, wrong, help);
        } else if keys.iter().any(|key| problem::is_secret(key)) {
            // A value here may be a secret whose key was forgotten.
            self.wrong_kind(form, node, name);
            let hidden = self.problems.pop().map(Problem::hidden);
            self.problems.extend(hidden);
        } else {
            self.unknown_name(form, text, node.place);
        }
        false
    }
}

fn is_entries(key: &str, known: &[(&str, Schema<'_>)]) -> bool {
    let mut found = known.iter().filter(|(known, _)| *known == key);
    found.any(|(_, schema)| matches!(schema.form(), Form::Entries(_)))
}

/// The one of `known` that holds a key of this name.
fn owner<'s>(key: &str, known: &[(&'s str, Schema<'_>)]) -> Option<&'s str> {
    let holds = |schema: &Schema<'_>| match schema.form() {
        Form::Keys { known, .. } => known.iter().any(|(inner, _)| *inner == key),
        _ => false,
    };
    let mut owners = known.iter().filter(|(_, schema)| holds(schema));
    let (owner, None) = (owners.next()?, owners.next()) else { return None };
    Some(owner.0)
}
