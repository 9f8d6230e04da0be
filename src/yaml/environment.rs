//! `${NAME}`, `${NAME:-default}` and `${NAME:?why}`, filled in from the environment.
//!
//! Filling happens value by value while the file is read, never in the raw text: a variable that
//! holds a quote or a `#` can't change the file's structure, and every column stays what it was.

use crate::problem::{self, Place, Problem};
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
    /// A variable without a value is told once, where it is first named. `before` is added to the
    /// numbers of lines.
    pub(super) fn missing(&self, source: &str, before: u32) -> Vec<Problem> {
        let mut missing = Missing::default();
        let lines: Vec<&str> = source.lines().collect();
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("${")) {
            let code = without_comment(line);
            let mut columns = Columns::new(code, before + index as u32 + 1);
            let open = || ("this `${` is not closed".to_owned(), HOW.to_owned());
            let references = references(code);
            let behind = references.last().map_or(0, |last| last.end);
            for reference in references {
                let place = columns.place(reference.start, reference.end);
                if columns.leaves_its_quotes(&reference) {
                    missing.report(Place { length: 2, ..place }, open());
                } else if let Some(said) = reference.misspelled() {
                    missing.report(place, said);
                } else if self.is_without_value(&reference) {
                    let is_secret = is_secret(&lines, index, &reference, place);
                    missing.unset(&reference, is_secret, place);
                }
            }
            if let Some(start) = unclosed(code, behind) {
                missing.report(columns.place(start, start + 2), open());
            }
        }
        missing.told()
    }

    fn is_without_value(&self, reference: &Reference<'_>) -> bool {
        let value = self.var(reference.name);
        match reference.otherwise {
            Otherwise::Refuse => value.is_none(),
            Otherwise::Explain(_) => value.is_none_or(str::is_empty),
            Otherwise::Default(_) => false,
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

/// What is wrong with the references of a file.
#[derive(Default)]
struct Missing<'a> {
    problems: Vec<Problem>,
    /// Variables without a value: their problem, and the further lines that name them.
    unset: HashMap<&'a str, (usize, Vec<Place>)>,
}

/// How many further lines of a variable are told.
const LINES_TOLD_MAX: usize = 5;

impl<'a> Missing<'a> {
    fn report(&mut self, place: Place, (text, help): (String, String)) {
        self.problems.push(Problem::at(place, text).help(help));
    }

    fn unset(&mut self, reference: &Reference<'a>, is_secret: bool, place: Place) {
        let name = reference.name;
        if let Some((_, lines)) = self.unset.get_mut(name) {
            return lines.push(place);
        }
        self.unset.insert(name, (self.problems.len(), Vec::new()));
        let why = match reference.otherwise {
            Otherwise::Explain(why) => format!(": {why}"),
            _ => String::new(),
        };
        let help = match (is_secret, &reference.otherwise) {
            (false, Otherwise::Refuse) => {
                format!("set `{name}`, or give a default: `${{{name}:-…}}`")
            }
            _ => format!("set `{name}`"),
        };
        self.report(place, (format!("the environment variable `{name}` is not set{why}"), help));
    }

    fn told(mut self) -> Vec<Problem> {
        for (problem, mut lines) in self.unset.into_values() {
            lines.dedup_by_key(|place| place.line);
            let told = lines.iter().take(LINES_TOLD_MAX);
            let told: Vec<String> = told.map(|place| place.line_in_words()).collect();
            let (s, more) = (if lines.len() == 1 { "" } else { "s" }, told.len() < lines.len());
            let more = if more { " …" } else { "" };
            if let Some(help) = self.problems[problem].help.as_mut().filter(|_| !told.is_empty()) {
                help.push_str(&format!("; it is named on line{s} {}{more}, too", told.join(", ")));
            }
        }
        self.problems
    }
}

/// Where bytes of a line are in characters, asked from left to right.
struct Columns<'c> {
    code: &'c str,
    line: u32,
    byte: usize,
    column: u32,
    /// How many quotes stand before `byte`, of each kind.
    quotes: [usize; 2],
}

const QUOTES: [char; 2] = ['"', '\''];

impl<'c> Columns<'c> {
    fn new(code: &'c str, line: u32) -> Self {
        Columns { code, line, byte: 0, column: 1, quotes: [0; 2] }
    }

