//! Whether the file fits its JSON Schema: every unknown key, missing key, wrong kind of value and
//! unknown name, all at once and each at its place.
//!
//! The typed pass would stop at the first of them. The schema is the one that editors use, so that
//! an editor and `streamgate check` cannot disagree.

mod schema;
mod aliases;

use super::tree::Tree;
use super::{At, strict};
use crate::problem::{Place, Problem, listed, nearest};
use schema::{Form, Schema};
use serde_yaml::{DuplicateKeyPolicy, Error};

/// Everything that does not fit; `Err` when the text is not YAML.
pub(super) fn check(source: &str, root: &serde_json::Value) -> Result<Vec<Problem>, Error> {
    let mut options = strict();
    // Reported here, with the places of both.
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    let tree: At<Tree> = serde_yaml::from_str_with_options(source, options)?;
    let mut walk = Walk { problems: Vec::new() };
    if let Tree::Nothing = tree.value {
        let problem = Problem::of_file("the file is empty");
        walk.problems.push(problem.help("begin with `listeners`, `upstreams` and `routes`"));
        return Ok(walk.problems);
    }
    walk.node(&Schema::root(root), &tree, None);
    Ok(walk.problems)
}

struct Walk {
    problems: Vec<Problem>,
}

/// What a node is called: the key it stands behind, or the list it is an item of.
struct Name {
    label: String,
    place: Place,
}

impl Name {
    fn of(key: &At<String>) -> Self {
        Name { label: format!("`{}`", key.value), place: key.place }
    }

    fn item(list: Option<&Name>, item: &At<Tree>) -> Self {
        let label = list.map_or("the list", |list| list.label.as_str());
        Name { label: format!("an item of {label}"), place: item.place }
    }
}

impl Walk {
    fn report(&mut self, place: Place, text: String, help: impl Into<String>) {
        self.problems.push(Problem::at(place, text).help(help));
    }

    /// Compares one node with what may stand there. The root has no name.
    fn node(&mut self, schema: &Schema<'_>, node: &At<Tree>, name: Option<&Name>) {
        let form = schema.form();
        match (&form, &node.value) {
            (_, Tree::Nothing) if schema.allows_nothing() => {}
            (Form::Keys { .. }, Tree::Mapping(entries)) => self.keys(&form, entries, name),
            (Form::Entries(value), Tree::Mapping(entries)) => {
                self.twice(entries);
                for (key, entry) in entries {
                    self.node(value, entry, Some(&Name::of(key)));
                }
            }
            (Form::List(item), Tree::List(items)) => {
                for entry in items {
                    self.node(item, entry, Some(&Name::item(name, entry)));
                }
            }
            (Form::Names { .. }, Tree::Value(_) | Tree::Mapping(_)) => {
                self.choice(&form, node, name);
            }
            (Form::Either(value, other), found) => match (other.form(), found) {
                (Form::List(_), Tree::List(_)) | (Form::Keys { .. }, Tree::Mapping(_)) => {
                    self.node(other, node, name);
                }
                _ => self.node(value, node, name),
            },
            (Form::YesNo, Tree::Value(None)) => {}
            (Form::YesNo, Tree::Value(Some(text))) => {
                let text = format!("`{text}` is neither `true` nor `false`");
                self.report(node.place, text, "write `true` or `false`, without quotes");
            }
            (Form::Value(_), Tree::Value(_)) => {}
            _ => self.wrong_kind(&form, node, name),
        }
    }

    fn wrong_kind(&mut self, form: &Form<'_>, node: &At<Tree>, name: Option<&Name>) {
        let label = name.map_or("the file", |name| name.label.as_str());
        let (wanted, help) = form.wanted();
        match (&node.value, name) {
            (Tree::Nothing, Some(name)) => {
                let text = format!("{label} has no value");
                self.report(name.place, text, format!("{help}, or remove it"));
            }
            (found, _) => {
                let text = format!("{label} must be {wanted}, and is {}", found.kind());
                self.report(node.place, text, help);
            }
        }
    }

