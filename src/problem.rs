//! The operator's mistakes: what is wrong in the YAML, where, and what would be right.
//!
//! Not for refusals of clients (`denial`) and not for a world that broke (the rooms' own errors).

mod look_alike;
mod mask;
mod snippet;
mod sources;

pub(crate) use look_alike::LookAlike;
pub(crate) use mask::{is_secret, is_secret_place};
pub(crate) use sources::{FILE_LINES_MAX, Source, Sources};

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// Where in the YAML something stands. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The first column.
    pub column: u32,
    /// How many characters the caret underlines; 0 when the parser does not say.
    pub length: u32,
}

/// One mistake, with its place and, where we know it, the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `None` when it concerns the file as a whole.
    pub at: Option<Place>,
    /// What is wrong.
    pub text: String,
    /// What would be right.
    pub help: Option<String>,
    /// Whether the configuration can run in spite of it.
    pub level: Level,
    /// What stands at its place may be a secret and is never shown.
    pub is_hidden: bool,
    /// It says that something is missing, which may have been written and not been understood.
    pub is_of_absence: bool,
}

/// Whether the configuration can run in spite of the problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It cannot run.
    Error,
    /// It can, but probably not as intended.
    Warning,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
        }
    }
}

impl Problem {
    /// An error at a place in the file.
    pub fn at(place: Place, text: impl Into<String>) -> Self {
        Problem { at: Some(place), ..Problem::of_file(text) }
    }

    /// An error of the file as a whole.
    pub fn of_file(text: impl Into<String>) -> Self {
        Problem {
            at: None,
            text: text.into(),
            help: None,
            level: Level::Error,
            is_hidden: false,
            is_of_absence: false,
        }
    }

    /// Adds what would be right.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Masks what stands at its place, in every line that is shown.
    pub fn hidden(mut self) -> Self {
        self.is_hidden = true;
        self
    }

    /// Says that something is missing. It is not told while parts of the file are not understood.
    pub fn of_absence(mut self) -> Self {
        self.is_of_absence = true;
        self
    }

    /// Makes it a warning: the configuration can run.
    pub fn warning(mut self) -> Self {
        self.level = Level::Warning;
        self
    }
}

/// How many problems of a file are printed; all are counted.
const SHOWN_MAX: usize = 50;

/// How many problems of a file are listed for programs; all are counted.
const LISTED_MAX: usize = 1_000;

/// All that is wrong with a file and with those that it includes, in the order of their lines.
#[derive(Clone, Debug)]
pub struct Report {
    sources: Sources,
    /// The problems, sorted by their places.
    pub problems: Vec<Problem>,
}

impl Report {
    /// Sorts `all` by their places in `source`, the text of `file`.
    pub fn new(file: impl Into<String>, source: impl Into<Arc<str>>, all: Vec<Problem>) -> Self {
        Report::of(Sources::new(file, source), all)
    }

    /// Sorts `all` by their places in `sources`.
    pub(crate) fn of(sources: Sources, all: Vec<Problem>) -> Self {
        let named = all.into_iter().map(|problem| sources.name_files(problem));
        let mut problems: Vec<Problem> = named.collect();
        problems.sort_by_key(|problem| (problem.at, problem.level));
        // What a group or an anchor says once is read several times, and told once.
        let mut told = HashSet::new();
        problems
            .retain(|problem| problem.at.is_none_or(|at| told.insert((at, problem.text.clone()))));
        Report { sources, problems }
    }

    /// In which file a problem is, and in which of its lines.
    pub fn line(&self, problem: &Problem) -> (&str, Option<u32>) {
        match problem.at.map(|place| self.sources.at(place)) {
            Some((source, place)) => (&source.file, Some(place.line)),
            None => (&self.sources.first().file, None),
        }
    }

    /// Whether nothing in it keeps the configuration from running.
    pub fn is_runnable(&self) -> bool {
        self.errors() == 0
    }

