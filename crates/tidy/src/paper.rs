//! Documents: one title each, and links that lead somewhere.
//! Whether the YAML in them loads is tested where the loader is.

use crate::finding::Finding;
use crate::source::Source;
use crate::tree::Tree;

pub fn titles(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for page in tree.ending(".md") {
        let titles: Vec<_> = prose(page).filter(|(_, line)| line.starts_with("# ")).collect();
        let right = "a page has exactly one title, its first heading: `# …`";
        let first = prose(page).find(|(_, line)| line.starts_with('#'));
        match titles.as_slice() {
            [title] if first.as_ref() == Some(title) => {}
            [title] => {
                let wrong = "a heading stands before the title".to_owned();
                findings.push(finding(page, title.0, wrong, right));
            }
            [] => findings.push(finding(page, 1, "no title".to_owned(), right)),
            [_, second, ..] => {
                findings.push(finding(page, second.0, "a second title".to_owned(), right));
            }
        }
    }
    findings
}

/// Links to files of the repository lead to files of the repository.
pub fn links(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for page in tree.ending(".md") {
        for (line, text) in prose(page) {
            for target in targets(text).filter(|target| !leads(tree, page, target)) {
                let wrong = format!("the link to `{target}` leads nowhere");
                findings.push(finding(page, line, wrong, "name a file that exists"));
            }
        }
    }
    findings
}

/// The lines outside fenced blocks, counted from 1.
fn prose(page: &Source) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    let lines = page.text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// What `[…](target)` points at, without anchors; links to elsewhere are left out.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let ends = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let files = ends.map(|target| target.split('#').next().unwrap_or(target));
    files.filter(|target| !target.is_empty() && !target.contains("://") && !target.contains('`'))
}

fn leads(tree: &Tree, page: &Source, target: &str) -> bool {
    let mut steps: Vec<&str> = page.path.split('/').collect();
    steps.pop();
    for step in target.trim_end_matches('/').split('/') {
        match step {
            ".." if steps.pop().is_none() => return false,
            ".." | "." => {}
            step => steps.push(step),
        }
    }
    let path = steps.join("/");
    let folder = format!("{path}/");
    path.is_empty() || tree.files().any(|f| f.path == path || f.path.starts_with(&folder))
}

fn finding(page: &Source, line: usize, wrong: String, right: &str) -> Finding {
    Finding { rule: "paper", file: page.path.clone(), line, wrong, right: right.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&Tree) -> Vec<Finding>, text: &str, wrong: &[&str]) {
        let findings = rule(&Tree::sample(&[("docs/a.md", text), ("docs/b/c.md", "# C\n")]));
        let said: Vec<_> = findings.iter().map(|finding| finding.wrong.as_str()).collect();
        assert_eq!(said, wrong, "of {text}");
    }

    #[test]
    fn a_page_has_one_title() {
        check(titles, "# One\n## Two\n```sh\n# a comment\n```\n", &[]);
        check(titles, "words\n", &["no title"]);
        check(titles, "# One\n# Two\n", &["a second title"]);
        check(titles, "## Two\n# One\n", &["a heading stands before the title"]);
    }

    #[test]
    fn links_lead_somewhere() {
        check(links, "[c](b/c.md) [d](./b/) [e](../docs/a.md#x) [f](https://x/y)", &[]);
        check(links, "[c](c.md)", &["the link to `c.md` leads nowhere"]);
        check(links, "[c](../../x)", &["the link to `../../x` leads nowhere"]);
    }
}
