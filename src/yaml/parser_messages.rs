//! The parser's errors, in words that say what the operator can do.

use super::{cause, place};
use crate::problem::{Place, Problem};
use serde_yaml::Error;

/// A part of the parser's message, our message in its place, and what would be right.
const MESSAGES: [(&str, &str, &str); 19] = [
    (
        "expected ',' or '}'",
        "the `{ … }` around this is broken",
        "put commas between its parts, and quotes around a text with `{`, `}`, `[`, `]`, `,` or \
         `: `: `\"/live/{*file}\"`",
    ),
    (
        "expected ',' or ']'",
        "the `[ … ]` around this is broken",
        "put commas between its items, and quotes around a text with `{`, `}`, `[`, `]` or `,`",
    ),
    ("unclosed bracket", "this bracket is never closed", "close it where its list or mapping ends"),
    (
        "did not find expected '-' indicator",
        "this line belongs neither to the item above nor to a new one",
        "indent it like the other keys of its item, or begin a new item with `- `",
    ),
    (
        "did not find expected key",
        "this line is indented unlike its neighbours",
        "keys of one mapping begin in the same column",
    ),
    (
        "mapping values are not allowed",
        "a second `: ` on this line, or a line that is indented too far",
        "quote a text with `: ` in it: `\"a: b\"`; keys of one mapping begin in the same column",
    ),
    ("tab", "a tab where YAML wants spaces", "indent with spaces"),
    (
        "after double-quoted scalar",
        "text behind a closing quote",
        "close every quote on its own line, and write `\\\"` for one within",
    ),
    (
        "after single-quoted scalar",
        "text behind a closing quote",
        "close every quote on its own line, and write `''` for one within",
    ),
    ("unclosed quote", "this quote is never closed", "close it on its own line"),
    (
        "unknown anchor",
        "a `*name` without its `&name`",
        "quote a text that begins with `*`: `\"*.example.com\"`",
    ),
    (
        "anchor or alias",
        "a `*` or `&` that YAML takes for the name of an alias",
        "quote a text that begins with `*` or `&`: `\"*\"`",
    ),
    (
        "cannot start any token",
        "a character that must not begin a text",
        "quote a text that begins with `@`, `%` or a backquote",
    ),
    (
        "multiple YAML documents",
        "a second document begins here",
        "remove the `---`: one file, one document",
    ),
    (
        "simple key expected",
        "this line is no `key: value`",
        "write a colon and a space behind the key; keys of one mapping begin in the same column",
    ),
    (
        "expected string scalar",
        "a list or a mapping where a key belongs",
        "quote a text that begins with `{` or `[`",
    ),
    ("recursion limit", "too deeply nested", "nothing here is more than ten levels deep"),
    (
        "alias replay",
        "the aliases unfold to more than a configuration can hold",
        "write out what they repeat, or remove them",
    ),
    (
        "unknown escape",
        "an unknown escape in a text",
        "write `\\\\` for a backslash, or use single quotes",
    ),
];

/// The parser's error in our words.
pub(super) fn problem(error: &Error, source: &str) -> Problem {
    let error = error.without_snippet();
    let at = error.location().and_then(place);
    let said = plain(&error.render());
    let (text, help) = match error {
        Error::Budget { .. } => {
            let text = "there is more in this file than a configuration can hold";
            (text.to_owned(), "write it shorter; aliases count as what they stand for".to_owned())
        }
        Error::Eof { .. } => {
            let help = "begin with `listeners`, `upstreams` and `routes`";
            return Problem::of_file("the file is empty").help(help);
        }
        _ => sentence(&said),
    };
    let earlier = |quote: &Place| at.is_some_and(|at| quote.line < at.line);
    if let Some(quote) = open_quote(source).filter(earlier) {
        return Problem::at(quote, "this quote is not closed on its line").help("close it");
    }
    let is_structure = !matches!(error, Error::Budget { .. })
        && !NOT_STRUCTURE.iter().any(|part| said.contains(part));
    let is_flow = FLOW.iter().any(|part| said.contains(part));
    let line = at.map_or(u32::MAX, |at| at.line);
    if let Some(cause) = is_structure.then(|| cause::find(source, line, is_flow)).flatten() {
        return cause;
    }
    match at {
        Some(at) => Problem::at(in_line(at, source), text).help(help),
        None => Problem::of_file(text).help(help),
    }
}

/// Parts of messages that say exactly what is wrong.
const NOT_STRUCTURE: [&str; 6] = [
    "unknown anchor",
    "multiple YAML documents",
    "recursion limit",
    "alias replay",
    "unknown escape",
    "tab",
];

/// Parts of messages that come of brackets.
const FLOW: [&str; 4] = ["',' or '}'", "',' or ']'", "unclosed bracket", "flow"];

/// The parser's own sentence, without the position that the report prints anyway.
fn plain(rendered: &str) -> String {
    let line = rendered.lines().next().unwrap_or("the YAML cannot be read");
    let text = line.strip_prefix("error: ").unwrap_or(line);
    match text.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, sentence)) => sentence.to_owned(),
        None => text.split(" at line ").next().unwrap_or(text).to_owned(),
    }
}

fn sentence(said: &str) -> (String, String) {
    match MESSAGES.iter().find(|(part, ..)| said.contains(part)) {
        Some((_, text, help)) => ((*text).to_owned(), (*help).to_owned()),
        None => {
            let help =
                "write one `key: value` in a line, and quotes around a text with marks in it";
            (said.to_owned(), help.to_owned())
        }
    }
}

/// A place behind the last line is shown at the end of the last one that says something.
fn in_line(at: Place, source: &str) -> Place {
    let lines: Vec<&str> = source.lines().collect();
    let beyond = |line: &&str| line.trim().is_empty();
    match lines.get(at.line as usize - 1) {
        Some(line) if !beyond(line) => at,
        _ => {
            let before = &lines[..lines.len().min(at.line as usize)];
            let Some(last) = before.iter().rposition(|line| !beyond(line)) else { return at };
            let column = before[last].trim_end().chars().count() as u32;
            Place { line: last as u32 + 1, column: column.max(1), length: 1 }
        }
    }
}

/// The first quote that is opened and not closed on its line.
fn open_quote(source: &str) -> Option<Place> {
    let open = |line: &str| {
        let mut open: Option<(char, u32)> = None;
        let mut before = ' ';
        for (c, column) in line.chars().zip(1..) {
            match (open, c) {
                (None, '#') if before.is_whitespace() => return None,
                (None, '"' | '\'') if !before.is_alphanumeric() => open = Some((c, column)),
                (Some((quote, _)), c) if c == quote && before != '\\' => open = None,
                _ => {}
            }
            before = c;
        }
        open.map(|(_, column)| column)
    };
    source
        .lines()
        .zip(1..)
        .find_map(|(text, line)| open(text).map(|column| Place { line, column, length: 1 }))
}
