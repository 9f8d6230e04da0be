//! `${NAME}`, `${NAME:-default}` and `${NAME:?why}`, filled in from the environment.
//!
//! Filling happens value by value while the file is read, never in the raw text: a variable that
//! holds a quote or a `#` can't change the file's structure, and every column stays what it was.

use crate::problem::{Place, Problem};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

/// The variables that a configuration may name.
#[derive(Clone, Default)]
pub struct Environment(HashMap<String, String>);

impl std::fmt::Debug for Environment {
    /// Names only: the values are often secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

thread_local! {
    /// What is filled in while this thread reads a file. serde offers no way to hand a value down
    /// through derived code, and reading a file is one synchronous call.
    static CURRENT: RefCell<Environment> = RefCell::default();
}

/// One `${…}` in a text.
#[derive(Debug)]
struct Reference<'a> {
    /// Byte offset of the `$`.
    start: usize,
    /// Byte offset behind the `}`.
    end: usize,
    name: &'a str,
    otherwise: Otherwise<'a>,
}

#[derive(Debug)]
enum Otherwise<'a> {
    Refuse,
    Default(&'a str),
    Explain(&'a str),
}

impl Environment {
    /// The variables of this process. Those that aren't UTF-8 are left out.
    pub fn of_process() -> Self {
        let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Environment(std::env::vars_os().filter_map(utf8).collect())
    }

    /// The same with `name` set to `value`.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// The same, with `name` set only if it was not.
    pub fn or(mut self, name: &str, value: impl FnOnce() -> String) -> Self {
        self.0.entry(name.to_owned()).or_insert_with(value);
        self
    }

    /// What `name` is set to.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Runs `read` with this environment filled in.
    pub(super) fn during<T>(&self, read: impl FnOnce() -> T) -> T {
        let before = CURRENT.replace(self.clone());
        let value = read();
        CURRENT.set(before);
        value
    }

    /// Every reference in `source`, comments apart, that has no value and no default, or is none.
    pub(super) fn missing(&self, source: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (index, line) in source.lines().enumerate() {
            let code = without_comment(line);
            let mut report = |start: usize, end: usize, (text, help): (String, String)| {
                let column = code[..start].chars().count() as u32 + 1;
                let length = code[start..end].chars().count() as u32;
                let place = Place { line: index as u32 + 1, column, length };
                problems.push(Problem::at(place, text).help(help));
            };
            let open = || ("this `${` is not closed".to_owned(), HOW.to_owned());
            let references = references(code);
            let behind = references.last().map_or(0, |last| last.end);
            for reference in references {
                if leaves_its_quotes(code, &reference) {
                    report(reference.start, reference.start + 2, open());
                    continue;
                }
                let wrong = reference.misspelled().or_else(|| self.lacks(&reference));
                if let Some(text_and_help) = wrong {
                    report(reference.start, reference.end, text_and_help);
                }
            }
            if let Some(start) = unclosed(code, behind) {
                report(start, start + 2, open());
            }
        }
        problems
    }

    fn lacks(&self, reference: &Reference<'_>) -> Option<(String, String)> {
        let name = reference.name;
        let value = self.var(name);
        match reference.otherwise {
            Otherwise::Refuse if value.is_none() => Some((
                format!("the environment variable `{name}` is not set"),
                format!("set `{name}`, or give a default: `${{{name}:-…}}`"),
            )),
            Otherwise::Explain(why) if value.is_none_or(str::is_empty) => Some((
                format!("the environment variable `{name}` is not set: {why}"),
                format!("set `{name}`"),
            )),
            _ => None,
        }
    }

    fn value<'a>(&'a self, reference: &Reference<'a>) -> &'a str {
        let set = self.var(reference.name);
        match reference.otherwise {
            Otherwise::Default(default) => set.filter(|v| !v.is_empty()).unwrap_or(default),
            Otherwise::Refuse | Otherwise::Explain(_) => set.unwrap_or_default(),
        }
    }
}

/// How a reference is written.
const HOW: &str = "write `${NAME}`, `${NAME:-default}` or `${NAME:?why}`; `$${` stands for `${`";

impl Reference<'_> {
    /// Why it names no variable.
    fn misspelled(&self) -> Option<(String, String)> {
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if let Otherwise::Default(default) = self.otherwise
            && default.contains("${")
        {
            let text = format!("the default of `{}` holds another variable", self.name);
            return Some((text, "a default is plain text".to_owned()));
        }
        if is_name(self.name) {
            return None;
        }
        let text = format!("`{}` is not the name of a variable", self.name);
        let help = match self.name.split_once(['-', '?', '=', '+', ':']) {
            Some((name, default)) if is_name(name) && !default.is_empty() => {
                format!("for a default, write `${{{name}:-{default}}}`")
            }
            _ => HOW.to_owned(),
        };
        Some((text, help))
    }
}

