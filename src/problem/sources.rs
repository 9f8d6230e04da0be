//! The texts that a configuration consists of: its file, and those that it includes.
//!
//! A place has a line and no file, so that it stays small and whoever makes one needs no file's
//! name. The lines of the first included file are counted on from [`FILE_LINES_MAX`], those of the
//! second from twice that, and so on: no file is that long. Here a line becomes one of its file
//! again.

use super::{Place, Problem};
use std::fmt;
use std::sync::Arc;

/// No file has so many lines.
pub(crate) const FILE_LINES_MAX: u32 = 1 << 21;

/// Stands around the number of a file in the words of a problem, until its name is known.
const MARK: char = '\u{1}';

/// One text with the name of its file.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) file: String,
    pub(crate) text: Arc<str>,
}

/// There may be secrets in the text.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.file).finish()
    }
}

/// The texts of one configuration, that of its own file first. There is at least one.
#[derive(Clone, Debug)]
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    pub(crate) fn new(file: impl Into<String>, text: impl Into<Arc<str>>) -> Self {
        Sources(vec![Source { file: file.into(), text: text.into() }])
    }

    /// Adds what the file includes.
    pub(crate) fn include(&mut self, further: Vec<Source>) {
        self.0.extend(further);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }

    /// The configuration's own file.
    pub(crate) fn first(&self) -> &Source {
        &self.0[0]
    }

    /// Whose line this is, and which one of its file.
    pub(crate) fn at(&self, place: Place) -> (&Source, Place) {
        let (number, line) = (place.line / FILE_LINES_MAX, place.line % FILE_LINES_MAX);
        let source = self.0.get(number as usize).unwrap_or(self.first());
        (source, Place { line, ..place })
    }

    /// The problem with the names of files in its words.
    pub(super) fn name_files(&self, mut problem: Problem) -> Problem {
        for words in [Some(&mut problem.text), problem.help.as_mut()].into_iter().flatten() {
            if words.contains(MARK) {
                *words = self.named(words);
            }
        }
        problem
    }

    fn named(&self, words: &str) -> String {
        let parts = words.split(MARK).enumerate().map(|(index, part)| {
            let number: Option<usize> = part.parse().ok().filter(|_| index % 2 == 1);
            match number.and_then(|number| self.0.get(number)) {
                Some(source) => format!(" of {}", source.file),
                None => part.to_owned(),
            }
        });
        parts.collect()
    }
}

impl Place {
    /// Its line in words: `7`, and of an included file with its name.
    pub(crate) fn line_in_words(self) -> String {
        let (number, line) = (self.line / FILE_LINES_MAX, self.line % FILE_LINES_MAX);
        if number == 0 { line.to_string() } else { format!("{line}{MARK}{number}{MARK}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_an_included_file_is_told_with_its_file() {
        let mut all = Sources::new("g.yaml", "a: 1");
        all.include(vec![Source { file: "conf.d/b.yaml".to_owned(), text: "b: 2".into() }]);
        let place = Place { line: FILE_LINES_MAX + 7, column: 3, length: 1 };
        let problem = Problem::at(place, format!("like line {}", place.line_in_words()));
        assert_eq!(all.name_files(problem).text, "like line 7 of conf.d/b.yaml");
        let (source, within) = all.at(place);
        assert_eq!((source.file.as_str(), within.line), ("conf.d/b.yaml", 7));
        let own = Place { line: 7, ..place };
        assert_eq!(own.line_in_words(), "7");
    }
}
