//! The line that a problem is about, with the place underlined.

use super::Place;
use super::look_alike::LookAlike;
use super::mask::MaskedLine;
use std::fmt;
use std::ops::Range;

/// How much of a line is shown, in characters; of a longer one, what is around the place.
const LINE_CHARS_MAX: usize = 110;

/// Writes the line at `place` of `source` and carets under the place. What stands at `hidden`
/// places is masked.
pub(super) fn write(
    f: &mut fmt::Formatter<'_>,
    source: &str,
    place: Place,
    hidden: &[Place],
) -> fmt::Result {
    let lines: Vec<&str> = source.lines().collect();
    let index = (place.line as usize).saturating_sub(1);
    let Some(line) = lines.get(index) else { return Ok(()) };
    let here = hidden.iter().filter(|hidden| hidden.line == place.line);
    let hidden = here.map(|hidden| underlined(line, *hidden)).collect();
    let shown = MaskedLine::new(&lines, index, hidden);
    let (line, columns) = cropped(&shown.text, shown.columns(underlined(line, place)));
    let number = place.line.to_string();
    let gutter = " ".repeat(number.len());
    writeln!(f, "{gutter} |")?;
    writeln!(f, "{number} | {}", line.trim_end())?;
    writeln!(f, "{gutter} | {}{}", " ".repeat(columns.start), "^".repeat(columns.len()))
}

/// A character at `place` that looks like another one.
pub(super) fn look_alike(source: &str, place: Place) -> Option<LookAlike> {
    let line = source.lines().nth((place.line as usize).saturating_sub(1))?;
    let columns = underlined(line, place);
    let shown = || line.chars().skip(columns.start).take(columns.len());
    // A word that is written in another script throughout is meant so.
    let is_mixed = shown().any(|c| c.is_ascii_alphabetic());
    shown().filter_map(LookAlike::of).find(|found| is_mixed || found.is_structure())
}

/// The characters to underline, counted from 0: at least one, and within the line.
fn underlined(line: &str, place: Place) -> Range<usize> {
    let chars: Vec<char> = line.chars().collect();
    let start = (place.column as usize).saturating_sub(1).min(chars.len());
    let is_word = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-');
    // Of a mapping the parser knows only where it begins: its first key stands for it.
    let word = chars[start..].iter().take_while(|c| is_word(c)).count();
    let length = if place.length < 2 { word.max(1) } else { place.length as usize };
    start..(start + length).min(chars.len().max(start + 1))
}

/// The part of `line` around `columns`, if all of it would be too long.
fn cropped(line: &str, columns: Range<usize>) -> (String, Range<usize>) {
    let chars: Vec<char> = line.chars().collect();
    if chars.len() <= LINE_CHARS_MAX {
        return (line.to_owned(), columns);
    }
    let start = columns.start.saturating_sub(LINE_CHARS_MAX / 2);
    let start = start.min(chars.len() - LINE_CHARS_MAX);
    let end = start + LINE_CHARS_MAX;
    let before = if start > 0 { "… " } else { "" };
    let after = if end < chars.len() { " …" } else { "" };
    let text: String = chars[start..end].iter().collect();
    let shift = |column: usize| column.min(end) - start + before.chars().count();
    (format!("{before}{text}{after}"), shift(columns.start)..shift(columns.end))
}
