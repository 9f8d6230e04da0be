//! Things fit on a screen: functions, files, lines.
//! Tests are free in length, not in width. A declared table is an exception with its reason.

use std::ops::Range;

use crate::finding::Finding;
use crate::source::{Source, body, skip_blank, word_at, words};
use crate::tree::Tree;

pub const FUNCTION_LINES_MAX: usize = 70;
pub const FILE_LINES_MAX: usize = 400;
pub const LINE_COLUMNS_MAX: usize = 100;

/// A function with a body.
#[derive(Debug, Clone)]
pub struct Function<'a> {
    pub name: &'a str,
    /// From `fn` to behind the closing brace.
    pub span: Range<usize>,
}

/// The functions of a file, nested ones too; declarations without a body are left out.
pub fn functions_of(source: &Source) -> Vec<Function<'_>> {
    let code = &source.code;
    let found = words(code, "fn").into_iter().filter_map(|start| {
        let (name, from) = word_at(code, skip_blank(code, start + 2))?;
        let body = body(code, from)?;
        let has_body = code[body.start..].starts_with('{');
        has_body.then_some(Function { name, span: start..body.end })
    });
    found.collect()
}

pub fn functions(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for function in functions_of(file) {
            let Range { start, end } = function.span;
            let lines = file.line(end - 1) - file.line(start) + 1;
            if lines > FUNCTION_LINES_MAX && !file.in_test(start) {
                let wrong = format!("`{}` has {lines} lines", function.name);
                let right = format!("a function fits on a screen: {FUNCTION_LINES_MAX} lines");
                findings.push(finding(file, file.line(start), wrong, right));
            }
        }
    }
    findings
}

pub fn files(tree: &Tree) -> Vec<Finding> {
    let long = tree.rust().filter(|file| file.lines_to_read() > FILE_LINES_MAX);
    let said = long.map(|file| {
        let wrong = format!("{} lines, tests apart", file.lines_to_read());
        let right = format!("cut it where a reader would pause: {FILE_LINES_MAX} lines at most");
        finding(file, 1, wrong, right)
    });
    said.collect()
}

pub fn lines(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for (index, line) in file.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > LINE_COLUMNS_MAX {
                let wrong = format!("{columns} columns");
                let right = format!("break it at {LINE_COLUMNS_MAX}, strings with a `\\`");
                findings.push(finding(file, index + 1, wrong, right));
            }
        }
    }
    findings
}

fn finding(file: &Source, line: usize, wrong: String, right: String) -> Finding {
    Finding { rule: "size", file: file.path.clone(), line, wrong, right }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(path: &str, text: &str) -> Tree {
        Tree::sample(&[(path, text)])
    }

    #[test]
    fn long_functions_are_found() {
        let long = format!("\nfn long<T: Fn() -> [u8; 2]>() {{\n{}}}\n", "    x();\n".repeat(69));
        let found = functions(&sample("src/a.rs", &long));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line, found[0].wrong.as_str()), (2, "`long` has 71 lines"));
        assert!(functions(&sample("tests/it/a.rs", &long)).is_empty());
        let short = format!("fn short() {{\n{}}}\n", "    x(\"}\");\n".repeat(68));
        assert!(functions(&sample("src/a.rs", &short)).is_empty());
    }

    #[test]
    fn long_files_are_found_and_tests_not_counted() {
        let text = "x\n".repeat(FILE_LINES_MAX);
        assert!(files(&sample("src/a.rs", &text)).is_empty());
        let tested = format!("{text}#[cfg(test)]\nmod tests {{\n{text}}}\n");
        assert!(files(&sample("src/a.rs", &tested)).is_empty());
        assert_eq!(files(&sample("src/a.rs", &format!("{text}x"))).len(), 1);
    }

    #[test]
    fn wide_lines_are_found() {
        let text = format!("ok\n// {}\n// {}", "é".repeat(97), "é".repeat(98));
        let found: Vec<_> = lines(&sample("src/a.rs", &text)).iter().map(|f| f.line).collect();
        assert_eq!(found, [3]);
    }
}