/// Where a `${` begins, at or behind byte `from`, that no `}` ends.
fn unclosed(code: &str, from: usize) -> Option<usize> {
    let mut opens = code[from..].match_indices("${").map(|(at, _)| from + at);
    opens.find(|at| !code[..*at].ends_with('$') && !code[*at..].contains('}'))
}

/// Whether a quote that was open before the reference closes within it: then its `}` is another's.
fn leaves_its_quotes(code: &str, reference: &Reference<'_>) -> bool {
    let (before, within) = (&code[..reference.start], &code[reference.start..reference.end]);
    ['"', '\''].iter().any(|q| before.matches(*q).count() % 2 == 1 && within.contains(*q))
}

/// `text` with its variables filled in from the environment that is being read with.
/// `$${` stands for a literal `${`.
pub(super) fn fill(text: &str) -> Cow<'_, str> {
    if !text.contains("${") {
        return Cow::Borrowed(text);
    }
    CURRENT.with_borrow(|environment| {
        let mut filled = String::with_capacity(text.len());
        let mut rest = 0;
        for reference in references(text) {
            filled.push_str(&text[rest..reference.start].replace("$${", "${"));
            filled.push_str(environment.value(&reference));
            rest = reference.end;
        }
        filled.push_str(&text[rest..].replace("$${", "${"));
        Cow::Owned(filled)
    })
}

/// The references in `text`, from left to right. An unclosed one is text like any other.
fn references(text: &str) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("${").map(|at| at + from) {
        let is_escaped = text[..at].ends_with('$');
        let Some(end) = text[at..].find('}').map(|end| at + end + 1) else { break };
        from = if is_escaped { at + 2 } else { end };
        if is_escaped {
            continue;
        }
        let body = &text[at + 2..end - 1];
        let operator = [":-", ":?"].iter().filter_map(|operator| body.find(operator)).min();
        let (name, otherwise) = match operator.map(|at| (&body[..at], body[at..].split_at(2))) {
            Some((name, (":-", default))) => (name, Otherwise::Default(default)),
            Some((name, (_, why))) => (name, Otherwise::Explain(why)),
            None => (body, Otherwise::Refuse),
        };
        found.push(Reference { start: at, end, name, otherwise });
    }
    found
}

/// The part of a line that YAML reads: up to a `#` that stands outside quotes, at the line's
/// beginning or behind white space.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') if before.is_whitespace() => return &line[..at],
            (None, '"' | '\'') if !before.is_alphanumeric() => quote = Some(c),
            (Some(open), c) if c == open && before != '\\' => quote = None,
            _ => {}
        }
        before = c;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let env = Environment::default().with("A", "1").with("EMPTY", "");
        assert_eq!(env.during(|| fill(text).into_owned()), expected, "{text}");
    }

    #[test]
    fn variables_are_filled_in() {
        check("plain", "plain");
        check("${A}", "1");
        check("x${A}y${A}z", "x1y1z");
        check("${EMPTY:-d}", "d");
        check("${EMPTY}", "");
        check("${B:-redis://h:1/0}", "redis://h:1/0");
        check("${A:?needed}", "1");
        check("$${A}", "${A}");
        check("${A", "${A");
        check("${B:-a:?b}", "a:?b");
    }

    #[test]
    fn all_that_are_missing_are_reported_with_their_places() {
        let source = "a: ${B}\n# ${C}\nb: \"${D:?thirty bytes}\" # ${E}\nc: ${F:-x}\n";
        let missing = Environment::default().missing(source);
        let places: Vec<_> = missing.iter().map(|p| p.at.map(|at| (at.line, at.column))).collect();
        assert_eq!(places, [Some((1, 4)), Some((3, 5))]);
        assert!(missing[1].text.contains("thirty bytes"));
    }
}
