//! Several files as one: what the first names under `include`, and how the others are put into it.
//!
//! Sections with entries or items are joined: each file brings routes and upstreams of its own.
//! What stands in two files at once is told by the schema's check like any key that stands twice.

use super::environment::{Environment, fill};
use super::tree::{self, Node, Tree};
use super::{At, cause, parser_messages};
use crate::problem::{FILE_LINES_MAX, Place, Problem};

const KEY: &str = "include";

/// What stands under `include`, with variables filled in. What can't be read is told later.
pub(super) fn named(root: &Node) -> Vec<At<String>> {
    let Tree::Mapping(sections) = &root.value else { return Vec::new() };
    let Some((_, wanted)) = sections.iter().find(|(key, _)| key.value == KEY) else {
        return Vec::new();
    };
    let all = match &wanted.value {
        Tree::List(items) => items.iter().collect(),
        _ => vec![wanted],
    };
    let texts = all.into_iter().filter_map(|item| match &item.value {
        Tree::Value(single) => {
            Some(At { value: fill(&single.text).into_owned(), place: item.place })
        }
        _ => None,
    });
    texts.collect()
}

/// Adds `lines` to the number of every line.
pub(super) fn move_lines(node: &mut Node, lines: u32) {
    if lines == 0 {
        return;
    }
    let moved = |place: Place| Place { line: place.line + lines, ..place };
    node.place = moved(node.place);
    match &mut node.value {
        Tree::List(items) => items.iter_mut().for_each(|item| move_lines(item, lines)),
        Tree::Mapping(entries) => {
            for (key, entry) in entries {
                key.place = moved(key.place);
                move_lines(entry, lines);
            }
        }
        Tree::Nothing | Tree::Value(_) | Tree::Broken => {}
    }
}

/// Puts the sections of `other` into `root`.
pub(super) fn merge(root: &mut Node, other: Node) -> Vec<Problem> {
    let Tree::Mapping(further) = other.value else {
        // A file whose lines are all commented out has nothing to add.
        let is_empty = matches!(other.value, Tree::Nothing);
        let text = format!("an included file must be a mapping, and is {}", other.value.kind());
        let help = "begin it with a section such as `routes` or `upstreams`";
        let problem = Problem::at(other.place, text).help(help);
        return if is_empty { Vec::new() } else { vec![problem] };
    };
    if let Tree::Nothing = root.value {
        root.value = Tree::Mapping(Vec::new());
    }
    let Tree::Mapping(all) = &mut root.value else { return Vec::new() };
    let mut problems = Vec::new();
    for (key, section) in further {
        // Anchors hold within their own file.
        if key.starts_with("x-") {
            continue;
        }
        if key.value == KEY {
            let problem = key.problem("an included file includes no other");
            problems.push(problem.help("name the other in the first file, too"));
            continue;
        }
        match all.iter_mut().find(|(known, _)| known.value == key.value) {
            Some((_, known)) => {
                if let Some(section) = join(known, section) {
                    all.push((key, section));
                }
            }
            None => all.push((key, section)),
        }
    }
    problems
}

/// Joins two sections of one name. Returns what can't be joined.
fn join(known: &mut Node, section: Node) -> Option<Node> {
    match (&mut known.value, section.value) {
        (_, Tree::Nothing) => {}
        (Tree::List(all), Tree::List(more)) => all.extend(more),
        (Tree::Mapping(all), Tree::Mapping(more)) => all.extend(more),
        (Tree::Nothing, value) => *known = At { value, place: section.place },
        (_, value) => return Some(At { value, place: section.place }),
    }
    None
}

/// One text of a configuration as it stands, and what is wrong with it so far. Its lines are
/// counted on from those of the texts before.
pub(super) fn part(text: &str, number: u32, env: &Environment) -> (Option<Node>, Vec<Problem>) {
    let before = number * FILE_LINES_MAX;
    let mut problems = env.missing(text, before);
    let broken = |problem: Problem| {
        let at = problem.at.map(|at| Place { line: at.line + before, ..at });
        // Of an included file at least its first line is told.
        let first = (0 < number).then_some(Place { line: before + 1, column: 1, length: 0 });
        Problem { at: at.or(first), ..problem }
    };
    if let Some(problem) = cause::indent(text) {
        // Which line belongs to which can't be known then.
        problems.push(broken(problem));
        return (None, problems);
    }
    match tree::read(text) {
        Ok(mut root) => {
            move_lines(&mut root, before);
            (Some(root), problems)
        }
        Err(error) => {
            problems.push(broken(parser_messages::problem(&error, text)));
            (None, problems)
        }
    }
}

/// What `text` names under `include`, as far as it can be read.
pub fn included(text: &str, env: &Environment) -> Vec<At<String>> {
    let (root, _) = part(text, 0, env);
    root.map(|root| env.during(|| named(&root))).unwrap_or_default()
}
