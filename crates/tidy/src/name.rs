//! Names that say nothing are not given: to files, functions or types. And a file says what it is.

use crate::finding::Finding;
use crate::source::{Source, skip_blank, word_at, words};
use crate::tree::Tree;

/// File and folder names that only say that something was put there.
const DRAWERS: &[&str] = &["mod", "utils", "util", "common", "helpers", "helper", "types", "misc"];

/// Endings of type names that add nothing to the noun.
const SUFFIXES: &[&str] = &["Impl", "Manager", "Handler"];

pub fn files(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let mut steps = file.path.trim_end_matches(".rs").split('/');
        if let Some(step) = steps.find(|step| DRAWERS.contains(step)) {
            let wrong = format!("`{step}` names a drawer");
            let right = "name it by the noun that it holds: `x.rs`, with `x/` for its children";
            findings.push(finding(file, 1, wrong, right));
        }
    }
    findings
}

/// Every Rust file opens with what it is for; `x/tests.rs` says so by its place.
pub fn heads(tree: &Tree) -> Vec<Finding> {
    let headless =
        tree.rust().filter(|file| !file.text.starts_with("//! ") && file.stem() != "tests");
    let right = "open with `//!`: what the file is for, and what it is not";
    let said = headless.map(|file| finding(file, 1, "no head comment".to_owned(), right));
    said.collect()
}

pub fn items(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        findings.extend(functions(file));
        for keyword in ["struct", "enum", "trait", "type"] {
            findings.extend(types(file, keyword));
        }
    }
    findings
}

fn functions(file: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ours = |at: &usize| !file.in_test(*at) && !is_of_a_trait(&file.code, *at);
    for at in words(&file.code, "fn").into_iter().filter(ours) {
        let Some((name, start)) = word_at(&file.code, skip_blank(&file.code, at + 2)) else {
            continue;
        };
        let arguments = &file.code[start + name.len()..];
        if name.starts_with("get_") {
            let wrong = format!("`{name}` begins with `get_`");
            findings.push(finding(file, file.line(at), wrong, "name what it returns"));
        }
        if name.starts_with("set_") && arguments.starts_with("(&mut self") {
            let wrong = format!("`{name}` is a setter");
            let right = "build the value whole, or name the verb that changes it";
            findings.push(finding(file, file.line(at), wrong, right));
        }
    }
    findings
}

/// Whether a place lies in `impl Trait for Type`: its functions were named by somebody else.
fn is_of_a_trait(code: &str, at: usize) -> bool {
    let before = &code[..at];
    let Some(begin) = before.rfind("\nimpl") else { return false };
    let is_inside = !before[begin..].contains("\n}");
    let head = code[begin..].split('{').next().unwrap_or_default();
    is_inside && head.contains(" for ")
}

fn types(file: &Source, keyword: &str) -> Vec<Finding> {
    let code = &file.code;
    let named = words(code, keyword).into_iter().filter(|at| !file.in_test(*at));
    let vague = named.filter_map(|at| {
        let (name, _) = word_at(code, skip_blank(code, at + keyword.len()))?;
        let suffix = SUFFIXES.iter().find(|suffix| name.ends_with(**suffix))?;
        let wrong = format!("`{name}` ends with `{suffix}`");
        let right = "name the thing itself, or make it a function";
        Some(finding(file, file.line(at), wrong, right))
    });
    vague.collect()
}

fn finding(file: &Source, line: usize, wrong: String, right: &str) -> Finding {
    Finding { rule: "name", file: file.path.clone(), line, wrong, right: right.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&Tree) -> Vec<Finding>, path: &str, text: &str, wrong: &[&str]) {
        let findings = rule(&Tree::sample(&[(path, text)]));
        let said: Vec<_> = findings.iter().map(|finding| finding.wrong.as_str()).collect();
        assert_eq!(said, wrong, "of {path}: {text}");
    }

    #[test]
    fn drawers_are_refused() {
        check(files, "src/filter/mod.rs", "", &["`mod` names a drawer"]);
        check(files, "tests/common/redis.rs", "", &["`common` names a drawer"]);
        check(files, "src/filter.rs", "", &[]);
    }

    #[test]
    fn a_file_opens_with_its_purpose() {
        check(heads, "src/a.rs", "use x;", &["no head comment"]);
        check(heads, "src/a.rs", "//! What it is.", &[]);
        check(heads, "src/a/tests.rs", "use super::*;", &[]);
    }

    #[test]
    fn names_say_what_things_are() {
        check(items, "src/a.rs", "fn get_x() {}", &["`get_x` begins with `get_`"]);
        check(items, "src/a.rs", "\nimpl T for A {\n    fn get_x() {}\n}\n", &[]);
        let own = "\nimpl T for A {\n}\nimpl A {\n    fn get_x() {}\n}\n";
        check(items, "src/a.rs", own, &["`get_x` begins with `get_`"]);
        check(items, "src/a.rs", "fn set_x(&mut self) {}", &["`set_x` is a setter"]);
        check(items, "src/a.rs", "fn set_cookie(head: &Head) -> Value {}", &[]);
        check(items, "src/a.rs", "struct LeaseManager;", &["`LeaseManager` ends with `Manager`"]);
        check(items, "src/a.rs", "struct Impl2; type Handled = u8;", &[]);
    }
}