    /// How many problems keep the configuration from running.
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.level == Level::Error).count()
    }

    /// At most `max` of the problems, in the order of their lines. No warning takes the place of an
    /// error.
    pub fn foremost(&self, max: usize) -> impl Iterator<Item = &Problem> {
        let mut errors = self.errors().min(max);
        let mut warnings = max - errors;
        self.problems.iter().filter(move |problem| {
            let left = match problem.level {
                Level::Error => &mut errors,
                Level::Warning => &mut warnings,
            };
            let is_shown = 0 < *left;
            *left -= usize::from(is_shown);
            is_shown
        })
    }

    fn write_problem(&self, f: &mut fmt::Formatter<'_>, problem: &Problem) -> fmt::Result {
        writeln!(f, "{}: {}", problem.level.word(), problem.text)?;
        match problem.at {
            Some(place) => {
                let (source, within) = self.sources.at(place);
                writeln!(f, "  --> {}:{}:{}", source.file, within.line, within.column)?;
                let hidden = self.problems.iter().filter(|problem| problem.is_hidden);
                let hidden = hidden.filter_map(|problem| problem.at);
                let hidden = hidden.filter(|hidden| hidden.line == place.line);
                let hidden: Vec<Place> = hidden.map(|hidden| self.sources.at(hidden).1).collect();
                snippet::write(f, &source.text, within, &hidden)?;
            }
            None => writeln!(f, "  --> {}", self.sources.first().file)?,
        }
        match self.help(problem) {
            Some(help) => writeln!(f, "  = help: {help}\n"),
            None => writeln!(f),
        }
    }

    /// What would be right, and what only looks right.
    fn help(&self, problem: &Problem) -> Option<String> {
        let at = problem.at.filter(|_| !problem.is_hidden).map(|place| self.sources.at(place));
        let at = at.filter(|(source, _)| !source.text.is_ascii());
        let looks = at.and_then(|(source, place)| snippet::look_alike(&source.text, place));
        let is_new = |told: &String| problem.help.as_ref().is_none_or(|help| !help.contains(told));
        let looks = looks.map(|found| found.told()).filter(is_new);
        let both = [looks, problem.help.clone()].into_iter().flatten().collect::<Vec<_>>();
        (!both.is_empty()).then(|| both.join("; "))
    }

    /// The same for programs.
    pub fn as_json(&self) -> serde_json::Value {
        let rows = self.foremost(LISTED_MAX).map(|problem| {
            let (file, line) = self.line(problem);
            serde_json::json!({
                "level": problem.level.word(),
                "file": file,
                "line": line,
                "column": problem.at.map(|at| at.column),
                "length": problem.at.map(|at| at.length.max(1)),
                "text": problem.text,
                "help": self.help(problem),
            })
        });
        serde_json::json!({
            "file": self.sources.first().file,
            "is_good": self.is_runnable(),
            "errors": self.errors(),
            "warnings": self.problems.len() - self.errors(),
            "problems": rows.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.foremost(SHOWN_MAX) {
            self.write_problem(f, problem)?;
        }
        if SHOWN_MAX < self.problems.len() {
            writeln!(f, "… and {} more\n", self.problems.len() - SHOWN_MAX)?;
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

/// The candidate that was most likely meant by `written`, for *did you mean …?*.
pub fn nearest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (distance(written, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many characters were changed, left out, added, or swapped with the next one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut earlier: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut next = vec![i + 1];
        for j in 0..b.len() {
            let replaced = row[j] + usize::from(a[i] != b[j]);
            let mut best = replaced.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(earlier[j - 1] + 1);
            }
            next.push(best);
        }
        earlier = std::mem::replace(&mut row, next);
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
    fn a_long_line_is_shown_around_its_place() {
        let source = format!("a: {}x{}", "b".repeat(300), "c".repeat(300));
        let text = shown(&source, Problem::at(Place { line: 1, column: 304, length: 2 }, "no"));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[3].chars().count() < 120, "{text}");
        let column = lines[4].find('^').expect("a caret");
        assert_eq!(lines[3].chars().nth(column), Some('x'), "{text}");
    }

    #[test]
    fn no_warning_takes_the_place_of_an_error() {
        let at = |line| Place { line, column: 1, length: 1 };
        let warnings = (1..=60).map(|line| Problem::at(at(line), "maybe").warning());
        let errors = [55, 70].map(|line| Problem::at(at(line), format!("no {line}")));
        let report = Report::new("g.yaml", "\n".repeat(70), warnings.chain(errors).collect());
        let text = report.to_string();
        assert_eq!(text.matches("warning: maybe").count(), 48);
        assert!(text.contains("error: no 55\n") && text.contains("error: no 70\n"), "{text}");
        assert!(text.ends_with("… and 12 more\n\n2 errors, 60 warnings"), "{text}");
        let lines: Vec<u32> = report.foremost(3).map(|it| it.at.expect("a place").line).collect();
        assert_eq!(lines, [1, 55, 70]);
        assert_eq!(report.foremost(1).count(), 1);
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
        assert_eq!(nearest("POTS", ["GET", "POST"].into_iter()), Some("POST"));
    }
}
