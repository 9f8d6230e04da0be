//! Words that may not be written, each with the reason and the replacement.
//! What needs types to be seen (a method of std by any name) is banned in clippy.toml instead.

use crate::finding::Finding;
use crate::source::{Source, words};
use crate::tree::Tree;

/// Words in code, tests included.
const IN_CODE: &[(&str, &str)] = &[
    ("dbg!", "remove it; what is worth seeing is told through `observe`"),
    ("todo!", "write it, or leave the feature out"),
    ("unimplemented!", "write it, or leave the feature out"),
    ("#[ignore", "a check that does not run is not a check: repair it or remove it"),
    ("#[should_panic", "assert on a returned value"),
];

/// Words in code that is no test.
const IN_PRODUCT: &[(&str, &str)] = &[
    (".unwrap()", "return the error, or `expect(\"why it cannot be\")` for our own mistakes"),
    (".unwrap_err()", "return the other side, or match"),
];

/// Marks of unfinished work, wherever they are written.
const MARKS: &[&str] = &["FIXME", "TODO", "XXX", "HACK"];

/// Files besides Rust in which the marks are looked for. Prose may speak of them.
const MARKED: &[&str] = &[".lua", ".yaml", ".yml", ".toml", ".sh", ".html", ".js", ".css"];

pub fn code(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for (word, right) in IN_CODE {
            findings.extend(found(file, &file.code, word, right));
        }
        for (word, right) in IN_PRODUCT {
            let places = words(&file.code, word).into_iter().filter(|at| !file.in_test(*at));
            findings.extend(places.map(|at| finding(file, at, word, right)));
        }
    }
    findings
}

pub fn marks(tree: &Tree) -> Vec<Finding> {
    let right = "do it now, or open an issue: a mark in the code is forgotten";
    let mut findings = Vec::new();
    for file in tree.files() {
        let marked = MARKED.iter().any(|end| file.path.ends_with(end));
        let text = if marked { &file.text } else { &file.comments };
        findings.extend(MARKS.iter().flat_map(|mark| found(file, text, mark, right)));
    }
    findings
}

/// A lint that is switched off in the product says why.
pub fn silence(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for mark in ["#[allow(", "#![allow(", "#[expect(", "#![expect("] {
            let places = words(&file.code, mark).into_iter().filter(|at| !file.in_test(*at));
            let silent = places.filter(|at| {
                let end = file.code[*at..].find(']').map_or(file.code.len(), |length| at + length);
                words(&file.code[*at..end], "reason").is_empty()
            });
            let right = "add `reason = \"…\"`, so the next reader can judge it";
            findings.extend(silent.map(|at| finding(file, at, mark, right)));
        }
    }
    findings
}

fn found(file: &Source, text: &str, word: &str, right: &str) -> Vec<Finding> {
    words(text, word).into_iter().map(|at| finding(file, at, word, right)).collect()
}

fn finding(file: &Source, at: usize, word: &str, right: &str) -> Finding {
    Finding {
        rule: "word",
        file: file.path.clone(),
        line: file.line(at),
        wrong: format!("`{word}` is written here"),
        right: right.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&Tree) -> Vec<Finding>, path: &str, text: &str, lines: &[usize]) {
        let findings = rule(&Tree::sample(&[(path, text)]));
        let found: Vec<_> = findings.iter().map(|finding| finding.line).collect();
        assert_eq!(found, lines, "of {text}");
    }

    #[test]
    fn words_are_found_in_code_only() {
        check(code, "src/a.rs", "x\ndbg!(y);\ntodo!()", &[2, 3]);
        check(code, "src/a.rs", "// dbg!\n\"todo!()\"; my_dbg!()", &[]);
        check(code, "tests/it/a.rs", "#[ignore = \"slow\"]\nfn f() {}", &[1]);
        check(code, "src/a.rs", "a.unwrap();\nb.unwrap_or(1);", &[1]);
        check(code, "src/a.rs", "#[cfg(test)]\nmod tests { fn f() { a.unwrap(); } }", &[]);
    }

    #[test]
    fn marks_are_found_in_comments() {
        check(marks, "src/a.rs", "// TODO later\nlet s = \"TODO\";", &[1]);
        check(marks, "src/a.lua", "-- FIXME", &[1]);
        check(marks, "docs/a.md", "never write TODO", &[]);
    }

    #[test]
    fn silence_has_a_reason() {
        check(silence, "src/a.rs", "#[allow(x)]\n#[expect(y, reason = \"z\")]", &[1]);
        check(silence, "tests/it/a.rs", "#![allow(clippy::unwrap_used)]", &[]);
    }
}
