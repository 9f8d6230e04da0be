//! The glossary: every public type is named by a noun that docs/glossary.md explains, or that the
//! field knows. What a word means, the page says; whether it says it well is for its readers.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::mask::is_word;
use crate::source::{Source, skip_blank, word_at, words};
use crate::tree::Tree;

const PAGE: &str = "docs/glossary.md";
/// Under this heading each row of the table explains a word of ours.
const TERMS: &str = "## Terms";
/// Under this heading stand the words that need no explanation, each in backticks.
const KNOWN: &str = "## The field's words";

/// Whose public types are looked at.
const CRATES: &[&str] = &["src/", "crates/streamgate-lease/src/"];

/// A word of the page, in lower case, and its line.
type Entry = (String, usize);

/// A public type is named by a word of the page.
pub fn types(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.file(PAGE) else {
        return vec![finding(PAGE, 1, "there is no glossary".to_owned(), "write it")];
    };
    let known: BTreeSet<String> =
        [entries(page, TERMS), entries(page, KNOWN)].concat().into_iter().map(|(w, _)| w).collect();
    let mut findings = Vec::new();
    for file in product(tree) {
        for (name, at) in public_types(file) {
            let spoken = spoken(name);
            let head = spoken.rsplit(' ').next().unwrap_or(&spoken);
            let is_known = |word: &str| known.contains(word) || known.contains(&singular(word));
            if !is_known(head) && !is_known(&spoken) {
                let wrong = format!("`{name}`: the glossary does not know `{head}`");
                let right = "take the field's word and list it in docs/glossary.md, or explain it";
                findings.push(finding(&file.path, file.line(at), wrong, right));
            }
        }
    }
    findings
}

/// A word of the page is still a word of the code.
pub fn rows(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.file(PAGE) else { return Vec::new() };
    let mut names: BTreeSet<String> = BTreeSet::new();
    for file in product(tree) {
        names.insert(format!(" {} ", file.stem().replace('_', " ")));
        names.extend(identifiers(&file.spoken).map(|name| format!(" {} ", spoken(name))));
    }
    let is_said = |term: &str| {
        let (one, many) = (format!(" {term} "), format!(" {term}s "));
        names.iter().any(|name| name.contains(&one) || name.contains(&many))
    };
    let gone = entries(page, TERMS).into_iter().filter(|(term, _)| !is_said(term));
    let said = gone.map(|(term, line)| {
        let wrong = format!("`{term}` is no word of the code any more");
        finding(PAGE, line, wrong, "remove its row, or explain the word that took its place")
    });
    said.collect()
}

/// A word of the field stands there only while a public type is named by it.
pub fn known(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.file(PAGE) else { return Vec::new() };
    let names = product(tree).flat_map(public_types).map(|(name, _)| spoken(name));
    let heads: BTreeSet<String> = names
        .flat_map(|name| [singular(&name), singular(name.rsplit(' ').next().unwrap_or_default())])
        .collect();
    let words = entries(page, KNOWN).into_iter();
    let idle = words.filter(|(word, _)| !heads.contains(&singular(word)));
    let said = idle.map(|(word, line)| {
        let wrong = format!("no public type is named by `{word}`");
        finding(PAGE, line, wrong, "remove it from the list")
    });
    said.collect()
}

fn product(tree: &Tree) -> impl Iterator<Item = &Source> {
    let files = CRATES.iter().flat_map(|folder| tree.below(folder));
    files.filter(|file| file.is_rust() && !file.is_test)
}

/// The names of `pub struct`, `pub enum`, `pub trait` and `pub type` outside tests.
fn public_types(file: &Source) -> Vec<(&str, usize)> {
    let code = &file.code;
    let mut names = Vec::new();
    for keyword in ["struct", "enum", "trait", "type"] {
        let places = words(code, keyword).into_iter().filter(|at| {
            let before = code[..*at].trim_end();
            (before.ends_with(" pub") || before.ends_with("\npub") || before == "pub")
                && !file.in_test(*at)
        });
        names.extend(places.filter_map(|at| word_at(code, skip_blank(code, at + keyword.len()))));
    }
    names
}

