//! Files of a room import each other in one direction: among the children of a module there is no
//! circle. `floor` keeps the order of the rooms; here is what happens inside one.
//!
//! A parent and its child may name each other: the parent declares what its children are made of.
//! A name that the parent only re-exports is followed to the file where it is declared.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::Finding;
use crate::floor::{HOUSES, module};
use crate::import::{self, Import};
use crate::source::{Source, words};
use crate::tree::Tree;

/// A module's path in its crate, such as `session::key`.
type Module = Vec<String>;

/// How often a re-exported name is followed. More would be a re-export that names itself.
const HOPS_MAX: usize = 8;

/// Who imports whom among the children of one module, and the place of one such import.
type Graph<'a> = BTreeMap<Module, BTreeMap<Module, (&'a Source, usize)>>;

pub fn files(tree: &Tree) -> Vec<Finding> {
    HOUSES.iter().flat_map(|house| Crate::read(tree, house).circles()).collect()
}

/// The files of one crate, with the names that each brings in by `use`.
struct Crate<'a> {
    files: BTreeMap<Module, &'a Source>,
    names: BTreeMap<Module, BTreeMap<String, Module>>,
}

impl<'a> Crate<'a> {
    fn read(tree: &'a Tree, house: &str) -> Self {
        let product = tree.below(house).filter(|file| file.is_rust() && !file.is_test);
        let files: BTreeMap<_, _> = product.map(|file| (module(house, file), file)).collect();
        let named = files.iter().map(|(module, file)| {
            let uses = uses(file);
            let imports = imports(file, module).into_iter();
            let used =
                imports.filter(|import| uses.iter().any(|part| part.contains(&import.offset)));
            let names = used.filter_map(|import| Some((import.path.last()?.clone(), import.path)));
            (module.clone(), names.collect())
        });
        Self { names: named.collect(), files }
    }

    fn circles(&self) -> Vec<Finding> {
        let graphs = self.graphs();
        graphs.values().flat_map(circles).collect()
    }

    /// One graph per parent of the two modules that an import leads across.
    fn graphs(&self) -> BTreeMap<Module, Graph<'a>> {
        let mut graphs: BTreeMap<Module, Graph<'a>> = BTreeMap::new();
        for (here, file) in &self.files {
            for import in imports(file, here) {
                let there = self.declared(&import.path);
                let same = here.iter().zip(&there).take_while(|(a, b)| a == b).count();
                // Rooms are `floor`'s; a parent and its child may know each other.
                if same == 0 || same == here.len() || same == there.len() {
                    continue;
                }
                let graph = graphs.entry(here[..same].to_vec()).or_default();
                let edges = graph.entry(here[..=same].to_vec()).or_default();
                edges.entry(there[..=same].to_vec()).or_insert((*file, import.offset));
            }
        }
        graphs
    }

    /// The module whose file declares what `path` names.
    fn declared(&self, path: &[String]) -> Module {
        let mut path = path.to_vec();
        for _ in 0..HOPS_MAX {
            let length =
                (0..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]));
            let Some(length) = length else { return Module::new() };
            let rest = path.split_off(length);
            let names = self.names.get(&path);
            match rest.first().and_then(|name| names?.get(name)) {
                Some(origin) => path = [origin, &rest[1..]].concat(),
                None => return path,
            }
        }
        Module::new()
    }
}

/// Every path of a file that is no test's: into the crate, and to the file's own children.
fn imports(file: &Source, module: &[String]) -> Vec<Import> {
    let mut imports = import::inward(file, module);
    for (child, _) in file.children() {
        let below = import::outward(file, child).into_iter().filter(|import| 1 < import.path.len());
        imports.extend(below.map(|Import { path, offset }| {
            let path = module.iter().cloned().chain(path).collect();
            Import { path, offset }
        }));
    }
    imports.retain(|import| !file.in_test(import.offset));
    imports
}

/// The spans of the `use` declarations.
fn uses(file: &Source) -> Vec<std::ops::Range<usize>> {
    let code = &file.code;
    let starts = words(code, "use").into_iter().filter(|at| code[*at..].starts_with("use "));
    starts.map(|at| at..code[at..].find(';').map_or(code.len(), |length| at + length)).collect()
}

