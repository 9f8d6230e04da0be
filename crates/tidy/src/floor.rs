//! Rooms may import only rooms listed below them: the order of `mod` lines in `lib.rs` is the law.
//! No cycle can be written then, because an order has none. What leaves the crate is `border`'s,
//! and the files inside a room are `circle`'s.

use crate::finding::Finding;
use crate::import::{self, Import};
use crate::source::Source;
use crate::tree::Tree;

/// The crates that keep floors, by the folder of their `lib.rs`.
pub const HOUSES: &[&str] = &["src/", "crates/tidy/src/", "crates/streamgate-lease/src/"];

/// Rooms whose children may not see one another.
const CELLS: &[&str] = &["filter"];

pub fn imports(tree: &Tree) -> Vec<Finding> {
    HOUSES.iter().flat_map(|house| house_imports(tree, house)).collect()
}

fn house_imports(tree: &Tree, house: &str) -> Vec<Finding> {
    let Some(lib) = tree.file(&format!("{house}lib.rs")) else {
        return Vec::new();
    };
    let children = lib.children().into_iter().filter(|(_, at)| !lib.in_test(*at));
    let rooms: Vec<&str> = children.map(|(name, _)| name).collect();
    let mut findings = Vec::new();
    for file in tree.below(house).filter(|file| file.is_rust()) {
        let module = module(house, file);
        // A room that nobody declares is `island`'s to tell, once.
        let is_declared = |room: &String| rooms.contains(&room.as_str());
        if !module.first().is_some_and(is_declared) {
            continue;
        }
        let imports = import::inward(file, &module).into_iter();
        let imports = imports.filter(|import| !file.in_test(import.offset));
        findings.extend(imports.filter_map(|import| judge(file, &rooms, &module, &import)));
    }
    findings
}

/// Where a file stands in its crate; empty for the root, which may see everything.
pub fn module(house: &str, file: &Source) -> Vec<String> {
    let inside = file.path[house.len()..].trim_end_matches(".rs");
    match inside {
        "lib" | "main" => Vec::new(),
        _ => inside.split('/').map(str::to_owned).collect(),
    }
}

fn judge(file: &Source, rooms: &[&str], module: &[String], import: &Import) -> Option<Finding> {
    let here = module[0].as_str();
    let there = import.path.first()?.as_str();
    let floor = |room: &str| rooms.iter().position(|name| *name == room);
    let (wrong, right) = if here == there {
        return neighbour(file, module, import);
    } else if there == "macros" || is_macro(file, import) {
        return None;
    } else if floor(there).is_none() {
        (
            format!("`crate::{}` is not a room of lib.rs", import.path.join("::")),
            "name the room where the thing lives".to_owned(),
        )
    } else if floor(there) > floor(here) {
        return None;
    } else {
        (
            format!("`{here}` imports `{there}`, which stands above it"),
            format!("move what `{here}` needs into a room below it, or let `{there}` pass it in"),
        )
    };
    let line = file.line(import.offset);
    Some(Finding { rule: "floor", file: file.path.clone(), line, wrong, right })
}

fn is_macro(file: &Source, import: &Import) -> bool {
    let written = format!("crate::{}!", import.path.join("::"));
    file.code[import.offset..].starts_with(&written)
}

/// Children of a cell see their parent and the floors below, but not each other.
fn neighbour(file: &Source, module: &[String], import: &Import) -> Option<Finding> {
    let (room, child, other) = (&module[0], module.get(1)?, import.path.get(1)?);
    let is_child = other.starts_with(|first: char| first.is_lowercase());
    if !CELLS.contains(&room.as_str()) || child == other || !is_child || import.path.len() < 3 {
        return None;
    }
    Some(Finding {
        rule: "floor",
        file: file.path.clone(),
        line: file.line(import.offset),
        wrong: format!("`{room}::{child}` imports its neighbour `{room}::{other}`"),
        right: format!("hand it over in the exchange, or move it to `{room}.rs` or a room below"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: (&str, &str) = ("src/lib.rs", "mod proxy;\npub mod filter;\nmod session;\n");

    fn check(path: &str, text: &str, wrong: &[&str]) {
        let findings = imports(&Tree::sample(&[LIB, (path, text)]));
        let said: Vec<_> = findings.iter().map(|finding| finding.wrong.as_str()).collect();
        assert_eq!(said, wrong, "of {text}");
    }

    #[test]
    fn imports_point_down() {
        check("src/proxy.rs", "use crate::{filter::Chain, session::Session};", &[]);
        let up = "`session` imports `proxy`, which stands above it";
        check("src/session.rs", "use crate::proxy::Proxy;", &[up]);
        check("src/session/keys.rs", "fn f() { crate::proxy::g() }", &[up]);
        check(
            "src/session/keys.rs",
            "use super::super::{filter::X, proxy};",
            &["`session` imports `filter`, which stands above it", up],
        );
        check("src/session.rs", "use crate::Thing;", &["`crate::Thing` is not a room of lib.rs"]);
        check("src/session.rs", "crate::say!(1);", &[]);
    }

    #[test]
    fn tests_may_look_up() {
        check("src/session.rs", "#[cfg(test)]\nmod tests { use crate::proxy::P; }", &[]);
        check("src/session/tests.rs", "use crate::proxy::P;", &[]);
    }

    #[test]
    fn filters_do_not_know_each_other() {
        let seen = "`filter::cors` imports its neighbour `filter::session`";
        check("src/filter/cors.rs", "use super::session::Session;", &[seen]);
        check("src/filter/cors.rs", "use crate::filter::session::Session;", &[seen]);
        check("src/filter/cors.rs", "use super::{Filter, Halt};\nuse crate::session::S;", &[]);
        check("src/filter/cors/wild.rs", "use crate::filter::cors::Config;", &[]);
        check("src/filter.rs", "use cors::Cors; use crate::filter::cors::X;", &[]);
    }
}