/// The words in backticks at the beginning of each row, or anywhere in the section of known words.
fn entries(page: &Source, heading: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut is_inside = false;
    for (index, line) in page.text.lines().enumerate() {
        if line.starts_with("## ") {
            is_inside = line == heading;
            continue;
        }
        let cell = match heading {
            // A row's first cell; a term may have a second name, such as `lease`, `stream lease`.
            TERMS => line.strip_prefix('|').and_then(|row| row.split('|').next()),
            _ => Some(line),
        };
        let quoted = cell.unwrap_or_default().split('`').skip(1).step_by(2);
        if is_inside {
            entries.extend(quoted.map(|word| (word.to_lowercase(), index + 1)));
        }
    }
    entries
}

fn identifiers(text: &str) -> impl Iterator<Item = &str> {
    let names = text.split(|c: char| !c.is_ascii() || !is_word(c as u8));
    names.filter(|name| !name.is_empty())
}

/// `LeaseStore` and `lease_store` are `lease store`.
fn spoken(name: &str) -> String {
    let mut words = String::new();
    let mut before = '_';
    for letter in name.chars() {
        if letter.is_uppercase() && !before.is_uppercase() {
            words.push(' ');
        }
        words.push(if letter == '_' { ' ' } else { letter.to_ascii_lowercase() });
        before = letter;
    }
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `bounds` is `bound`, `classes` is `class`, and what is one already stays so.
fn singular(word: &str) -> String {
    let stem = word.strip_suffix("ies").map(|stem| format!("{stem}y"));
    let stem = stem.or_else(|| word.strip_suffix("sses").map(|stem| format!("{stem}ss")));
    let one = word.strip_suffix('s').filter(|stem| !stem.ends_with(['s', 'u', 'i']));
    stem.unwrap_or_else(|| one.unwrap_or(word).to_owned())
}

fn finding(path: &str, line: usize, wrong: String, right: &str) -> Finding {
    Finding { rule: "glossary", file: path.to_owned(), line, wrong, right: right.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "# Glossary\n\n## Terms\n\n| term | meaning |\n|---|---|\n\
                         | `holder` | an account `x` |\n| `stream token` | it |\n\n\
                         ## The field's words\n\n`policy`, `timeout`\n";

    fn check(rule: fn(&Tree) -> Vec<Finding>, code: &str, wrong: &[&str]) {
        let findings = rule(&Tree::sample(&[(PAGE, WORDS), ("src/a.rs", code)]));
        let said: Vec<_> = findings.iter().map(|finding| finding.wrong.as_str()).collect();
        assert_eq!(said, wrong, "of {code}");
    }

    #[test]
    fn a_public_type_is_named_by_a_known_noun() {
        check(types, "pub struct LeaseHolder;\npub enum Policy {}\npub trait Timeouts {}", &[]);
        check(types, "pub(crate) struct Bell;\nstruct Book;", &[]);
        check(types, "#[cfg(test)]\nmod tests { pub struct Bell; }", &[]);
        let wrong = "`PolicyBell`: the glossary does not know `bell`";
        check(types, "pub struct PolicyBell;", &[wrong]);
        check(types, "pub struct StreamToken;", &[]);
        check(types, "pub type Token = u8;", &["`Token`: the glossary does not know `token`"]);
        let none = types(&Tree::sample(&[]));
        assert_eq!(none.len(), 1, "a house without a glossary");
    }

    #[test]
    fn a_row_goes_with_its_word() {
        let all = "pub enum Policy {}\npub struct Timeouts;\nstruct Holder;\nfn stream_token() {}";
        check(rows, all, &[]);
        let less = "pub enum Policy {}\npub struct Timeout;\n// holder\nfn stream_token() {}";
        check(rows, less, &["`holder` is no word of the code any more"]);
        let idle =
            "enum Policy {}\npub struct Timeout;\nconst X: &str = \"holders\"; stream_tokens()";
        check(rows, idle, &[]);
        check(known, idle, &["no public type is named by `policy`"]);
    }

    #[test]
    fn names_are_taken_apart() {
        assert_eq!(spoken("LeaseIdInvalid"), "lease id invalid");
        assert_eq!(spoken("TTL_MAX"), "ttl max");
        assert_eq!(singular("classes"), "class");
        assert_eq!(singular("entries"), "entry");
        assert_eq!(singular("redis"), "redis");
        assert_eq!(singular("access"), "access");
    }
}
