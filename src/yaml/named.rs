//! The compiled entries of a section, found by the names that other parts of the file use.

use super::{At, Entries};
use crate::problem::{Problem, listed, nearest};
use std::cell::Cell;
use std::collections::HashMap;

/// Compiled entries by name, in the file's order. An entry that did not compile is kept, too, so
/// that a reference to it is not reported as a second problem.
#[derive(Debug)]
pub struct Named<T> {
    /// What its entries are called in messages: "store", "upstream".
    kind: &'static str,
    all: Vec<Entry<T>>,
    /// Where each name is in `all`.
    index: HashMap<String, usize>,
    /// More entries may have been meant than could be read.
    is_partial: bool,
}

#[derive(Debug)]
struct Entry<T> {
    name: At<String>,
    compiled: Option<T>,
    /// Whether anything looked for it.
    is_used: Cell<bool>,
}

impl<T> Named<T> {
    /// Without entries yet.
    pub fn new(kind: &'static str) -> Self {
        Named { kind, all: Vec::new(), index: HashMap::new(), is_partial: false }
    }

    /// Adds the entry `name`, or its problems to `problems`.
    pub fn enter(
        &mut self,
        name: &At<String>,
        compiled: Result<T, Vec<Problem>>,
        problems: &mut Vec<Problem>,
    ) {
        let compiled = compiled.map_err(|found| problems.extend(found)).ok();
        self.index.entry(name.value.clone()).or_insert(self.all.len());
        self.all.push(Entry { name: name.clone(), compiled, is_used: Cell::new(false) });
    }

    /// Adds those of `entries` that could not be read, which was told.
    pub fn enter_lost<C>(&mut self, entries: &Entries<C>) {
        self.is_partial = entries.is_lost();
        for name in entries.lost() {
            self.enter(name, Err(Vec::new()), &mut Vec::new());
        }
    }

    /// The entry `name`. `Err` is empty when the entry exists and did not compile, because that was
    /// reported already.
    pub fn find<N: AsRef<str>>(&self, name: &At<N>) -> Result<&T, Vec<Problem>> {
        let names = || self.all.iter().map(|entry| entry.name.as_str());
        let wanted = name.value.as_ref();
        match self.index.get(wanted) {
            Some(at) => {
                let entry = &self.all[*at];
                entry.is_used.set(true);
                entry.compiled.as_ref().ok_or_else(Vec::new)
            }
            None if self.is_partial => Err(Vec::new()),
            None => {
                let there = listed(names());
                let help = match nearest(wanted, names()) {
                    Some(meant) => format!("did you mean `{meant}`? there is: {there}"),
                    None => format!("there is: {there}"),
                };
                let text = format!("no {} named `{wanted}`", self.kind);
                Err(vec![name.problem(text).help(help)])
            }
        }
    }

    /// A warning for each entry that nothing looked for: that is allowed, and seldom meant.
    pub fn unused(&self) -> Vec<Problem> {
        let unused = self.all.iter().filter(|entry| !entry.is_used.get());
        let warning = |entry: &Entry<T>| {
            let text = format!("nothing names the {} `{}`", self.kind, entry.name.value);
            entry.name.problem(text).help("name it, or remove it").warning()
        };
        unused.map(warning).collect()
    }

    /// All that compiled, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.all.iter().filter_map(|entry| Some((entry.name.as_str(), entry.compiled.as_ref()?)))
    }

    /// All that compiled.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, entry)| entry)
    }
}