    fn place(&mut self, start: usize, end: usize) -> Place {
        let before = &self.code[self.byte..start];
        self.column += before.chars().count() as u32;
        for (count, quote) in self.quotes.iter_mut().zip(QUOTES) {
            *count += before.matches(quote).count();
        }
        self.byte = start;
        let length = self.code[start..end].chars().count() as u32;
        Place { line: self.line, column: self.column, length }
    }

    /// Whether a quote that was open before the reference, where `self` is, closes within it: then
    /// its `}` is another's.
    fn leaves_its_quotes(&self, reference: &Reference<'_>) -> bool {
        let within = &self.code[reference.start..reference.end];
        let counted = QUOTES.iter().zip(self.quotes);
        counted.into_iter().any(|(quote, count)| count % 2 == 1 && within.contains(*quote))
    }
}

/// The longest line in which the key before a variable is looked for, in bytes.
const KEYED_LINE_BYTES_MAX: usize = 4 * 1024;

/// Whether the variable's value is a secret: by its own name, or by where it stands.
fn is_secret(lines: &[&str], index: usize, reference: &Reference<'_>, place: Place) -> bool {
    let words = ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "PEPPER", "CREDENTIAL"];
    let name = reference.name.to_ascii_uppercase();
    words.iter().any(|word| name.contains(word))
        || (lines[index].len() <= KEYED_LINE_BYTES_MAX
            && problem::is_secret_place(lines, index, place.column as usize - 1))
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
        let ends = self.name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (name, rest) = self.name.split_at(ends.unwrap_or(self.name.len()));
        let default = rest.strip_prefix(":=").or_else(|| rest.strip_prefix(['-', '=']));
        let help = match (default, rest.strip_prefix('?')) {
            (Some(default), _) if is_name(name) && !default.is_empty() => {
                format!("for a default, write `${{{name}:-{default}}}`")
            }
            (_, Some(why)) if is_name(name) => {
                format!("for a reason, write `${{{name}:?{why}}}`")
            }
            _ => HOW.to_owned(),
        };
        Some((text, help))
    }
}

/// Where a `${` begins, at or behind byte `from`, that no `}` ends.
fn unclosed(code: &str, from: usize) -> Option<usize> {
    let closes = code.rfind('}');
    let mut opens = code[from..].match_indices("${").map(|(at, _)| from + at);
    opens.find(|at| !code[..*at].ends_with('$') && closes.is_none_or(|closes| closes < *at))
}

/// Whether a variable of `text` has no value, or is none, or is not closed.
pub(super) fn is_lacking(text: &str) -> bool {
    if !text.contains("${") {
        return false;
    }
    let all = references(text);
    let behind = all.last().map_or(0, |last| last.end);
    CURRENT.with_borrow(|env| {
        unclosed(text, behind).is_some()
            || all.iter().any(|one| one.misspelled().is_some() || env.is_without_value(one))
    })
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
        if text[..at].ends_with('$') {
            from = at + 2;
            continue;
        }
        let Some(end) = text[at..].find('}').map(|end| at + end + 1) else { break };
        from = end;
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
        let missing = Environment::default().missing(source, 0);
        let places: Vec<_> = missing.iter().map(|p| p.at.map(|at| (at.line, at.column))).collect();
        assert_eq!(places, [Some((1, 4)), Some((3, 5))]);
        assert!(missing[1].text.contains("thirty bytes"));
    }

    #[test]
    fn a_variable_is_told_once_with_its_lines_and_a_secret_without_a_default() {
        let source = "a: ${B}\nb: ${B}\nc: [ ${B}, ${B} ]\ntoken: \"${T}\"\nurl: r://u:${P}@h\n";
        let told = Environment::default().missing(source, 0);
        let help: Vec<&str> = told.iter().filter_map(|told| told.help.as_deref()).collect();
        let first = "set `B`, or give a default: `${B:-…}`; it is named on lines 2, 3, too";
        assert_eq!(help, [first, "set `T`", "set `P`"]);
    }

    #[test]
    fn what_shells_know_is_not_offered_as_a_default() {
        for (written, help) in [
            ("${A:+x}", "write `${NAME}`"),
            ("${A-x}", "write `${A:-x}`"),
            ("${A:=x}", "write `${A:-x}`"),
            ("${A?why}", "write `${A:?why}`"),
            ("${A%.*}", "write `${NAME}`"),
        ] {
            let told = Environment::default().missing(written, 0);
            let said = told[0].help.as_deref().unwrap_or_default();
            assert!(said.contains(help), "{written}: {said}");
        }
    }
}