    fn twice(&mut self, entries: &[(At<String>, At<Tree>)]) {
        for (i, (key, _)) in entries.iter().enumerate() {
            let earlier = entries[..i].iter().find(|(earlier, _)| earlier.value == key.value);
            if let Some((first, _)) = earlier {
                let line = first.place.line;
                let text = format!("`{}` stands here twice, first on line {line}", key.value);
                self.report(key.place, text, "remove one of the two");
            }
        }
    }

    fn keys(&mut self, form: &Form<'_>, entries: &[(At<String>, At<Tree>)], name: Option<&Name>) {
        let Form::Keys { known, required } = form else { return };
        self.twice(entries);
        let mut misspelled = Vec::new();
        for (key, entry) in entries {
            match known.iter().find(|(known, _)| *known == key.value) {
                Some((_, schema)) => self.node(schema, entry, Some(&Name::of(key))),
                None => {
                    let known: Vec<&str> = known.iter().map(|(known, _)| *known).collect();
                    let text = format!("unknown key `{}`", key.value);
                    self.report(key.place, text, expectation(&key.value, &known));
                    misspelled.extend(meant(&key.value, &known).map(|(key, _)| key));
                }
            }
        }
        let is_there = |wanted: &str| {
            misspelled.contains(&wanted) || entries.iter().any(|(key, _)| key.value == wanted)
        };
        let missing: Vec<&str> = required.iter().copied().filter(|key| !is_there(key)).collect();
        self.missing(&missing, name);
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
                self.report(name.place, format!("{all} {verb} missing in {}", name.label), help);
            }
            None => {
                let problem = Problem::of_file(format!("{all} {verb} missing")).help(help);
                self.problems.push(problem);
            }
        }
    }

    /// One of several names, alone or as the key of its settings.
    fn choice(&mut self, form: &Form<'_>, node: &At<Tree>, name: Option<&Name>) {
        let Form::Names { alone, keyed } = form else { return };
        let keys = keyed.iter().map(|(key, _)| *key);
        let all: Vec<&str> = alone.iter().copied().chain(keys).collect();
        let mut unknown = |written: &str, place: Place| {
            let text = format!("unknown name `{written}`");
            self.report(place, text, expectation(written, &all));
        };
        match &node.value {
            Tree::Value(Some(text)) if alone.contains(&text.as_str()) => {}
            Tree::Value(Some(text)) if keyed.iter().any(|(key, _)| key == text) => {
                let wrong = format!("`{text}` has settings, and stands here without");
                self.report(node.place, wrong, format!("write `{text}: …`"));
            }
            Tree::Value(Some(text)) if !alone.is_empty() => unknown(text, node.place),
            Tree::Mapping(entries) => match entries.as_slice() {
                [] => self.wrong_kind(form, node, name),
                [(key, settings)] => match keyed.iter().find(|(known, _)| *known == key.value) {
                    Some((_, schema)) => self.node(schema, settings, Some(&Name::of(key))),
                    None if alone.contains(&key.value.as_str()) => {
                        let wrong = format!("`{}` has no settings", key.value);
                        self.report(key.place, wrong, format!("write `{}` alone", key.value));
                    }
                    None => unknown(&key.value, key.place),
                },
                [_, (second, _), ..] => {
                    let text = format!("`{}` stands in the item of another name", second.value);
                    self.report(second.place, text, "give each an item of its own: `- name: …`");
                }
            },
            _ => {
                self.wrong_kind(form, node, name);
                // A value here may be a secret whose key was forgotten.
                let hidden = self.problems.pop().map(Problem::hidden);
                self.problems.extend(hidden);
            }
        }
    }
}

/// What is possible, and what of it was probably meant.
fn expectation(written: &str, known: &[&str]) -> String {
    let all = listed(known.iter().copied());
    match meant(written, known) {
        Some((_, advice)) => format!("{advice} possible here: {all}"),
        None => format!("possible here: {all}"),
    }
}

/// Which of `known` was probably meant, and the sentence that says so.
fn meant<'s>(written: &str, known: &[&'s str]) -> Option<(&'s str, String)> {
    if let Some((key, advice)) = aliases::meant(written, known) {
        return Some((key, format!("{advice};")));
    }
    let key = nearest(written, known.iter().copied())?;
    Some((key, format!("did you mean `{key}`?")))
}
