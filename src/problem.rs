//! The operator's mistakes: what is wrong in the YAML, where, and what would be right.
//!
//! Not for refusals of clients (`denial`) and not for a world that broke (the rooms' own errors).

use std::fmt;
use std::sync::Arc;

/// Where in the YAML something stands. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: u32,
    pub column: u32,
    /// How many characters the caret underlines; 0 when the parser does not say.
    pub length: u32,
}

/// One mistake, with its place and, where we know it, the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `None` when it concerns the file as a whole.
    pub at: Option<Place>,
    pub text: String,
    pub help: Option<String>,
    pub level: Level,
}

/// Whether the configuration can run in spite of the problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It cannot run.
    Error,
    /// It can, but probably not as intended.
    Warning,
}

impl Problem {
    pub fn at(place: Place, text: impl Into<String>) -> Self {
        Problem { at: Some(place), text: text.into(), help: None, level: Level::Error }
    }

    pub fn of_file(text: impl Into<String>) -> Self {
        Problem { at: None, text: text.into(), help: None, level: Level::Error }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub fn warning(mut self) -> Self {
        self.level = Level::Warning;
        self
    }
}

/// All that is wrong with one file, in the order of its lines.
#[derive(Clone, Debug)]
pub struct Report {
    file: String,
    source: Arc<str>,
    pub problems: Vec<Problem>,
}

impl Report {
    pub fn new(file: impl Into<String>, source: impl Into<Arc<str>>, all: Vec<Problem>) -> Self {
        let mut problems = all;
        problems.sort_by_key(|problem| (problem.at, problem.level));
        Report { file: file.into(), source: source.into(), problems }
    }

    /// Whether nothing in it keeps the configuration from running.
    pub fn is_runnable(&self) -> bool {
        self.errors() == 0
    }

    fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.level == Level::Error).count()
    }

    fn write_problem(&self, f: &mut fmt::Formatter<'_>, problem: &Problem) -> fmt::Result {
        let word = match problem.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        writeln!(f, "{word}: {}", problem.text)?;
        match problem.at {
            Some(place) => self.write_snippet(f, place)?,
            None => writeln!(f, "  --> {}", self.file)?,
        }
        match &problem.help {
            Some(help) => writeln!(f, "  = help: {help}\n"),
            None => writeln!(f),
        }
    }

    fn write_snippet(&self, f: &mut fmt::Formatter<'_>, place: Place) -> fmt::Result {
        writeln!(f, "  --> {}:{}:{}", self.file, place.line, place.column)?;
        let Some(line) = self.source.lines().nth(place.line.saturating_sub(1) as usize) else {
            return Ok(());
        };
        let shown = without_secrets(line);
        let number = place.line.to_string();
        let gutter = " ".repeat(number.len());
        // A masked line may be shorter than the one the column was counted in.
        let indent = (place.column as usize - 1).min(shown.chars().count());
        let room = shown.chars().count().saturating_sub(indent).max(1);
        let carets = (place.length as usize).clamp(1, room);
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {shown}")?;
        writeln!(f, "{gutter} | {}{}", " ".repeat(indent), "^".repeat(carets))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            self.write_problem(f, problem)?;
        }
        let errors = self.errors();
        let warnings = self.problems.len() - errors;
        write!(f, "{}, {}", count(errors, "error"), count(warnings, "warning"))
    }
}

impl std::error::Error for Report {}

fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// Keys whose values are secrets; a literal one must not be repeated in a message.
const SECRET_KEYS: [&str; 4] = ["hs256:", "pepper:", "token:", "password:"];

/// The line as it may be shown: what stands after a secret's key is masked, unless it only names
/// a variable of the environment.
fn without_secrets(line: &str) -> String {
    let mut shown = line.to_owned();
    for key in SECRET_KEYS {
        let Some(start) = shown.find(key).map(|at| at + key.len()) else { continue };
        let value = shown[start..].trim_start().trim_start_matches(['"', '\'']);
        if value.is_empty() || value.starts_with("${") || value.starts_with('{') {
            continue;
        }
        shown.truncate(start);
        shown.push_str(" ***");
    }
    if let (Some(scheme), Some(host)) = (shown.find("://"), shown.rfind('@'))
        && scheme < host
    {
        shown.replace_range(scheme + 3..host, "***");
    }
    shown
}

/// The candidate that was most likely meant by `written`, for *did you mean …?*.
pub fn nearest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (distance(written, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// `a, b and c` in backticks, for *expected one of …*.
pub fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "none".to_owned(),
        _ => quoted.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str, problem: Problem) -> String {
        Report::new("g.yaml", source, vec![problem]).to_string()
    }

    #[test]
    fn a_problem_shows_its_line_and_the_remedy() {
        let place = Place { line: 2, column: 3, length: 3 };
        let text = shown("a: 1\n  bcd: 2\n", Problem::at(place, "no").help("write `x`"));
        assert_eq!(
            text,
            "error: no\n  --> g.yaml:2:3\n  |\n2 |   bcd: 2\n  |   ^^^\n  = help: write `x`\n\n\
             1 error, 0 warnings"
        );
    }

    #[test]
    fn literal_secrets_are_not_repeated() {
        assert_eq!(without_secrets("  hs256: \"abc\" }"), "  hs256: ***");
        assert_eq!(without_secrets("  pepper: \"${P}\""), "  pepper: \"${P}\"");
        assert_eq!(without_secrets("url: redis://u:pw@h/0"), "url: redis://***@h/0");
    }

    #[test]
    fn a_place_beyond_a_masked_line_does_not_panic() {
        let place = Place { line: 1, column: 60, length: 9 };
        assert!(shown("hs256: abcdefghijklmnopqrstuvwxyz", Problem::at(place, "no")).contains("^"));
    }

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        let names = ["session", "concurrency"];
        assert_eq!(nearest("sesion", names.into_iter()), Some("session"));
        assert_eq!(nearest("cors", names.into_iter()), None);
    }
}