/// One finding for each set of modules that reach each other.
fn circles(graph: &Graph<'_>) -> Vec<Finding> {
    let mut told: BTreeSet<&Module> = BTreeSet::new();
    let mut findings = Vec::new();
    for start in graph.keys() {
        let Some(circle) = circle(graph, start).filter(|_| !told.contains(start)) else {
            continue;
        };
        let ring: Vec<_> = circle.iter().map(|module| module.join("::")).collect();
        let (file, at) = graph[start][circle[1]];
        findings.push(Finding {
            rule: "circle",
            file: file.path.clone(),
            line: file.line(at),
            wrong: format!("files import each other in a circle: {}", ring.join(" → ")),
            right: "move what both need to a file of its own, or let the caller pass it in".into(),
        });
        // What lies on a circle with the start is told with it.
        let reached = reach(graph, start);
        told.extend(reached.keys().filter(|module| reach(graph, module).contains_key(start)));
    }
    findings
}

/// The shortest way from `start` back to it, both ends included.
fn circle<'g>(graph: &'g Graph<'_>, start: &'g Module) -> Option<Vec<&'g Module>> {
    let before = reach(graph, start);
    let mut way = vec![start, *before.get(start)?];
    while *way[way.len() - 1] != *start {
        way.push(before[way[way.len() - 1]]);
    }
    way.reverse();
    Some(way)
}

/// Every module that `start` leads to, with the one before it on a shortest way.
fn reach<'g>(graph: &'g Graph<'_>, start: &'g Module) -> BTreeMap<&'g Module, &'g Module> {
    let mut before = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(here) = queue.pop_front() {
        for there in graph.get(here).into_iter().flat_map(BTreeMap::keys) {
            if !before.contains_key(there) {
                before.insert(there, here);
                queue.push_back(there);
            }
        }
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: &[(&str, &str)] = &[
        ("src/lib.rs", "mod session;"),
        ("src/session.rs", "mod key;\nmod set;\npub use key::Key;\nstruct Session(set::Set);"),
        ("src/session/set/list.rs", "use super::Set;"),
    ];

    /// What is found when `key.rs` and `set.rs` say this.
    fn check(key: &str, set: &str, wrong: &[&str]) {
        let mut files = ROOM.to_vec();
        files.extend([("src/session/key.rs", key), ("src/session/set.rs", set)]);
        let findings = files_of(&files);
        assert_eq!(findings, wrong, "of {key} and {set}");
    }

    fn files_of(sample: &[(&str, &str)]) -> Vec<String> {
        files(&Tree::sample(sample)).into_iter().map(|finding| finding.wrong).collect()
    }

    const RING: &str =
        "files import each other in a circle: session::key → session::set → session::key";

    #[test]
    fn one_direction_is_enough() {
        check("struct Key;", "use super::key::Key;", &[]);
        check("use crate::session::set::Set;", "struct Set;", &[]);
        check("use super::Session;", "use super::Session;\nmod list;\nuse list::X;", &[]);
    }

    #[test]
    fn an_added_circle_is_found() {
        check("use super::set::Set;", "use super::key::Key;", &[RING]);
        check("fn f() { crate::session::set::g() }", "use crate::session::{key::Key};", &[RING]);
        // By way of a name that the parent re-exports.
        check("use super::set::Set;", "use super::Key;", &[RING]);
        check("#[cfg(test)]\nmod tests { use super::super::set::Set; }", "use super::Key;", &[]);
    }

    #[test]
    fn a_child_closes_its_parents_circle() {
        let mut files = ROOM.to_vec();
        files[2].1 = "use crate::session::key::Key;";
        files.extend([
            ("src/session/key.rs", "use super::set::Set;"),
            ("src/session/set.rs", "mod list;\nstruct Set;"),
        ]);
        assert_eq!(files_of(&files), [RING]);
    }

    #[test]
    fn a_long_circle_is_told_once() {
        let found = files_of(&[
            ("src/lib.rs", "mod a;"),
            ("src/a.rs", "mod x;\nmod y;\nmod z;"),
            ("src/a/x.rs", "use super::y::Y;"),
            ("src/a/y.rs", "use super::z::Z;"),
            ("src/a/z.rs", "use super::x::X;\nuse super::y::Y;"),
        ]);
        assert_eq!(found, ["files import each other in a circle: a::x → a::y → a::z → a::x"]);
    }
}
