//! Tables and what must go with every row: a filter its file, page and case; a denial and a metric
//! their line in the documents. Whether a generated document is equal is tested where it is made.

use crate::finding::Finding;
use crate::source::{Source, block_end, words};
use crate::tree::Tree;

const FILTER: &str = "src/filter.rs";
const DENIAL: &str = "src/denial.rs";

/// Every filter of the roster is complete, and every file of the folder is in the roster.
pub fn filters(tree: &Tree) -> Vec<Finding> {
    let Some(file) = tree.file(FILTER) else {
        return Vec::new();
    };
    let roster = roster(file);
    let mut findings = Vec::new();
    for (name, at) in &roster {
        let page = format!("docs/filters/{name}.md");
        if tree.file(&format!("src/filter/{name}.rs")).is_none() {
            findings.push(row(file, *at, format!("filter `{name}` has no file"), FILE));
        }
        if tree.file(&page).is_none() {
            let right = format!("write {page}: what it is for, its YAML, what it denies");
            findings.push(row(file, *at, format!("filter `{name}` has no page"), &right));
        }
        if !is_tried(tree, name) {
            findings.push(row(file, *at, format!("no case uses the filter `{name}`"), CASE));
        }
    }
    let listed = |stem: &str| roster.iter().any(|(name, _)| name == stem);
    let below = tree.below("src/filter/").filter(|file| file.is_rust() && !file.is_test);
    let children = below.filter(|file| file.path.matches('/').count() == 2);
    for child in children.filter(|child| !listed(child.stem())) {
        let wrong = format!("`{}` is not in the roster of {FILTER}", child.stem());
        findings.push(row(child, 0, wrong, "add its line to `filters!`, or move it to a room"));
    }
    findings
}

const FILE: &str = "one filter, one file: src/filter/<name>.rs";
const CASE: &str = "add a case in tests/cases/ or a test in tests/it/ that configures it";

/// The `name => Type` rows of `filters! { … }`, with where they stand.
fn roster(file: &Source) -> Vec<(String, usize)> {
    let mut rows = Vec::new();
    for at in words(&file.code, "filters! {").into_iter().chain(words(&file.code, "filters!{")) {
        let end = block_end(&file.code, at + file.code[at..].find('{').unwrap_or(0));
        for (arrow, _) in file.code[at..end].match_indices("=>") {
            let before = file.code[at..at + arrow].trim_end();
            let start = before.rfind(|c: char| !(c.is_alphanumeric() || c == '_'));
            let name = &before[start.map_or(0, |start| start + 1)..];
            rows.push((name.to_owned(), at + arrow));
        }
    }
    rows
}

fn is_tried(tree: &Tree, name: &str) -> bool {
    let key = format!("{name}:");
    tree.below("tests/").any(|file| !words(&file.text, &key).is_empty())
}

/// Every code of the denial table is explained in docs/denials.md.
pub fn denials(tree: &Tree) -> Vec<Finding> {
    let Some(file) = tree.file(DENIAL) else {
        return Vec::new();
    };
    let literals = literals(file).into_iter().filter(|(text, at)| {
        let before = file.spoken[..at - 1].trim_end_matches([',', ' ', '\n']);
        let status = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
        status.len() == 3 && is_snake(text)
    });
    documented(tree, file, literals.collect(), "denial", "docs/denials.md")
}

/// Every metric is explained in docs/metrics.md: a family's name is the first of its arguments.
pub fn metrics(tree: &Tree) -> Vec<Finding> {
    let in_room = |file: &&Source| file.path.starts_with("src/metrics");
    let mut findings = Vec::new();
    for file in tree.rust().filter(in_room) {
        let names = literals(file).into_iter().filter(|(text, at)| {
            let before = file.spoken[..at - 1].trim_end();
            let after = &file.spoken[at + text.len() + 1..];
            is_snake(text) && text.contains('_') && before.ends_with('(') && after.starts_with(',')
        });
        findings.extend(documented(tree, file, names.collect(), "metric", "docs/metrics.md"));
    }
    findings
}

fn documented(
    tree: &Tree,
    file: &Source,
    names: Vec<(&str, usize)>,
    kind: &str,
    page: &str,
) -> Vec<Finding> {
    let bless = "generate it from the table: `just bless`";
    if names.is_empty() {
        return Vec::new();
    }
    let Some(text) = tree.file(page).map(|page| page.text.as_str()) else {
        let wrong = format!("there is no {page}");
        return vec![row(file, 0, wrong, bless)];
    };
    // A metric stands there with its prefix.
    let missing = names.into_iter().filter(|(name, _)| !text.contains(name));
    let said = missing.map(|(name, at)| {
        let wrong = format!("{kind} `{name}` is not in {page}");
        row(file, at, wrong, bless)
    });
    said.collect()
}

/// The plain string literals of a file that are no test's, with the offset of their text.
fn literals(file: &Source) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = file.spoken[at..].find('"').map(|length| at + length + 1) {
        let end = file.spoken[open..].find('"').map_or(file.spoken.len(), |length| open + length);
        if !file.in_test(open) {
            found.push((&file.spoken[open..end], open));
        }
        at = (end + 1).min(file.spoken.len());
    }
    found
}

fn is_snake(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !text.is_empty() && text.chars().all(is_plain)
}

fn row(file: &Source, at: usize, wrong: String, right: &str) -> Finding {
    let (path, line) = (file.path.clone(), file.line(at));
    Finding { rule: "roster", file: path, line, wrong, right: right.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)], wrong: &[&str]) {
        let findings = rule(&Tree::sample(files));
        let said: Vec<_> = findings.iter().map(|finding| finding.wrong.as_str()).collect();
        assert_eq!(said, wrong);
    }

    #[test]
    fn a_filter_has_file_page_and_case() {
        let text = "macro_rules! filters { ($a:ident => $b:ident) => {} }\n\
                    filters! {\n    /// Tokens.\n    session => Session,\n    cors => Cors,\n}";
        check(
            filters,
            &[
                (FILTER, text),
                ("src/filter/session.rs", ""),
                ("src/filter/stray.rs", ""),
                ("docs/filters/session.md", ""),
                ("tests/cases/session.yaml", "- session: viewers"),
            ],
            &[
                "filter `cors` has no file",
                "filter `cors` has no page",
                "no case uses the filter `cors`",
                "`stray` is not in the roster of src/filter.rs",
            ],
        );
    }

    #[test]
    fn denials_are_documented() {
        let text = "denials! {\n    Full = 409 \"concurrency_limit\" \"Too many\",\n    \
                    Gone = 410, \"stream_expired\", \"Gone\",\n}";
        check(
            denials,
            &[(DENIAL, text), ("docs/denials.md", "| `stream_expired` |")],
            &["denial `concurrency_limit` is not in docs/denials.md"],
        );
    }

    #[test]
    fn metrics_are_documented() {
        let text = "f.counters(\n    \"requests_total\",\n    \"Requests.\",\n    &[\"route\"]);";
        let file = ("src/metrics.rs", text);
        check(metrics, &[file], &["there is no docs/metrics.md"]);
        check(metrics, &[file, ("docs/metrics.md", "## streamgate_requests_total")], &[]);
        let missing = "metric `requests_total` is not in docs/metrics.md";
        check(metrics, &[file, ("docs/metrics.md", "")], &[missing]);
    }
}
